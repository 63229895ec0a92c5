/** How guests are asked to end, and how processes are made to. */
import { rootActs } from '#server/launcher/acts.ts'
import { within } from '#server/platform/clock.ts'
import { isAlive, readProcStat } from '#server/platform/process.ts'
import { requestShutdown } from '#server/qga/client.ts'
import type { Guest, GuestProcess } from './guest.ts'

/** Milliseconds each rung is given. */
export interface LadderTimes {
  readonly agent: number
  readonly quit: number
  readonly terminate: number
  readonly kill: number
}

export const LADDER: LadderTimes = { agent: 2000, quit: 2000, terminate: 3000, kill: 5000 }

/**
 * Asks the guest's system to shut down: through its agent where one answers, else by the ACPI power button.
 * Returns once asked; whether it obeys shows later.
 * @throws QmpError the monitor does not answer; the signal's reason when interrupted
 */
export async function askToShutDown(
  guest: Guest,
  signal: AbortSignal,
  times: LadderTimes = LADDER,
): Promise<'agent' | 'acpi'> {
  if (guest.agentOpen) {
    try {
      await requestShutdown(guest.paths.agent, { timeoutMs: times.agent, signal })
      return 'agent'
    } catch {
      signal.throwIfAborted()
      // An agent that hangs or refuses: the power button is the other way.
    }
  }
  await guest.ask('system_powerdown', undefined, { signal })
  return 'acpi'
}

/** Sends a signal to that very process of that very VM, or to nobody. True when it was sent. */
export const signalQemu = (process_: GuestProcess, vmId: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<boolean> =>
  rootActs().signal({ ...process_.identity, target: { kind: 'qemu', vmId }, signal })

/**
 * quit → SIGTERM → SIGKILL, each with its time; true once the process is gone.
 * @param isSilent the monitor is known not to answer: spares the wait for `quit`
 */
export async function endProcess(guest: Guest, isSilent: boolean, times: LadderTimes = LADDER): Promise<boolean> {
  const target = guest.process
  const gone = target.exited.then(() => true)
  if (guest.qmp && !isSilent) {
    // QEMU may close the monitor before it answers; the process's end is what counts.
    guest.qmp.execute('quit', undefined, { timeoutMs: times.quit }).then(
      () => target.hurry(),
      () => target.hurry(),
    )
    if (await within(gone, times.quit, false)) return true
  }
  return await killProcess(target, guest.vmId, times)
}

/** SIGTERM → SIGKILL; true once the process is gone. */
export async function killProcess(target: GuestProcess, vmId: string, times: LadderTimes = LADDER): Promise<boolean> {
  const gone = target.exited.then(() => true)
  const rungs: readonly ['SIGTERM' | 'SIGKILL', number][] = [
    ['SIGTERM', times.terminate],
    ['SIGKILL', times.kill],
  ]
  for (const [signal, ms] of rungs) {
    // A stopped process (SIGSTOP, a debugger) takes no signal but SIGKILL: waiting for it would be in vain.
    if (signal === 'SIGTERM' && readProcStat(target.identity.pid)?.state.toUpperCase() === 'T') continue
    const sent = await signalQemu(target, vmId, signal)
    target.hurry()
    if (!sent && !isAlive(target.identity)) return await within(gone, 1000, true)
    if (await within(gone, ms, false)) return true
  }
  return !isAlive(target.identity)
}

/**
 * The guest has ended inside a process that lives on (`-no-shutdown`): ends the process, for good.
 * @param isEnding QEMU is on its way out already, and gets the time for it
 */
export async function endAfterGuest(guest: Guest, isEnding: boolean, times: LadderTimes = LADDER): Promise<boolean> {
  const gone = guest.process.exited.then(() => true)
  if (isEnding && (await within(gone, times.terminate, false))) return true
  return await endProcess(guest, false, times)
}
