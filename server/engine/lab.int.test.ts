/** Life in the lab through the whole engine, with real guests and a clock of the test's own. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { HostDevices } from '#lib/schema/host-devices.ts'
import { BookingInput, DEFAULT_LAB_POLICY, type LabPolicyPatch, PowerScheduleInput } from '#lib/schema/lab.ts'
import { openStore } from '#server/store/sqlite.ts'
import {
  ADMIN,
  ANN,
  anotherRun,
  BEN,
  create,
  data,
  EYE,
  NO_HOST_DEVICES,
  now,
  options,
  until,
  update,
} from './test-rig.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const SETTLE = 15 * MINUTE
/** A Friday. */
const START = Date.parse('2026-11-27T12:00:00Z')
const clock = { steady: 1_000_000, wall: START }
options.labClock = { steadyMs: () => clock.steady, wallMs: () => clock.wall }
options.labTimes = { tickMs: 30_000, settleMs: SETTLE, staggerMs: 0 }

const SMALL = { memoryMiB: 32, cpus: 1, networks: [], disks: [] }
const tick = () => now.engine.labTick()
const pass = async (ms: number) => {
  clock.steady += ms
  clock.wall += ms
  await tick()
}
const lab = async (id: string) => (await now.engine.vms.view(ADMIN, id)).lab
const state = async (id: string) => (await now.engine.vms.view(ADMIN, id)).state
const lines = (id: string, what: string) =>
  now.store.activity({ limit: 500, objectId: id }).filter((line) => line.what === what).length
const policy = (patch: LabPolicyPatch) => now.engine.lab.updatePolicy(ADMIN, patch, null)
const LEASE = { defaultHours: 48, maxHours: 96, warnHours: 24, suspend: 'pause', graceHours: 72 } as const

beforeEach(async () => {
  for (const { id } of (await now.engine.lab.powerSchedules(ADMIN, {})).items)
    await now.engine.lab.deletePowerSchedule(ADMIN, id, null)
  for (const { id } of (await now.engine.lab.bookings(ADMIN, {})).items) await now.engine.lab.unbook(ADMIN, id)
  const { lease, idle, devices } = DEFAULT_LAB_POLICY
  await policy({ lease, idle, devices })
})

