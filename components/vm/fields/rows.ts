/** What a new row of a list starts as, and what a change of a device lets go of. Pure. */
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { DeviceRow, Fields, RowList } from '../spec-draft.ts'

/** As the schema allows. */
export const ROW_LIMITS: { readonly [L in RowList]: number } = {
  inputs: 8,
  dimms: 16,
  channels: 16,
  shares: 8,
  hostDevices: 16,
}

/** The first of `prefix0`, `prefix1`… that no row has as `field`. */
function unused(rows: readonly DeviceRow[], field: string, prefix: string): string {
  const taken = new Set(rows.map((row) => row.fields[field]))
  for (let n = 0; ; n += 1) if (!taken.has(`${prefix}${n}`)) return `${prefix}${n}`
}

/** A new row: everything the form shows; id and place are the server's to give. */
export function newRow(list: RowList, rows: readonly DeviceRow[]): Fields {
  switch (list) {
    case 'inputs':
      return { type: 'tablet', bus: 'usb' }
    case 'dimms':
      return { sizeMiB: 1024 }
    case 'channels':
      return { device: 'virtserialport', name: unused(rows, 'name', 'port'), backend: 'socket' }
    case 'shares':
      return { driver: 'virtiofs', tag: unused(rows, 'tag', 'share'), source: '', readOnly: true }
    case 'hostDevices':
      return NEW_HOST_DEVICE['usb-id']
  }
}

export type HostDeviceType = 'usb-id' | 'usb-port' | 'pci' | 'mdev'

const NEW_HOST_DEVICE: { readonly [T in HostDeviceType]: Fields } = {
  'usb-id': { type: 'usb-id', vendor: '', product: '' },
  'usb-port': { type: 'usb-port', hostBus: 1, hostPort: '' },
  pci: { type: 'pci', address: '' },
  mdev: { type: 'mdev', uuid: '' },
}

const without = (fields: Fields, names: readonly string[]): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))

const PLACES = ['rootPort', 'port']

/** Empty places are left out: the server finds one. */
const withField = (fields: Fields, name: string, value: unknown): Fields => ({
  ...without(fields, [name]),
  ...(value === undefined || (value === null && PLACES.includes(name)) ? {} : { [name]: value }),
})

/** What was set on a drive, with one field changed: on another bus its place, and what that bus has not, are let go. */
export function withDriveField(more: Fields, name: string, value: unknown): Fields {
  const next = withField(more, name, value)
  if (name !== 'bus') return next
  const isVirtio = value === 'virtio-blk' || value === 'virtio-scsi'
  const hasQueues = value === 'virtio-blk' || value === 'nvme'
  // QEMU's NVMe tells the guest of every error.
  const isNvme = value === 'nvme'
  return without(next, [
    ...PLACES,
    ...(isVirtio ? [] : ['ioThread']),
    ...(hasQueues ? [] : ['queues']),
    ...(isNvme ? ['werror'] : []),
  ])
}

/** The same for a network card: what only virtio-net or only a bridge has goes with them. */
export function withCardField(more: Fields, name: string, value: unknown): Fields {
  const next = withField(more, name, value)
  if (name === 'model')
    return without(next, [
      ...PLACES,
      ...(value === 'virtio-net' ? [] : ['mtu', 'queues', 'vhost']),
      ...(value === 'usb-net' ? ['bootIndex'] : []),
    ])
  if (name === 'network' && value !== 'bridge') return without(next, ['bridge', 'queues', 'rateLimit', 'vhost'])
  return next
}

/**
 * A row with one field changed. A device that becomes another kind is a new device: it lets go of its id and of the
 * place it had, so that the server finds it a new one.
 */
export function withRowField(list: RowList, fields: Fields, name: string, value: unknown): Fields {
  const next = withField(fields, name, value)
  if (list === 'inputs' && name === 'bus') return without(next, PLACES)
  // Touch screens are virtio only.
  if (list === 'inputs' && value === 'multitouch' && next.bus !== 'virtio')
    return { ...without(next, PLACES), bus: 'virtio' }
  if (list === 'channels' && name === 'device') return without(next, ['id', 'port', 'name'])
  if (list === 'hostDevices' && name === 'type') return NEW_HOST_DEVICE[value as HostDeviceType]
  return next
}

export interface HostChoice {
  /** Stands for it in a list. */
  readonly value: string
  readonly label: string
  /** Why it cannot be handed over; null when it can. */
  readonly reason: string | null
  /** What of a row says that it is this device. */
  readonly fields: Fields
}

const named = (parts: readonly (string | null)[]) => parts.filter(Boolean).join(' ')

/** Devices the host has of a kind. Hubs and bridges are no devices to hand over. */
export function hostChoices(type: HostDeviceType, host: HostDevices | undefined): HostChoice[] {
  if (host === undefined) return []
  if (type === 'usb-id' || type === 'usb-port')
    return host.usb
      .filter((device) => !device.isHub && device.port !== '')
      .map((device) => {
        const ids = `${device.vendorId}:${device.productId}`
        const name = named([device.vendorName, device.productName]) || ids
        const { reason } = device
        return type === 'usb-id'
          ? {
              value: `${ids} ${device.path}`,
              label: `${name} (${ids})`,
              reason,
              fields: { vendor: device.vendorId, product: device.productId },
            }
          : {
              value: device.path,
              label: `${device.path}: ${name}`,
              reason,
              fields: { hostBus: device.bus, hostPort: device.port },
            }
      })
  if (type === 'pci')
    return host.pci
      .filter((device) => !device.isBridge)
      .map((device) => ({
        value: device.address,
        label: `${device.address} ${named([device.vendorName ?? device.vendorId, device.deviceName ?? device.className])}`,
        reason: device.reason,
        fields: { address: device.address },
      }))
  return host.mdev.instances.map((device) => ({
    value: device.uuid,
    label: named([device.uuid, device.type]),
    reason: null,
    fields: { uuid: device.uuid },
  }))
}

/** Devices of the same IOMMU group, which go along with this one. */
export const groupOf = (address: unknown, host: HostDevices | undefined) =>
  host?.pci.find((device) => device.address === address)?.groupWith ?? []
