/**
 * Hands out what was left out of the lists of devices: ids, sockets, ports, addresses, boot positions. Everything given
 * and everything known stays where it is, so a changed device never renumbers another.
 */
import type {
  Channel,
  Dimm,
  GuestKind,
  HostDevice,
  InputDevice,
  Share,
  VmSpec,
  VmSpecInput,
} from '#lib/schema/vm-spec.ts'
import { ceilGiB } from '#lib/units.ts'
import { EngineError } from '#server/engine/errors.ts'
import { familyOf, SOCKETS } from './bus.ts'
import { carryCard, carryDrive, mergeKnown, usesSocket, withinSockets, withoutUndefined } from './carry-over.ts'
import { usbPortCount } from './devices/usb.ts'
import { GUEST_DEFAULTS } from './guest-defaults.ts'
import { IDE_PORTS, isReservedId, SATA_PORTS } from './ids.ts'
import type { NormalizeFacts } from './types.ts'

export type DeviceLists = Pick<
  VmSpec,
  'disks' | 'networks' | 'inputs' | 'dimms' | 'channels' | 'shares' | 'hostDevices'
>
type DeviceInputs = Pick<VmSpecInput, keyof DeviceLists>
type Drive = VmSpec['disks'][number]
type DriveInput = NonNullable<VmSpecInput['disks']>[number]
type Card = VmSpec['networks'][number]

/** What of the rest of the definition decides where devices can be. */
export interface DeviceContext {
  readonly guest: GuestKind
  readonly machine: string
  readonly usbController: VmSpec['usbController']
  readonly usbPorts: number
  readonly usbInput: boolean
}

export const NO_DEVICES: DeviceLists = {
  disks: [],
  networks: [],
  inputs: [],
  dimms: [],
  channels: [],
  shares: [],
  hostDevices: [],
}

/** Ports 1 and 2 belong to the tablet and keyboard of `usbInput`, whether they are there or not. */
const FIRST_FREE_USB_PORT = 3
const USB_PORTS = 15
const SCSI_TARGETS = 256

interface Ports {
  readonly used: Set<number>
  readonly from: number
  /** Not included. */
  readonly to: number
  /** Said when none is left. */
  readonly full: string
}

const ports = (from: number, to: number, full: string): Ports => ({ used: new Set(), from, to, full })

/** What is taken already, by kind of place. */
class Places {
  readonly ids = new Set<string>()
  readonly boots = ports(1, 100, 'All boot positions are taken; leave some drives without (null).')
  readonly macs = new Set<string>()
  readonly com = ports(1, 4, 'All serial ports are taken; remove one first.')
  // 0 is reserved for a console, 1 is the guest agent's.
  readonly virtioPorts = ports(2, 31, 'All virtio-serial ports are taken; remove one first.')
  readonly sockets: Ports
  readonly usb: Ports
  readonly #sata = ports(0, SATA_PORTS, `All ${SATA_PORTS} SATA ports are taken; choose another bus.`)
  readonly #ide = ports(0, IDE_PORTS, `All ${IDE_PORTS} IDE places are taken; choose another bus.`)
  readonly #scsi = ports(0, SCSI_TARGETS, 'All SCSI targets are taken; choose another bus.')

  constructor(context: DeviceContext) {
    const sockets = SOCKETS[familyOf(context.machine)]
    this.sockets = ports(
      0,
      sockets,
      `All ${sockets} sockets for devices are taken; remove one first, or put disks on virtio-scsi, which needs none.`,
    )
    const count = usbPortCount(context)
    // Without a controller any port will do: the definition is refused for the controller that is missing.
    const to = (count === 0 ? USB_PORTS : count) + 1
    const from = to <= FIRST_FREE_USB_PORT && !context.usbInput ? 1 : FIRST_FREE_USB_PORT
    this.usb = ports(from, to, `All ${count} ports of the USB controller are taken; remove a USB device first.`)
  }

  /** The ports of a drive's bus; null for buses whose drives sit on sockets. */
  ofBus(bus: Drive['bus']): Ports | null {
    switch (bus) {
      case 'sata':
        return this.#sata
      case 'ide':
        return this.#ide
      case 'virtio-scsi':
        return this.#scsi
      case 'usb':
        return this.usb
      case 'virtio-blk':
      case 'nvme':
        return null
    }
  }
}

