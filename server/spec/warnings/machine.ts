/** Worth saying about board, firmware, CPU and memory before a start. */
import { familyOf } from '../bus.ts'
import { hugePagesNeeded } from '../check/host.ts'
import type { CompileInput } from '../types.ts'

export function machineWarnings(input: CompileInput): string[] {
  return [
    ...bootWarnings(input),
    ...firmwareWarnings(input),
    ...cpuWarnings(input),
    ...memoryWarnings(input),
    ...boardWarnings(input),
  ]
}

function bootWarnings({ spec }: CompileInput): string[] {
  if (spec.directKernel !== null || spec.networks.some((card) => card.bootIndex !== null)) return []
  const drives = spec.disks
  if (drives.length === 0) return ['There is nothing to boot from: no disk and no CD drive.']
  if (drives.every((drive) => drive.bootIndex === null))
    return ['There is nothing to boot from: no drive has a boot position.']
  if (drives.every((drive) => drive.device === 'cdrom' && drive.image === null))
    return ['There is nothing to boot from: the CD drive is empty.']
  return []
}

function boardWarnings({ spec, capabilities, accelerator }: CompileInput): string[] {
  const warnings: string[] = []
  const machine = capabilities.machines.find((candidate) => candidate.name === spec.machine)
  if (machine?.deprecated === true)
    warnings.push(
      `The machine type ${spec.machine} is deprecated in QEMU ${capabilities.version} and will go in a later one.`,
    )
  if (familyOf(spec.machine) === 'pc' && spec.guest !== 'other')
    warnings.push('The machine “pc” is a PC of 1996: take q35 unless the guest is older than PCI Express.')
  if (
    familyOf(spec.machine) === 'microvm' &&
    accelerator.kind === 'tcg' &&
    !/tsc_early_khz=/.test(spec.directKernel?.commandLine ?? 'tsc_early_khz=')
  )
    warnings.push(
      'Linux on microvm can hang at its start while it measures its clock on a busy host without KVM; “tsc_early_khz=2000000” on the kernel’s command line keeps it from measuring.',
    )
  if (familyOf(spec.machine) === 'microvm' && spec.directKernel === null)
    warnings.push(
      'The firmware of microvm starts from virtio disks only in newer releases (SeaBIOS 1.17 does, that of Debian 12 does not); with an older one give the VM its kernel directly.',
    )
  if (!spec.ps2 && spec.display !== 'none' && !spec.usbInput && spec.inputs.every((input) => input.type !== 'keyboard'))
    warnings.push('There is no keyboard: neither PS/2 nor USB nor virtio.')
  return warnings
}

function firmwareWarnings({ spec, capabilities, nvram }: CompileInput): string[] {
  if (spec.firmware !== 'uefi') return []
  const warnings: string[] = []
  if (spec.secureBoot && capabilities.secureBoot?.enrolledKeys === false)
    warnings.push(
      'Secure Boot has no keys yet: the installed firmware brings none, so anything boots until you enrol some in its menu.',
    )
  if (nvram !== undefined && nvram !== null && nvram.secureBoot !== spec.secureBoot)
    warnings.push(
      spec.secureBoot
        ? 'The UEFI variables of this VM were made without Secure Boot and hold no keys, so anything boots. Reset them to have keys enrolled; boot entries are lost with it.'
        : 'The UEFI variables of this VM were made for Secure Boot. Reset them if the guest does not start.',
    )
  return warnings
}

function cpuWarnings({ spec, capabilities, accelerator, host }: CompileInput): string[] {
  const warnings: string[] = []
  const isKvm = accelerator.kind === 'kvm'
  const model = capabilities.cpuModels.find((candidate) => candidate.name === spec.cpuModel)
  if (model?.deprecated === true)
    warnings.push(`The CPU model ${model.name} is deprecated in QEMU ${capabilities.version}.`)
  const missing = (isKvm ? model?.unavailableFeatures : model?.unavailableUnderTcg) ?? []
  if (model !== undefined && missing.length > 0)
    warnings.push(
      isKvm
        ? `This host's CPU lacks what the model ${model.name} promises: ${missing.join(', ')}. The guest will see the model without them.`
        : `TCG does not emulate what the model ${model.name} promises: ${missing.join(', ')}. The guest will see the model without them.`,
    )
  const flags = spec.cpuFlags.length === 0 ? null : new Map(capabilities.cpuFlags.map((flag) => [flag.name, flag]))
  const refused = spec.cpuFlags
    .filter(({ name, enabled }) => enabled && (isKvm ? flags?.get(name)?.kvm : flags?.get(name)?.tcg) === false)
    .map(({ name }) => name)
  if (refused.length > 0)
    warnings.push(
      `${isKvm ? "This host's CPU" : 'TCG'} cannot give the CPU flags ${refused.join(', ')}. The guest will not see them.`,
    )
  if (spec.hyperv && !isKvm)
    warnings.push('The Hyper-V enlightenments are left out: only KVM has them, and this start uses TCG.')
  if (host.cpus !== undefined && spec.cpus > host.cpus.length)
    warnings.push(
      `The guest has ${spec.cpus} virtual CPUs and the host ${host.cpus.length}: they will wait for each other.`,
    )
  return warnings
}

function memoryWarnings({ spec, host }: CompileInput): string[] {
  const warnings: string[] = []
  if (spec.hugePages !== 'none') {
    const free = host.hugePages?.[spec.hugePages]?.free
    const needed = hugePagesNeeded(spec)
    if (free !== undefined && needed > free)
      warnings.push(
        `The guest needs ${needed} huge pages and ${free} are free now: the start fails unless others give some back.`,
      )
  }
  if (spec.virtioMem !== null && spec.guest === 'bsd')
    warnings.push('BSD has no driver for virtio-mem: the guest will not see that memory.')
  return warnings
}
