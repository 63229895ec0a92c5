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
import { GUEST_DEFAULTS } from './guest-defaults.ts'
import { isReservedId, SATA_PORTS } from './ids.ts'
import type { NormalizeFacts } from './types.ts'

export type DeviceLists = Pick<
  VmSpec,
  'disks' | 'networks' | 'inputs' | 'dimms' | 'channels' | 'shares' | 'hostDevices'
>
type DeviceInputs = Pick<VmSpecInput, keyof DeviceLists>
type Drive = VmSpec['disks'][number]
type DriveInput = NonNullable<VmSpecInput['disks']>[number]
type Card = VmSpec['networks'][number]

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
const IDE_PORTS = 4
const SCSI_TARGETS = 255

/** What is taken already, by kind of place. */
class Places {
  readonly ids = new Set<string>()
  readonly sockets = new Set<number>()
  readonly usb = new Set<number>()
  readonly sata = new Set<number>()
  readonly ide = new Set<number>()
  readonly scsi = new Set<number>()
  readonly com = new Set<number>()
  readonly virtioPorts = new Set<number>()
  readonly boots = new Set<number>()
  readonly macs = new Set<string>()
  readonly #sockets: number

  constructor(machine: string) {
    this.#sockets = SOCKETS[familyOf(machine)]
  }

