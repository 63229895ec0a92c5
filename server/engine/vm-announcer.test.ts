import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ROLE_PRIVILEGES } from '#lib/auth/privileges.ts'
import type { ConsoleViewer } from '#lib/schema/console.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { NOBODY, type VmPresence } from '#server/console/types.ts'
import { EventHub } from '#server/events/hub.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { EVERYTHING, viewpointOf } from './access.ts'
import { createVmAnnouncer } from './vm-announcer.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'
import { createVmViews } from './vm-views.ts'

const OFF: VmRuntime = {
  version: 1,
  state: 'off',
  runState: null,
  since: '2026-01-01T00:00:00.000Z',
  detail: null,
  troubles: [],
  accelerator: null,
  live: null,
  launchedSpec: null,
  launchedPlan: null,
  awaited: new Map(),
  lastExit: null,
}
const LIVE: NonNullable<VmRuntime['live']> = {
  pid: 7,
  qemuVersion: '7.2.0',
  machine: 'pc-q35-7.2',
  vcpus: 1,
  memoryMiB: 64,
  cpuLoad: 0,
  residentMiB: 1,
  guestMemory: null,
  disk: null,
  agent: null,
  addresses: [],
  uid: 1,
  limits: { reason: null, limits: [] },
  confinement: 'user',
}
const spec = { name: 'a', accelerator: 'auto', disks: [], networks: [], memoryMiB: 64 } as unknown as VmSpec
const record: VmRecord = {
  id: '01890000-0000-7000-8000-000000000001',
  ownerId: 'o',
  uid: null,
  spec,
  revision: 3,
  createdAt: OFF.since,
  updatedAt: OFF.since,
}

const viewer = (kind: 'vnc' | 'serial'): ConsoleViewer => ({
  ...{ id: '01890000-0000-7000-8000-00000000beef' as ConsoleViewer['id'], name: 'ada', guest: false, kind },
  ...{ mode: 'view', since: OFF.since, holds: false, asksSince: null },
})

function rig() {
  let runtime = OFF
  let watching: VmPresence = NOBODY
  let decisions = 0
  const views = createVmViews({
    supervisor: { runtime: () => runtime } as unknown as Supervisor,
    rooms: { presence: () => watching },
    accelerator: {
      verdict: () => null,
      decide: () => {
        decisions += 1
        return { kind: 'tcg', reason: 'x' }
      },
      onChange: () => () => {},
    },
    userName: () => 'ann',
    busy: () => null,
    pause: () => null,
    lineage: () => null,
    lab: () => null,
  })
  const hub = new EventHub()
  const events: { kind: string; state: unknown; load: unknown }[] = []
  hub.subscribe(({ event }) => {
    const vm = event.object as unknown as { state: string; live?: { cpuLoad: number } } | undefined
    events.push({ kind: event.kind, state: vm?.state, load: vm?.live?.cpuLoad })
  })
  const records = { get: (id: string) => (id === record.id ? record : null) } as unknown as VmRecords
  const announcer = createVmAnnouncer(records, views, hub)
  const change = (next: Partial<VmRuntime>) => {
    runtime = { ...runtime, ...next, version: runtime.version + 1 }
    announcer.runtimeChanged(record.id, runtime, null)
  }
  return {
    views,
    announcer,
    events,
    change,
    decisions: () => decisions,
    watch: (w: typeof watching) => {
      watching = w
    },
  }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

it('a change of state is told at once, every time', () => {
  const { change, events } = rig()
  change({ state: 'starting' })
  change({ state: 'running', live: LIVE })
  change({ state: 'paused' })
  change({ state: 'running' })
  expect(events.map((event) => event.state)).toEqual(['starting', 'running', 'paused', 'running'])
})

it('numbers alone are told at most once a second, and the last ones are never lost', () => {
  const { change, events } = rig()
  change({ state: 'running', live: LIVE })
  for (let n = 1; n <= 20; n++) {
    vi.advanceTimersByTime(100)
    change({ live: { ...LIVE, cpuLoad: n } })
  }
  vi.advanceTimersByTime(5000)
  expect(events.length).toBeLessThanOrEqual(4)
  expect(events.at(-1)?.load).toBe(20)
})

it('a viewer who comes or goes is told within a fifth of a second, also while numbers wait', () => {
  const { change, events, announcer } = rig()
  change({ state: 'running', live: LIVE })
  change({ live: { ...LIVE, cpuLoad: 1 } })
  announcer.viewersChanged(record.id)
  announcer.viewersChanged(record.id)
  expect(events).toHaveLength(1)
  vi.advanceTimersByTime(200)
  expect(events).toHaveLength(2)
  vi.advanceTimersByTime(5000)
  announcer.viewersChanged(record.id)
  announcer.viewersChanged('01890000-0000-7000-8000-00000000dead')
  expect(events).toHaveLength(3)
})

it('a deleted VM is told as gone and its waiting numbers with it', () => {
  const { change, events, announcer } = rig()
  change({ state: 'running', live: LIVE })
  change({ live: { ...LIVE, cpuLoad: 1 } })
  announcer.definitionChanged(record, true)
  vi.advanceTimersByTime(5000)
  expect(events.map((event) => event.kind)).toEqual(['change', 'gone'])
})

it('a view is built once for each role until something of it changes', () => {
  const { views, change, decisions, watch } = rig()
  const first = views.view(record, EVERYTHING)
  expect(views.view(record, EVERYTHING)).toBe(first)
  expect(views.text(record, EVERYTHING)).toBe(JSON.stringify(first))
  expect(decisions()).toBe(1)
  const looking = views.view(record, viewpointOf(new Set(ROLE_PRIVILEGES.viewer)))
  expect(looking.actions.start?.allowed).toBe(false)
  expect(first.actions.start?.allowed).toBe(true)
  views.invalidate()
  expect(views.view(record, EVERYTHING)).not.toBe(first)
  change({ state: 'running', live: LIVE })
  const running = views.view(record, EVERYTHING)
  expect(running.state).toBe('running')
  watch({ viewers: [viewer('vnc'), viewer('vnc'), viewer('serial')], recordings: [] })
  expect(views.view(record, EVERYTHING).live?.viewers).toEqual({ vnc: 2, serial: 1 })
  expect(
    views.view(record, viewpointOf(new Set(ROLE_PRIVILEGES.viewer))).live?.watching.map(({ name }) => name),
  ).toEqual(['ada', 'ada', 'ada'])
  expect(views.view({ ...record, revision: 4 }, EVERYTHING).revision).toBe(4)
})
