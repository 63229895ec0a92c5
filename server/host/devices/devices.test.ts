import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HostDevices } from '#lib/schema/host-devices.ts'
import { listHostDevices } from './list.ts'
import { parseIds } from './names.ts'
import { parseList } from './tree.ts'

/** A tree like /sys and /proc in a directory of its own. */
let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gds-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function put(path: string, text = ''): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), `${text}\n`)
}

function link(path: string, target: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  mkdirSync(join(root, target), { recursive: true })
  symlinkSync(relative(dirname(join(root, path)), join(root, target)), join(root, path))
}

interface Card {
  readonly class?: string
  readonly vendor?: string
  readonly device?: string
  readonly driver?: string
  readonly group?: number
  readonly bootVga?: boolean
}

function pci(address: string, card: Card = {}): string {
  const dir = `sys/devices/pci0000:00/${address}`
  put(`${dir}/class`, card.class ?? '0x020000')
  put(`${dir}/vendor`, card.vendor ?? '0x8086')
  put(`${dir}/device`, card.device ?? '0x1533')
  put(`${dir}/numa_node`, '-1')
  if (card.bootVga !== undefined) put(`${dir}/boot_vga`, card.bootVga ? '1' : '0')
  if (card.driver !== undefined) link(`${dir}/driver`, `sys/bus/pci/drivers/${card.driver}`)
  if (card.group !== undefined) link(`${dir}/iommu_group`, `sys/kernel/iommu_groups/${card.group}`)
  link(`sys/bus/pci/devices/${address}`, dir)
  return dir
}

function disk(name: string, under: string): void {
  put(`${under}/block/${name}/size`, '1')
  link(`sys/class/block/${name}`, `${under}/block/${name}`)
}

async function list(details = true): Promise<HostDevices> {
  const user = { uid: 65_534, gid: 65_534, groups: [] }
  const found = await listHostDevices({ user, details, root, isRoot: false })
  expect(HostDevices.safeParse(found).error).toBeUndefined()
  return found
}
const find = async (address: string) => (await list()).pci.find((device) => device.address === address)

