/** Joins life in the lab with the rest of the engine: leases, idle VMs, times of power, bookings. */
import { type Grants, may } from '#lib/auth/privileges.ts'
import type { VmLab } from '#lib/schema/lab.ts'
import type { Role } from '#lib/schema/user.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { ViewerCounts } from '#server/console/types.ts'
import type { EventHub } from '#server/events/hub.ts'
import { createBookingRecords } from '#server/lab/bookings.ts'
import { createLabPolicies } from '#server/lab/policy.ts'
import { createLabRecords } from '#server/lab/records.ts'
import { createLabTime, type LabClock } from '#server/lab/time.ts'
import type { Scheduler } from '#server/schedules/scheduler.ts'
import type { Store } from '#server/store/types.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { canSeeVm, requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import { type BookingDeps, createBookings } from './lab-bookings.ts'
import { createIdleWatch } from './lab-idle.ts'
import { createLeases } from './lab-leases.ts'
import { createOrderlyOffs } from './lab-off.ts'
import { createPowerSchedules } from './lab-power.ts'
import type { Caller, LabEngine } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

/** How often times are looked at; `settleMs`: nothing is stopped so soon after a start. */
export interface LabTimes {
  readonly tickMs: number
  readonly settleMs: number
  readonly staggerMs?: number
}
const TIMES: LabTimes = { tickMs: 30_000, settleMs: 15 * 60_000 }

export interface LabRoomDeps {
  readonly store: Store
  readonly records: VmRecords
  readonly supervisor: Supervisor
  readonly viewers: ViewerCounts
  readonly journal: Journal
  readonly busy: VmBusy
  readonly scheduler: Scheduler
  readonly hub: EventHub
  readonly clock: LabClock
  readonly times?: LabTimes | undefined
  readonly hostDevices: BookingDeps['hostDevices']
  readonly isTemplate: (vmId: string) => boolean
  readonly user: (id: string) => { readonly name: string; readonly role: Role; readonly grants?: Grants } | null
  readonly userName: (id: string) => string
  readonly start: (caller: Caller, vmId: string) => Promise<unknown>
  /** What is shown of a VM changed. */
  readonly announce: (record: VmRecord) => void
  readonly warn: (message: string, error?: unknown) => void
}

export interface LabRoom {
  readonly engine: LabEngine
  /** Part of a VM's view: the same object until it changes; null: nothing to say. */
  of(vmId: string): VmLab | null
  /** It does not start by itself. */
  isHeld(vmId: string): boolean
  /** @throws EngineError conflict: its lease is over, or one of its devices is somebody else's now */
  assertMayRun(vmId: string): void
  /** Devices that the running guest does not have yet. @throws EngineError conflict: somebody else's now */
  assertMayPlug(ownerId: string, spec: VmSpec, launched: VmSpec): void
  definitionChanged(record: VmRecord, gone: boolean): void
  runtimeChanged(vmId: string, runtime: VmRuntime): void
  viewersChanged(vmId: string): void
  load(): void
  /** Begins to look at the clock. Call once guests were adopted. */
  open(): void
  /** Looks now; one at a time. */
  tick(): Promise<void>
  close(): Promise<void>
}

