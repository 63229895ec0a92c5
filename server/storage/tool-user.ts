/** Whom tools run as that read and write files of guests, and who reads a layer. */
import type { ToolUser } from './sandbox.ts'
import type { LayerDocument } from './volume-documents.ts'
import type { Volumes } from './volume-types.ts'

export interface ToolUserRoom {
  readonly volumes: Pick<Volumes, 'readerGids'>
  /** Group of all guests; null: they share the dashboard's user. */
  readonly readersGid: number | null
}

/** A guest's user, in the groups of all layers: the sandbox shows the tool none but those it is to read. */
export const toolUser = ({ volumes, readersGid }: ToolUserRoom, uid: number | null): ToolUser | null =>
  uid === null ? null : { uid, readersGid, layerGids: volumes.readerGids() }

/** Group that reads a layer which is nobody's own. */
export const readersOf = (
  { uid, gid }: Pick<LayerDocument, 'uid' | 'gid'>,
  readersGid: number | null,
): number | null => (readersGid === null || uid !== null ? readersGid : (gid ?? readersGid))
