/**
 * Lets guests start, and grow while they run, within the quotas of what runs and within what the host gives out: a part
 * of its memory stays its own, and its processors are not promised without end.
 *
 * A VM counts from the moment it is let in, in one step with the check, so that of two starts that would pass a limit
 * together one is refused. One that was found running counts as well.
 */
import { cpus, totalmem } from 'node:os'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { type Holder, memoryOf, type Quotas } from '#server/access/quotas.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { VmRecord } from './vm-records.ts'

/** Part of the memory that stays the host's own. */
export const MEMORY_RESERVE = 0.1
/** A processor is promised to so many virtual CPUs at most. */
const VCPUS_EACH = 16
/** Even a small host takes a class of small guests. */
const VCPUS_LEAST = 128

export interface HostLimits {
  readonly mostMiB: number
  readonly mostVcpus: number
}
export const hostLimits = (memoryMiB = Math.floor(totalmem() / 2 ** 20), processors = cpus().length): HostLimits => ({
  mostMiB: Math.floor(memoryMiB * (1 - MEMORY_RESERVE)),
  mostVcpus: Math.max(VCPUS_LEAST, processors * VCPUS_EACH),
})

export interface StartAdmission {
  /** @throws EngineError quota_exceeded, no_memory, no_cpus */
  admit(record: VmRecord): void
  /**
   * What a running guest gets at once of a changed definition. Counts until it is released, by when the guest has it or
   * was refused it. @throws EngineError quota_exceeded, no_memory, no_cpus
   */
  grow(record: Pick<VmRecord, 'id' | 'ownerId'>, after: VmSpec): () => void
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
  readonly limits?: HostLimits
}

interface Part {
  readonly memoryMiB: number
  readonly vcpus: number
}

export function createStartAdmission(deps: AdmissionDeps): StartAdmission {
  const admitted = new Set<string>()
  /** Of guests that are just being given more. */
  const growing = new Set<Part>()
  const { mostMiB, mostVcpus } = deps.limits ?? hostLimits()
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
  /** @param but the VM that starts: it counts as what it asks for */
  const givenTo = (but: string | null): Part => {
    let [memoryMiB, vcpus] = [0, 0]
    for (const { id } of deps.records.all()) {
      const spec = id === but ? null : runningSpec(id)
      if (spec === null) continue
      memoryMiB += memoryOf(spec)
      vcpus += spec.cpus
    }
    for (const part of growing) {
      memoryMiB += part.memoryMiB
      vcpus += part.vcpus
    }
    return { memoryMiB, vcpus }
  }
  const assertHost = (asked: Part, given: Part): void => {
    if (asked.memoryMiB > 0 && given.memoryMiB + asked.memoryMiB > mostMiB)
      throw new EngineError(
        'no_memory',
        `This guest needs ${asked.memoryMiB} MiB of memory. Running guests were promised ${given.memoryMiB} of the ${mostMiB} MiB that this host gives out (a tenth stays its own). Shut one down, or give this one less.`,
        { details: { askedMiB: asked.memoryMiB, givenMiB: given.memoryMiB, mostMiB } },
      )
    if (asked.vcpus > 0 && given.vcpus + asked.vcpus > mostVcpus)
      throw new EngineError(
        'no_cpus',
        `This guest needs ${asked.vcpus} virtual CPUs. Running guests have ${given.vcpus} of the ${mostVcpus} that this host gives out. Shut one down, or give this one fewer.`,
        { details: { asked: asked.vcpus, given: given.vcpus, most: mostVcpus } },
      )
  }
  return {
    runningSpec,
    admit(record) {
      // A run that is over no longer counts, whatever is left of it here.
      admitted.delete(record.id)
      const asked = { memoryMiB: memoryOf(record.spec), vcpus: record.spec.cpus }
      deps.quotas().assertFits(deps.holderOf(record.id, record.ownerId), {
        runningVcpus: asked.vcpus,
        runningMemoryMiB: asked.memoryMiB,
      })
      assertHost(asked, givenTo(record.id))
      admitted.add(record.id)
    },
    grow({ id, ownerId }, after) {
      const now = runningSpec(id)
      if (now === null) return () => {}
      // The memory it was started with stays what it is until it is started again.
      const next = { ...now, dimms: after.dimms, virtioMem: after.virtioMem }
      const asked = {
        memoryMiB: Math.max(0, memoryOf(next) - memoryOf(now)),
        vcpus: Math.max(0, after.cpus - now.cpus),
      }
      const quotas = deps.quotas()
      const holder = deps.holderOf(id, ownerId)
      quotas.assertFits(holder, { runningVcpus: asked.vcpus, runningMemoryMiB: asked.memoryMiB })
      assertHost(asked, givenTo(null))
      growing.add(asked)
      const release = [
        quotas.count(holder, 'runningVcpus', asked.vcpus),
        quotas.count(holder, 'runningMemoryMiB', asked.memoryMiB),
      ]
      return () => {
        growing.delete(asked)
        for (const one of release) one()
      }
    },
    settle(vmId) {
      if (deps.records.get(vmId) === null || isOff(vmId)) admitted.delete(vmId)
    },
  }
}
