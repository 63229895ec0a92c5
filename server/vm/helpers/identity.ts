/** Which process is a VM's helper: by the record of its start, or by a command line that names the VM's own socket. */
import { readdirSync } from 'node:fs'
import { isAlive, type ProcessIdentity, readCommandLine, readProcStat } from '#server/platform/process.ts'
import type { PlannedHelper } from '#server/spec/types.ts'

/** A helper as `launch.json` records it. */
export interface HelperIdentity extends ProcessIdentity {
  readonly id: string
}

/** What tells a helper from other processes. */
export interface HelperCommand {
  readonly socket: string
  readonly option: { readonly argv: readonly string[] }
}

/**
 * Whether a process's arguments are those of the helper. Programs that start it (setpriv, sh, unshare) drop off the
 * front as they become the next; so any end of the whole command counts that still names the socket. Pure.
 */
export function isCommandOf(argv: readonly string[], helper: HelperCommand): boolean {
  const planned = helper.option.argv
  // A shell between may stand for the program; what follows it tells.
  const tail = argv.slice(-planned.length)
  return (
    argv.some((word) => word.includes(helper.socket)) &&
    (isEnd(tail, planned) || (argv.length < planned.length && isEnd(argv, planned.slice(-argv.length))))
  )
}

const isEnd = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((word, i) => word === b[i])

/** To be asked before every signal: still that process, still that helper. */
export function isHelper(identity: ProcessIdentity, helper: HelperCommand): boolean {
  if (!isAlive(identity)) return false
  const argv = readCommandLine(identity.pid)
  return argv !== null && isCommandOf(argv, helper)
}

/** The living helper, or null. Reads all of /proc when the record does not help: for recovery only. */
export function findHelper(
  helper: Pick<PlannedHelper, 'id' | 'option' | 'socket'>,
  recorded: readonly HelperIdentity[],
): ProcessIdentity | null {
  const known = recorded.find((one) => one.id === helper.id)
  if (known && isHelper(known, helper)) return { pid: known.pid, startTime: known.startTime }
  // The dashboard was ended between the spawn and the record. A daemon and its child look alike: the elder leads.
  let found: ProcessIdentity | null = null
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    const argv = readCommandLine(pid)
    if (argv === null || !isCommandOf(argv, helper)) continue
    const startTime = readProcStat(pid)?.startTime
    if (startTime === undefined || !isAlive({ pid, startTime })) continue
    if (found === null || startTime < found.startTime || (startTime === found.startTime && pid < found.pid)) {
      found = { pid, startTime }
    }
  }
  return found
}
