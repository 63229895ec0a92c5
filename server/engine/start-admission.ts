/**
 * Lets guests start within the quotas of what runs, and within the host's memory, of which a part is never given out.
 *
 * A VM counts from the moment it is let in, in one step with the check, so that of two starts that would pass a limit
 * together one is refused. One that was found running counts as well.
 */
import { totalmem } from 'node:os'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { type Holder, memoryOf, type Quotas } from '#server/access/quotas.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { VmRecord } from './vm-records.ts'

/** Part of the memory that stays the host's own. */
export const MEMORY_RESERVE = 0.1

export interface StartAdmission {
  /** @throws EngineError quota_exceeded, no_memory */
  admit(record: VmRecord): void
  /** For `Supervisor.onChange`, and when a start came to nothing. */
  settle(vmId: string): void
  /** What a VM is given now; null: nothing. */
  runningSpec(vmId: string): VmSpec | null
}

export interface AdmissionDeps {
  readonly runtime: (vmId: string) => VmRuntime
  readonly records: { get(id: string): VmRecord | null; all(): readonly VmRecord[] }
  readonly quotas: () => Quotas
  readonly holderOf: (vmId: string, ownerId: string) => Holder
  readonly hostMiB?: number
}

export function createStartAdmission(deps: AdmissionDeps): StartAdmission {
  const admitted = new Set<string>()
  const hostMiB = deps.hostMiB ?? Math.floor(totalmem() / 2 ** 20)
  const isOff = (vmId: string) => {
    const { state } = deps.runtime(vmId)
    return state === 'off' || state === 'crashed'
  }
  const runningSpec = (vmId: string): VmSpec | null => {
    // One that is being created runs nothing yet, and the supervisor does not know it.
    if (deps.records.get(vmId) === null) return null
    const { launchedSpec } = deps.runtime(vmId)
    if (launchedSpec !== null) return launchedSpec
    return admitted.has(vmId) ? (deps.records.get(vmId)?.spec ?? null) : null
  }
  return {
    runningSpec,
    admit(record) {
      // A run that is over no longer counts, whatever is left of it here.
      admitted.delete(record.id)
      const needMiB = memoryOf(record.spec)
      deps.quotas().assertFits(deps.holderOf(record.id, record.ownerId), {
        runningVcpus: record.spec.cpus,
        runningMemoryMiB: needMiB,
      })
      let givenMiB = 0
      for (const { id } of deps.records.all()) {
        const spec = id === record.id ? null : runningSpec(id)
        if (spec !== null) givenMiB += memoryOf(spec)
      }
      const mostMiB = Math.floor(hostMiB * (1 - MEMORY_RESERVE))
      if (givenMiB + needMiB > mostMiB)
        throw new EngineError(
          'no_memory',
          `This guest needs ${needMiB} MiB of memory. Running guests were promised ${givenMiB} of the ${mostMiB} MiB that this host gives out (a tenth stays its own). Shut one down, or give this one less.`,
          { details: { askedMiB: needMiB, givenMiB, mostMiB } },
        )
      admitted.add(record.id)
    },
    settle(vmId) {
      if (deps.records.get(vmId) === null || isOff(vmId)) admitted.delete(vmId)
    },
  }
}
