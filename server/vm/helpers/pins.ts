/**
 * Binds virtual CPUs to CPUs of the host: each is a thread of QEMU's (query-cpus-fast, qapi/machine.json). Anew after
 * a CPU was plugged, whose thread has only just come into being.
 */
import * as z from 'zod'
import { rootActs } from '#server/launcher/acts.ts'
import { findExecutable } from '#server/platform/child.ts'
import { parseCpuList, readAllowedCpus, readOnlineCpus } from '#server/platform/cpus.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import { threadsOf } from '../confined.ts'
import type { Guest } from '../guest.ts'
import { HostFault } from './fault.ts'

const Cpus = z.array(z.object({ 'cpu-index': z.int(), 'thread-id': z.int() }))

const fault = (summary: string, advice: string) => new HostFault({ code: 'host-resource', summary, advice })

/**
 * Applies the pins whose virtual CPUs are plugged, and looks whether the kernel obeyed. Idempotent.
 * @throws HostFault a host CPU that is not there, a thread that cannot be bound; QmpError
 */
export async function pinCpus(
  guest: Pick<Guest, 'ask' | 'process' | 'vmId'>,
  pins: LaunchPlan['pins'],
  signal?: AbortSignal,
): Promise<void> {
  if (pins.length === 0) return
  const online = readOnlineCpus()
  for (const { vcpu, hostCpus } of pins) {
    const absent = online === null ? [] : parseCpuList(hostCpus).filter((cpu) => !online.includes(cpu))
    if (absent.length === 0) continue
    throw fault(
      `Virtual CPU ${vcpu} is to run on CPU ${absent.join(', ')} of the host, which is not there or switched off.`,
      `This host has the CPUs ${online === null ? '' : ranges(online)}. Change the VM's pinning.`,
    )
  }
  if (findExecutable('taskset') === null) {
    throw fault(
      'The program taskset is not installed, so virtual CPUs cannot be bound to CPUs of the host.',
      "Install the package util-linux, or remove the VM's pinning.",
    )
  }
  const cpus = Cpus.parse(await guest.ask('query-cpus-fast', undefined, signal ? { signal } : {}))
  // A locked-in QEMU tells the numbers its threads have in there.
  const outside = threadsOf(guest.process.identity.pid)
  const threads = new Map(cpus.map((cpu) => [cpu['cpu-index'], outside.get(cpu['thread-id']) ?? cpu['thread-id']]))
  await Promise.all(
    pins.map(async ({ vcpu, hostCpus }) => {
      const tid = threads.get(vcpu)
      if (tid === undefined) return
      const words = await rootActs().pin({ ...guest.process.identity, vmId: guest.vmId, tid, cpus: hostCpus })
      const allowed = readAllowedCpus(guest.process.identity.pid, tid)
      if (allowed !== null && ranges(allowed) === ranges(parseCpuList(hostCpus))) return
      throw fault(
        `Virtual CPU ${vcpu} could not be bound to CPU ${hostCpus} of the host${words === null ? '' : `: ${words}`}.`,
        "The dashboard's own service or container may be limited to other CPUs (cpuset). Change the VM's pinning.",
      )
    }),
  )
}

/** `0-3,8`. Pure. */
function ranges(numbers: readonly number[]): string {
  const parts: string[] = []
  for (let i = 0; i < numbers.length; i += 1) {
    const from = numbers[i]
    while (numbers[i + 1] === (numbers[i] ?? 0) + 1) i += 1
    parts.push(from === numbers[i] ? `${from}` : `${from}-${numbers[i]}`)
  }
  return parts.join(',')
}
