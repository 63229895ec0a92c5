/** CPUs: how many, arranged how, of which model, bound where. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { familyOf } from '../bus.ts'
import { topologyOf } from '../devices/cpu.ts'
import { parseNumberList } from '../number-list.ts'
import { bad, claims, type SpecProblem } from './problem.ts'

/** Largest APIC number without x2APIC mode, which not every accelerator and guest has; 255 is everybody's. */
const MAX_APIC_ID = 254

export function checkCpu(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  if (spec.maxCpus < spec.cpus)
    problems.push(
      bad('maxCpus', `There cannot be fewer CPUs at most (${spec.maxCpus}) than at power-on (${spec.cpus}).`),
    )
  const { sockets, cores, threads } = topologyOf(spec)
  const product = sockets * cores * threads
  if (product !== spec.maxCpus)
    problems.push(
      bad(
        'topology',
        `${sockets} sockets × ${cores} cores × ${threads} threads are ${product} CPUs, but there are ${spec.maxCpus} at most; make them equal.`,
      ),
    )
  else if (lastApicId(sockets, cores, threads) > MAX_APIC_ID)
    problems.push(
      bad(
        'topology',
        'This arrangement needs CPU numbers above 254, because each level is numbered in whole powers of two; take cores or threads that are powers of two, or fewer.',
      ),
    )
  return [...problems, ...checkFlags(spec), ...checkPinning(spec), ...checkOldModel(spec)]
}

/** Address bits of the CPUs before 64 bits (`target/i386/cpu.c`: 36 with PSE-36, otherwise 32). All others have 40 or more. */
const SHORT_ADDRESSES: Readonly<Record<string, 32 | 36>> = {
  // Nothing but what is switched on by flags.
  base: 32,
  '486': 32,
  pentium: 32,
  pentium2: 36,
  pentium3: 36,
  athlon: 36,
  qemu32: 36,
  kvm32: 36,
  coreduo: 36,
  n270: 36,
}

const WITHOUT_APIC: ReadonlySet<string> = new Set(['base', '486'])

/** The PCI hole of q35 (32 GiB) and a gibibyte of alignment for each of sixteen slots take addresses too. */
const MAX_MIB = { 32: { fixed: 2048, room: 0 }, 36: { fixed: 24 * 1024, room: 12 * 1024 } } as const

function checkOldModel(spec: VmSpec): SpecProblem[] {
  const model = spec.cpuModel.replace(/-v[0-9]+$/, '')
  const problems: SpecProblem[] = []
  const apic = spec.cpuFlags.find((flag) => flag.name === 'apic')?.enabled
  const isWithoutApic = !(apic ?? !WITHOUT_APIC.has(model))
  if (isWithoutApic && familyOf(spec.machine) === 'q35')
    problems.push(
      bad('cpuModel', 'A CPU without APIC takes no interrupts of PCI Express; choose the machine pc or another CPU.'),
    )
  if (isWithoutApic && spec.maxCpus > 1)
    problems.push(bad('cpus', 'A CPU without APIC cannot be one of several; take one CPU or another model.'))
  const bits = addressBits(model, spec.cpuFlags)
  if (bits === null) return problems
  const flagged = SHORT_ADDRESSES[model] === bits ? '' : ' with these flags'
  const { fixed, room } = MAX_MIB[bits]
  if (spec.memoryMiB > fixed)
    problems.push(
      bad('memoryMiB', `The CPU ${spec.cpuModel}${flagged} has addresses of ${bits} bits: at most ${fixed} MiB.`),
    )
  if (spec.memoryMaxMiB !== null && spec.memoryMaxMiB > room)
    problems.push(
      bad(
        'memoryMaxMiB',
        `The CPU ${spec.cpuModel}${flagged} has addresses of ${bits} bits: ${room === 0 ? 'nothing can be plugged in' : `at most ${room} MiB in all`}.`,
      ),
    )
  return problems
}

/** Null: 40 or more. As `x86_cpu_realizefn` decides: without long mode (lm) PSE-36 makes 36 of 32. */
function addressBits(model: string, flags: VmSpec['cpuFlags']): 32 | 36 | null {
  const switched = (name: string) => flags.find((flag) => flag.name === name)?.enabled
  const own = SHORT_ADDRESSES[model]
  if (switched('lm') ?? own === undefined) return null
  return (switched('pse36') ?? own !== 32) ? 36 : 32
}

