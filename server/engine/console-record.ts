/**
 * Consoles in the activity log: who opened which, and how it ended. A ticket alone is no line; most viewers of the log
 * care for what was seen, and an unused ticket shows nothing.
 */
import { CLOSE } from '#lib/console/close-codes.ts'
import type { ConsoleEnd, ConsoleSession } from '#server/console/types.ts'
import type { Journal } from './journal.ts'
import type { VmRecords } from './vm-records.ts'

export interface ConsoleRecord {
  opened(session: ConsoleSession): void
  closed(session: ConsoleSession, end: ConsoleEnd): void
}

/** Ends nobody is surprised by; every other one is told with its reason. */
const QUIET_ENDS: ReadonlySet<number> = new Set([CLOSE.normal, CLOSE.goingAway, 1005, 1006])

export function createConsoleRecord(records: VmRecords, journal: Journal): ConsoleRecord {
  const write = (what: string, { grant, from }: ConsoleSession, text: (console: string) => string): void => {
    const record = records.get(grant.vmId)
    // Deleted meanwhile: its own line says so.
    if (record === null) return
    const name = grant.kind === 'vnc' ? 'screen' : 'serial console'
    journal.write({
      what,
      text: `${grant.userName} ${text(`the ${name} of ${record.spec.name}`)}.`,
      result: what === 'vmConsoleOpen' ? 'ok' : 'info',
      caller: null,
      who: grant.userName,
      userId: grant.userId,
      from,
      topic: 'vm',
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    })
  }
  return {
    opened: (session) =>
      write(
        'vmConsoleOpen',
        session,
        (console) => `opened ${console}${session.grant.mode === 'control' ? '' : ' (view only)'}`,
      ),
    closed: (session, { code, reason, durationMs }) =>
      write('vmConsoleClose', session, (console) => {
        const why = QUIET_ENDS.has(code) || reason === '' ? '' : ` (${reason})`
        return `left ${console} after ${inWords(durationMs)}${why}`
      }),
  }
}

/** A duration in whole seconds, minutes or hours. */
function inWords(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000)
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`
}