export function createLabRoom(deps: LabRoomDeps): LabRoom {
  const { store, records, supervisor, viewers, journal, busy, scheduler, hub, userName, isTemplate, start, warn } = deps
  const times = deps.times ?? TIMES
  const time = createLabTime(deps.clock, times.settleMs)
  const views = new Map<string, VmLab | null>()
  const policies = createLabPolicies(store, warn)
  const lab = createLabRecords(store, (vmId) => refresh(vmId))
  const common = { store, lab, policies, records, supervisor, journal, time, warn }
  const offs = createOrderlyOffs(common)
  const leases = createLeases({ ...common, offs, isTemplate, start })
  const idle = createIdleWatch({
    ...{ ...common, viewers, busy, longestLookMs: 2 * times.tickMs },
    onChange: (vmId) => refresh(vmId),
  })
  const power = createPowerSchedules({
    ...{ ...common, scheduler, busy, offs, start, userName, isTemplate },
    user: deps.user,
    may: (caller) => may(caller, 'vm.power'),
    ...(times.staggerMs !== undefined && { staggerMs: times.staggerMs }),
  })
  const bookingRecords = createBookingRecords(store)
  const bookings = createBookings({
    ...{ ...common, bookings: bookingRecords, userName, hostDevices: deps.hostDevices },
    onChange: () => void hub.publish('lab', null, null),
  })

  const viewOf = (vmId: string): VmLab | null => {
    const lease = isTemplate(vmId) ? null : leases.view(vmId)
    const seen = { lease, idle: idle.view(vmId), blocked: leases.blocked(vmId) }
    return seen.lease === null && seen.idle === null && seen.blocked === null ? null : seen
  }
  const refresh = (vmId: string): void => {
    const before = views.get(vmId) ?? null
    const after = viewOf(vmId)
    if (JSON.stringify(before) === JSON.stringify(after)) return
    views.set(vmId, after)
    const record = records.get(vmId)
    if (record === null) return
    deps.announce(record)
    hub.publish('lab', vmId, null, undefined, { ownerId: record.ownerId })
  }
  const NONE: VmLab = { lease: null, idle: null, blocked: null }
  const shown = (caller: Caller, record: VmRecord) => ({
    // Ids come from the store, whose documents were parsed when they were written.
    vmId: record.id as Awaited<ReturnType<LabEngine['lease']>>['vmId'],
    lab: views.get(record.id) ?? NONE,
    choices: leases.choices(caller, record),
  })

  const assertMayRun = (vmId: string): void => {
    const why = leases.blocked(vmId)
    if (why !== null) throw new EngineError('conflict', why)
    const record = records.get(vmId)
    if (record !== null) bookings.assertMayUse(record.ownerId, record.spec.hostDevices)
  }
  busy.addGuard((vmId, action) => {
    if (action === 'start') assertMayRun(vmId)
  })

  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | null = null
  const look = async (): Promise<void> => {
    try {
      await leases.tick()
      await idle.tick()
      await offs.tick()
      await bookings.tick()
      // The wall clock may have been set: dates are shown anew.
      for (const vmId of lab.ids()) refresh(vmId)
    } catch (error) {
      // A full disk: everything is tried again with the next look.
      warn('Leases and idle VMs could not be looked at; it is tried again.', error)
    }
  }
  const tick = (): Promise<void> => {
    looking ??= look().finally(() => {
      looking = null
    })
    return looking
  }

  const engine: LabEngine = {
    async policy() {
      const { policy, revision } = policies.read()
      return { policy, revision }
    },
    async updatePolicy(caller, patch, expected) {
      if (!may(caller, 'lab.manage')) throw new EngineError('forbidden', 'Only an administrator may set this.')
      const isFirst = patch.lease?.defaultHours != null && policies.read().policy.lease.defaultHours === null
      store.transaction(() => {
        if (isFirst) leases.spareExisting()
        policies.change(patch, expected)
      })
      journal.write({
        what: 'labPolicyUpdate',
        text: `${caller.name} changed the lab settings: ${Object.keys(patch).join(', ') || 'nothing'}.`,
        result: 'ok',
        caller,
        durable: true,
      })
      for (const { id } of records.all()) refresh(id)
      hub.publish('lab', null, null)
      const { policy, revision } = policies.read()
      return { policy, revision }
    },
    async leases(caller) {
      const items = records
        .all()
        .filter((record) => canSeeVm(caller, record) && views.get(record.id) != null)
        .map((record) => shown(caller, record))
      return { items }
    },
    async lease(caller, vmId) {
      return shown(caller, requireVm(records, caller, vmId))
    },
    async extend(caller, vmId) {
      const record = requireVm(records, caller, vmId)
      await leases.extend(caller, record)
      return shown(caller, record)
    },
    async setLease(caller, vmId, input) {
      const record = requireVm(records, caller, vmId)
      await leases.set(caller, record, input)
      return shown(caller, record)
    },
    async powerSchedules(caller, { vm }) {
      if (vm !== undefined) requireVm(records, caller, vm)
      return { items: power.list(caller, vm) }
    },
    createPowerSchedule: async (caller, input) => power.create(caller, input),
    updatePowerSchedule: async (caller, id, patch, expected) => power.update(caller, id, patch, expected),
    deletePowerSchedule: async (caller, id, expected) => power.remove(caller, id, expected),
    skipPowerSchedule: async (caller, id, { skip }) => power.skip(caller, id, skip),
    bookings: (caller, query) => bookings.list(caller, query),
    book: (caller, input) => bookings.create(caller, input),
    unbook: async (caller, id) => bookings.remove(caller, id),
  }

  return {
    engine,
    of: (vmId) => views.get(vmId) ?? null,
    isHeld: (vmId) => leases.blocked(vmId) !== null,
    assertMayRun,
    assertMayPlug(ownerId, { hostDevices }, launched) {
      const has = new Set(launched.hostDevices.map(({ id }) => id))
      bookings.assertMayUse(ownerId, hostDevices, (index) => !has.has(hostDevices[index]?.id ?? ''))
    },
    definitionChanged(record, gone) {
      if (!gone) {
        leases.begin(record)
        return
      }
      lab.forget(record.id)
      idle.forget(record.id)
      views.delete(record.id)
    },
    runtimeChanged: idle.runtimeChanged,
    viewersChanged: idle.viewersChanged,
    load() {
      lab.load(records.isStored, warn)
      bookingRecords.load(warn)
      for (const vmId of lab.ids()) views.set(vmId, viewOf(vmId))
    },
    open() {
      timer = setInterval(() => void tick(), times.tickMs)
      timer.unref()
      void tick()
    },
    tick,
    async close() {
      clearInterval(timer)
      await looking
      idle.close()
    },
  }
}