/** @throws EngineError bad_input with `field` when no place is left */
export function completeDevices(
  input: DeviceInputs,
  known: DeviceLists,
  context: DeviceContext,
  facts: NormalizeFacts,
): DeviceLists {
  const { machine } = context
  const places = new Places(context)
  const drives = (input.disks ?? []).map((drive) => {
    const old = known.disks.find((candidate) => candidate.id === drive.id)
    return old === undefined ? drive : carryDrive(old, drive, machine)
  })
  const cards = (input.networks ?? []).map((card) => {
    const old = known.networks.find((candidate) => candidate.id === card.id)
    return old === undefined ? card : carryCard(old, card, machine)
  })
  const inputs = mergeKnown(input.inputs, known.inputs).map((device) => withinSockets(device, machine))
  const dimms = mergeKnown(input.dimms, known.dimms)
  const channels = mergeKnown(input.channels, known.channels)
  const shares = mergeKnown(input.shares, known.shares).map((device) => withinSockets(device, machine))
  const hostDevices = (input.hostDevices ?? []).map((device) => {
    const old = known.hostDevices.find((candidate) => candidate.id === device.id && candidate.type === device.type)
    return old === undefined ? device : ({ ...old, ...withoutUndefined(device) } as typeof device)
  })

  // An id that another device had until now is not handed to a new one: its disk file may still be there.
  for (const list of Object.values(known)) {
    if (Array.isArray(list)) for (const device of list) if (hasId(device)) places.ids.add(device.id)
  }
  for (const id of facts.heldIds ?? []) places.ids.add(id)
  for (const list of [drives, cards, inputs, dimms, channels, shares, hostDevices])
    for (const device of list) if (device.id !== undefined) places.ids.add(device.id)
  for (const drive of drives) {
    const bus = drive.bus ?? defaultBus(drive.device, machine)
    if (typeof drive.port === 'number') places.ofBus(bus)?.used.add(drive.port)
    if (usesSocket(bus) && drive.device === 'disk' && typeof drive.rootPort === 'number')
      places.sockets.used.add(drive.rootPort)
    if (typeof drive.bootIndex === 'number') places.boots.used.add(drive.bootIndex)
  }
  for (const card of cards) {
    const isUsb = card.model === 'usb-net'
    if (!isUsb && typeof card.rootPort === 'number') places.sockets.used.add(card.rootPort)
    if (isUsb && typeof card.port === 'number') places.usb.used.add(card.port)
    if (card.mac !== undefined) places.macs.add(card.mac)
    if (typeof card.bootIndex === 'number') places.boots.used.add(card.bootIndex)
  }
  for (const device of inputs) {
    if (typeof device.rootPort === 'number') places.sockets.used.add(device.rootPort)
    if (typeof device.port === 'number') places.usb.used.add(device.port)
  }
  for (const share of shares) if (share.rootPort !== undefined) places.sockets.used.add(share.rootPort)
  for (const device of hostDevices) {
    if ('rootPort' in device && device.rootPort !== undefined) places.sockets.used.add(device.rootPort)
    if ('port' in device && device.port !== undefined) places.usb.used.add(device.port)
  }
  for (const channel of channels)
    if (channel.port !== undefined)
      (channel.device === 'isa-serial' ? places.com : places.virtioPorts).used.add(channel.port)

  const bootOrder = drives
    .map((drive, index) => ({ drive, index }))
    .filter(({ drive }) => drive.bootIndex === undefined)
    // Installers first: CD drives with a medium, then disks, then empty drives.
    .sort((a, b) => bootRank(a.drive) - bootRank(b.drive) || a.index - b.index)
  const bootIndexes = new Map(bootOrder.map(({ index }) => [index, take(places.boots, 'disks')]))

  return {
    disks: drives.map((drive, index): Drive => {
      const at = `disks.${index}`
      const bus = drive.bus ?? defaultBus(drive.device, machine)
      const ofBus = places.ofBus(bus)
      const port = ofBus === null ? null : (drive.port ?? take(ofBus, `${at}.port`))
      const image = drive.image ?? null
      const bootIndex = drive.bootIndex === undefined ? (bootIndexes.get(index) ?? null) : drive.bootIndex
      if (drive.device === 'cdrom')
        return {
          id: drive.id ?? takeId(places.ids, 'cd'),
          device: 'cdrom',
          bus: drive.bus ?? defaultCdBus(machine),
          image,
          seed: drive.seed ?? null,
          bootIndex,
          port: port ?? 0,
        }
      return {
        id: drive.id ?? takeId(places.ids, 'disk'),
        device: 'disk',
        bus: drive.bus ?? 'virtio-blk',
        sizeGiB: drive.sizeGiB ?? defaultDiskGiB(image, context.guest, facts),
        image,
        bootIndex,
        rootPort: ofBus === null ? (drive.rootPort ?? take(places.sockets, `${at}.rootPort`)) : null,
        port,
        cache: drive.cache ?? 'writeback',
        aio: drive.aio ?? 'threads',
        discard: drive.discard ?? 'unmap',
        detectZeroes: drive.detectZeroes ?? (drive.discard === 'ignore' ? 'off' : 'unmap'),
        ioThread: drive.ioThread ?? false,
        queues: drive.queues ?? null,
        serial: drive.serial ?? null,
        readOnly: drive.readOnly ?? false,
        shared: drive.shared ?? false,
        throttle: drive.throttle ?? null,
        // QEMU's NVMe tells the guest of every error.
        werror: drive.werror ?? (bus === 'nvme' ? 'report' : 'stop'),
      }
    }),
    networks: cards.map((card, index): Card => {
      const at = `networks.${index}`
      const model = card.model ?? 'virtio-net'
      const isUsb = model === 'usb-net'
      return {
        id: card.id ?? takeId(places.ids, 'net'),
        model,
        mac: card.mac ?? freshMac(places.macs, facts),
        network: card.network ?? 'user',
        bridge: card.bridge ?? null,
        restrict: card.restrict ?? false,
        forwards: card.forwards ?? [],
        link: card.link ?? true,
        bootIndex: card.bootIndex ?? null,
        queues: card.queues ?? null,
        mtu: card.mtu ?? null,
        vhost: card.vhost ?? (model === 'virtio-net' && card.network === 'bridge'),
        rateLimit: card.rateLimit ?? null,
        rootPort: isUsb ? null : (card.rootPort ?? take(places.sockets, `${at}.rootPort`)),
        port: isUsb ? (card.port ?? take(places.usb, `${at}.port`)) : null,
      }
    }),
    inputs: inputs.map((device, index): InputDevice => {
      const at = `inputs.${index}`
      const bus = device.bus ?? 'usb'
      return {
        id: device.id ?? takeId(places.ids, 'input'),
        type: device.type ?? 'tablet',
        bus,
        rootPort: bus === 'virtio' ? (device.rootPort ?? take(places.sockets, `${at}.rootPort`)) : null,
        port: bus === 'usb' ? (device.port ?? take(places.usb, `${at}.port`)) : null,
      }
    }),
    dimms: dimms.map((dimm): Dimm => ({ id: dimm.id ?? takeId(places.ids, 'dimm'), sizeMiB: dimm.sizeMiB ?? 1024 })),
    channels: channels.map((channel, index): Channel => {
      const device = channel.device ?? 'virtserialport'
      const id = channel.id ?? takeId(places.ids, 'port')
      return {
        id,
        device,
        name: device === 'virtserialport' ? (channel.name ?? id) : null,
        backend: channel.backend ?? 'socket',
        port: channel.port ?? take(device === 'isa-serial' ? places.com : places.virtioPorts, `channels.${index}.port`),
      }
    }),
    shares: shares.map((share, index): Share => {
      const id = share.id ?? takeId(places.ids, 'share')
      if (share.source === undefined)
        throw new EngineError('bad_input', 'Which directory of the host is to be shared?', {
          field: `shares.${index}.source`,
        })
      return {
        id,
        driver: share.driver ?? 'virtiofs',
        tag: share.tag ?? id,
        source: share.source,
        readOnly: share.readOnly ?? true,
        rootPort: share.rootPort ?? take(places.sockets, `shares.${index}.rootPort`),
      }
    }),
    hostDevices: hostDevices.map((device, index): HostDevice => {
      const at = `hostDevices.${index}`
      const id = device.id ?? takeId(places.ids, 'host')
      return device.type === 'usb-id' || device.type === 'usb-port'
        ? { ...device, id, port: device.port ?? take(places.usb, `${at}.port`) }
        : { ...device, id, rootPort: device.rootPort ?? take(places.sockets, `${at}.rootPort`) }
    }),
  }
}