  socket(field: string): number {
    return take(this.sockets, 0, this.#sockets - 1, `${field}.rootPort`)
  }

  usbPort(field: string): number {
    return take(this.usb, FIRST_FREE_USB_PORT, 15, `${field}.port`)
  }

  /** The set of ports of a drive's bus; null for buses whose drives sit on sockets. */
  ofBus(bus: Drive['bus']): { readonly used: Set<number>; readonly from: number; readonly to: number } | null {
    switch (bus) {
      case 'sata':
        return { used: this.sata, from: 0, to: SATA_PORTS - 1 }
      case 'ide':
        return { used: this.ide, from: 0, to: IDE_PORTS - 1 }
      case 'virtio-scsi':
        return { used: this.scsi, from: 0, to: SCSI_TARGETS }
      case 'usb':
        return { used: this.usb, from: FIRST_FREE_USB_PORT, to: 15 }
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
  about: { readonly guest: GuestKind; readonly machine: string },
  facts: NormalizeFacts,
): DeviceLists {
  const places = new Places(about.machine)
  const drives = (input.disks ?? []).map((drive) => {
    const old = known.disks.find((candidate) => candidate.id === drive.id)
    return old?.device === drive.device ? moved(old, drive) : drive
  })
  const cards = (input.networks ?? []).map((card) => {
    const old = known.networks.find((candidate) => candidate.id === card.id)
    return old === undefined ? card : movedCard(old, card)
  })
  const inputs = mergeKnown(input.inputs, known.inputs)
  const dimms = mergeKnown(input.dimms, known.dimms)
  const channels = mergeKnown(input.channels, known.channels)
  const shares = mergeKnown(input.shares, known.shares)
  const hostDevices = (input.hostDevices ?? []).map((device) => {
    const old = known.hostDevices.find((candidate) => candidate.id === device.id && candidate.type === device.type)
    return old === undefined ? device : ({ ...old, ...withoutUndefined(device) } as typeof device)
  })

  // An id that another device had until now is not handed to a new one: its disk file may still be there.
  for (const list of Object.values(known)) {
    if (Array.isArray(list)) for (const device of list) if (hasId(device)) places.ids.add(device.id)
  }
  for (const list of [drives, cards, inputs, dimms, channels, shares, hostDevices])
    for (const device of list) if (device.id !== undefined) places.ids.add(device.id)
  for (const drive of drives) {
    const bus = drive.bus ?? defaultBus(drive.device, about.machine)
    const ports = places.ofBus(bus)
    if (ports !== null && typeof drive.port === 'number') ports.used.add(drive.port)
    if (ports === null && drive.device === 'disk' && typeof drive.rootPort === 'number')
      places.sockets.add(drive.rootPort)
    if (typeof drive.bootIndex === 'number') places.boots.add(drive.bootIndex)
  }
  for (const card of cards) {
    const isUsb = card.model === 'usb-net'
    if (!isUsb && typeof card.rootPort === 'number') places.sockets.add(card.rootPort)
    if (isUsb && typeof card.port === 'number') places.usb.add(card.port)
    if (card.mac !== undefined) places.macs.add(card.mac)
    if (typeof card.bootIndex === 'number') places.boots.add(card.bootIndex)
  }
  for (const device of inputs) {
    if (typeof device.rootPort === 'number') places.sockets.add(device.rootPort)
    if (typeof device.port === 'number') places.usb.add(device.port)
  }
  for (const share of shares) if (share.rootPort !== undefined) places.sockets.add(share.rootPort)
  for (const device of hostDevices) {
    if ('rootPort' in device && device.rootPort !== undefined) places.sockets.add(device.rootPort)
    if ('port' in device && device.port !== undefined) places.usb.add(device.port)
  }
  for (const channel of channels)
    if (channel.port !== undefined)
      (channel.device === 'isa-serial' ? places.com : places.virtioPorts).add(channel.port)

  const bootOrder = drives
    .map((drive, index) => ({ drive, index }))
    .filter(({ drive }) => drive.bootIndex === undefined)
    // Installers first: CD drives with a medium, then disks, then empty drives.
    .sort((a, b) => bootRank(a.drive) - bootRank(b.drive) || a.index - b.index)
  const bootIndexes = new Map(bootOrder.map(({ index }) => [index, take(places.boots, 1, 99, 'disks')]))

  return {
    disks: drives.map((drive, index): Drive => {
      const at = `disks.${index}`
      const bus = drive.bus ?? defaultBus(drive.device, about.machine)
      const ports = places.ofBus(bus)
      const port = ports === null ? null : (drive.port ?? take(ports.used, ports.from, ports.to, `${at}.port`))
      const image = drive.image ?? null
      const bootIndex = drive.bootIndex === undefined ? (bootIndexes.get(index) ?? null) : drive.bootIndex
      if (drive.device === 'cdrom')
        return {
          id: drive.id ?? takeId(places.ids, 'cd'),
          device: 'cdrom',
          bus: drive.bus ?? defaultCdBus(about.machine),
          image,
          bootIndex,
          port: port ?? 0,
        }
      return {
        id: drive.id ?? takeId(places.ids, 'disk'),
        device: 'disk',
        bus: drive.bus ?? 'virtio-blk',
        sizeGiB: drive.sizeGiB ?? defaultDiskGiB(image, about.guest, facts),
        image,
        bootIndex,
        rootPort: ports === null ? (drive.rootPort ?? places.socket(at)) : null,
        port,
        cache: drive.cache ?? 'writeback',
        aio: drive.aio ?? 'threads',
        discard: drive.discard ?? 'unmap',
        detectZeroes: drive.detectZeroes ?? 'unmap',
        ioThread: drive.ioThread ?? false,
        queues: drive.queues ?? null,
        serial: drive.serial ?? null,
        readOnly: drive.readOnly ?? false,
        shared: drive.shared ?? false,
        throttle: drive.throttle ?? null,
        werror: drive.werror ?? 'stop',
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
        vhost: card.vhost ?? false,
        rateLimit: card.rateLimit ?? null,
        rootPort: isUsb ? null : (card.rootPort ?? places.socket(at)),
        port: isUsb ? (card.port ?? places.usbPort(at)) : null,
      }
    }),
    inputs: inputs.map((device, index): InputDevice => {
      const at = `inputs.${index}`
      const bus = device.bus ?? 'usb'
      return {
        id: device.id ?? takeId(places.ids, 'input'),
        type: device.type ?? 'tablet',
        bus,
        rootPort: bus === 'virtio' ? (device.rootPort ?? places.socket(at)) : null,
        port: bus === 'usb' ? (device.port ?? places.usbPort(at)) : null,
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
        port:
          channel.port ??
          (device === 'isa-serial'
            ? take(places.com, 1, 3, `channels.${index}.port`)
            : // 0 is reserved for a console, 1 is the guest agent's.
              take(places.virtioPorts, 2, 30, `channels.${index}.port`)),
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
        rootPort: share.rootPort ?? places.socket(`shares.${index}`),
      }
    }),
    hostDevices: hostDevices.map((device, index): HostDevice => {
      const at = `hostDevices.${index}`
      const id = device.id ?? takeId(places.ids, 'host')
      return device.type === 'usb-id' || device.type === 'usb-port'
        ? { ...device, id, port: device.port ?? places.usbPort(at) }
        : { ...device, id, rootPort: device.rootPort ?? places.socket(at) }
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

const withoutUndefined = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Partial<T>

type Given<T> = { readonly [K in keyof T]?: T[K] | undefined }

/** Known element with the given fields over it; fields left out do not erase. */
const merge = <T extends object>(old: T, change: Given<T>): T => ({ ...old, ...withoutUndefined(change) })

/** On another bus the old place means nothing, so that a new one is handed out. */
function moved(old: Drive, change: DriveInput): DriveInput {
  const merged: DriveInput = { ...merge<DriveInput>(old, change as Given<DriveInput>) }
  if (change.bus === undefined || change.bus === old.bus) return merged
  const rest = { ...merged }
  if (change.port === undefined || change.port === old.port) delete rest.port
  if (rest.device === 'disk' && change.device === 'disk' && old.device === 'disk') {
    const wasSocket = old.rootPort !== null
    if (!wasSocket && (change.rootPort === undefined || change.rootPort === null)) delete rest.rootPort
  }
  return rest
}

function movedCard(old: Card, change: Given<Card>): Given<Card> {
  const merged = { ...merge(old, change) } as { -readonly [K in keyof Card]?: Card[K] | undefined }
  const isUsb = merged.model === 'usb-net'
  if (isUsb) merged.rootPort = undefined
  else merged.port = undefined
  if (merged.rootPort === null) merged.rootPort = undefined
  if (merged.port === null) merged.port = undefined
  return merged
}

function mergeKnown<T extends { readonly id: string }>(
  given: readonly Given<T>[] | undefined,
  known: readonly T[],
): Given<T>[] {
  return (given ?? []).map((element) => {
    const old = known.find((candidate) => candidate.id === element.id)
    return old === undefined ? element : merge(old, element)
  })
}

function bootRank(drive: DriveInput): number {
  if (drive.device === 'disk') return 1
  return typeof drive.image === 'string' ? 0 : 2
}

function take(used: Set<number>, from: number, to: number, field: string): number {
  for (let n = from; n <= to; n += 1) {
    if (used.has(n)) continue
    used.add(n)
    return n
  }
  throw new EngineError('bad_input', 'No place is left for this device; remove another first.', { field })
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
