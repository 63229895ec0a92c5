import { describe, expect, it } from 'vitest'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import { VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import {
  afterChange,
  draftProblems,
  driverImage,
  drivesFor,
  fromSpec,
  newCard,
  type SpecDraft,
  suggestName,
  toInput,
  toPatch,
  withDriverCd,
} from './spec-draft.ts'

const IMAGE = '01890000-0000-7000-8000-00000000a150'
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
    { id: 'cd0', device: 'cdrom', bus: 'sata', image: IMAGE, bootIndex: 1, port: 0 },
    { id: 'disk0', device: 'disk', bus: 'virtio-blk', sizeGiB: 20, image: null, bootIndex: 2, rootPort: 0 },
  ],
  networks: [
    {
      id: 'net0',
      model: 'virtio-net',
      mac: '52:54:00:00:00:01',
      network: 'user',
      restrict: false,
      forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }],
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
const empty: SpecDraft = { name: 'demo', scalars: {}, drives: [], cards: [] }
const iso = { id: IMAGE, name: 'debian.iso', kind: 'iso', source: 'upload' } as const
// Image ids are branded; the row only passes the string on.
const chosen = (image: object) => image as Parameters<typeof drivesFor>[0]

describe('toInput', () => {
  it('what was not touched is left out, so that the server chooses it', () => {
    expect(toInput(empty)).toEqual({ name: 'demo', disks: [], networks: [] })
  })
  it('is accepted by the schema, with everything set', () => {
    expect(VmSpecInput.safeParse(toInput(fromSpec(spec))).success).toBe(true)
  })
  it('an emptied number is not sent as null', () => {
    expect(toInput({ ...empty, scalars: { cpus: null } })).not.toHaveProperty('cpus')
  })
})

describe('toPatch', () => {
  it('an untouched draft changes nothing', () => {
    expect(toPatch(fromSpec(spec), spec)).toEqual({})
  })
  it('sends only what differs, and lists whole with their ids', () => {
    const draft = fromSpec(spec)
    const changed = {
      ...draft,
      name: 'other',
      scalars: { ...draft.scalars, memoryMiB: 2048 },
      drives: draft.drives.map((drive) => (drive.id === 'cd0' ? { ...drive, image: null } : drive)),
    }
    const patch = toPatch(changed, spec)
    expect(patch).toEqual({
      name: 'other',
      memoryMiB: 2048,
      disks: [
        { device: 'cdrom', id: 'cd0', image: null },
        { device: 'disk', id: 'disk0', image: null, sizeGiB: 20 },
      ],
    })
    expect(VmSpecPatch.safeParse(patch).success).toBe(true)
  })
  it('sends rows of other lists whole, what was set beyond a row’s own fields, and null where null means something', () => {
    const draft = fromSpec(spec)
    const patch = toPatch(
      {
        ...draft,
        scalars: { ...draft.scalars, memoryMaxMiB: 8192, watchdog: { model: 'i6300esb', action: 'reset' } },
        drives: draft.drives.map((drive) => (drive.id === 'disk0' ? { ...drive, more: { bus: 'nvme' } } : drive)),
        cards: draft.cards.map((card) => ({ ...card, more: { link: false } })),
        lists: { ...draft.lists, inputs: [{ key: 'a', fields: { type: 'mouse' } }] },
      },
      spec,
    )
    expect(patch).toMatchObject({
      memoryMaxMiB: 8192,
      watchdog: { model: 'i6300esb' },
      disks: [{ id: 'cd0' }, { id: 'disk0', bus: 'nvme' }],
      networks: [{ id: 'net0', link: false }],
      inputs: [{ type: 'mouse' }],
    })
    expect(VmSpecPatch.safeParse(patch).success).toBe(true)
    const back = toPatch(
      { ...draft, scalars: { ...draft.scalars, memoryMaxMiB: null } },
      { ...spec, memoryMaxMiB: 8192 },
    )
    expect(back).toEqual({ memoryMaxMiB: null })
  })
})

describe('draftProblems', () => {
  it('names emptied and fractional numbers and ports out of range by the field of the API', () => {
    const card = { ...newCard('a'), forwards: [{ key: 'f', protocol: 'tcp' as const, hostPort: 80, guestPort: null }] }
    const problems = draftProblems({
      ...empty,
      scalars: { cpus: null, memoryMiB: 1.5 },
      drives: [{ key: 'a', device: 'disk', image: null, origin: 'own', sizeGiB: null }],
      cards: [card],
    })
    expect(problems.map((problem) => problem.field)).toEqual([
      'cpus',
      'memoryMiB',
      'disks.0.sizeGiB',
      'networks.0.forwards.0.hostPort',
      'networks.0.forwards.0.guestPort',
    ])
    expect(draftProblems(fromSpec(spec))).toEqual([])
  })
})

