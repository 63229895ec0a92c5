import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StoredVmSpec } from '../schema/vm-spec/upgrade.ts'
import type { VmSpec } from '../schema/vm-spec.ts'
import { applyStep, planLive } from './live.ts'
import { DEVICE_LISTS } from './live-places.ts'
import type { LiveFacts, LiveStep } from './live-types.ts'
import { pendingChanges, ROOMY } from './pending.ts'
import { same } from './same.ts'

const ISO = '01890000-0000-7000-8000-000000000001' as never
const live: VmSpec = StoredVmSpec.parse({
  name: 'demo',
  description: '',
  tags: [],
  guest: 'linux',
  cpus: 2,
  maxCpus: 4,
  cpuModel: 'auto',
  memoryMiB: 1024,
  memoryMaxMiB: 4096,
  virtioMem: { sizeMiB: 1024, requestedMiB: 0 },
  watchdog: { model: 'i6300esb', action: 'reset' },
  accelerator: 'auto',
  machine: 'pc-q35-7.2',
  firmware: 'bios',
  disks: [
    { id: 'disk0', device: 'disk', bus: 'virtio-blk', sizeGiB: 20, image: null, bootIndex: 2, rootPort: 0 },
    { id: 'cd0', device: 'cdrom', bus: 'sata', image: ISO, bootIndex: 1, port: 0 },
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
  spareRootPorts: 2,
  clock: 'utc',
  autostart: false,
})
const [disk, cd] = live.disks
const [card] = live.networks
if (disk?.device !== 'disk' || cd?.device !== 'cdrom' || card === undefined) throw new Error('broken fixture')

const facts = (changes: Partial<LiveFacts> = {}): LiveFacts => ({ ...ROOMY, sockets: 4, ...changes })
const kinds = (steps: readonly LiveStep[]) => steps.map((step) => step.kind)
const extra = { ...disk, id: 'disk1', bootIndex: null, rootPort: 2 }
const without: VmSpec = { ...live, disks: [cd] }

describe('planLive', () => {
  it('a definition that runs needs no step', () => {
    expect(planLive(live, structuredClone(live), facts())).toEqual({ steps: [], pending: [] })
  })

  it('a new disk is plugged into its socket', () => {
    const { steps, pending } = planLive(live, { ...live, disks: [disk, cd, extra] }, facts())
    expect(steps).toEqual([
      { kind: 'plug', field: 'disks.2', list: 'disks', device: extra, properties: null, after: null },
    ])
    expect(pending).toEqual([])
  })

  it.each([
    ['no socket is left', { ...extra, rootPort: 4 }, {}, 'No free port'],
    ['the machine has none', extra, { sockets: 0 }, 'no sockets'],
    ['its socket is held by one that stays', { ...extra, rootPort: 1 }, {}, 'held by “net0”'],
    [
      'its controller is missing',
      { ...extra, bus: 'virtio-scsi', rootPort: null, port: 0 },
      { has: () => false },
      'SCSI',
    ],
    ['the mainboard carries it', { ...extra, bus: 'sata', rootPort: null, port: 2 }, {}, 'mainboard'],
  ] as const)('a disk waits for the next start when %s', (_, device, has, reason) => {
    const { steps, pending } = planLive(live, { ...live, disks: [disk, cd, device] }, facts(has))
    expect(steps).toEqual([])
    expect(pending).toMatchObject([{ path: '/disks/2', waiting: 'restart', reason: expect.stringContaining(reason) }])
  })

  it('a memory module is plugged in only where the guest was started with room for it', () => {
    const withModule = (sizeMiB: number) => ({ ...live, memoryMaxMiB: 16_384, dimms: [{ id: 'dimm0', sizeMiB }] })
    expect(kinds(planLive(live, withModule(2048), facts()).steps)).toEqual(['plug'])
    const { steps, pending } = planLive(live, withModule(2304), facts())
    expect(steps).toEqual([])
    expect(pending).toMatchObject([
      { path: '/memoryMaxMiB', waiting: 'restart' },
      { path: '/dimms/0', waiting: 'restart', reason: expect.stringContaining('4096 MiB') },
    ])
  })

  it('a device takes over the socket of one that leaves only after it has gone', () => {
    const { steps } = planLive(live, { ...live, disks: [cd, { ...extra, rootPort: 0 }] }, facts())
    expect(kinds(steps)).toEqual(['unplug', 'plug'])
    expect(steps[1]).toMatchObject({ after: 'disk0' })
  })

  it('settings come first, then what is added, then what the guest must give back', () => {
    const next = {
      ...without,
      name: 'other',
      disks: [{ ...cd, image: null }, extra],
      networks: [{ ...card, link: false }],
      cpus: 3,
    }
    expect(kinds(planLive(live, next, facts()).steps)).toEqual(['note', 'link', 'medium', 'plug', 'cpus', 'unplug'])
  })

  it('a device that the guest holds on to is awaited, with its words', () => {
    const silent = pendingChanges(live, without, facts({ awaited: new Map([['disk0', null]]) }))
    expect(silent).toMatchObject([{ path: '/disks/-', waiting: 'guest', reason: expect.stringContaining('disk0') }])
    const spoken = pendingChanges(live, without, facts({ awaited: new Map([['disk0', 'The guest refused.']]) }))
    expect(spoken).toMatchObject([{ waiting: 'guest', reason: 'The guest refused.' }])
    expect(kinds(planLive(live, without, facts({ awaited: new Map([['disk0', null]]) })).steps)).toEqual(['unplug'])
  })

  it('boot positions move together, and a device that leaves gives its own up to one that takes it', () => {
    const swapped = {
      ...live,
      disks: [
        { ...disk, bootIndex: 1 },
        { ...cd, bootIndex: 2 },
      ],
    }
    expect(planLive(live, swapped, facts()).steps).toMatchObject([
      {
        kind: 'boot-order',
        positions: [
          { id: 'disk0', bootIndex: 1 },
          { id: 'cd0', bootIndex: 2 },
        ],
      },
    ])
    const taken = { ...live, disks: [cd, { ...extra, bootIndex: 2 }] }
    expect(planLive(live, taken, facts()).steps).toMatchObject([
      { kind: 'boot-order', positions: [{ id: 'disk0', bootIndex: null }] },
      { kind: 'plug' },
      { kind: 'unplug' },
    ])
  })

  it('a card without boot ROM cannot be booted from before the next start', () => {
    const { steps, pending } = planLive(live, { ...live, networks: [{ ...card, bootIndex: 3 }] }, facts())
    expect(steps).toEqual([])
    expect(pending).toMatchObject([{ path: '/networks/0', waiting: 'restart' }])
  })

  it('CPUs are taken away only where QEMU survives it, and added up to the maximum of the start', () => {
    expect(kinds(planLive(live, { ...live, cpus: 1 }, facts()).steps)).toEqual(['cpus'])
    const unsafe = planLive(live, { ...live, cpus: 1 }, facts({ canUnplugCpus: false }))
    expect(unsafe).toMatchObject({ steps: [], pending: [{ path: '/cpus', waiting: 'restart' }] })
    const tooMany = planLive(live, { ...live, cpus: 5, maxCpus: 5 }, facts())
    expect(tooMany.steps).toEqual([])
    expect(tooMany.pending.map(({ path }) => path)).toEqual(['/cpus', '/maxCpus'])
  })

  it('only the part of a device that can change does, and the rest stays pending', () => {
    const throttle = {
      bytesPerSecond: 1,
      readBytesPerSecond: 0,
      writeBytesPerSecond: 0,
      iops: 0,
      readIops: 0,
      writeIops: 0,
      bytesPerSecondMax: 0,
      iopsMax: 0,
      burstSeconds: 1,
    }
    const next = { ...live, disks: [{ ...disk, throttle, cache: 'none' as const }, cd] }
    const { steps, pending } = planLive(live, next, facts())
    expect(kinds(steps)).toEqual(['throttle'])
    expect(pending).toMatchObject([{ path: '/disks/0', waiting: 'restart' }])
  })

  it('properties come with a device that is plugged in, and wait for one that is there', () => {
    const properties = { disk1: { 'queue-size': 64 } }
    const plugged = planLive(live, { ...live, disks: [disk, cd, extra], properties }, facts())
    expect(plugged.steps).toMatchObject([{ kind: 'plug', properties: properties.disk1 }])
    expect(plugged.pending).toEqual([])
    const present = planLive(live, { ...live, properties: { disk0: { 'queue-size': 64 } } }, facts())
    expect(present).toMatchObject({ steps: [], pending: [{ path: '/properties/disk0', waiting: 'restart' }] })
  })

  it('only the fields that were asked for are applied', () => {
    const next = { ...live, cpus: 3, networks: [{ ...card, link: false }] }
    expect(kinds(planLive(live, next, facts(), new Set(['cpus'])).steps)).toEqual(['cpus'])
  })
})

/** Definitions near `live`: devices come, go and change, scalars differ, places are sometimes taken or missing. */
const someDisk = fc.record({
  id: fc.constantFrom('disk0', 'disk1', 'disk2'),
  bus: fc.constantFrom('virtio-blk' as const, 'virtio-scsi' as const, 'sata' as const, 'usb' as const),
  place: fc.nat(5),
  bootIndex: fc.constantFrom(null, 1, 2, 3),
  cache: fc.constantFrom('writeback' as const, 'none' as const),
})
const nextSpec: fc.Arbitrary<VmSpec> = fc
  .record({
    disks: fc.uniqueArray(someDisk, { selector: ({ id }) => id, maxLength: 3 }),
    medium: fc.constantFrom(null, ISO, undefined),
    cards: fc.uniqueArray(
      fc.record({ id: fc.constantFrom('net0', 'net1'), place: fc.nat(5), link: fc.boolean(), port: fc.nat(2) }),
      { selector: ({ id }) => id, maxLength: 2 },
    ),
    cpus: fc.integer({ min: 1, max: 5 }),
    memoryMiB: fc.constantFrom(1024, 2048),
    requestedMiB: fc.constantFrom(0, 512),
    name: fc.constantFrom('demo', 'other'),
    dimm: fc.boolean(),
    input: fc.boolean(),
  })
  .map(({ disks, medium, cards, cpus, memoryMiB, requestedMiB, name, dimm, input }) => ({
    ...live,
    name,
    cpus,
    memoryMiB,
    virtioMem: { sizeMiB: 1024, requestedMiB },
    dimms: dimm ? [{ id: 'dimm0', sizeMiB: 256 }] : [],
    inputs: input ? [{ id: 'input0', type: 'mouse' as const, bus: 'usb' as const, rootPort: null, port: 5 }] : [],
    disks: [
      ...disks.map(({ id, bus, place, bootIndex, cache }) => ({
        ...disk,
        id,
        bus,
        bootIndex,
        cache,
        rootPort: bus === 'virtio-blk' ? place : null,
        port: bus === 'virtio-blk' ? null : place,
      })),
      ...(medium === undefined ? [] : [{ ...cd, image: medium }]),
    ],
    networks: cards.map(({ id, place, link, port }) => ({
      ...card,
      id,
      rootPort: place,
      link,
      mac: id === 'net0' ? card.mac : '52:54:00:00:00:02',
      forwards: port === 0 ? [] : [{ protocol: 'tcp' as const, hostPort: 2000 + port, guestPort: 22 }],
    })),
  }))
const someFacts: fc.Arbitrary<LiveFacts> = fc.record({
  sockets: fc.nat(6),
  has: fc.boolean().map((has) => () => has),
  canUnplugCpus: fc.boolean(),
  sharedMemory: fc.boolean(),
  awaited: fc.constant(new Map()),
})
const byId = (spec: VmSpec): VmSpec => {
  const lists = DEVICE_LISTS.map((list) => [list, [...spec[list]].sort((a, b) => (a.id < b.id ? -1 : 1))])
  return { ...spec, ...Object.fromEntries(lists) }
}

describe('steps', () => {
  it('all of them lead to what is wanted, less what is pending', () => {
    fc.assert(
      fc.property(nextSpec, someFacts, (next, known) => {
        const { steps, pending } = planLive(live, next, known)
        const after = steps.reduce(applyStep, live)
        expect(pendingChanges(after, next, known).map(({ path }) => path)).toEqual(pending.map(({ path }) => path))
        expect(planLive(after, next, known).steps).toEqual([])
        expect(same(byId(after), byId(next))).toBe(pending.length === 0)
      }),
      { numRuns: 500 },
    )
  })

  it('going back needs no restart unless something does not go back', () => {
    fc.assert(
      fc.property(nextSpec, (next) => {
        const after = planLive(live, next, ROOMY).steps.reduce(applyStep, live)
        const back = planLive(after, live, ROOMY)
        expect(back.pending).toEqual([])
        expect(same(byId(back.steps.reduce(applyStep, after)), byId(live))).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})
