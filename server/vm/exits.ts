/** Turns the end of a process into the record people read. Pure. */
import type { VmExit } from '#lib/schema/vm-state.ts'
import { type Evidence, explain, stderrTail } from './failures.ts'
import type { VmModel } from './transitions.ts'

type Ended = Omit<Evidence, 'phase'> & {
  /** ISO 8601. */
  readonly at: string
}

const FINE = { code: 'none', advice: '' } as const

/** What the end of the process means, given what was asked and seen before it. */
export function exitOf(model: VmModel, ended: Ended): VmExit {
  const { at, exitCode, signal } = ended
  const evidence = { at, exitCode, signal, stderrTail: stderrTail(ended.stderr, ended.names) }
  const wish = model.wish
  if (model.ending?.kind === 'internal-error') {
    return { ...evidence, kind: 'crash', by: null, ...explain({ ...ended, phase: 'run', runState: 'internal-error' }) }
  }
  if (wish?.how === 'poweroff') {
    return { ...evidence, kind: 'operator', ...FINE, summary: `${wish.by} cut its power.`, by: wish.by }
  }
  if (model.ending?.kind === 'guest-shutdown') {
    return wish
      ? {
          ...evidence,
          kind: 'operator',
          ...FINE,
          summary: `${wish.by} asked it to shut down, and it did.`,
          by: wish.by,
        }
      : { ...evidence, kind: 'guest-shutdown', ...FINE, summary: 'The guest shut itself down.', by: null }
  }
  if (model.ending?.kind === 'host-signal' || signal === 'SIGTERM' || signal === 'SIGINT' || signal === 'SIGHUP') {
    return {
      ...evidence,
      kind: 'host-signal',
      code: 'signal',
      summary: 'Somebody on the host ended its QEMU process.',
      advice: 'Its disks are as after a power cut.',
      by: null,
    }
  }
  if (model.state === 'starting') {
    return { ...evidence, kind: 'launch-failure', by: null, ...explain({ ...ended, phase: 'launch' }) }
  }
  // Of a process that is not our child nobody learns the exit status. But QEMU announces every orderly end on its
  // monitor (SHUTDOWN, qapi/run-state.json), so an end without notice on an open monitor is a crash all the same.
  const unseen = exitCode === null && signal === null
  const silent = model.state === 'unmanageable'
  return { ...evidence, kind: unseen && silent ? 'unknown' : 'crash', by: null, ...explain({ ...ended, phase: 'run' }) }
}

/** A guest that ran when the dashboard last looked and is gone now. */
export function exitWhileAway(at: string, stderr: string): VmExit {
  return {
    at,
    kind: 'unknown',
    code: 'none',
    summary: 'The guest ended while the dashboard was away.',
    advice: '',
    exitCode: null,
    signal: null,
    stderrTail: stderrTail(stderr),
    by: null,
  }
}

/** The host was restarted under a running guest. */
export function exitByReboot(at: string): VmExit {
  return {
    at,
    kind: 'host-reboot',
    code: 'none',
    summary: 'The host restarted while the guest ran.',
    advice: 'Its disks are as after a power cut.',
    exitCode: null,
    signal: null,
    stderrTail: '',
    by: null,
  }
}
