/** Virtual CPUs. Sources: QEMU docs `system/cpu-models-x86`, `system/invocation` (-smp), `hw/core/machine-smp.c`. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { option, plural } from '../option.ts'
import type { CompileInput, LaunchPlan, PlannedOption } from '../types.ts'
import { hypervProperties } from './hyperv.ts'
import { cpuModelFor } from './machine.ts'

/** Sockets × cores × threads, which is `maxCpus`. */
export function topologyOf(spec: Pick<VmSpec, 'topology' | 'maxCpus'>): NonNullable<VmSpec['topology']> {
  return spec.topology ?? { sockets: 1, cores: spec.maxCpus, threads: 1 }
}

export function cpuOptions(input: CompileInput): PlannedOption[] {
  const { spec, accelerator } = input
  const group = 'cpu'
  const model = cpuModelFor(spec, accelerator)
  const flags = spec.cpuFlags.map(({ name, enabled }) => `${name}=${enabled ? 'on' : 'off'}`)
  const hyperv = hypervProperties(input)
  const isChosen = spec.cpuModel !== 'auto' || flags.length > 0
  const { sockets, cores, threads } = topologyOf(spec)
  const spare = spec.maxCpus - spec.cpus
  return [
    option(['-cpu', [model, ...flags, ...hyperv].join(',')], {
      group,
      what: [
        model === 'host'
          ? "The guest sees the host's own CPU model."
          : model === 'max'
            ? 'The guest sees a CPU with every feature QEMU can give it.'
            : `The guest sees a CPU of model ${model}.`,
        ...(flags.length > 0 ? [`Single features are switched as the definition says: ${flags.join(', ')}.`] : []),
        ...(hyperv.length > 0 ? ['Windows is told that it runs on a hypervisor it knows (hv-…).'] : []),
      ].join(' '),
      why: [
        spec.cpuModel === 'auto'
          ? `Fastest choice under ${accelerator.kind === 'kvm' ? 'KVM' : 'TCG'}. Choose a named model when the guest is to move to other hosts.`
          : 'A fixed model is the same on every host that has its features.',
        ...(hyperv.length > 0
          ? ['With Hyper-V’s interface Windows waits, keeps time and flushes with far fewer detours through the host.']
          : []),
      ].join(' '),
      origin: isChosen ? 'choice' : 'default',
      field: '/cpuModel',
    }),
    option(
      [
        '-smp',
        [
          `cpus=${spec.cpus}`,
          ...(spare > 0 ? [`maxcpus=${spec.maxCpus}`] : []),
          `sockets=${sockets}`,
          `cores=${cores}`,
          `threads=${threads}`,
        ].join(','),
      ],
      {
        group,
        what:
          spec.topology === null && spare === 0
            ? `${plural(spec.cpus, 'virtual CPU', 'virtual CPUs')}, as one socket with ${plural(spec.cpus, 'core', 'cores')}.`
            : `${plural(spec.cpus, 'virtual CPU', 'virtual CPUs')}${spare > 0 ? `, and room for ${spare} more that can be plugged in while the guest runs` : ''}: ${plural(sockets, 'socket', 'sockets')} of ${plural(cores, 'core', 'cores')} with ${plural(threads, 'thread', 'threads')}.`,
        why:
          spec.topology === null
            ? 'One socket, because some systems are licensed by socket and use no more than one or two.'
            : 'The definition asks for this arrangement; systems licensed by socket, and schedulers, go by it.',
        origin: 'choice',
        field: spec.topology === null ? '/cpus' : '/topology',
      },
    ),
  ]
}

/** Virtual CPUs to bind. Those not plugged in yet are bound when they are. */
export function plannedPins({ spec }: CompileInput): LaunchPlan['pins'] {
  return spec.pinning.map(({ vcpu, hostCpus }) => ({ vcpu, hostCpus }))
}
