/** Long work as its people see it: what somebody began stays theirs only while they reach what it is about. */
import type { Job } from '#lib/schema/job.ts'
import type { JobRegistry } from '#server/jobs/registry.ts'
import { canSeeVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Caller, JobEngine } from './types.ts'
import type { VmRecords } from './vm-records.ts'

export interface JobsDeps {
  readonly jobs: JobRegistry
  readonly records: Pick<VmRecords, 'get'>
  /** Whose jobs somebody may see; null: everybody's. */
  readonly whose: (caller: Caller) => string | null
}

export function createJobs({ jobs, records, whose }: JobsDeps): JobEngine {
  const reachesTarget = (caller: Caller, { target }: Pick<Job, 'target'>): boolean => {
    // A token for some VMs is told about those, and not what else its owner does.
    if (target === null && (caller.scope?.vmIds ?? null) !== null) return false
    const record = target?.type === 'vm' ? records.get(target.id) : null
    return record === null || canSeeVm(caller, record)
  }
  const look = (caller: Caller, id: string): Job => {
    const job = jobs.view(id, whose(caller))
    if (job === null || !reachesTarget(caller, job)) throw new EngineError('not_found', 'There is no such job.')
    return job
  }
  return {
    list: async (caller) => ({ items: jobs.list(whose(caller)).filter((job) => reachesTarget(caller, job)) }),
    async view(caller, id, until) {
      const job = look(caller, id)
      if (until === undefined) return job
      await jobs.whenOver(id, until)
      // What the caller may see can have changed meanwhile.
      return look(caller, id)
    },
    async cancel(caller, id) {
      look(caller, id)
      return jobs.cancel(id, whose(caller))
    },
  }
}