/** `x86_apicid_from_topo_ids` of QEMU's `include/hw/i386/topology.h`: threads and cores take whole bits. */
function lastApicId(sockets: number, cores: number, threads: number): number {
  const bits = (count: number) => Math.ceil(Math.log2(count))
  const threadBits = bits(threads)
  const coreBits = bits(cores)
  return ((sockets - 1) << (threadBits + coreBits)) | ((cores - 1) << threadBits) | (threads - 1)
}

function checkFlags(spec: VmSpec): SpecProblem[] {
  const claim = claims<string>()
  return spec.cpuFlags.flatMap(({ name }, n) => {
    const field = `cpuFlags.${n}.name`
    return claim(preferred(name), field) === null ? [] : [bad(field, `The CPU flag ${name} is given twice.`)]
  })
}

/** QEMU takes both spellings. */
const preferred = (flag: string): string => flag.replaceAll('_', '-')

function checkPinning(spec: VmSpec): SpecProblem[] {
  const claim = claims<number>()
  return spec.pinning.flatMap(({ vcpu, hostCpus }, n) => {
    const at = `pinning.${n}`
    const problems: SpecProblem[] = []
    if (vcpu >= spec.maxCpus)
      problems.push(
        bad(`${at}.vcpu`, `There is no virtual CPU ${vcpu}: they are numbered from 0 to ${spec.maxCpus - 1}.`),
      )
    else if (claim(vcpu, `${at}.vcpu`) !== null)
      problems.push(bad(`${at}.vcpu`, `Virtual CPU ${vcpu} is bound twice; name all its host CPUs in one entry.`))
    if (parseNumberList(hostCpus) === null)
      problems.push(bad(`${at}.hostCpus`, `“${hostCpus}” is no list of numbers and ranges such as 0-3,8.`))
    return problems
  })
}

export function checkCpuCapabilities(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  const problems: SpecProblem[] = []
  const { version } = capabilities
  const machine = capabilities.machines.find((candidate) => candidate.name === spec.machine)
  if (machine !== undefined && spec.maxCpus > machine.maxCpus)
    problems.push(
      bad(
        spec.cpus > machine.maxCpus ? 'cpus' : 'maxCpus',
        `${spec.machine} takes at most ${machine.maxCpus} virtual CPUs.`,
      ),
    )
  if (machine !== undefined && spec.maxCpus > spec.cpus && !machine.hotpluggableCpus)
    problems.push(bad('maxCpus', `${spec.machine} cannot be given CPUs while the guest runs.`))
  if (spec.cpuModel !== 'auto' && !capabilities.cpuModels.some((model) => model.name === spec.cpuModel))
    problems.push(
      bad('cpuModel', `QEMU ${version} has no CPU model ${spec.cpuModel}; choose "auto" or one that it has.`),
    )
  if (spec.cpuModel === 'host' && spec.accelerator === 'tcg')
    problems.push(bad('cpuModel', 'The model "host" needs KVM; choose "auto" or "max" for a guest on TCG.'))
  if (spec.cpuFlags.length === 0) return problems
  const flags = knownFlags(capabilities)
  spec.cpuFlags.forEach(({ name }, n) => {
    const field = `cpuFlags.${n}.name`
    if (name.startsWith('hv-') || name.startsWith('hv_'))
      problems.push(
        bad(field, 'Hyper-V enlightenments are switched by “hyperv”, all those that suit Windows together.'),
      )
    else if (!flags.has(preferred(name))) problems.push(bad(field, `QEMU ${version} knows no CPU flag ${name}.`))
  })
  return problems
}

/** Names in QEMU's preferred spelling: CPUID features, and CPU properties that are simply on or off. */
function knownFlags(capabilities: QemuCapabilities): ReadonlySet<string> {
  return new Set(
    [
      ...capabilities.cpuFlags.map((flag) => flag.name),
      ...capabilities.cpuProperties.filter((property) => property.type === 'bool').map((property) => property.name),
    ].map(preferred),
  )
}