describe('a lease', () => {
  it('warns, suspends and archives, each once over restarts and set clocks, and one click undoes each (F40)', async () => {
    await policy({ lease: LEASE })
    const { id } = await create(ANN, { ...SMALL, name: 'leased', autostart: true })
    await now.engine.vms.start(ANN, id)
    expect((await lab(id))?.lease).toMatchObject({
      phase: 'active',
      endsAt: new Date(clock.wall + 48 * HOUR).toISOString(),
      next: { step: 'warn' },
    })

    // A date set forward and back ends nothing, and shows the end where it now lies.
    for (const jump of [DAY, -2 * DAY, DAY]) {
      clock.wall += jump
      await tick()
      expect((await lab(id))?.lease).toMatchObject({ phase: 'active' })
    }
    await pass(24 * HOUR)
    expect((await lab(id))?.lease).toMatchObject({ phase: 'warned', next: { step: 'suspend' } })
    await tick()
    await anotherRun(() => {})
    await tick()
    expect(lines(id, 'vmLeaseWarned')).toBe(1)
    expect(await state(id)).toBe('running')

    await pass(24 * HOUR)
    expect(await state(id)).toBe('paused')
    await tick()
    await anotherRun(() => {})
    await tick()
    expect(lines(id, 'vmLeaseSuspended')).toBe(1)
    const suspended = await now.engine.vms.view(ANN, id)
    expect(suspended.lab).toMatchObject({
      lease: { phase: 'suspended', done: expect.stringContaining('paused') },
      blocked: expect.stringContaining('extend'),
    })
    expect(suspended.actions.resume).toMatchObject({ allowed: false, reason: expect.stringContaining('lease ended') })
    await expect(now.engine.vms.resume(ANN, id)).rejects.toMatchObject({ code: 'conflict' })

    await now.engine.lab.extend(ANN, id)
    expect(await state(id)).toBe('running')
    expect((await lab(id))?.lease).toMatchObject({
      phase: 'active',
      endsAt: new Date(clock.wall + 48 * HOUR).toISOString(),
    })

    // This time nobody does anything.
    await pass(24 * HOUR)
    await pass(24 * HOUR)
    expect(await state(id)).toBe('paused')
    await pass(72 * HOUR)
    expect((await lab(id))?.lease).toMatchObject({ phase: 'archived', next: null })
    // This guest does not know how to shut down.
    await pass(11 * MINUTE)
    expect(await state(id)).toBe('off')
    await anotherRun(() => {})
    await pass(30 * DAY)
    expect([lines(id, 'vmLeaseSuspended'), lines(id, 'vmLeaseArchived')]).toEqual([2, 1])
    await expect(now.engine.vms.start(ADMIN, id)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('archived'),
    })
    await now.engine.autostart()
    expect(await state(id)).toBe('off')

    await now.engine.lab.extend(ANN, id)
    expect(await lab(id)).toMatchObject({ lease: { phase: 'active' }, blocked: null })
    await now.engine.vms.start(ANN, id)
    expect(await state(id)).toBe('running')
    expect((await now.engine.verifyActivity(ADMIN)).isIntact).toBe(true)
  })

  it('a step that a crash interrupted is finished once, and nothing is stopped in the first minutes of a start', async () => {
    await policy({ lease: LEASE })
    const { id } = await create(ANN, { ...SMALL, name: 'interrupted' })
    await now.engine.vms.start(ANN, id)
    await pass(24 * HOUR)
    await anotherRun(() => {
      clock.steady += 24 * HOUR
      clock.wall += 24 * HOUR
    })
    await tick()
    expect(await state(id)).toBe('running')
    // As a crash leaves it that came after the step was stored and before the guest was paused.
    await anotherRun(() => {
      const store = openStore(data)
      const found = store.get<{ lease: object }>('lab', id)?.value
      store.put('lab', id, {
        ...found,
        lease: { ...found?.lease, phase: 'suspended', todo: 'suspend', ran: 'running' },
      })
      store.close()
    })
    await tick()
    expect(await state(id)).toBe('paused')
    await tick()
    expect(lines(id, 'vmLeaseSuspended')).toBe(1)
    await now.engine.lab.extend(ANN, id)
    expect(await state(id)).toBe('running')
  })

  it('its owner moves the end as far as the host allows, an administrator anywhere, nobody else at all', async () => {
    await policy({ lease: LEASE })
    const { id } = await create(ANN, { ...SMALL, name: 'moved' })
    const at = (hours: number) => ({ endsAt: new Date(clock.wall + hours * HOUR).toISOString() })
    const set = (who: typeof ANN, input: { endsAt: string | null }) => now.engine.lab.setLease(who, id, input)
    expect((await set(ANN, at(90))).lab.lease?.endsAt).toBe(at(90).endsAt)
    for (const bad of [at(97), at(0.5), at(-5), { endsAt: null }])
      await expect(set(ANN, bad)).rejects.toMatchObject({ code: 'bad_input', field: 'endsAt' })
    // One click leads to the maximum, and once there no further.
    expect((await now.engine.lab.extend(ANN, id)).lab.lease?.endsAt).toBe(at(96).endsAt)
    await expect(now.engine.lab.extend(ANN, id)).rejects.toMatchObject({ code: 'conflict' })
    expect((await now.engine.lab.lease(ANN, id)).choices).toMatchObject({ extendsTo: null, mayRemove: false })
    await expect(set(BEN, at(2))).rejects.toMatchObject({ code: 'not_found' })
    await expect(set(EYE, at(2))).rejects.toMatchObject({ code: 'forbidden' })
    expect((await now.engine.lab.leases(BEN)).items).toEqual([])
    expect((await set(ADMIN, at(2000))).lab.lease?.endsAt).toBe(at(2000).endsAt)
    expect((await set(ADMIN, { endsAt: null })).lab.lease).toBeNull()
    await pass(400 * DAY)
    expect(await lab(id)).toBeUndefined()
  })

  it('settings that contradict themselves are refused, and old ones are not written over newer', async () => {
    await expect(policy({ lease: { ...LEASE, maxHours: 47 } })).rejects.toMatchObject({ field: 'lease.maxHours' })
    const { revision } = await policy({ lease: LEASE })
    await policy({ bookingMaxDays: 3 })
    await expect(now.engine.lab.updatePolicy(ADMIN, {}, revision)).rejects.toMatchObject({ code: 'stale_revision' })
    await expect(now.engine.lab.updatePolicy(ANN, {}, null)).rejects.toMatchObject({ code: 'forbidden' })
    // VMs that were there before have none.
    await policy({ lease: { ...LEASE, defaultHours: null } })
    const { id } = await create(ANN, { ...SMALL, name: 'older' })
    clock.wall += 1000
    await policy({ lease: LEASE })
    await pass(400 * DAY)
    expect(await lab(id)).toBeUndefined()
  })
})