describe('PCI devices', () => {
  test('have ids, names, driver, group and node', async () => {
    const dir = pci('0000:03:00.0', { driver: 'igb', group: 7 })
    writeFileSync(join(root, dir, 'numa_node'), '1\n')
    put('usr/share/misc/pci.ids', '# list\n8086  Intel Corporation\n\t1533  I210 Gigabit\n\t\t1234 5678  Sub')
    expect(await find('0000:03:00.0')).toMatchObject({
      className: 'Ethernet card',
      vendorId: '8086',
      vendorName: 'Intel Corporation',
      deviceName: 'I210 Gigabit',
      driver: 'igb',
      iommuGroup: 7,
      numaNode: 1,
      assignable: true,
      reason: null,
    })
  })

  test('that the host uses stay with it: a card that is up, a disk under a file system', async () => {
    const card = pci('0000:03:00.0', { driver: 'igb', group: 1 })
    put(`${card}/net/eth0/operstate`, 'up')
    put(`${card}/net/eth0/type`, '1')
    link(`${card}/net/eth0/device`, card)
    link('sys/class/net/eth0', `${card}/net/eth0`)
    const nvme = pci('0000:04:00.0', { class: '0x010802', driver: 'nvme', group: 2 })
    disk('nvme0n1', nvme)
    put('sys/class/block/nvme0n1/nvme0n1p2/partition', '2')
    link('sys/class/block/nvme0n1p2', `${nvme}/block/nvme0n1/nvme0n1p2`)
    put('proc/self/mounts', '/dev/nvme0n1p2 /mnt/my\\040disk ext4 rw 0 0\nproc /proc proc rw 0 0')
    expect((await find('0000:03:00.0'))?.reason).toBe('The host uses it: eth0 (up).')
    expect((await find('0000:04:00.0'))?.reason).toBe('The host uses it: nvme0n1p2 (mounted at /mnt/my disk).')
  })

  test('are in use through the layers above: encryption, logical volumes, swap', async () => {
    const nvme = pci('0000:04:00.0', { class: '0x010802', group: 2 })
    disk('nvme0n1', nvme)
    put('sys/devices/virtual/block/dm-0/dm/name', 'crypt')
    put('sys/devices/virtual/block/dm-1/dm/name', 'vg-root')
    for (const name of ['dm-0', 'dm-1']) link(`sys/class/block/${name}`, `sys/devices/virtual/block/${name}`)
    put('sys/class/block/nvme0n1/holders/dm-0')
    put('sys/class/block/dm-0/holders/dm-1')
    put('proc/swaps', 'Filename Type Size Used Priority\n/dev/mapper/vg-root partition 1 0 -2')
    expect((await find('0000:04:00.0'))?.usedFor).toEqual(['nvme0n1 (swap space)'])
  })

  test('share their IOMMU group: what the host uses or drives in it holds the others back, bridges do not', async () => {
    pci('0000:01:00.0', { class: '0x030000', driver: 'nouveau', group: 9 })
    pci('0000:01:00.1', { class: '0x040300', driver: 'snd_hda_intel', group: 9 })
    pci('0000:00:01.0', { class: '0x060400', driver: 'pcieport', group: 9 })
    const sound = await find('0000:01:00.1')
    expect(sound?.groupWith).toEqual(['0000:01:00.0'])
    expect(sound?.reason).toMatch(/group 9 .*0000:01:00\.0 \(nouveau\)/)
    expect(await find('0000:00:01.0')).toMatchObject({ isBridge: true, assignable: false })
  })

  test('of one group whose others wait for a guest go together', async () => {
    pci('0000:01:00.0', { class: '0x030000', driver: 'nouveau', group: 9 })
    pci('0000:01:00.1', { class: '0x040300', driver: 'vfio-pci', group: 9 })
    expect(await find('0000:01:00.0')).toMatchObject({ assignable: true, groupWith: ['0000:01:00.1'] })
  })

  test('do not go when the host started with that display, or without an IOMMU', async () => {
    pci('0000:01:00.0', { class: '0x030000', group: 1, bootVga: true })
    expect((await find('0000:01:00.0'))?.reason).toMatch(/display this host started with/)
    pci('0000:02:00.0')
    expect((await find('0000:02:00.0'))?.reason).toMatch(/in no IOMMU group/)
    rmSync(join(root, 'sys/kernel/iommu_groups'), { recursive: true })
    expect((await find('0000:02:00.0'))?.reason).toMatch(/VT-d/)
  })

  test('with virtual functions name them, and do not go whole', async () => {
    const card = pci('0000:05:00.0', { group: 3 })
    put(`${card}/sriov_totalvfs`, '8')
    link(`${card}/virtfn0`, pci('0000:05:10.0', { group: 4 }))
    link('sys/devices/pci0000:00/0000:05:10.0/physfn', card)
    expect(await find('0000:05:00.0')).toMatchObject({
      sriov: { total: 8, functions: ['0000:05:10.0'] },
      assignable: false,
    })
    expect(await find('0000:05:10.0')).toMatchObject({ physicalFunction: '0000:05:00.0', assignable: true })
  })

  test('divided by mediation show types and instances', async () => {
    const card = pci('0000:00:02.0', { class: '0x030000', group: 1 })
    const type = `${card}/mdev_supported_types/i915-GVTg_V5_4`
    put(`${type}/available_instances`, '2')
    put(`${type}/description`, 'low_gm_size: 128MB')
    link('sys/class/mdev_bus/0000:00:02.0', card)
    const uuid = '4b20d080-1b54-4048-85b3-a6a62d165c01'
    link(`sys/bus/mdev/devices/${uuid}`, `${card}/${uuid}`)
    link(`${card}/${uuid}/mdev_type`, type)
    link(`${card}/${uuid}/iommu_group`, 'sys/kernel/iommu_groups/12')
    expect((await list()).mdev).toEqual({
      types: [
        {
          parent: '0000:00:02.0',
          id: 'i915-GVTg_V5_4',
          name: null,
          description: 'low_gm_size: 128MB',
          available: 2,
        },
      ],
      instances: [{ uuid, parent: '0000:00:02.0', type: 'i915-GVTg_V5_4', iommuGroup: 12 }],
    })
  })
})

test('where the host keeps what, and hardware addresses, are for administrators', async () => {
  const nvme = pci('0000:04:00.0', { class: '0x010802', group: 2 })
  disk('nvme0n1', nvme)
  put('proc/self/mounts', '/dev/nvme0n1 /srv/secret ext4 rw 0 0')
  put('sys/devices/virtual/net/br0/type', '1')
  put('sys/devices/virtual/net/br0/address', '02:00:00:00:00:01')
  link('sys/class/net/br0', 'sys/devices/virtual/net/br0')
  const others = await list(false)
  expect(JSON.stringify(others)).not.toMatch(/secret|02:00:00/)
  expect(others.pci[0]).toMatchObject({ assignable: false, usedFor: ['nvme0n1 (mounted)'] })
  expect(JSON.stringify(await list(true))).toMatch(/secret.*02:00:00/s)
})

