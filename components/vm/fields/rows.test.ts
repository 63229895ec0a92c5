import { describe, expect, it } from 'vitest'
import type { HostDevices } from '#lib/schema/host-devices.ts'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { ROW_LISTS } from '../spec-draft.ts'
import { groupOf, hostChoices, newRow, withCardField, withDriveField, withRowField } from './rows.ts'

const host: HostDevices = {
  iommu: { enabled: true, groups: 1, reason: '' },
  pci: [
    {
      address: '0000:03:00.0',
      classCode: '030000',
      className: 'VGA compatible controller',
      vendorId: '10de',
      deviceId: '1b80',
      vendorName: 'NVIDIA',
      deviceName: null,
      driver: 'nouveau',
      iommuGroup: 1,
      groupWith: ['0000:03:00.1'],
      isBridge: false,
      bootVga: true,
      usedFor: [],
      numaNode: null,
      sriov: null,
      physicalFunction: null,
      assignable: false,
      reason: 'The host shows its own screen on it.',
    },
  ],
  usb: [
    {
      path: '1-4.2',
      bus: 1,
      port: '4.2',
      address: 7,
      vendorId: '0951',
      productId: '1666',
      vendorName: 'Kingston',
      productName: 'DataTraveler',
      speedMbps: 480,
      isHub: false,
      kinds: ['storage'],
      drivers: [],
      usedFor: [],
      assignable: true,
      reason: null,
    },
  ],
  mdev: { types: [], instances: [] },
  hugePages: [],
  numa: [],
  cpus: [],
  kernel: [],
  interfaces: [],
}

describe('a new row', () => {
  it('of every list but those a person must complete is accepted as it is', () => {
    for (const list of ROW_LISTS) {
      const { success } = VmSpecInput.safeParse({ name: 'a', [list]: [newRow(list, [])] })
      expect(success, list).toBe(list !== 'shares' && list !== 'hostDevices')
    }
  })
  it('has a name no other row has', () => {
    const first = { key: 'a', fields: newRow('shares', []) }
    expect(newRow('shares', [first]).tag).toBe('share1')
    expect(newRow('channels', [{ key: 'a', fields: newRow('channels', []) }]).name).toBe('port1')
  })
})

describe('a change of a row', () => {
  it('to another bus lets go of the place, not of the device', () => {
    const moved = withRowField(
      'inputs',
      { id: 'input0', type: 'mouse', bus: 'usb', rootPort: null, port: 3 },
      'bus',
      'virtio',
    )
    expect(moved).toEqual({ id: 'input0', type: 'mouse', bus: 'virtio' })
  })
  it('to a touch screen takes virtio, the only bus that has one', () => {
    expect(withRowField('inputs', { type: 'tablet', bus: 'usb' }, 'type', 'multitouch')).toEqual({
      type: 'multitouch',
      bus: 'virtio',
    })
  })
  it('to another kind of device makes it a new device', () => {
    const channel = { id: 'port0', device: 'virtserialport', name: 'a', backend: 'log', port: 9 }
    expect(withRowField('channels', channel, 'device', 'isa-serial')).toEqual({ device: 'isa-serial', backend: 'log' })
    const usb = { id: 'host0', type: 'usb-id', vendor: '0951', product: '1666', port: 3 }
    expect(withRowField('hostDevices', usb, 'type', 'pci')).toEqual({ type: 'pci', address: '' })
  })
  it('that is taken back leaves nothing behind', () => {
    expect(withRowField('dimms', { sizeMiB: 1024 }, 'sizeMiB', undefined)).toEqual({})
  })
})

describe('a drive or a card', () => {
  it('on another bus lets go of its place and of what that bus has not', () => {
    const disk = { bus: 'virtio-blk', rootPort: 4, queues: 2, ioThread: true, werror: 'stop', cache: 'none' }
    expect(withDriveField(disk, 'bus', 'sata')).toEqual({ bus: 'sata', werror: 'stop', cache: 'none' })
    expect(withDriveField(disk, 'bus', 'nvme')).toEqual({ bus: 'nvme', queues: 2, cache: 'none' })
    expect(withDriveField(disk, 'cache', 'unsafe')).toEqual({ ...disk, cache: 'unsafe' })
  })
  it('of another model or network lets go of what only the old one had', () => {
    const card = { model: 'virtio-net', network: 'bridge', bridge: 'br0', mtu: 9000, vhost: true, rootPort: 3 }
    expect(withCardField(card, 'model', 'e1000e')).toEqual({ model: 'e1000e', network: 'bridge', bridge: 'br0' })
    expect(withCardField(card, 'network', 'user')).toEqual({
      model: 'virtio-net',
      network: 'user',
      mtu: 9000,
      rootPort: 3,
    })
  })
  it('whose place was emptied gets one from the server', () => {
    expect(withDriveField({ port: 3 }, 'port', null)).toEqual({})
    expect(withRowField('channels', { device: 'isa-serial', port: 2 }, 'port', null)).toEqual({ device: 'isa-serial' })
  })
})

describe('devices of the host', () => {
  it('fill a row that the schema takes', () => {
    for (const type of ['usb-id', 'usb-port', 'pci'] as const) {
      const [choice] = hostChoices(type, host)
      const body = { name: 'a', hostDevices: [{ type, ...choice?.fields }] }
      expect(VmSpecInput.safeParse(body).success, type).toBe(true)
    }
  })
  it('that cannot be handed over say why', () => {
    expect(hostChoices('pci', host)[0]?.reason).toMatch(/own screen/)
    expect(hostChoices('usb-id', host)[0]?.reason).toBeNull()
  })
  it('name what else of the IOMMU group goes along', () => {
    expect(groupOf('0000:03:00.0', host)).toEqual(['0000:03:00.1'])
    expect(groupOf('', host)).toEqual([])
  })
})
