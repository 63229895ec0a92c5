import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Retention } from '#lib/schema/schedule.ts'
import { EngineError } from '#server/engine/errors.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDir } from '#server/store/data-dir.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createScheduler, MAX_PER_TARGET, type NewSchedule, type ScheduleRunner, type Scheduler } from './scheduler.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const ANN = '01890000-0000-7000-8000-000000000002'
let dir: string
let store: ReturnType<typeof openStore>
let scheduler: Scheduler
let wall: number
let ran: string[]
let failures: string[]

const open = (runner?: ScheduleRunner['run']): Scheduler => {
  const made = createScheduler({
    store,
    clock: { now: () => new Date(wall) },
    warn: (_, error) => {
      throw error
    },
    onChange: () => {},
    onFailed: (_, run) => failures.push(run.message),
  })
  made.handle('snapshot', {
    run:
      runner ??
      (async (_, { dueAt }) => {
        ran.push(dueAt.toISOString())
        return { result: 'ok', message: 'Done.' }
      }),
  })
  made.open()
  return made
}
const daily = (change: Partial<NewSchedule> = {}): NewSchedule => ({
  kind: 'snapshot',
  target: { type: 'vm', id: 'vm1' },
  ownerId: ANN,
  cron: '0 3 * * *',
  timeZone: 'UTC',
  retention: Retention.parse({ daily: 7 }),
  options: {},
  paused: false,
  ...change,
})
const at = async (text: string) => {
  wall = Date.parse(text)
  scheduler.tick()
  await scheduler.idle()
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-sch-'))
  prepareDataDir(join(dir, 'd'), process.getuid?.() === 0, () => {})
  store = openStore(dataPaths(join(dir, 'd')))
  wall = Date.parse('2026-11-27T12:00:00Z')
  ran = []
  failures = []
  scheduler = open()
})
afterEach(async () => {
  await scheduler.close()
  store.close()
  rmSync(dir, { recursive: true, force: true })
})

test('a schedule runs when its time has come, and once', async () => {
  const { document } = scheduler.create(daily())
  await at('2026-11-28T02:59:59Z')
  expect(ran).toEqual([])
  await at('2026-11-28T03:00:10Z')
  await at('2026-11-28T03:00:40Z')
  expect(ran).toEqual(['2026-11-28T03:00:00.000Z'])
  expect(scheduler.get(document.id)).toMatchObject({
    nextAt: new Date('2026-11-29T03:00:00Z'),
    progress: { lastRun: { result: 'ok', message: 'Done.' } },
  })
})

test('runs missed while the dashboard was down are made up for once', async () => {
  scheduler.create(daily({ cron: '0 * * * *' }))
  await scheduler.close()
  wall += 2.5 * DAY
  scheduler = open()
  await scheduler.idle()
  expect(ran).toEqual(['2026-11-30T00:00:00.000Z'])
  scheduler.tick()
  await scheduler.idle()
  expect(ran).toHaveLength(1)
})

test('a clock set forward by a day runs it once, one set back by a day leaves it alone until its next time (F40)', async () => {
  scheduler.create(daily())
  await at('2026-11-28T12:00:00Z')
  expect(ran).toHaveLength(1)
  await at('2026-11-27T12:00:00Z')
  await at('2026-11-27T12:00:30Z')
  expect(ran).toHaveLength(1)
  await at('2026-11-28T03:00:01Z')
  await at('2026-11-28T03:00:31Z')
  expect(ran).toHaveLength(2)
})

test('what fails is kept with its reason and told', async () => {
  await scheduler.close()
  scheduler = open(async () => {
    throw new EngineError('no_space', 'The disk is full.')
  })
  const { document } = scheduler.create(daily())
  await at('2026-11-28T03:00:00Z')
  expect(scheduler.get(document.id)?.progress.lastRun).toMatchObject({ result: 'failed', message: 'The disk is full.' })
  expect(failures).toEqual(['The disk is full.'])
})