it('an idle VM is shown with the evidence, paused after a warning, and goes on when somebody looks', async () => {
  await policy({ idle: { afterHours: 1, cpuPercent: 80, networkKBps: 2, action: 'pause', warnHours: 1 } })
  const { id } = await create(ANN, { ...SMALL, networks: [{ network: 'user' }], name: 'idle' })
  await now.engine.vms.start(ANN, id)
  await until(
    async () => (await now.engine.vms.view(ANN, id)).live?.cpuLoad ?? 1,
    (load) => load < 0.5,
    60_000,
  )
  const rest = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += MINUTE) await pass(MINUTE)
  }
  await rest(30 * MINUTE)
  // A night in which nobody looked, or a set clock, is no time of rest.
  await pass(12 * HOUR)
  clock.wall += DAY
  await tick()
  expect((await lab(id))?.idle ?? null).toBeNull()
  await anotherRun(() => {})
  await until(
    async () => (await now.engine.vms.view(ANN, id)).live?.cpuLoad ?? 1,
    (load) => load < 0.5,
    60_000,
  )
  await rest(70 * MINUTE)
  expect((await lab(id))?.idle).toMatchObject({
    paused: false,
    evidence: expect.stringMatching(/CPU stayed at or below \d+ % of one, no open connection/),
    pausesAt: expect.any(String),
  })
  expect(lines(id, 'vmIdle')).toBe(1)

  options.viewers = 1
  now.engine.consoles.presenceChanged(id)
  expect((await lab(id))?.idle ?? null).toBeNull()
  await rest(130 * MINUTE)
  expect(await state(id)).toBe('running')

  options.viewers = 0
  await rest(125 * MINUTE)
  expect(await state(id)).toBe('paused')
  expect((await lab(id))?.idle).toMatchObject({ paused: true })
  expect(lines(id, 'vmIdlePaused')).toBe(1)
  await anotherRun(() => {})
  options.viewers = 1
  now.engine.consoles.presenceChanged(id)
  await until(
    () => state(id),
    (found) => found === 'running',
  )
  options.viewers = 0
  expect((await lab(id))?.idle ?? null).toBeNull()
})

