/** Mainboard, firmware and what depends on them. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { familyOf, hasGenerationId } from '../bus.ts'
import { flashFor } from '../devices/firmware.ts'
import { bad, claims, missingTypes, type NeededType, type SpecProblem } from './problem.ts'

/** Rules of the board itself, whatever QEMU is installed. */
export function checkMachine(spec: VmSpec): SpecProblem[] {
  const family = familyOf(spec.machine)
  const problems = [...checkFirmware(spec), ...checkBootOrder(spec)]
  if (family === 'microvm') problems.push(...checkMicrovm(spec))
  if (isOlderThan(spec.machine, 2, 1)) problems.push(...checkOldBoard(spec))
  if (family === 'pc' && spec.iommu === 'intel')
    problems.push(
      bad('iommu', "Intel's IOMMU is part of newer chipsets: it needs the machine q35. Virtio's works here."),
    )
  return problems
}

/** What QEMU's boards learned in 2.1 (`hw/i386/pc_piix.c`: `broken_reserved_end`, `smbios_legacy_mode`). */
function checkOldBoard(spec: VmSpec): SpecProblem[] {
  const message = (what: string) => `${spec.machine} is older than ${what}; choose a newer version of the machine.`
  return [
    ...(spec.smbios === null ? [] : [bad('smbios', message('these tables'))]),
    ...(spec.memoryMaxMiB === null ? [] : [bad('memoryMaxMiB', message('hotplug of memory'))]),
  ]
}

/** True for versioned machine types of before that release. */
export function isOlderThan(machine: string, major: number, minor: number): boolean {
  const [, its, itsMinor] = /-([0-9]+)\.([0-9]+)/.exec(machine) ?? []
  return its !== undefined && (Number(its) < major || (Number(its) === major && Number(itsMinor) < minor))
}

function checkFirmware(spec: VmSpec): SpecProblem[] {
  if (!spec.secureBoot || spec.firmware === 'uefi') return []
  return [bad('secureBoot', 'Secure Boot is part of UEFI; choose the firmware “uefi” or switch it off.')]
}

/** Boot positions are shared by drives and network cards. */
function checkBootOrder(spec: VmSpec): SpecProblem[] {
  const claim = claims<number>()
  return [
    ...spec.disks.map((drive, n) => ({ index: drive.bootIndex, field: `disks.${n}.bootIndex` })),
    ...spec.networks.map((card, n) => ({ index: card.bootIndex, field: `networks.${n}.bootIndex` })),
  ].flatMap(({ index, field }) =>
    index !== null && claim(index, field) !== null
      ? [bad(field, `Two devices have boot position ${index}; each needs its own.`)]
      : [],
  )
}