test('a run the dashboard did not survive is shown as interrupted and not repeated (F49)', async () => {
  await scheduler.close()
  const hangs = Promise.withResolvers<never>()
  scheduler = open(() => hangs.promise)
  const { document } = scheduler.create(daily())
  wall = Date.parse('2026-11-28T03:00:00Z')
  scheduler.tick()
  // As after a kill: another one on the same store, while the first never learns its end.
  const dead = scheduler
  scheduler = open()
  await scheduler.idle()
  expect(scheduler.get(document.id)?.progress.lastRun?.result).toBe('interrupted')
  expect(ran).toEqual([])
  hangs.reject(new EngineError('busy', 'over'))
  await dead.close()
})

test('a paused schedule does not run, and what passed meanwhile is not made up for', async () => {
  const { document, revision } = scheduler.create(daily({ paused: true }))
  await at('2026-11-28T04:00:00Z')
  expect(scheduler.get(document.id)?.nextAt).toBeNull()
  scheduler.update(document.id, { paused: false }, revision)
  await at('2026-11-28T05:00:00Z')
  expect(ran).toEqual([])
  await at('2026-11-29T03:00:00Z')
  expect(ran).toHaveLength(1)
})

test('a schedule that takes longer than its interval does not run twice at once, and makes up for what it missed', async () => {
  await scheduler.close()
  const gates: PromiseWithResolvers<void>[] = []
  scheduler = open(async () => {
    const gate = Promise.withResolvers<void>()
    gates.push(gate)
    await gate.promise
    return { result: 'ok', message: 'Done.' }
  })
  scheduler.create(daily({ cron: '0 * * * *' }))
  for (const time of ['13:00:00', '14:00:00', '15:00:00']) {
    wall = Date.parse(`2026-11-27T${time}Z`)
    scheduler.tick()
  }
  expect(gates).toHaveLength(1)
  gates[0]?.resolve()
  await expect.poll(() => gates.length).toBe(2)
  gates[1]?.resolve()
  await scheduler.idle()
  expect(gates).toHaveLength(2)
})

test('no more than two run at once', async () => {
  await scheduler.close()
  let most = 0
  let running = 0
  scheduler = open(async () => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
    return { result: 'ok', message: 'Done.' }
  })
  for (let n = 0; n < 9; n += 1) scheduler.create(daily({ target: { type: 'vm', id: `vm${n}` } }))
  await at('2026-11-28T03:00:00Z')
  expect(most).toBe(2)
  expect(scheduler.list().every(({ progress }) => progress.lastRun?.result === 'ok')).toBe(true)
})

test('bad patterns, too many schedules and old revisions are refused, and nothing is stored (D12)', () => {
  expect(() => scheduler.create(daily({ cron: '* * * * *' }))).toThrow(/too often/)
  expect(() => scheduler.create(daily({ timeZone: 'Mars/Base' }))).toThrow(/no time zone/)
  expect(scheduler.list()).toEqual([])
  for (let n = 0; n < MAX_PER_TARGET; n += 1) scheduler.create(daily())
  expect(() => scheduler.create(daily())).toThrow(/16 schedules/)
  const [first] = scheduler.list()
  if (first === undefined) throw new Error('none')
  scheduler.update(first.document.id, { cron: '0 4 * * *' }, first.revision)
  expect(() => scheduler.update(first.document.id, { cron: '0 5 * * *' }, first.revision)).toThrow(/meanwhile/)
  expect(() => scheduler.update(first.document.id, { cron: 'no' }, null)).toThrow(/five fields/)
  expect(scheduler.get(first.document.id)?.document.cron).toBe('0 4 * * *')
})

test('the schedules of a VM that has gone go with it', async () => {
  scheduler.create(daily())
  scheduler.create(daily({ target: { type: 'vm', id: 'vm2' } }))
  scheduler.removeOf('vm', 'vm1')
  await scheduler.close()
  scheduler = open()
  expect(scheduler.list().map(({ document }) => document.target.id)).toEqual(['vm2'])
})

test('an unreadable schedule is left out and keeps nothing else from running (F29)', async () => {
  scheduler.create(daily())
  store.put('schedule', 'broken', { v: 1, cron: 7 })
  await scheduler.close()
  const warnings: string[] = []
  scheduler = createScheduler({
    store,
    clock: { now: () => new Date(wall) },
    warn: (message) => warnings.push(message),
    onChange: () => {},
  })
  expect(scheduler.list()).toHaveLength(1)
  expect(warnings).toEqual([expect.stringContaining('broken')])
})
