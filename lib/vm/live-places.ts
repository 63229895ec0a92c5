/** Where a device sits in the running machine, and whether something can be plugged in there now. Pure. */
import type { Channel, Drive, HostDevice, InputDevice, NetworkCard, Share, VmSpec } from '../schema/vm-spec.ts'
import type { AnyDevice, DeviceList, DeviceOf, LiveFacts } from './live-types.ts'

/** Where a device goes: a place of which there is one each, behind a controller that must be there. */
interface Place {
  /** Unique per place; null where any number fits. */
  readonly key: string | null
  /** QEMU's id of the controller; null for sockets, which are counted. */
  readonly controller: string | null
  readonly socket: number | null
}
/** Places that nothing can be plugged into, or taken out of, while the guest runs. */
interface Fixed {
  readonly fixed: string
}

const socket = (n: number | null): Place => ({ key: `socket:${n ?? 0}`, controller: null, socket: n ?? 0 })
const usb = (n: number | null): Place => ({ key: `usb:${n ?? 0}`, controller: 'usb', socket: null })

function placeOfDrive(drive: Drive): Place | Fixed {
  switch (drive.bus) {
    case 'virtio-blk':
    case 'nvme':
      return socket(drive.device === 'disk' ? drive.rootPort : null)
    case 'virtio-scsi':
      return { key: `scsi:${drive.port ?? 0}`, controller: 'scsi0', socket: null }
    case 'usb':
      return usb(drive.port)
    case 'sata':
      return { fixed: 'SATA drives are part of the mainboard: the controller takes none while the guest runs.' }
    case 'ide':
      return { fixed: 'IDE drives are part of the mainboard: the controller takes none while the guest runs.' }
  }
}

function placeOfCard(card: NetworkCard): Place {
  return card.model === 'usb-net' ? usb(card.port) : socket(card.rootPort)
}

function placeOfInput(input: InputDevice): Place {
  return input.bus === 'usb' ? usb(input.port) : socket(input.rootPort)
}

function placeOfChannel(channel: Channel): Place | Fixed {
  if (channel.device === 'isa-serial') return { fixed: 'Serial ports are part of the mainboard.' }
  return { key: `virtio-serial:${channel.port}`, controller: 'vser0', socket: null }
}

function placeOfShare(share: Share): Place | Fixed {
  // QEMU's monitor has no command for what stands behind it.
  if (share.driver === '9p') return { fixed: 'Folders shared by 9p are connected when the guest is powered on.' }
  return socket(share.rootPort)
}

function placeOfHostDevice(device: HostDevice): Place {
  return device.type === 'usb-id' || device.type === 'usb-port' ? usb(device.port) : socket(device.rootPort)
}

function placeOf(list: DeviceList, device: AnyDevice): Place | Fixed {
  // The list tells which family the device is of.
  switch (list) {
    case 'disks':
      return placeOfDrive(device as DeviceOf<'disks'>)
    case 'networks':
      return placeOfCard(device as DeviceOf<'networks'>)
    case 'inputs':
      return placeOfInput(device as DeviceOf<'inputs'>)
    case 'channels':
      return placeOfChannel(device as DeviceOf<'channels'>)
    case 'hostDevices':
      return placeOfHostDevice(device as DeviceOf<'hostDevices'>)
    case 'shares':
      return placeOfShare(device as DeviceOf<'shares'>)
    case 'dimms':
      return { key: null, controller: null, socket: null }
  }
}

export const DEVICE_LISTS: readonly DeviceList[] = [
  'disks',
  'networks',
  'inputs',
  'dimms',
  'channels',
  'shares',
  'hostDevices',
]

/** Key of the place a device takes, as in `occupants`; null where it is fixed or needs none. */
export function placeKey(list: DeviceList, device: AnyDevice): string | null {
  const place = placeOf(list, device)
  return 'key' in place ? place.key : null
}

/** Who sits where, by place: `socket:3`, `usb:4`. Devices of `spec` alone; fixed places are left out. */
export function occupants(spec: VmSpec): Map<string, string> {
  const found = new Map<string, string>()
  for (const list of DEVICE_LISTS) {
    for (const device of spec[list]) {
      const place = placeOf(list, device)
      if ('key' in place && place.key !== null) found.set(place.key, device.id)
    }
  }
  // Cold shares sit on sockets all the same.
  for (const share of spec.shares) found.set(`socket:${share.rootPort}`, share.id)
  return found
}

const CONTROLLERS: Readonly<Record<string, string>> = {
  usb: 'The guest has no USB controller yet; one is there from the next start.',
  scsi0: 'The guest has no SCSI controller yet; one is there from the next start.',
  vser0: 'The guest has no virtio-serial controller yet; one is there from the next start.',
}

export type PlugVerdict =
  | { readonly ok: true; readonly after: string | null }
  | { readonly ok: false; readonly reason: string }

/**
 * Whether `device` can be plugged in now.
 * @param leaving devices that this change takes out: their places are free once they have gone
 */
export function judgePlug(
  list: DeviceList,
  device: AnyDevice,
  live: VmSpec,
  facts: LiveFacts,
  leaving: ReadonlySet<string>,
): PlugVerdict {
  const no = (reason: string): PlugVerdict => ({ ok: false, reason })
  const special = refusalOf(list, device, live, facts)
  if (special !== null) return no(special)
  const place = placeOf(list, device)
  if ('fixed' in place) return no(place.fixed)
  if (place.controller !== null && !facts.has(place.controller))
    return no(CONTROLLERS[place.controller] ?? 'Its controller is there from the next start.')
  if (place.socket !== null && place.socket >= facts.sockets) {
    return no(
      facts.sockets === 0
        ? 'This machine type has no sockets for devices that come later; it is plugged in at the next start.'
        : 'No free port is left in the running machine; it is plugged in at the next start. Keep more spare ports for the future.',
    )
  }
  const occupant = place.key === null ? undefined : occupants(live).get(place.key)
  if (occupant === undefined || occupant === device.id) return { ok: true, after: null }
  if (leaving.has(occupant)) return { ok: true, after: occupant }
  return no(`Its port is still held by “${occupant}”; it is plugged in at the next start.`)
}

/** What a family in itself cannot do while the guest runs. */
function refusalOf(list: DeviceList, device: AnyDevice, live: VmSpec, facts: LiveFacts): string | null {
  if (list === 'dimms') {
    if (live.memoryMaxMiB === null) return 'The guest was started without room for more memory; set a maximum first.'
    const modules = [...live.dimms, device as DeviceOf<'dimms'>].reduce((sum, dimm) => sum + dimm.sizeMiB, 0)
    return live.memoryMiB + (live.virtioMem?.sizeMiB ?? 0) + modules > live.memoryMaxMiB
      ? `The guest was started with room for ${live.memoryMaxMiB} MiB in all; it is plugged in at the next start.`
      : null
  }
  if (list === 'shares' && !facts.sharedMemory)
    return 'The memory of the running guest is its own; virtiofs needs memory that is shared from the start.'
  return null
}

/** Why `device` cannot be taken out now; null when the guest can be asked for it. */
export function unplugRefusal(list: DeviceList, device: AnyDevice): string | null {
  const place = placeOf(list, device)
  return 'fixed' in place ? place.fixed : null
}
