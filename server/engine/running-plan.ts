/** The plan that would start what runs now, with its files as they are on record: kept with a run whose files changed. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { Launcher } from './launch.ts'
import type { VmRecords } from './vm-records.ts'

export type RunningPlan = (vmId: string, spec: VmSpec) => Promise<LaunchPlan>

export function createRunningPlan(deps: {
  readonly records: Pick<VmRecords, 'get'>
  readonly supervisor: Pick<Supervisor, 'runtime'>
  readonly launcher: Pick<Launcher, 'compiler'>
}): RunningPlan {
  return async (vmId, spec) => {
    const record = deps.records.get(vmId)
    if (record === null) throw new EngineError('not_found', 'There is no such VM.')
    const { accelerator, launchedPlan } = deps.supervisor.runtime(vmId)
    const compile = await deps.launcher.compiler({ ...record, spec }, accelerator, launchedPlan)
    return compile(spec)
  }
}
