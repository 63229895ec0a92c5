/**
 * Consoles in the activity log: who opened which, and how it ended. A ticket alone is no line; most viewers of the log
 * care for what was seen, and an unused ticket shows nothing.
 */
import { CLOSE } from '#lib/console/close-codes.ts'
import type { ConsoleEnd, ConsoleSession, ControlChange, TicketGrant } from '#server/console/types.ts'
import type { Journal } from './journal.ts'
import type { VmRecords } from './vm-records.ts'

export interface ConsoleRecord {
  opened(session: ConsoleSession): void
  closed(session: ConsoleSession, end: ConsoleEnd): void
  control(change: ControlChange): void
}

/** Ends nobody is surprised by; every other one is told with its reason. */
const QUIET_ENDS: ReadonlySet<number> = new Set([CLOSE.normal, CLOSE.goingAway, 1005, 1006])

const CONSOLE = { vnc: 'screen', serial: 'serial console' } as const

/** A guest is never taken for a person of that name. */
const whoIs = ({ guest, userName }: Pick<TicketGrant, 'guest' | 'userName'>) =>
  guest === null ? userName : `guest: ${userName}`

/** @param linkUsed a console was opened by a guest link */
export function createConsoleRecord(
  records: VmRecords,
  journal: Journal,
  linkUsed: (linkId: string, from: string) => void,
): ConsoleRecord {
  const write = (what: string, { grant, from }: ConsoleSession, text: (console: string) => string): void => {
    const record = records.get(grant.vmId)
    // Deleted meanwhile: its own line says so.
    if (record === null) return
    journal.write({
      what,
      text: `${whoIs(grant)} ${text(`the ${CONSOLE[grant.kind]} of ${record.spec.name}`)}.`,
      result: what === 'vmConsoleOpen' ? 'ok' : 'info',
      caller: null,
      who: whoIs(grant),
      userId: grant.guest?.byUserId ?? grant.userId,
      from,
      topic: 'vm',
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    })
  }
  return {
    opened(session) {
      write(
        'vmConsoleOpen',
        session,
        (console) => `opened ${console}${session.grant.mode === 'control' ? '' : ' (view only)'}`,
      )
      if (session.grant.guest !== null) linkUsed(session.grant.guest.linkId, session.from)
    },
    closed: (session, { code, reason, durationMs }) =>
      write('vmConsoleClose', session, (console) => {
        const why = QUIET_ENDS.has(code) || reason === '' ? '' : ` (${reason})`
        return `left ${console} after ${inWords(durationMs)}${why}`
      }),
    control({ vmId, kind, what, by, to }) {
      const record = records.get(vmId)
      if (record === null) return
      const of = `of the ${CONSOLE[kind]} of ${record.spec.name}`
      journal.write({
        what: 'vmConsoleControl',
        text: `${by.name} ${CONTROL_WORDS[what](to ?? 'somebody')} ${of}.`,
        result: 'info',
        caller: null,
        who: by.name,
        userId: by.userId,
        from: by.from,
        topic: 'vm',
        objectId: record.id,
        objectName: record.spec.name,
        ownerId: record.ownerId,
      })
    },
  }
}

const CONTROL_WORDS: Readonly<Record<ControlChange['what'], (to: string) => string>> = {
  hold: () => 'took sole control',
  take: () => 'took control back',
  give: (to) => `handed control to ${to},`,
  release: () => 'gave up sole control',
  ask: () => 'asked for control',
  decline: (to) => `refused control to ${to},`,
}

/** A duration in whole seconds, minutes or hours. */
function inWords(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000)
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`
}