describe('drivesFor', () => {
  it('an installer gets its CD and a blank disk, a tool or a ready disk only itself', () => {
    expect(drivesFor(chosen(iso), []).map((drive) => drive.device)).toEqual(['cdrom', 'disk'])
    expect(drivesFor(chosen({ ...iso, name: 'Memtest86+', source: 'starter' }), [])).toHaveLength(1)
    expect(drivesFor(chosen({ ...iso, kind: 'disk' }), []).map((drive) => drive.device)).toEqual(['disk'])
    expect(drivesFor(null, [])).toEqual([])
  })
  it('choosing again replaces the suggestion and keeps what was added by hand', () => {
    const own = { key: 'x', device: 'disk', image: null, origin: 'own', sizeGiB: 5 } as const
    const first = drivesFor(chosen(iso), [])
    expect(drivesFor(null, first)).toEqual([])
    expect(drivesFor(chosen(iso), [...first, own]).map((drive) => drive.key)).toEqual(['boot', 'x'])
  })
})

describe('the CD with the virtio drivers of a Windows guest', () => {
  const image = (name: string, fields: object = {}) => ({
    ...({ id: IMAGE as never, name, label: null, kind: 'iso', present: true } as const),
    ...fields,
  })
  it('is known by its name or its label, the newest first, never a disk or what has gone', () => {
    const [older, newer] = [image('virtio-win-0.1.99.iso'), image('virtio-win-0.1.271.iso')]
    expect(driverImage([older, newer, image('debian.iso')])).toBe(newer)
    expect(driverImage([image('drivers.iso', { label: 'VIRTIO_WIN' })])).toBeDefined()
    expect(driverImage([image('virtio-win.qcow2', { kind: 'disk' }), image('debian.iso')])).toBeUndefined()
    expect(driverImage([image('virtio-win.iso', { present: false })])).toBeUndefined()
  })
  it('stands last and is never booted from; another one takes its place', () => {
    const base = { ...empty, drives: drivesFor(chosen({ ...iso, id: 'w' }), []) }
    const added = withDriverCd(base, 'a')
    expect(added.drives.map((drive) => drive.key)).toEqual(['boot', 'auto', 'drivers'])
    expect(toInput(added).disks?.[2]).toEqual({ device: 'cdrom', image: 'a', bootIndex: null })
    expect(withDriverCd(added, 'a')).toBe(added)
    expect(withDriverCd(added, 'b').drives.at(-1)?.image).toBe('b')
    expect(withDriverCd(added, null).drives).toEqual(base.drives)
  })
  it('is not added where a drive has it already', () => {
    const own = { ...empty, drives: drivesFor(chosen(iso), []) }
    expect(withDriverCd(own, IMAGE)).toBe(own)
  })
  it('that was taken away stays away', () => {
    const added = withDriverCd(empty, 'a')
    expect(afterChange(added, { ...added, drives: [] }).noDrivers).toBe(true)
    expect(afterChange(added, { ...added, name: 'other' }).noDrivers).toBeUndefined()
  })
})

describe('suggestName', () => {
  it('says what the image is, without what every image says', () => {
    const none = new Set<string>()
    expect(suggestName('debian-12.5.0-amd64-netinst.iso', none)).toBe('debian-12-5-0')
    expect(suggestName('ubuntu-24.04-live-server-amd64.iso', none)).toBe('ubuntu-24-04')
    expect(suggestName('debian-12-generic.qcow2.xz', none)).toBe('debian-12')
    expect(suggestName('Memtest86+', none)).toBe('memtest86')
    expect(suggestName('###', none)).toBe('vm')
    expect(suggestName(null, none)).toBe('vm')
  })
  it('is not taken, and always valid', () => {
    expect(suggestName('a.iso', new Set(['a', 'a-2']))).toBe('a-3')
    for (const name of ['  x  ', '日本語 12.iso', `${'long-'.repeat(40)}.iso`, '_-_.qcow2'])
      expect(VmSpec.shape.name.safeParse(suggestName(name, new Set())).success, name).toBe(true)
  })
})

it('a new card has a unicast, locally administered address', () => {
  expect(newCard('a', () => 0.999).mac).toBe('52:54:00:ff:ff:ff')
  expect(newCard('a', () => 0).mac).toBe('52:54:00:00:00:00')
})
