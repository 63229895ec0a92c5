/** Files on disks, images, snapshots and in backups. */
import type { FileQuery } from '#lib/schema/disk-files.ts'
import type { Caller, Engine, FileSourceName } from '#server/engine/types.ts'
import { attachment } from '#server/http/byte-range.ts'
import { type Handlers, RawAnswer } from '#server/http/contract-routes.ts'

type Names =
  | 'imageFileList'
  | 'imageFileContent'
  | 'volumeFileList'
  | 'volumeFileContent'
  | 'snapshotFileList'
  | 'snapshotFileContent'
  | 'backupFileList'
  | 'backupFileContent'

export function fileRoutes({ files }: Engine): Pick<Handlers, Names> {
  const answer = async (caller: Caller, source: FileSourceName, query: FileQuery, method: string) => {
    const { name, sizeBytes, body } = await files.content(caller, source, query, method !== 'HEAD')
    // What somebody else wrote is only ever saved, whatever it looks like.
    const headers = { 'content-disposition': attachment(name), 'content-length': String(sizeBytes) }
    return new RawAnswer(200, headers, body)
  }
  const image = ({ id }: { id: string }) => ({ kind: 'image', id }) as const
  const volume = ({ id }: { id: string }) => ({ kind: 'volume', id }) as const
  const backup = ({ id }: { id: string }) => ({ kind: 'backup', id }) as const
  const snapshot = ({ id, snapshotId }: { id: string; snapshotId: string }) =>
    ({ kind: 'snapshot', vmId: id, id: snapshotId }) as const
  return {
    imageFileList: ({ caller, params, query }) => files.list(caller, image(params), query),
    imageFileContent: ({ caller, params, query, request }) => answer(caller, image(params), query, request.method),
    volumeFileList: ({ caller, params, query }) => files.list(caller, volume(params), query),
    volumeFileContent: ({ caller, params, query, request }) => answer(caller, volume(params), query, request.method),
    snapshotFileList: ({ caller, params, query }) => files.list(caller, snapshot(params), query),
    snapshotFileContent: ({ caller, params, query, request }) =>
      answer(caller, snapshot(params), query, request.method),
    backupFileList: ({ caller, params, query }) => files.list(caller, backup(params), query),
    backupFileContent: ({ caller, params, query, request }) => answer(caller, backup(params), query, request.method),
  }
}
