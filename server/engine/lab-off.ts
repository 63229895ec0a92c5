/**
 * Orderly ends on behalf of the dashboard: the guest is asked to shut down, and where it was decided so its power is cut
 * once the time for that is over. Survives restarts of the dashboard.
 */
import type { LabRecords } from '#server/lab/records.ts'
import type { LabTime } from '#server/lab/time.ts'
import type { Supervisor } from '#server/vm/types.ts'
import type { Journal } from './journal.ts'
import type { VmRecords } from './vm-records.ts'

export interface OrderlyOffs {
  /**
   * Resolves once the guest was asked. A paused one is let run for it.
   * @param forceAfterMs null: its power is never cut
   * @throws EngineError wrong_state, unresponsive
   */
  ask(vmId: string, by: string, forceAfterMs: number | null): Promise<void>
  /** It may run on after all. */
  cancel(vmId: string): void
  tick(): Promise<void>
}

export interface OrderlyOffDeps {
  readonly lab: LabRecords
  readonly records: VmRecords
  readonly supervisor: Pick<Supervisor, 'runtime' | 'resume' | 'shutdown' | 'poweroff'>
  readonly journal: Journal
  readonly time: LabTime
  readonly warn: (message: string, error?: unknown) => void
}

export function createOrderlyOffs({ lab, records, supervisor, journal, time, warn }: OrderlyOffDeps): OrderlyOffs {
  const cancel = (vmId: string): void => {
    if (lab.of(vmId).off !== null) lab.change(vmId, { off: null })
  }
  return {
    async ask(vmId, by, forceAfterMs) {
      // Before the guest is asked, so that a crash in between does not leave it running for ever.
      if (forceAfterMs !== null) lab.change(vmId, { off: { atMs: time.steadyMs() + forceAfterMs, by } })
      try {
        if (supervisor.runtime(vmId).state === 'paused') await supervisor.resume(vmId, by)
        await supervisor.shutdown(vmId, by)
      } catch (error) {
        cancel(vmId)
        throw error
      }
    },
    cancel,
    async tick() {
      for (const vmId of lab.ids()) {
        const { off } = lab.of(vmId)
        const record = records.get(vmId)
        if (off === null || record === null) continue
        const { state } = supervisor.runtime(vmId)
        if (state === 'off' || state === 'crashed') cancel(vmId)
        else if (off.atMs <= time.steadyMs()) {
          try {
            await supervisor.poweroff(vmId, off.by)
            cancel(vmId)
            journal.write({
              what: 'vmPoweroff',
              text: `${record.spec.name} did not shut down in its time; its power was cut.`,
              result: 'ok',
              caller: null,
              who: off.by,
              topic: 'vm',
              objectId: vmId,
              objectName: record.spec.name,
              ownerId: record.ownerId,
            })
          } catch (error) {
            warn(`The power of ${record.spec.name} could not be cut; it is tried again.`, error)
          }
        }
      }
    },
  }
}
