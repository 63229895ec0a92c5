/** The image library. */
import type { Engine } from '#server/engine/types.ts'
import { attachment, parseRange } from '#server/http/byte-range.ts'
import { type Handlers, RawAnswer } from '#server/http/contract-routes.ts'
import { watchUpload } from '#server/http/upload-watch.ts'

type Names =
  | 'imageList'
  | 'imageUpload'
  | 'imagePut'
  | 'imageRegister'
  | 'imageSources'
  | 'starterList'
  | 'starterAdd'
  | 'imageView'
  | 'imageUpdate'
  | 'imageContent'
  | 'imageDelete'

export function imageRoutes({ images }: Engine): Pick<Handlers, Names> {
  type Sent = Parameters<Handlers['imageUpload' | 'imagePut']>[0]
  const receive = async ({ caller, query, request }: Sent) => {
    const length = request.headers['content-length']
    const unwatch = watchUpload(request.raw)
    try {
      return await images.upload(caller, query, request.raw, length === undefined ? null : Number(length))
    } finally {
      unwatch()
    }
  }
  return {
    imageList: ({ caller }) => images.list(caller),
    imageUpload: receive,
    imagePut: receive,
    imageRegister: ({ caller, body }) => images.register(caller, body),
    imageSources: ({ caller }) => images.sources(caller),
    starterList: ({ caller }) => images.starters(caller),
    starterAdd: ({ caller, params }) => images.addStarter(caller, params.id),
    imageView: ({ caller, params }) => images.view(caller, params.id),
    imageUpdate: ({ caller, params, body }) => images.update(caller, params.id, body),
    async imageContent({ caller, params, request }) {
      const rangeOf = (sizeBytes: number) => parseRange(request.headers.range, sizeBytes)
      const { name, sizeBytes, range, body } = await images.content(
        caller,
        params.id,
        rangeOf,
        request.method !== 'HEAD',
      )
      const length = range === null ? sizeBytes : range.to - range.from + 1
      const headers = {
        'accept-ranges': 'bytes',
        'content-disposition': attachment(name),
        'content-length': String(length),
        ...(range !== null && { 'content-range': `bytes ${range.from}-${range.to}/${sizeBytes}` }),
      }
      return new RawAnswer(range === null ? 200 : 206, headers, body)
    },
    imageDelete: ({ caller, params }) => images.delete(caller, params.id),
  }
}
