import { expect, test } from 'vitest'
import { assembleTree, type TreeReplies } from './tree.ts'

const pci = (slot: number, fn: number, id: string, vendor: number, device: number, extra: object = {}) => ({
  bus: 0,
  slot,
  function: fn,
  class_info: { class: 0x0100, desc: 'SCSI controller' },
  id: { vendor, device },
  irq: 0,
  qdev_id: id,
  regions: [],
  ...extra,
})
const child = (name: string, type: string) => ({ name, type: `child<${type}>` })
const EMPTY: TreeReplies = { pci: [], peripherals: [], usb: '', memory: [], cpus: [], parentBus: new Map() }

test('a device behind a bridge hangs on it, with its address and windows', () => {
  const region = { bar: 4, type: 'memory', address: 4_261_412_864, size: 16_384, prefetch: true }
  const behind = {
    ...pci(0, 0, 'disk0', 0x1af4, 0x1042),
    bus: 1,
    irq: 11,
    regions: [region, { ...region, bar: 5, address: -1 }],
  }
  const items = assembleTree({
    ...EMPTY,
    pci: [{ bus: 0, devices: [pci(2, 0, 'rp0', 0x1b36, 0x000c, { pci_bridge: { bus: {}, devices: [behind] } })] }],
    peripherals: [child('rp0', 'pcie-root-port'), child('disk0', 'virtio-blk-pci'), { name: 'type', type: 'string' }],
  })
  expect(items).toMatchObject([
    { key: 'rp0', type: 'pcie-root-port', address: '00:02.0', parent: null, bus: 'pci' },
    {
      key: 'disk0',
      address: '01:00.0',
      pciId: '1af4:1042',
      parent: 'rp0',
      pci: {
        irq: 11,
        regions: [
          { bar: 4, address: '0xfe000000', sizeBytes: 16_384, prefetchable: true },
          { bar: 5, address: null },
        ],
      },
    },
  ])
})

test('what the mainboard brings has QEMU’s name and no id; drives hang on its controller', () => {
  const items = assembleTree({
    ...EMPTY,
    pci: [{ bus: 0, devices: [pci(0x1f, 2, '', 0x8086, 0x2922), pci(0x1f, 0, '', 0x8086, 0x2918)] }],
    peripherals: [child('cd0', 'ide-cd'), child('serial0', 'isa-serial')],
    parentBus: new Map([
      ['cd0', '/machine/unattached/device[9]/ide.1'],
      ['serial0', '/machine/unattached/device[2]/isa.0'],
    ]),
  })
  expect(items).toMatchObject([
    { key: '00:1f.2', id: null, type: 'ich9-ahci' },
    { key: '00:1f.0', id: null, type: 'ICH9-LPC' },
    { key: 'cd0', bus: 'sata', address: 'ide.1', parent: '00:1f.2' },
    { key: 'serial0', bus: 'other', parent: '00:1f.0' },
  ])
})

test('a device on a port that the firmware has not numbered yet is there without an address', () => {
  const items = assembleTree({
    ...EMPTY,
    pci: [{ bus: 0, devices: [pci(2, 0, 'rp0', 0x1b36, 0x000c)] }],
    peripherals: [child('rp0', 'pcie-root-port'), child('net0', 'virtio-net-pci')],
    parentBus: new Map([['net0', '/machine/peripheral/rp0/rp0']]),
  })
  expect(items[1]).toMatchObject({ key: 'net0', bus: 'pci', address: null, parent: 'rp0' })
})

test('USB devices have their port and product, memory its size, CPUs their place', () => {
  const items = assembleTree({
    ...EMPTY,
    usb: '  Device 0.1, Port 1, Speed 480 Mb/s, Product QEMU USB Tablet, ID: tablet0\r\n  Device 0.2, Port 2.1, Speed 12 Mb/s, Product a, ID: b\u0007, ID: kbd0\r\n',
    peripherals: [
      child('tablet0', 'usb-tablet'),
      child('kbd0', 'usb-kbd'),
      child('dimm0', 'pc-dimm'),
      child('cpu-1', 'max-x86_64-cpu'),
    ],
    memory: [{ type: 'dimm', data: { id: 'dimm0', size: 268_435_456, slot: 0, addr: 0 } }],
    cpus: [
      { type: 'max-x86_64-cpu', props: { 'socket-id': 1, 'core-id': 0 }, 'qom-path': '/machine/peripheral/cpu-1' },
      { type: 'max-x86_64-cpu', props: { 'socket-id': 0, 'core-id': 0 }, 'qom-path': '/machine/unattached/device[0]' },
      { type: 'max-x86_64-cpu', props: { 'socket-id': 2 } },
    ],
    parentBus: new Map([['tablet0', '/machine/peripheral/usb/usb.0']]),
  })
  expect(items).toMatchObject([
    { key: 'tablet0', bus: 'usb', address: '1', description: 'QEMU USB Tablet', parent: 'usb' },
    { key: 'kbd0', bus: 'usb', address: '2.1', description: 'a, ID: b?' },
    { key: 'dimm0', bus: 'memory', address: '0', description: '256 MiB' },
    { key: 'cpu-1', id: 'cpu-1', bus: 'cpu', address: 'socket 1, core 0' },
    { key: '/machine/unattached/device[0]', id: null, bus: 'cpu' },
  ])
})

test('64-bit addresses are not rounded', () => {
  const region = { bar: 0, type: 'memory', address: 2n ** 60n + 4096n, size: 4096, prefetch: false }
  const unset = { ...region, bar: 1, address: 2n ** 64n - 1n }
  const items = assembleTree({
    ...EMPTY,
    pci: [{ bus: 0, devices: [pci(3, 0, 'x', 1, 2, { regions: [region, unset] })] }] as never,
  })
  expect(items[0]?.pci?.regions.map(({ address }) => address)).toEqual(['0x1000000000001000', null])
})
