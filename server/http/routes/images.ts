/** The image library. */
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'
import { watchUpload } from '#server/http/upload-watch.ts'

type Names =
  | 'imageList'
  | 'imageUpload'
  | 'imageRegister'
  | 'imageSources'
  | 'starterList'
  | 'starterAdd'
  | 'imageView'
  | 'imageDelete'

export function imageRoutes({ images }: Engine): Pick<Handlers, Names> {
  return {
    imageList: ({ caller }) => images.list(caller),
    async imageUpload({ caller, query, request }) {
      const length = request.headers['content-length']
      const unwatch = watchUpload(request.raw)
      try {
        return await images.upload(caller, query, request.raw, length === undefined ? null : Number(length))
      } finally {
        unwatch()
      }
    },
    imageRegister: ({ caller, body }) => images.register(caller, body),
    imageSources: ({ caller }) => images.sources(caller),
    starterList: ({ caller }) => images.starters(caller),
    starterAdd: ({ caller, params }) => images.addStarter(caller, params.id),
    imageView: ({ caller, params }) => images.view(caller, params.id),
    imageDelete: ({ caller, params }) => images.delete(caller, params.id),
  }
}
