/**
 * Restarts through the guest's own shutdown, for changes that need another start. The guest is asked to shut down; the
 * start follows once it is off, whoever still watches. An order lives as long as this dashboard's run: after one that
 * ended meanwhile the guest stays off, as a shutdown would have left it.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'

export interface RestartDeps {
  readonly supervisor: Pick<Supervisor, 'runtime' | 'shutdown'>
  /** Starts a VM with its present definition and records how that went. Never rejects. */
  readonly start: (vmId: string, by: string) => Promise<void>
  /** The guest did not end as asked, so nothing was started: for the activity log. */
  readonly onGivenUp: (vmId: string, by: string, why: string) => void
}

export interface Restarts {
  /** Resolves once the guest has been asked. @throws EngineError wrong_state, unresponsive */
  ask(vmId: string, by: string): Promise<VmRuntime>
  /** For `Supervisor.onChange`. */
  changed(vmId: string, runtime: VmRuntime, exited: VmExit | null): void
  /** Somebody wants it to stay off, or to run on after all. */
  forget(vmId: string): void
}

/** Ends that a shutdown request leads to, or that are as good as one. */
const ORDERLY: ReadonlySet<VmExit['kind']> = new Set(['operator', 'guest-shutdown'])

export function createRestarts({ supervisor, start, onGivenUp }: RestartDeps): Restarts {
  const waiting = new Map<string, string>()
  return {
    async ask(vmId, by) {
      const { allowed, reason } = allowedAction(supervisor.runtime(vmId).state, 'shutdown')
      if (!allowed) throw new EngineError('wrong_state', reason ?? 'It is not running.')
      const asked = await supervisor.shutdown(vmId, by)
      // A guest that is very quick is off already.
      if (asked.state === 'off') void start(vmId, by)
      else if (asked.state !== 'crashed') waiting.set(vmId, by)
      return asked
    },
    changed(vmId, runtime, exited) {
      const by = waiting.get(vmId)
      if (by === undefined) return
      if (exited === null) {
        // Back to running without an end: the guest ignored the request.
        if (runtime.state !== 'running') return
        waiting.delete(vmId)
        onGivenUp(vmId, by, 'The guest did not shut down, so it was not restarted.')
        return
      }
      waiting.delete(vmId)
      if (!ORDERLY.has(exited.kind)) {
        onGivenUp(vmId, by, 'Its end was not an orderly one, so it was not started again.')
        return
      }
      // Not within the change itself: the run that ends is still being taken leave of.
      setImmediate(() => void start(vmId, by))
    },
    forget: (vmId) => void waiting.delete(vmId),
  }
}
