/** What this host can give a guest beyond QEMU itself, and for each that it cannot: why, and what brings it. Pure. */
import type { CapabilitiesView, Offer } from '#lib/schema/host.ts'
import type { KernelDevice } from '#lib/schema/host-devices.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { installCommand, type Need, type PackageManager, packagesFor } from './packages.ts'

export interface OfferFacts {
  readonly manager: PackageManager | null
  readonly isRoot: boolean
  readonly kernel: readonly KernelDevice[]
  readonly iommu: { readonly enabled: boolean; readonly reason: string }
  /** Whether the host has a USB bus at all. */
  readonly hasUsb: boolean
}

const YES: Offer = { available: true, reason: null, packages: [], command: null }

export function listOffers(capabilities: QemuCapabilities, facts: OfferFacts): CapabilitiesView['offers'] {
  const { types, tools, features } = capabilities
  const no = (reason: string, need: Need | null = null): Offer => {
    const packages = need === null ? [] : [...packagesFor(facts.manager, need)]
    return { available: false, reason, packages, command: installCommand(facts.manager, packages, facts.isRoot) }
  }
  const lacks = (type: string): Offer => no(`QEMU ${capabilities.version} on this host was built without ${type}.`)
  const device = (id: KernelDevice['id']): Offer => {
    const node = facts.kernel.find((candidate) => candidate.id === id)
    if (node?.opens === true) return YES
    return {
      available: false,
      reason: node?.detail ?? 'It was not looked for.',
      packages: [],
      command: node?.command ?? null,
    }
  }
  /** The first that is missing decides. */
  const all = (...offers: readonly Offer[]): Offer => offers.find((offer) => !offer.available) ?? YES
  const has = (type: string): Offer => (types.includes(type) ? YES : lacks(type))

  return {
    uefi: capabilities.uefi === null ? no('UEFI firmware (OVMF) is not installed.', 'ovmf') : YES,
    secureBoot: secureBoot(capabilities, no),
    microvm: all(
      capabilities.machines.some((machine) => machine.family === 'microvm') ? YES : lacks('the machine microvm'),
      capabilities.microvmFirmware.bios === null ? no('The firmware of microvm machines is missing.', 'seabios') : YES,
    ),
    tpm: all(
      has('tpm-crb'),
      features.tpmEmulator && capabilities.backends.tpm.includes('emulator') ? YES : lacks('the TPM backend emulator'),
      tools.swtpm === null ? no('The software TPM (swtpm) is not installed.', 'swtpm') : YES,
    ),
    virtiofs: all(
      has('vhost-user-fs-pci'),
      features.memoryMemfd ? YES : lacks('memory-backend-memfd'),
      tools.virtiofsd === null ? no('The daemon virtiofsd is not installed.', 'virtiofsd') : YES,
    ),
    virtioWin:
      capabilities.virtioWinIso === null
        ? no('No CD with the virtio drivers for Windows is installed; one can be added to the images.', 'virtio-win')
        : YES,
    vsock: all(has('vhost-vsock-pci'), device('vhost-vsock')),
    vhostNet: device('vhost-net'),
    bridge: all(device('tun'), tools.ip === null ? no('The program ip is not installed.', 'iproute') : YES),
    rateLimit: tools.tc === null ? no('The program tc is not installed.', 'tc') : YES,
    cpuPinning: tools.taskset === null ? no('The program taskset is not installed.', 'util-linux') : YES,
    pciPassthrough: all(has('vfio-pci'), facts.iommu.enabled ? YES : no(facts.iommu.reason), device('vfio')),
    usbPassthrough: all(has('usb-host'), facts.hasUsb ? YES : no('This host has no USB bus.')),
  }
}

function secureBoot(capabilities: QemuCapabilities, no: (reason: string, need?: Need | null) => Offer): Offer {
  const { secureBoot: firmware, machineProperties } = capabilities
  if (firmware === null) return no('UEFI firmware with Secure Boot is not installed.', 'ovmf')
  const hasSmm = machineProperties.q35.some((property) => property.name === 'smm')
  if (firmware.needsSmm && !hasSmm) return no(`QEMU ${capabilities.version} has no machine with SMM.`)
  return YES
}
