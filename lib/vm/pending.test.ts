import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StoredVmSpec } from '../schema/vm-spec/upgrade.ts'
import { VmSpec } from '../schema/vm-spec.ts'
import { pendingChanges } from './pending.ts'

const IMAGE = '01890000-0000-7000-8000-000000000001'
const spec = StoredVmSpec.parse({
  name: 'demo',
  description: '',
  tags: [],
  guest: 'linux',
  cpus: 2,
  cpuModel: 'auto',
  memoryMiB: 1024,
  accelerator: 'auto',
  machine: 'pc-q35-7.2',
  firmware: 'bios',
  disks: [
    { id: 'disk0', device: 'disk', bus: 'virtio-blk', sizeGiB: 20, image: null, bootIndex: 2, rootPort: 0 },
    { id: 'cd0', device: 'cdrom', bus: 'sata', image: IMAGE, bootIndex: 1, port: 0 },
  ],
  networks: [
    {
      id: 'net0',
      model: 'virtio-net',
      mac: '52:54:00:00:00:01',
      network: 'user',
      restrict: false,
      forwards: [],
      rootPort: 1,
    },
  ],
  display: 'virtio-vga',
  usbInput: true,
  serial: true,
  rng: true,
  balloon: true,
  agentChannel: true,
  spareRootPorts: 4,
  clock: 'utc',
  autostart: false,
})
const [disk, cd] = spec.disks
const [card] = spec.networks
if (disk?.device !== 'disk' || cd?.device !== 'cdrom' || card === undefined) throw new Error('broken fixture')

/** A different, valid value for every field of the spec. */
const other: { readonly [K in keyof VmSpec]: VmSpec[K] } = {
  name: 'renamed',
  description: 'text',
  tags: ['lab'],
  guest: 'bsd',
  cpus: 3,
  cpuModel: 'max',
  memoryMiB: 2048,
  accelerator: 'tcg',
  machine: 'pc-q35-7.1',
  firmware: 'uefi',
  secureBoot: true,
  tpm: 'tpm-crb',
  bootMenu: true,
  smbios: {
    manufacturer: 'us',
    product: null,
    version: null,
    serial: null,
    sku: null,
    family: null,
    oemStrings: [],
  },
  clockOffsetSeconds: 60,
  hyperv: true,
  iommu: 'intel',
  directKernel: { kernel: '/boot/vmlinuz', initrd: null, commandLine: '' },
  ps2: false,
  pvpanic: true,
  generationId: true,
  maxCpus: 8,
  topology: { sockets: 2, cores: 1, threads: 1 },
  cpuFlags: [{ name: 'avx2', enabled: false }],
  pinning: [{ vcpu: 0, hostCpus: '0' }],
  numa: [{ cpus: '0-1', memoryMiB: 1024, hostNodes: null }],
  memoryMaxMiB: 8192,
  dimms: [{ id: 'dimm0', sizeMiB: 256 }],
  virtioMem: { sizeMiB: 1024, requestedMiB: 0 },
  hugePages: '2M',
  cpuWeight: 50,
  cpuLimit: 1.5,
  ioWeight: 50,
  memoryCap: false,
  balloonTargetMiB: 512,
  freePageReporting: false,
  disks: [disk],
  networks: [],
  displayHeads: 2,
  displayResolution: { width: 1280, height: 800 },
  displayMemoryMiB: 64,
  inputs: [{ id: 'input0', type: 'mouse', bus: 'usb', rootPort: null, port: 3 }],
  usbController: 'nec-usb-xhci',
  usbPorts: 8,
  sound: 'hda',
  clipboard: true,
  serialDevice: 'virtconsole',
  channels: [{ id: 'port0', device: 'virtserialport', name: 'x', backend: 'log', port: 2 }],
  vsock: { cid: 3 },
  watchdog: { model: 'i6300esb', action: 'reset' },
  shares: [{ id: 'share0', driver: '9p', tag: 'x', source: '/srv', readOnly: true, rootPort: 9 }],
  hostDevices: [{ id: 'host0', type: 'usb-id', vendor: '1234', product: 'abcd', port: 4 }],
  properties: { disk0: { 'queue-size': 64 } },
  rawArgs: ['-d', 'guest_errors'],
  display: 'std',
  usbInput: false,
  serial: false,
  rng: false,
  balloon: false,
  agentChannel: false,
  spareRootPorts: 0,
  clock: 'localtime',
  autostart: true,
}
const SHARE = ['cpuWeight', 'cpuLimit', 'ioWeight', 'memoryCap']
const IMMEDIATE = ['name', 'description', 'tags', 'autostart', 'guest', ...SHARE]