describe('times of power', () => {
  const plan = (who: typeof ANN, input: object) =>
    now.engine.lab.createPowerSchedule(
      who,
      PowerScheduleInput.parse({ cron: '0 9 * * 1-5', timeZone: 'Europe/Vienna', ...input }),
    )
  const tagged = { target: { type: 'tag', id: 'office' } }
  /** Lets the time come and nothing else. */
  const at = async (instant: string) => {
    clock.steady += Math.max(0, Date.parse(instant) - clock.wall)
    clock.wall = Date.parse(instant)
    await tick()
  }

  it('switch on and off what has the tag, leave a time out when asked, and cut the power of what does not obey', async () => {
    await at('2027-01-08T12:00:00Z')
    const mine = await create(ANN, { ...SMALL, name: 'mine', tags: ['office'] })
    const other = await create(BEN, { ...SMALL, name: 'other', tags: ['office'] })
    const on = await plan(ANN, { ...tagged, action: 'on' })
    const off = await plan(ANN, { ...tagged, action: 'off', cron: '0 19 * * 1-5', offAfterMinutes: 1 })
    // Nine in Vienna, on Monday.
    expect(on).toMatchObject({ nextAt: '2027-01-11T08:00:00.000Z', vms: [{ name: 'mine' }], conflicts: [] })
    await at('2027-01-11T08:00:10Z')
    expect([await state(mine.id), await state(other.id)]).toEqual(['running', 'off'])
    await at('2027-01-11T18:00:10Z')
    expect(await state(mine.id)).toBe('stopping')
    await pass(2 * MINUTE)
    expect(await state(mine.id)).toBe('off')

    const skipped = await now.engine.lab.skipPowerSchedule(ANN, on.id, { skip: true })
    expect(skipped).toMatchObject({ skippedAt: '2027-01-12T08:00:00.000Z', nextAt: '2027-01-13T08:00:00.000Z' })
    await at('2027-01-12T08:00:10Z')
    expect(await state(mine.id)).toBe('off')

    // Down from Wednesday morning to Thursday evening: it is not started only to be shut down again.
    await at('2027-01-14T18:30:00Z')
    expect(await state(mine.id)).toBe('off')
    const [left] = (await now.engine.lab.powerSchedules(ANN, { vm: mine.id })).items
    expect(left?.lastRun).toMatchObject({ result: 'skipped' })

    await now.engine.lab.updatePowerSchedule(ANN, off.id, { paused: true }, off.revision)
    await now.engine.lab.setLease(ANN, mine.id, { endsAt: new Date(clock.wall + 2 * HOUR).toISOString() })
    const [explained] = (await now.engine.lab.powerSchedules(ANN, {})).items
    expect(explained?.conflicts[0]).toMatch(/mine will not be started: its lease ends/)
    await pass(HOUR + MINUTE)
    await pass(HOUR)
    await at('2027-01-15T08:00:10Z')
    expect(await state(mine.id)).toBe('off')
    const failed = (await now.engine.lab.powerSchedules(ANN, {})).items.find(({ id }) => id === on.id)
    expect(failed?.lastRun).toMatchObject({ result: 'failed', message: expect.stringContaining('lease ended') })
  })

  it('stay at their hour when summer begins, whatever others plan for a tag of theirs', async () => {
    await at('2027-03-26T12:00:00Z')
    const vm = await create(ANN, { ...SMALL, name: 'summer', tags: ['season'] })
    // Ben switches none of Ann's VMs, and so takes the place of none of her times.
    const season = { type: 'tag', id: 'season' }
    for (let hour = 0; hour < 16; hour += 1)
      await plan(BEN, { target: season, action: 'off', cron: `30 ${hour} * * *` })
    await plan(ANN, { target: season, action: 'off', cron: '0 3 * * *' })
    const on = await plan(ANN, { target: { type: 'vm', id: vm.id }, action: 'on', cron: '0 9 * * *' })
    expect(on.nextAt).toBe('2027-03-27T08:00:00.000Z')
    await at('2027-03-27T20:00:00Z')
    expect(await state(vm.id)).toBe('running')
    const next = (await now.engine.lab.powerSchedules(ANN, { vm: vm.id })).items.find(({ id }) => id === on.id)
    expect(next?.nextAt).toBe('2027-03-28T07:00:00.000Z')
  })

  it('are refused where they cannot be used, and are nobody else’s business (D12)', async () => {
    const vm = await create(ANN, { ...SMALL, name: 'own' })
    const target = { type: 'vm', id: vm.id }
    for (const [bad, field] of [
      [{ cron: '* * * * * *' }, 'cron'],
      [{ cron: '* * * * *' }, 'cron'],
      [{ cron: '61 9 * * 1' }, 'cron'],
      [{ timeZone: 'Mars/Base' }, 'timeZone'],
    ] as const)
      await expect(plan(ANN, { target, action: 'on', ...bad })).rejects.toMatchObject({ code: 'bad_input', field })
    expect(
      PowerScheduleInput.safeParse(Array.from({ length: 1_000_000 }, () => ({ target, action: 'on' }))).success,
    ).toBe(false)
    await expect(plan(BEN, { target, action: 'on' })).rejects.toMatchObject({ code: 'not_found' })
    await expect(plan(EYE, { target, action: 'on' })).rejects.toMatchObject({ code: 'forbidden' })
    for (let hour = 0; hour < 16; hour += 1) await plan(ANN, { target, action: 'on', cron: `0 ${hour} * * *` })
    await expect(plan(ANN, { target, action: 'on' })).rejects.toMatchObject({ code: 'conflict' })
    expect((await now.engine.lab.powerSchedules(BEN, {})).items).toEqual([])
  })
})