describe('the IOMMU', () => {
  test.each([
    ['is switched off on the command line', { 'proc/cmdline': 'quiet intel_iommu=off' }, /command line switches/],
    ['is offered by Intel firmware and not used', { 'sys/firmware/acpi/tables/DMAR': '' }, /intel_iommu=on/],
    ['is offered by AMD firmware and not used', { 'sys/firmware/acpi/tables/IVRS': '' }, /AMD-Vi/],
    [
      'is not given to a virtual machine',
      { 'proc/cpuinfo': 'flags\t\t: fpu hypervisor lm' },
      /itself a virtual machine/,
    ],
    ['is not offered by the firmware', {}, /Switch on VT-d/],
  ])('%s: it says so', async (_what, files, reason) => {
    for (const [path, text] of Object.entries(files)) put(path, text)
    expect((await list()).iommu).toMatchObject({ enabled: false, groups: 0, reason: expect.stringMatching(reason) })
  })

  test('is on when there are groups', async () => {
    pci('0000:01:00.0', { group: 1 })
    expect((await list()).iommu).toMatchObject({ enabled: true, groups: 1 })
  })
})

describe('USB devices', () => {
  function usb(path: string, fields: { readonly [name: string]: string }, interfaces: readonly string[] = []): string {
    const dir = `sys/devices/pci0000:00/usb1/${path}`
    for (const [name, text] of Object.entries({ idVendor: '046d', idProduct: 'c31c', devnum: '5', ...fields })) {
      put(`${dir}/${name}`, text)
    }
    for (const [index, code] of interfaces.entries()) {
      const [kind = '', protocol = '00'] = code.split('/')
      put(`${dir}/${path}:1.${index}/bInterfaceClass`, kind)
      put(`${dir}/${path}:1.${index}/bInterfaceProtocol`, protocol)
    }
    link(`sys/bus/usb/devices/${path}`, dir)
    return dir
  }
  const device = async (path: string) => (await list()).usb.find((candidate) => candidate.path === path)

  test('have their place, their names and what they are', async () => {
    usb('1-4.2', { product: 'USB Keyboard', speed: '1.5', bDeviceClass: '00' }, ['03/01', '03/02', '01'])
    put('usr/share/misc/usb.ids', '046d  Logitech, Inc.\n\tc31c  Keyboard K120')
    expect(await device('1-4.2')).toMatchObject({
      bus: 1,
      port: '4.2',
      address: 5,
      vendorName: 'Logitech, Inc.',
      productName: 'USB Keyboard',
      speedMbps: 1.5,
      kinds: ['keyboard', 'mouse', 'audio'],
      assignable: true,
    })
  })

  test('that are hubs stay with the host', async () => {
    usb('usb1', { bDeviceClass: '09' })
    usb('1-4', { bDeviceClass: '09' }, ['09'])
    expect(await device('usb1')).toMatchObject({ port: '', isHub: true, assignable: false })
    expect(await device('1-4')).toMatchObject({ isHub: true, assignable: false })
  })

  test('with a mounted disk stay with the host, others do not mind it', async () => {
    const stick = usb('1-3', { bDeviceClass: '00' }, ['08'])
    usb('1-5', { bDeviceClass: '00' }, ['08'])
    disk('sdb', stick)
    put('proc/self/mounts', '/dev/sdb /media vfat rw 0 0')
    expect((await device('1-3'))?.reason).toBe('The host uses it: sdb (mounted at /media).')
    expect((await device('1-5'))?.assignable).toBe(true)
  })
})

