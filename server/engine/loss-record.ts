/** What running guests have lost on the host (a TPM, a shared folder), in the activity log: one line for each loss. */
import type { VmRuntime } from '#server/vm/types.ts'
import type { Journal } from './journal.ts'
import type { VmRecords } from './vm-records.ts'

export interface LossRecord {
  /** For `Supervisor.onChange`. */
  changed(vmId: string, runtime: Pick<VmRuntime, 'troubles'>): void
}

export function createLossRecord(records: Pick<VmRecords, 'get'>, journal: Pick<Journal, 'write'>): LossRecord {
  const told = new Map<string, readonly string[]>()
  return {
    changed(vmId, { troubles }) {
      const before = told.get(vmId) ?? []
      if (troubles.length === 0) told.delete(vmId)
      else told.set(vmId, troubles)
      const record = troubles.length === 0 ? null : records.get(vmId)
      if (record === null) return
      for (const text of troubles) {
        if (before.includes(text)) continue
        journal.write({
          what: 'vmLoss',
          text: `${record.spec.name}: ${text}`,
          result: 'failed',
          caller: null,
          topic: 'vm',
          objectId: vmId,
          objectName: record.spec.name,
          ownerId: record.ownerId,
        })
      }
    },
  }
}
