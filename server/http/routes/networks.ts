/** Networks: each operation is one call of the engine. */
import type { networksOperations } from '#lib/api/operations/networks.ts'
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

export function networkRoutes({ networks }: Engine): Pick<Handlers, keyof typeof networksOperations> {
  return {
    networkList: ({ caller }) => networks.list(caller),
    networkCreate: ({ caller, body }) => networks.create(caller, body),
    networkUpdate: ({ caller, params, body, expectedRevision }) =>
      networks.update(caller, params.id, body, expectedRevision),
    networkDelete: ({ caller, params }) => networks.delete(caller, params.id),
  }
}