describe('memory and processors', () => {
  test('huge pages are counted by size and node', async () => {
    for (const [size, total, free] of [
      ['1048576', '0', '0'],
      ['2048', '64', '10'],
    ] as const) {
      for (const dir of ['sys/kernel/mm/hugepages', 'sys/devices/system/node/node0/hugepages']) {
        put(`${dir}/hugepages-${size}kB/nr_hugepages`, total)
        put(`${dir}/hugepages-${size}kB/free_hugepages`, free)
      }
    }
    expect((await list()).hugePages).toEqual([
      { sizeKiB: 2048, total: 64, free: 10, nodes: [{ node: 0, total: 64, free: 10 }] },
      { sizeKiB: 1_048_576, total: 0, free: 0, nodes: [{ node: 0, total: 0, free: 0 }] },
    ])
  })

  test('nodes have processors, memory and distances; processors their place', async () => {
    const cpu = 'sys/devices/system/cpu'
    put(`${cpu}/present`, '0-2')
    put(`${cpu}/online`, '0-1')
    put(`${cpu}/isolated`, '1')
    for (const number of [0, 1]) {
      put(`${cpu}/cpu${number}/topology/physical_package_id`, '0')
      put(`${cpu}/cpu${number}/topology/core_id`, '4')
      put(`${cpu}/cpu${number}/topology/thread_siblings_list`, '0-1')
    }
    const node = 'sys/devices/system/node/node0'
    put(`${node}/cpulist`, '0-1')
    put(`${node}/meminfo`, 'Node 0 MemTotal:       4096 kB\nNode 0 MemFree:        1024 kB')
    put(`${node}/distance`, '10 21')
    const found = await list()
    expect(found.numa).toEqual([{ node: 0, cpus: [0, 1], memoryMiB: 4, freeMiB: 1, distances: [10, 21] }])
    expect(found.cpus).toEqual([
      { cpu: 0, online: true, socket: 0, core: 4, threads: [0, 1], node: 0, isolated: false },
      { cpu: 1, online: true, socket: 0, core: 4, threads: [0, 1], node: 0, isolated: true },
      { cpu: 2, online: false, socket: null, core: null, threads: [2], node: null, isolated: false },
    ])
  })

  test.each([
    ['0-3,8', [0, 1, 2, 3, 8]],
    ['', []],
    [null, []],
    ['5', [5]],
    ['x', []],
  ])('the list %j is %j', (text, numbers) => {
    expect(parseList(text)).toEqual(numbers)
  })
})

describe('interfaces', () => {
  const put2 = (name: string, files: { readonly [file: string]: string }) => {
    for (const [file, text] of Object.entries({ type: '1', operstate: 'down', mtu: '1500', ...files })) {
      put(`sys/devices/virtual/net/${name}/${file}`, text)
    }
    link(`sys/class/net/${name}`, `sys/devices/virtual/net/${name}`)
  }

  test('are told apart: bridge, tap, VLAN, loopback', async () => {
    put2('br0', { 'bridge/bridge_id': '', operstate: 'up', address: '02:00:00:00:00:01' })
    put('sys/devices/virtual/net/br0/brif/tap0/port_no', '1')
    put2('tap0', { tun_flags: '0x1002' })
    link('sys/devices/virtual/net/tap0/master', 'sys/devices/virtual/net/br0')
    put2('tun0', { tun_flags: '0x1001' })
    put2('eth0.5', { uevent: 'DEVTYPE=vlan\nINTERFACE=eth0.5' })
    put2('lo', { type: '772', flags: '0x9', operstate: 'unknown' })
    put('sys/class/net/bonding_masters', '')
    const { interfaces } = await list()
    expect(interfaces.map(({ name, kind, up }) => [name, kind, up])).toEqual([
      ['br0', 'bridge', true],
      ['eth0.5', 'vlan', false],
      ['lo', 'loopback', true],
      ['tap0', 'tap', false],
      ['tun0', 'virtual', false],
    ])
    expect(interfaces.find(({ name }) => name === 'br0')?.members).toEqual(['tap0'])
    expect(interfaces.find(({ name }) => name === 'tap0')?.master).toBe('br0')
  })
})

test('device nodes of the kernel are looked at as the user QEMU runs as', async () => {
  put('dev/vhost-net')
  put('dev/vhost-vsock')
  chmodSync(join(root, 'dev/vhost-net'), 0o666)
  chmodSync(join(root, 'dev/vhost-vsock'), 0o600)
  const node = (await list()).kernel
  const of = (id: string) => node.find((candidate) => candidate.id === id)
  expect(of('vhost-net')).toMatchObject({ present: true, opens: true, command: null })
  expect(of('vhost-vsock')).toMatchObject({
    present: true,
    opens: false,
    command: expect.stringContaining('sudo chgrp'),
  })
  expect(of('vfio')).toMatchObject({ present: false, opens: false, command: 'sudo modprobe vfio-pci' })
})

test('an empty host has nothing and breaks nothing', async () => {
  expect(await list()).toMatchObject({ pci: [], usb: [], numa: [], cpus: [], hugePages: [], interfaces: [] })
})

test('of the id files only the wanted vendors are kept, and sections after them are no vendors', () => {
  const names = parseIds('8086  Intel\n\t0001  A\n1234  Other\n\t0001  B\nC 03  Display\n\t00  VGA', new Set(['8086']))
  expect([names.vendor('8086'), names.device('8086', '0001')]).toEqual(['Intel', 'A'])
  expect([names.vendor('1234'), names.device('1234', '0001')]).toEqual([null, null])
})
