/** Who watches a VM's consoles, from beside them: seeing, ending, handing out control. What viewers do among themselves goes over their own connections. */
import { mayOn } from '#lib/auth/privileges.ts'
import type { ConsoleRooms } from '#server/console/types.ts'
import { LOOK_ONLY, requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Caller, ViewerEngine } from './types.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface ViewerEngineDeps {
  readonly records: VmRecords
  readonly rooms: ConsoleRooms
  readonly journal: Journal
}

/** What a close frame has room for. */
const REASON_MAX_BYTES = 120

export function createViewerEngine({ records, rooms, journal }: ViewerEngineDeps): ViewerEngine {
  const sessionOf = (vmId: string, viewerId: string) => {
    const session = rooms.watching(vmId).find(({ id }) => id === viewerId)
    if (session === undefined) throw new EngineError('not_found', 'This viewer is not connected any more.')
    return session
  }
  const assertManages = (caller: Caller, record: VmRecord) => {
    if (!mayOn(caller, record, 'vm.console.manage')) throw new EngineError('forbidden', LOOK_ONLY)
  }
  return {
    async list(caller, id) {
      const record = requireVm(records, caller, id)
      return { items: [...rooms.presence(record.id).viewers] }
    },
    async end(caller, id, viewerId, { reason }) {
      const record = requireVm(records, caller, id)
      const { grant } = sessionOf(id, viewerId)
      const done = `ended the connection of ${grant.userName} to`
      await journal.vmOperation('vmViewerEnd', caller, record, done, async () => {
        // Everybody may end what is their own.
        if (grant.userId !== caller.userId) assertManages(caller, record)
        const why = `${caller.name} ended this connection${reason === undefined ? '' : `: ${reason}`}`
        rooms.end(id, viewerId, cutToBytes(why, REASON_MAX_BYTES))
      })
    },
    async giveControl(caller, id, viewerId) {
      const record = requireVm(records, caller, id)
      const { grant } = sessionOf(id, viewerId)
      const refused = await journal.vmOperation('vmViewerControl', caller, record, null, async () => {
        assertManages(caller, record)
        return rooms.give(id, grant.kind, viewerId, { id: caller.userId, name: caller.name })
      })
      if (refused !== null) throw new EngineError('wrong_state', refused)
    },
    async releaseControl(caller, id, { kind }) {
      const record = requireVm(records, caller, id)
      await journal.vmOperation('vmControlRelease', caller, record, null, async () => {
        assertManages(caller, record)
        rooms.give(id, kind, null, { id: caller.userId, name: caller.name })
      })
    },
  }
}

function cutToBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxBytes) return text
  return new TextDecoder().decode(bytes.subarray(0, maxBytes)).replace(/\uFFFD$/, '')
}
