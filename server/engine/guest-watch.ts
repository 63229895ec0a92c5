/** Follows guests for as long as they run: launched, or found running when the dashboard started. */
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import type { GuestWork } from '#server/vm/work.ts'

/**
 * @param begin once for each run of a guest that answers; the work's signal aborts when it is over. Must not throw
 * @returns for `Supervisor.onChange`
 */
export function watchGuests(
  supervisor: Pick<Supervisor, 'work'>,
  begin: (work: GuestWork) => void,
): (vmId: string, runtime: VmRuntime) => void {
  const followed = new Set<string>()
  return (vmId, { live, state }) => {
    if (followed.has(vmId) || live === null || state === 'unmanageable') return
    followed.add(vmId)
    supervisor
      .work(vmId, async (work) => {
        begin(work)
        const over = Promise.withResolvers<void>()
        if (work.signal.aborted) return
        work.signal.addEventListener('abort', () => over.resolve(), { once: true })
        await over.promise
      })
      // It fell silent before it could be followed: its next change tries again.
      .catch(() => {})
      .finally(() => followed.delete(vmId))
  }
}