it('a device is one person’s at a time, by whatever name, and another’s VM does not start with it', async () => {
  const usb = {
    ...{ path: '1-4', bus: 1, port: '4', address: 3, vendorId: '0529', productId: '0001', vendorName: 'Aladdin' },
    ...{ productName: 'Dongle', speedMbps: 12, isHub: false, kinds: [], drivers: [], usedFor: [] },
    ...{ assignable: true, reason: null },
  } satisfies HostDevices['usb'][number]
  options.hostDevices = { ...NO_HOST_DEVICES, usb: [usb] }
  const dongle = { type: 'usb-id', vendor: '0529', product: '0001' } as const
  const socket = { type: 'usb-port', hostBus: 1, hostPort: '4' } as const
  const from = (hours: number) => new Date(clock.wall + hours * HOUR).toISOString()
  const book = (who: typeof ANN, device: object, begin: number, end: number) =>
    now.engine.lab.book(who, BookingInput.parse({ device, from: from(begin), until: from(end) }))
  await expect(book(ANN, dongle, 1, 2)).rejects.toMatchObject({ code: 'bad_input', field: 'device' })
  await policy({ devices: [{ device: dongle, name: 'Licence dongle' }], bookingMaxDays: 2 })

  const mine = await book(ANN, dongle, 1, 3)
  await expect(book(BEN, socket, 2, 4)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringMatching(/ann has booked “Licence dongle” from .* until /),
    details: { by: 'ann' },
  })
  await book(BEN, socket, 3, 4)
  for (const [begin, end, field] of [
    [5, 5, 'until'],
    [6, 5, 'until'],
    [-3, -2, 'until'],
    [5, 60, 'until'],
    [24 * 400, 24 * 400 + 1, 'from'],
  ] as const)
    await expect(book(BEN, dongle, begin, end)).rejects.toMatchObject({ code: 'bad_input', field })
  await expect(book(EYE, dongle, 5, 6)).rejects.toMatchObject({ code: 'forbidden' })
  // Two who ask at the same moment.
  const both = await Promise.allSettled([book(ANN, dongle, 5, 6), book(BEN, socket, 5, 6)])
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])

  const vm = await create(BEN, { ...SMALL, name: 'licensed' })
  await update(ADMIN, vm.id, { hostDevices: [dongle] })
  await pass(2 * HOUR)
  await expect(now.engine.vms.start(BEN, vm.id)).rejects.toMatchObject({
    code: 'conflict',
    field: 'hostDevices.0',
    message: expect.stringMatching(/ann has booked “Licence dongle” until/),
    details: { by: 'ann', until: mine.until },
  })
  // Nor is it given to one that runs already, by whichever name; what does not touch it goes on.
  await update(ADMIN, vm.id, { hostDevices: [] })
  expect((await now.engine.vms.start(BEN, vm.id)).state).toBe('running')
  for (const device of [dongle, socket])
    await expect(update(ADMIN, vm.id, { hostDevices: [device] })).rejects.toMatchObject({
      code: 'conflict',
      field: 'hostDevices.0',
      message: expect.stringMatching(/ann has booked “Licence dongle” until .* next start/),
    })
  await update(ADMIN, vm.id, { description: 'waits for the dongle' })
  await now.engine.vms.poweroff(BEN, vm.id)
  await update(ADMIN, vm.id, { hostDevices: [dongle] })
  await pass(HOUR + MINUTE)
  expect((await now.engine.vms.start(BEN, vm.id)).state).toBe('running')

  await expect(now.engine.lab.unbook(BEN, mine.id)).rejects.toMatchObject({ code: 'forbidden' })
  await anotherRun(() => {})
  const { items, devices } = await now.engine.lab.bookings(EYE, {})
  expect(items).toHaveLength(3)
  expect(items.every((one) => !one.mine)).toBe(true)
  expect(devices).toMatchObject([{ name: 'Licence dongle', present: true, trouble: null }])
  await now.engine.lab.unbook(ADMIN, mine.id)
  expect((await now.engine.lab.bookings(ANN, {})).items).toHaveLength(2)
  options.hostDevices = NO_HOST_DEVICES
})
