/**
 * Which of QEMU's drivers stands behind each device of a definition, by the device's id: what `GET
 * /capabilities/devices/:type` is asked for to show its properties. Pure, from the definition alone; a test holds it to
 * what the compiler makes.
 */
import type { Drive, HostDevice, InputDevice, NetworkCard, Share, VmSpec } from '../schema/vm-spec.ts'

export interface KnownDevice {
  /** QEMU's device id, which `properties` of the definition are filed under. */
  readonly id: string
  /** QEMU's type: `virtio-blk-pci`. */
  readonly driver: string
  /** JSON pointer to what it is made from: `/disks/0`, `/rng`. */
  readonly field: string
}

type Family = 'q35' | 'pc' | 'microvm'
const familyOf = ({ machine }: Pick<VmSpec, 'machine'>): Family =>
  machine === 'microvm' ? 'microvm' : machine.startsWith('pc-i440fx-') ? 'pc' : 'q35'

/** A virtio device is on PCI, or on virtio-mmio where there is no PCI. */
const virtio = (spec: Pick<VmSpec, 'machine'>, device: string): string =>
  `${device}-${familyOf(spec) === 'microvm' ? 'device' : 'pci'}`

function driveDriver(spec: VmSpec, drive: Drive): string {
  switch (drive.bus) {
    case 'virtio-blk':
      return virtio(spec, 'virtio-blk')
    case 'nvme':
      return 'nvme'
    case 'sata':
    case 'ide':
      return drive.device === 'cdrom' ? 'ide-cd' : 'ide-hd'
    case 'virtio-scsi':
      return drive.device === 'cdrom' ? 'scsi-cd' : 'scsi-hd'
    case 'usb':
      return drive.device === 'cdrom' ? 'scsi-cd' : 'usb-storage'
  }
}

const cardDriver = (spec: VmSpec, card: NetworkCard): string =>
  card.model === 'virtio-net' ? virtio(spec, card.model) : card.model

function inputDriver(spec: VmSpec, device: InputDevice): string | null {
  if (device.bus === 'virtio') return virtio(spec, `virtio-${device.type}`)
  const drivers = { tablet: 'usb-tablet', keyboard: 'usb-kbd', mouse: 'usb-mouse', multitouch: null } as const
  return drivers[device.type]
}

const shareDriver = (spec: VmSpec, share: Share): string =>
  virtio(spec, share.driver === 'virtiofs' ? 'vhost-user-fs' : 'virtio-9p')

const isUsbHost = (device: HostDevice): boolean => device.type === 'usb-id' || device.type === 'usb-port'

function displayDriver(spec: VmSpec): string | null {
  switch (spec.display) {
    case 'virtio-gpu':
      return virtio(spec, 'virtio-gpu')
    case 'std':
      return 'VGA'
    case 'qxl':
      return 'qxl-vga'
    case 'bochs':
      return 'bochs-display'
    case 'virtio-vga':
    case 'ramfb':
      return spec.display
    case 'none':
      return null
  }
}

const USB_CONTROLLERS = {
  'qemu-xhci': 'qemu-xhci',
  'nec-usb-xhci': 'nec-usb-xhci',
  ehci: 'ich9-usb-ehci1',
  uhci: 'piix3-usb-uhci',
  none: null,
} as const satisfies Record<VmSpec['usbController'], string | null>

const needsUsb = (spec: VmSpec): boolean =>
  spec.usbInput ||
  spec.disks.some((drive) => drive.bus === 'usb') ||
  spec.networks.some((card) => card.model === 'usb-net') ||
  spec.inputs.some((device) => device.bus === 'usb') ||
  spec.hostDevices.some(isUsbHost)

const needsVirtioSerial = (spec: VmSpec): boolean =>
  (spec.serial && spec.serialDevice === 'virtconsole') ||
  spec.agentChannel ||
  spec.clipboard ||
  spec.channels.some((channel) => channel.device !== 'isa-serial')

function soundDriver(spec: VmSpec): string | null {
  const drivers = { none: null, hda: 'ich9-intel-hda', ac97: 'AC97', 'virtio-sound': virtio(spec, 'virtio-sound') }
  return drivers[spec.sound]
}

const IOMMUS = { none: null, intel: 'intel-iommu', virtio: 'virtio-iommu-pci' } as const