function defaultCdBus(machine: string): 'sata' | 'ide' | 'virtio-scsi' {
  switch (familyOf(machine)) {
    case 'q35':
      return 'sata'
    case 'pc':
      return 'ide'
    case 'microvm':
      return 'virtio-scsi'
  }
}

const defaultBus = (device: Drive['device'], machine: string): Drive['bus'] =>
  device === 'disk' ? 'virtio-blk' : defaultCdBus(machine)

const hasId = (device: unknown): device is { id: string } =>
  typeof device === 'object' && device !== null && 'id' in device && typeof device.id === 'string'

function bootRank(drive: DriveInput): number {
  if (drive.device === 'disk') return 1
  return typeof drive.image === 'string' ? 0 : 2
}

function take({ used, from, to, full }: Ports, field: string): number {
  for (let n = from; n < to; n += 1) {
    if (used.has(n)) continue
    used.add(n)
    return n
  }
  throw new EngineError('bad_input', full, { field })
}

function takeId(used: Set<string>, prefix: string): string {
  for (let n = 0; ; n += 1) {
    const id = `${prefix}${n}`
    if (used.has(id) || isReservedId(id)) continue
    used.add(id)
    return id
  }
}

function freshMac(used: Set<string>, facts: NormalizeFacts): string {
  for (let attempt = 0; attempt < 16; attempt += 1) {
    const mac = facts.nextMac()
    if (used.has(mac)) continue
    used.add(mac)
    return mac
  }
  throw new EngineError('internal', 'No unused network address was found.')
}

/** A disk made from an image starts with the image's own size; a blank one with what suits the guest. */
function defaultDiskGiB(image: string | null, guest: GuestKind, facts: NormalizeFacts): number {
  const source = image === null ? undefined : facts.images.get(image)
  return source === undefined ? GUEST_DEFAULTS[guest].blankDiskGiB : ceilGiB(source.virtualSizeBytes)
}
