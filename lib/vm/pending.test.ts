import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VmSpec } from '../schema/vm-spec.ts'
import { pendingChanges } from './pending.ts'

const IMAGE = '01890000-0000-7000-8000-000000000001'
const spec = VmSpec.parse({
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
  disks: [disk],
  networks: [],
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
const IMMEDIATE = ['name', 'description', 'tags', 'autostart', 'guest']

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
      { path: '/memoryMiB', live: 1024, next: 2048, reason: 'The size of the memory is fixed while the guest runs.' },
    ])
  })

  it('a new device is pending at its place, a removed one at the end of the list', () => {
    const added = { ...card, id: 'net1', mac: '52:54:00:00:00:02', rootPort: 2 }
    const changes = pendingChanges(spec, { ...spec, disks: [cd], networks: [card, added] })
    expect(changes).toEqual([
      { path: '/disks/-', live: disk, next: null, reason: expect.stringContaining('disk0') },
      { path: '/networks/1', live: null, next: added, reason: expect.stringContaining('net1') },
    ])
  })

  it('the order of a list is not a change: devices keep their place in the guest', () => {
    expect(pendingChanges(spec, { ...spec, disks: [cd, disk] })).toEqual([])
  })

  it('reasons name what changed', () => {
    const reasonOf = (disks: VmSpec['disks'], networks = spec.networks) =>
      pendingChanges(spec, { ...spec, disks, networks }).map((change) => change.reason)
    expect(reasonOf([disk, { ...cd, image: null }])).toEqual(['The medium in “cd0” is changed at the next start.'])
    expect(reasonOf([{ ...disk, sizeGiB: 30 }, cd])).toEqual([
      'The guest sees the new size of “disk0” at the next start.',
    ])
    expect(reasonOf([{ ...disk, bootIndex: null }, cd])).toEqual([
      'The boot order is read when the guest is powered on.',
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