/** What needs PCI, or a firmware and chipset that microvm has not. */
function checkMicrovm(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const refuse = (field: string, what: string) =>
    problems.push(bad(field, `The machine microvm has no ${what}; choose q35, or do without.`))
  if (spec.firmware === 'uefi') refuse('firmware', 'flash chip for UEFI')
  if (spec.tpm !== 'none') refuse('tpm', 'TPM')
  if (spec.smbios !== null) refuse('smbios', 'SMBIOS tables')
  if (spec.iommu !== 'none') refuse('iommu', 'PCI, so no IOMMU')
  if (spec.ps2) refuse('ps2', 'PS/2 controller')
  if (spec.pvpanic) refuse('pvpanic', 'PCI for pvpanic')
  if (spec.generationId) refuse('generationId', 'place for a generation ID')
  if (spec.spareRootPorts > 0) refuse('spareRootPorts', 'PCIe ports: nothing can be plugged in while it runs')
  if (spec.maxCpus > spec.cpus) refuse('maxCpus', 'hotplug of CPUs')
  if (spec.memoryMaxMiB !== null) refuse('memoryMaxMiB', 'hotplug of memory')
  if (spec.virtioMem !== null) refuse('virtioMem', 'PCI for virtio-mem')
  if (spec.numa.length > 0) refuse('numa', 'NUMA')
  if (spec.bootMenu) refuse('bootMenu', 'boot menu')
  if (!['none', 'virtio-gpu'].includes(spec.display)) refuse('display', 'VGA; of the cards it takes virtio-gpu')
  if (spec.usbInput) refuse('usbInput', 'USB')
  if (spec.usbController !== 'none') refuse('usbController', 'USB')
  if (spec.sound !== 'none') refuse('sound', 'PCI for sound cards')
  if (spec.serial && spec.serialDevice === 'pci-serial') refuse('serialDevice', 'PCI for that card')
  if (spec.watchdog !== null) refuse('watchdog', 'PCI for a watchdog')
  spec.disks.forEach((drive, n) => {
    if (drive.bus !== 'virtio-blk' && drive.bus !== 'virtio-scsi')
      refuse(`disks.${n}.bus`, `${drive.bus} bus; its drives are virtio-blk and virtio-scsi`)
  })
  spec.networks.forEach((card, n) => {
    if (card.model !== 'virtio-net') refuse(`networks.${n}.model`, `place for ${card.model}; its card is virtio-net`)
  })
  spec.inputs.forEach((device, n) => {
    if (device.bus === 'usb') refuse(`inputs.${n}.bus`, 'USB; take virtio')
  })
  spec.hostDevices.forEach((device, n) => {
    refuse(`hostDevices.${n}`, device.type === 'pci' || device.type === 'mdev' ? 'PCI' : 'USB')
  })
  return problems
}

/** What the board and its firmware ask of this QEMU and this host. */
export function checkMachineCapabilities(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  const problems: SpecProblem[] = []
  const { version } = capabilities
  if (!capabilities.machines.some((machine) => machine.name === spec.machine))
    problems.push(bad('machine', `QEMU ${version} has no machine type ${spec.machine}; choose one that it has.`))
  if (spec.firmware === 'uefi' && flashFor(spec, capabilities) === null) {
    problems.push(
      spec.secureBoot
        ? bad(
            'secureBoot',
            'UEFI firmware (OVMF) with Secure Boot is not installed on the host; install it or switch it off.',
          )
        : bad('firmware', 'UEFI firmware (OVMF) is not installed on the host; install it or choose "bios".'),
    )
  } else if (spec.secureBoot && capabilities.secureBoot?.needsSmm === true && familyOf(spec.machine) === 'pc') {
    problems.push(
      bad('secureBoot', 'This Secure Boot firmware guards its keys with a part of the chipset that only q35 has.'),
    )
  }
  const family = familyOf(spec.machine)
  if (!spec.ps2 && family !== 'microvm' && !hasProperty(capabilities, family, 'i8042'))
    problems.push(bad('ps2', `QEMU ${version} cannot leave out the PS/2 keyboard and mouse of ${spec.machine}.`))
  if (spec.tpm !== 'none' && !capabilities.features.tpmEmulator)
    problems.push(bad('tpm', `QEMU ${version} on this host was built without support for swtpm.`))
  const needed: NeededType[] = []
  if (spec.tpm !== 'none') needed.push([spec.tpm, 'tpm'])
  if (spec.iommu !== 'none') needed.push([spec.iommu === 'intel' ? 'intel-iommu' : 'virtio-iommu-pci', 'iommu'])
  if (spec.pvpanic) needed.push(['pvpanic-pci', 'pvpanic'])
  if (spec.generationId) needed.push(['vmgenid', 'generationId'])
  if (spec.generationId && family !== 'microvm' && !hasGenerationId(spec.machine))
    problems.push(
      bad(
        'generationId',
        `The board ${spec.machine} is too old for a generation ID; take 2.5 or newer, or do without.`,
      ),
    )
  return [...problems, ...missingTypes(needed, capabilities)]
}

const hasProperty = (capabilities: QemuCapabilities, family: 'q35' | 'pc', name: string): boolean =>
  capabilities.machineProperties[family].some((property) => property.name === name)