describe('pendingChanges', () => {
  it('nothing is pending when the running guest has the stored definition', () => {
    expect(pendingChanges(spec, structuredClone(spec))).toEqual([])
  })

  it.each(Object.keys(other) as (keyof VmSpec)[])(
    'a changed %s is pending by itself, or takes effect at once',
    (field) => {
      const changes = pendingChanges(spec, { ...spec, [field]: other[field] })
      if (IMMEDIATE.includes(field)) {
        expect(changes).toEqual([])
      } else {
        expect(changes.length).toBeGreaterThan(0)
        for (const change of changes) {
          expect(change.path.startsWith(`/${field}`)).toBe(true)
          expect(change.reason).toMatch(/^[“A-Z].*\.$/)
        }
      }
    },
  )

  it('the table of other values has every field of the schema', () => {
    expect(Object.keys(other).sort()).toEqual(Object.keys(VmSpec.shape).sort())
  })

  it('scalars show what runs and what is wanted', () => {
    expect(pendingChanges(spec, { ...spec, memoryMiB: 2048 })).toEqual([
      {
        path: '/memoryMiB',
        live: 1024,
        next: 2048,
        reason: 'The size of the memory is fixed while the guest runs.',
        waiting: 'restart',
      },
    ])
  })

  it('a new device is pending at its place, a removed one at the end of the list', () => {
    const added = { ...card, id: 'net1', mac: '52:54:00:00:00:02', rootPort: 2 }
    const changes = pendingChanges(spec, { ...spec, disks: [cd], networks: [card, added] })
    expect(changes).toEqual([
      { path: '/disks/-', live: disk, next: null, reason: expect.stringContaining('disk0'), waiting: 'apply' },
      { path: '/networks/1', live: null, next: added, reason: expect.stringContaining('net1'), waiting: 'apply' },
    ])
  })

  it('the order of a list is not a change: devices keep their place in the guest', () => {
    expect(pendingChanges(spec, { ...spec, disks: [cd, disk] })).toEqual([])
  })

  it('reasons name what changed', () => {
    const reasonOf = (disks: VmSpec['disks'], networks = spec.networks) =>
      pendingChanges(spec, { ...spec, disks, networks }).map((change) => change.reason)
    expect(reasonOf([disk, { ...cd, image: null }])).toEqual(['The medium in “cd0” can be changed at once.'])
    expect(reasonOf([{ ...disk, sizeGiB: 30 }, cd])).toEqual(['“disk0” can be made larger at once.'])
    expect(reasonOf([{ ...disk, bootIndex: null }, cd])).toEqual([
      'The boot order can be changed at once; it counts when the guest starts up next.',
    ])
    expect(reasonOf([disk, cd], [{ ...card, restrict: true }])).toEqual([
      'The network behind “net0” is set up anew at the next start.',
    ])
    expect(reasonOf([disk, cd], [{ ...card, mac: '52:54:00:00:00:09' }])).toEqual([
      '“net0” is changed at the next start.',
    ])
  })

  it('changing any set of fields and back leaves nothing pending', () => {
    fc.assert(
      fc.property(fc.subarray(Object.keys(other) as (keyof VmSpec)[]), (fields) => {
        const next = { ...spec, ...Object.fromEntries(fields.map((field) => [field, other[field]])) }
        const paths = pendingChanges(spec, next).map((change) => change.path.split('/')[1])
        expect(new Set(paths)).toEqual(new Set(fields.filter((field) => !IMMEDIATE.includes(field))))
        expect(pendingChanges(next, structuredClone(next))).toEqual([])
      }),
    )
  })
})
