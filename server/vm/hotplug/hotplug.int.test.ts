/** Live changes against a QEMU that refuses, holds on, falls silent or vanishes at any point of them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { pendingChanges } from '#lib/vm/pending.ts'
import { EngineError } from '#server/engine/errors.ts'
import { vmRunPaths } from '#server/paths.ts'
import { compile } from '#server/spec/compile.ts'
import { applyPatch, normalizeSpec } from '#server/spec/normalize.ts'
import { capabilitiesOf, compileInput, factsFor, ISO_ID, VM_ID } from '#server/spec/test-support.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import { Guest } from '../guest.ts'
import { type RunRecord, readRecord } from '../run-record.ts'
import { QemuModel } from '../testing/qemu-model.ts'
import { liveFacts } from './facts.ts'
import { Hotplug, type HotplugSurroundings } from './hotplug.ts'
import { partsOf } from './plan-change.ts'

const capabilities = capabilitiesOf('7.2')
const facts = factsFor(capabilities)

function compiled(spec: VmSpec): LaunchPlan {
  const result = compile(compileInput(spec, capabilities))
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.plan
}

const live = normalizeSpec(
  {
    name: 'live',
    cpus: 1,
    maxCpus: 4,
    memoryMiB: 1024,
    memoryMaxMiB: 4096,
    virtioMem: { sizeMiB: 1024, requestedMiB: 0 },
    watchdog: { model: 'i6300esb', action: 'reset' },
    disks: [{ device: 'disk', sizeGiB: 1 }, { device: 'disk', sizeGiB: 1 }, { device: 'cdrom' }],
    networks: [{ forwards: [{ protocol: 'tcp', hostPort: 2022, guestPort: 22 }] }],
  },
  facts,
)
const [disk0, , cd] = live.disks
const [card] = live.networks
/** One of everything: settings, devices that come, one that goes. */
const next = applyPatch(
  live,
  {
    name: 'renamed',
    cpus: 2,
    virtioMem: { sizeMiB: 1024, requestedMiB: 512 },
    watchdog: { model: 'i6300esb', action: 'pause' },
    balloonTargetMiB: 512,
    disks: [
      { id: 'disk0', device: 'disk', bootIndex: 5 },
      { id: 'cd0', device: 'cdrom', image: ISO_ID as never },
      { device: 'disk', sizeGiB: 2 },
    ],
    networks: [{ ...card, link: false, forwards: [] }, {}],
    inputs: [{ type: 'mouse' }],
    channels: [{}],
    dimms: [{ sizeMiB: 256 }],
  },
  facts,
)

/** None of these devices has any. */
const NO_SURROUNDINGS: HotplugSurroundings = {
  identities: [],
  makeTap: () => Promise.reject(new Error('no tap was wanted')),
  removeTap: () => Promise.reject(new Error('no tap was made')),
  startHelper: () => Promise.reject(new Error('no helper was wanted')),
  stopHelper: () => Promise.reject(new Error('no helper was started')),
}

interface Rig {
  readonly model: QemuModel
  readonly guest: Guest
  readonly hotplug: Hotplug
  readonly turns: Promise<void>[]
  record(): RunRecord
  /** As a dashboard that has just been started, knowing what the record on disk says. */
  again(): Promise<Rig>
  change(next: VmSpec, commit?: () => void): Promise<void>
}
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

