/** What only the engine knows of the host page: how many VMs there are and what they were promised. */
import type { Supervisor } from '#server/vm/types.ts'
import type { HostFacts } from './deps.ts'
import type { VmRecords } from './vm-records.ts'

export function hostFacts(records: VmRecords, supervisor: Supervisor, isolation: HostFacts['isolation']): HostFacts {
  let running = 0
  const promised = { cpus: 0, memoryMiB: 0, diskBytes: 0 }
  for (const { id, spec } of records.all()) {
    for (const drive of spec.disks) if (drive.device === 'disk') promised.diskBytes += drive.sizeGiB * 2 ** 30
    const { launchedSpec, state } = supervisor.runtime(id)
    if (state === 'off' || state === 'crashed') continue
    running += 1
    promised.cpus += (launchedSpec ?? spec).cpus
    promised.memoryMiB += (launchedSpec ?? spec).memoryMiB
  }
  return { counts: { vms: records.all().length, running }, promised, isolation }
}
