/** Prometheus text: the dashboard's own process and one line per running VM. Read on scrape, nothing runs between. */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { VmState } from '#lib/schema/vm-state.ts'
import type { VmRuntime } from '#server/vm/types.ts'

export interface MeteredVm {
  readonly id: string
  readonly ownerId: string
  readonly name: string
  readonly runtime: VmRuntime
}

export interface Metrics {
  /** @param seen which VMs it may tell of */
  text(seen?: (vm: { readonly id: string; readonly ownerId: string }) => boolean): Promise<string>
}

/** @param vms everything there is, cheap to ask */
export function createMetrics(vms: () => Iterable<MeteredVm>): Metrics {
  const registry = new Registry()
  // Includes the event-loop lag histogram, memory, handles and CPU time of this process.
  collectDefaultMetrics({ register: registry, prefix: 'guestdeck_' })

  const byState = new Gauge({
    name: 'guestdeck_vms',
    help: 'VMs by state',
    labelNames: ['state'],
    registers: [registry],
  })
  const vmGauge = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['vm', 'name'], registers: [registry] })
  const cpu = vmGauge('guestdeck_vm_cpu_load', 'Host CPUs a VM uses, 1 is one whole CPU')
  const memory = vmGauge('guestdeck_vm_memory_bytes', 'Memory the guest is given')
  const resident = vmGauge('guestdeck_vm_resident_bytes', 'Resident memory of the QEMU process')
  const readRate = vmGauge('guestdeck_vm_disk_read_bytes_per_second', 'Disk reads of the guest')
  const writeRate = vmGauge('guestdeck_vm_disk_write_bytes_per_second', 'Disk writes of the guest')
  const perVm = [cpu, memory, resident, readRate, writeRate]

  let last: Promise<unknown> = Promise.resolve()
  const collect = (seen: (vm: MeteredVm) => boolean): Promise<string> => {
    for (const gauge of perVm) gauge.reset()
    const counts = new Map<string, number>(VmState.options.map((state) => [state, 0]))
    for (const { id, ownerId, name, runtime } of vms()) {
      if (!seen({ id, ownerId, name, runtime })) continue
      counts.set(runtime.state, (counts.get(runtime.state) ?? 0) + 1)
      const { live } = runtime
      if (live === null) continue
      const labels = { vm: id, name }
      memory.set(labels, live.memoryMiB * 2 ** 20)
      if (live.cpuLoad !== null) cpu.set(labels, live.cpuLoad)
      if (live.residentMiB !== null) resident.set(labels, live.residentMiB * 2 ** 20)
      if (live.disk !== null) {
        readRate.set(labels, live.disk.readBytesPerSecond)
        writeRate.set(labels, live.disk.writeBytesPerSecond)
      }
    }
    for (const [state, count] of counts) byState.set({ state }, count)
    return registry.metrics()
  }

  return {
    async text(seen = () => true) {
      // One after the other: the gauges are shared, and what one caller may see is not the next one's.
      const turn = last.then(() => collect(seen))
      last = turn.catch(() => '')
      return turn
    },
  }
}