async function rig(): Promise<Rig> {
  const dir = mkdtempSync(join(tmpdir(), 'gdh-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  const paths = { ...vmRunPaths(dir, VM_ID), launch: join(dir, 'launch.json'), qmp: join(dir, 'q') }
  const plan = compiled(live)
  const model = new QemuModel(paths.qmp, plan)
  await model.listen()
  cleanups.push(() => model.close())
  for (const forward of ['tcp:127.0.0.1:2022-:22']) model.forwards.add(forward)
  const record: RunRecord = {
    v: 1,
    vmId: VM_ID,
    bootId: 'x',
    startedAt: new Date(0).toISOString(),
    by: 'ann',
    process: null,
    helpers: [],
    accelerator: { kind: 'tcg', reason: 'x' },
    spec: live,
    plan,
    change: null,
  }
  const open = async (known: RunRecord): Promise<Rig> => {
    const turns: Promise<void>[] = []
    const nothing = () => {}
    const guest = new Guest({
      vmId: VM_ID,
      paths,
      process: { identity: { pid: 1, startTime: 0 }, exited: new Promise(nothing), hurry: nothing, release: nothing },
      record: known,
      listener: {
        onRunState: nothing,
        onEnding: nothing,
        onAgent: nothing,
        onDevice: (event) => hotplug.onEvent(event),
        onMonitorLost: nothing,
        onSilence: nothing,
      },
      createSerialHub: () => {
        throw new Error('no serial line here')
      },
    })
    const hotplug = new Hotplug(
      guest,
      NO_SURROUNDINGS,
      { submit: (turn) => void turns.push(turn()), changed: nothing, warn: nothing },
      300,
    )
    guest.keepRecord({})
    await guest.connect({ timeoutMs: 5000 })
    cleanups.push(() => guest.release())
    return {
      model,
      guest,
      hotplug,
      turns,
      record: () => JSON.parse(readFileSync(paths.launch, 'utf8')),
      again: async () => {
        guest.release()
        const read = await readRecord(paths.launch)
        if (read === null) throw new Error('the record is unreadable')
        return open(read)
      },
      change: (wanted, commit = nothing) =>
        hotplug.change(
          { next: wanted, canUnplugCpus: true, user: null, compile: compiled, commit },
          AbortSignal.timeout(20_000),
        ),
    }
  }
  return open(record)
}

/** What the record says runs is what QEMU has: each device with its back ends, and nothing else of devices. */
function expectTruth({ model, record }: Rig): void {
  const { spec, plan, change } = record()
  if (spec === null || plan === null) throw new Error('nothing on record')
  expect(change).toBeNull()
  const parts = plan.options.flatMap((option) => {
    const argv = option.argv[1] ?? ''
    const id = /"id":"([^"]+)"/.exec(argv)?.[1] ?? /"node-name":"([^"]+)"/.exec(argv)?.[1]
    return id === undefined ? [] : [id]
  })
  expect(parts).toEqual(expect.arrayContaining([...model.devices.keys()]))
  const owned = (['disks', 'networks', 'inputs', 'channels', 'dimms'] as const).flatMap((list) =>
    spec[list].flatMap(({ id }) => partsOf(plan.options, id).map((part) => part.id)),
  )
  const present = new Set([...model.devices.keys(), ...model.backends.keys()])
  for (const id of owned) expect(present, id).toContain(id)
  // Nothing of a device that is not on record.
  const strays = [...present].filter((id) => /^(disk|cd|net|input|port|dimm)\d/.test(id) && !owned.includes(id))
  expect(strays).toEqual([])
  expect(spec.cpus).toBe(model.cpus)
}

describe('a change', () => {
  it('is made in full: QEMU has it, the record has it, and nothing is pending', async () => {
    const the = await rig()
    let committed = 0
    await the.change(next, () => {
      committed += 1
    })
    expect(committed).toBe(1)
    expectTruth(the)
    expect(the.record().spec).toMatchObject({ name: 'renamed', cpus: 2 })
    expect(pendingChanges(the.record().spec as VmSpec, next)).toEqual([])
    expect(the.model.snapshot()).toMatchObject({ links: { net0: false }, forwards: [], media: { cd0: 'cd0.0' } })
    // The plan on record would start what runs.
    const argv = (plan: LaunchPlan) => plan.options.map((option) => option.argv.join(' ')).sort()
    const wanted = compiled(next)
    const here = argv(the.record().plan as LaunchPlan).filter((one) => !one.includes('pcie-root-port'))
    expect(here).toEqual(argv(wanted).filter((one) => !one.includes('pcie-root-port')))
  })

  it('that is taken back by another leaves QEMU as it began', async () => {
    const the = await rig()
    const before = the.model.snapshot()
    await the.change(next)
    await the.change(live)
    expectTruth(the)
    expect(the.record().spec).toEqual(expect.objectContaining({ name: 'live', cpus: 1 }))
    expect({ ...the.model.snapshot(), settings: null }).toEqual({ ...before, settings: null })
  })

  it('refused at any command leaves QEMU, record and definition as they were, and names the field', async () => {
    const counter = await rig()
    counter.model.arm(null)
    await counter.change(next)
    const commands = counter.model.count
    expect(commands).toBeGreaterThan(20)
    for (let at = 0; at < commands; at += 1) {
      const the = await rig()
      const before = the.model.snapshot()
      let committed = false
      the.model.arm({ at, kind: 'refuse' })
      const failure = await the
        .change(next, () => {
          committed = true
        })
        .then(
          () => null,
          (error: unknown) => error,
        )
      // A back end that QEMU keeps does no harm, and is no reason to fail.
      if (failure === null) continue
      expect(failure, `command ${at}: ${the.model.asked[at]}`).toBeInstanceOf(EngineError)
      expect((failure as EngineError).field, `command ${at}`).toMatch(/^[a-zA-Z]+(\.\d+)?(\.[a-zA-Z]+)?$/)
      expect((failure as EngineError).message).toContain('The test refuses.')
      expect(committed).toBe(false)
      const what = `after a refusal of command ${at}, ${the.model.asked[at]}`
      expect(the.record().spec, what).toMatchObject({ ...live, disks: expect.arrayContaining(live.disks) })
      expect({ ...the.model.snapshot(), settings: null }, what).toEqual({ ...before, settings: null })
      const { settings } = the.model
      expect([undefined, 0], what).toContain(settings.get('vmem0 requested-size'))
      expect([undefined, 'reset'], what).toContain(settings.get('wdt0 action'))
      expect([undefined, 1 << 30], what).toContain(settings.get('balloon0 target'))
      expect(settings.get('disk0 bootindex'), what).toBe(disk0?.bootIndex)
      expectTruth(the)
    }
  })

  it('cut off at any command is put right by the next connection and by the next dashboard', async () => {
    const counter = await rig()
    counter.model.arm(null)
    await counter.change(next)
    for (const kind of ['vanish-before', 'vanish-after'] as const) {
      for (let at = 0; at < counter.model.count; at += 1) {
        const the = await rig()
        the.model.arm({ at, kind })
        const failure = await the.change(next).then(
          () => null,
          (error: unknown) => error,
        )
        the.model.arm(null)
        if (failure !== null) expect(failure, `command ${at}`).toMatchObject({ code: 'unresponsive' })
        const later = await the.again()
        await later.hotplug.reconcile()
        expectTruth(later)
        // Settings go back, devices that came stay until somebody decides.
        expect(later.model.links.get('net0') ?? true).toBe(
          later.record().spec?.networks.find((c) => c.id === 'net0')?.link,
        )
        const rule = later.record().spec?.networks[0]?.forwards.length ?? 0
        expect(later.model.forwards.size).toBe(rule)
        // And the change can be made now.
        await later.change(next)
        expectTruth(later)
      }
    }
  })

  it('that would make QEMU abort for want of room is refused before', async () => {
    const the = await rig()
    the.model.codeBytes = 255 * 2 ** 20
    const failure = the.change({ ...live, cpus: 2 })
    await expect(failure).rejects.toMatchObject({ code: 'busy', field: 'cpus' })
    expect(the.model.cpus).toBe(1)
    expectTruth(the)
    the.model.codeBytes = 128 * 2 ** 20
    await the.change({ ...live, cpus: 2 })
    expect(the.model.cpus).toBe(2)
  })

  it('that cannot be stored is taken back', async () => {
    const the = await rig()
    const before = the.model.snapshot()
    const full = new EngineError('no_space', 'The disk is full.')
    await expect(
      the.change(next, () => {
        throw full
      }),
    ).rejects.toBe(full)
    expect({ ...the.model.snapshot(), settings: null }).toEqual({ ...before, settings: null })
    expectTruth(the)
  })
})

describe('a guest that holds on to a device', () => {
  const without = applyPatch(live, { disks: live.disks.filter((drive) => drive.id !== 'disk1') as never }, facts)
  const pending = ({ guest, hotplug }: Rig) =>
    pendingChanges(
      guest.record?.spec as VmSpec,
      without,
      liveFacts(live, guest.record?.plan ?? null, true, hotplug.awaited),
    )

  it('is waited for, the definition goes ahead, and the device that leaves late is cleared away', async () => {
    const the = await rig()
    the.model.sticky.add('disk1')
    await the.change(without)
    expect(pending(the)).toMatchObject([{ path: '/disks/-', waiting: 'guest' }])
    expect(the.model.backends.has('disk1.0')).toBe(true)
    the.model.release('disk1')
    await expect.poll(() => the.turns.length).toBe(1)
    await Promise.all(the.turns)
    expect(pending(the)).toEqual([])
    expect(the.model.backends.has('disk1.0')).toBe(false)
    expectTruth(the)
  })

  it('is asked again when the change is repeated', async () => {
    const the = await rig()
    the.model.sticky.add('disk1')
    await the.change(without)
    the.model.sticky.delete('disk1')
    await the.change(without)
    expect(pending(the)).toEqual([])
    expectTruth(the)
  })

  it('and says why is quoted', async () => {
    const the = await rig()
    the.model.sticky.add('disk1')
    const changing = the.change(without)
    await expect.poll(() => the.model.asked).toContain('device_del')
    the.model.say({
      event: 'DEVICE_UNPLUG_GUEST_ERROR',
      data: { device: 'disk1', path: '/machine/peripheral/disk1' },
      timestamp: { seconds: 1, microseconds: 0 },
    })
    await changing
    expect(pending(the)).toMatchObject([{ waiting: 'guest', reason: expect.stringContaining('refused') }])
  })

  it('and says so late is quoted all the same', async () => {
    const the = await rig()
    the.model.sticky.add('disk1')
    await the.change(without)
    the.model.say({
      event: 'ACPI_DEVICE_OST',
      data: { info: { device: 'disk1', source: 3, status: 1, slot: '1', 'slot-type': 'DIMM' } },
      timestamp: { seconds: 1, microseconds: 0 },
    })
    await expect.poll(() => pending(the)[0]?.reason).toContain('in use')
  })

  it('that has left while nobody listened is found gone at the next connection', async () => {
    const the = await rig()
    the.guest.release()
    the.model.devices.delete('disk1')
    const later = await the.again()
    await later.hotplug.reconcile()
    expect(later.record().spec?.disks.map(({ id }) => id)).toEqual(['disk0', 'cd0'])
    expect(later.model.backends.has('disk1.0')).toBe(false)
    expectTruth(later)
  })

  it('keeps the place of a device that is to follow it, which then waits', async () => {
    const the = await rig()
    the.model.sticky.add('disk1')
    const [, old] = live.disks
    const place = old?.device === 'disk' ? old.rootPort : null
    const follower = { device: 'disk' as const, id: 'disk7' as never, sizeGiB: 1, rootPort: place }
    const wanted = applyPatch(live, { disks: [disk0, cd, follower] as never }, facts)
    await the.change(wanted)
    expect(the.model.devices.has('disk7')).toBe(false)
    the.model.sticky.delete('disk1')
    await the.change(wanted)
    expect(the.model.devices.has('disk7')).toBe(true)
    expectTruth(the)
  })
})
