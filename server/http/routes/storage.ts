/** Storage pools and volumes. */
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names =
  | 'poolList'
  | 'poolCreate'
  | 'poolUpdate'
  | 'poolDelete'
  | 'poolCheck'
  | 'storageNeedList'
  | 'volumeList'
  | 'volumeCreate'
  | 'volumeView'
  | 'volumeUpdate'
  | 'volumeGrow'
  | 'volumeAttach'
  | 'volumeDetach'
  | 'volumeCopy'
  | 'volumeConvert'
  | 'volumeCompact'
  | 'volumeMove'
  | 'volumeDelete'
  | 'volumeRestore'
  | 'trashEmpty'

export function storageRoutes({ pools, volumes }: Engine): Pick<Handlers, Names> {
  return {
    poolList: ({ caller }) => pools.list(caller),
    poolCreate: ({ caller, body }) => pools.create(caller, body),
    poolUpdate: ({ caller, params, body }) => pools.update(caller, params.id, body),
    poolDelete: ({ caller, params }) => pools.delete(caller, params.id),
    poolCheck: ({ caller, params }) => pools.check(caller, params.id),
    storageNeedList: ({ caller }) => pools.needs(caller),
    volumeList: ({ caller }) => volumes.list(caller),
    volumeCreate: ({ caller, body }) => volumes.create(caller, body),
    volumeView: ({ caller, params }) => volumes.view(caller, params.id),
    volumeUpdate: ({ caller, params, body }) => volumes.rename(caller, params.id, body.name),
    volumeGrow: ({ caller, params, body }) => volumes.grow(caller, params.id, body.sizeGiB),
    volumeAttach: ({ caller, params, body }) => volumes.attach(caller, params.id, body.vmId),
    volumeDetach: ({ caller, params }) => volumes.detach(caller, params.id),
    volumeCopy: ({ caller, params, body }) => volumes.copy(caller, params.id, body),
    volumeConvert: ({ caller, params, body }) => volumes.convert(caller, params.id, body.format),
    volumeCompact: ({ caller, params }) => volumes.compact(caller, params.id),
    volumeMove: ({ caller, params, body }) => volumes.move(caller, params.id, body),
    volumeDelete: ({ caller, params }) => volumes.delete(caller, params.id),
    volumeRestore: ({ caller, params }) => volumes.restore(caller, params.id),
    trashEmpty: ({ caller }) => volumes.emptyTrash(caller),
  }
}