/** A row where there is a device. */
const row = (id: string, driver: string | null, field: string): KnownDevice[] =>
  driver === null ? [] : [{ id, driver, field }]

/** What the mainboard's own switches bring. */
function ownDevices(spec: VmSpec): KnownDevice[] {
  const hasPci = familyOf(spec) !== 'microvm'
  const onScsi = spec.disks.findIndex((drive) => drive.bus === 'virtio-scsi')
  const onSata = spec.disks.findIndex((drive) => drive.bus === 'sata')
  return [
    ...row('iommu0', IOMMUS[spec.iommu], '/iommu'),
    ...row('video0', displayDriver(spec), '/display'),
    ...row('usb', needsUsb(spec) && hasPci ? USB_CONTROLLERS[spec.usbController] : null, '/usbController'),
    ...row('tablet0', spec.usbInput ? 'usb-tablet' : null, '/usbInput'),
    ...row('kbd0', spec.usbInput ? 'usb-kbd' : null, '/usbInput'),
    ...row('scsi0', onScsi < 0 ? null : virtio(spec, 'virtio-scsi'), `/disks/${onScsi}/bus`),
    // q35 has its SATA controller on the mainboard.
    ...row('ahci0', onSata >= 0 && familyOf(spec) === 'pc' ? 'ich9-ahci' : null, `/disks/${onSata}/bus`),
    ...row('sound0', soundDriver(spec), '/sound'),
    ...row('serial0', spec.serial ? spec.serialDevice : null, '/serial'),
    ...row('vser0', needsVirtioSerial(spec) ? virtio(spec, 'virtio-serial') : null, '/agentChannel'),
    ...row('agent0', spec.agentChannel ? 'virtserialport' : null, '/agentChannel'),
    ...row('vdagent0', spec.clipboard ? 'virtserialport' : null, '/clipboard'),
    ...row('vsock0', spec.vsock === null ? null : virtio(spec, 'vhost-vsock'), '/vsock'),
    ...row('rng0', spec.rng ? virtio(spec, 'virtio-rng') : null, '/rng'),
    ...row('balloon0', spec.balloon ? virtio(spec, 'virtio-balloon') : null, '/balloon'),
    ...row('wdt0', spec.watchdog?.model === 'i6300esb' ? 'i6300esb' : null, '/watchdog'),
    ...row('tpm0', spec.tpm === 'none' ? null : spec.tpm, '/tpm'),
    ...row('pvpanic0', spec.pvpanic ? 'pvpanic-pci' : null, '/pvpanic'),
    ...row('vmgenid0', spec.generationId ? 'vmgenid' : null, '/generationId'),
    ...row('vmem0', spec.virtioMem === null ? null : 'virtio-mem-pci', '/virtioMem'),
  ]
}

/**
 * Every device of the definition that properties can be given to, drives and cards first. Without what has a dotted id
 * (plumbing such as the bridge of a USB CD drive) and without empty PCIe ports.
 */
export function knownDevices(spec: VmSpec): KnownDevice[] {
  return [
    ...spec.disks.map((drive, n) => ({ id: drive.id, driver: driveDriver(spec, drive), field: `/disks/${n}` })),
    ...spec.networks.map((card, n) => ({ id: card.id, driver: cardDriver(spec, card), field: `/networks/${n}` })),
    ...spec.inputs.flatMap((device, n) => row(device.id, inputDriver(spec, device), `/inputs/${n}`)),
    ...spec.channels.map((channel, n) => ({ id: channel.id, driver: channel.device, field: `/channels/${n}` })),
    ...spec.shares.map((share, n) => ({ id: share.id, driver: shareDriver(spec, share), field: `/shares/${n}` })),
    ...spec.hostDevices.map((device, n) => ({
      id: device.id,
      driver: isUsbHost(device) ? 'usb-host' : 'vfio-pci',
      field: `/hostDevices/${n}`,
    })),
    ...spec.dimms.map((dimm, n) => ({ id: dimm.id, driver: 'pc-dimm', field: `/dimms/${n}` })),
    ...ownDevices(spec),
  ]
}

/** QEMU's driver of the device with this id; null when the definition has no such device. */
export const driverOf = (spec: VmSpec, id: string): string | null =>
  knownDevices(spec).find((device) => device.id === id)?.driver ?? null
