/** Schedules of snapshots: what they make, in whose name, and what of it is kept. */
import { mayOn } from '#lib/auth/privileges.ts'
import { retain } from '#lib/schedules/retention.ts'
import { ScheduleId, UserId } from '#lib/schema/ids.ts'
import type { Job } from '#lib/schema/job.ts'
import {
  type SnapshotKind,
  SnapshotKind as SnapshotKindSchema,
  type SnapshotScheduleView,
} from '#lib/schema/snapshot.ts'
import type { ScheduleDocument } from '#server/schedules/documents.ts'
import type { Scheduler, ScheduleState } from '#server/schedules/scheduler.ts'
import type { SnapshotRecords } from '#server/snapshots/documents.ts'
import { requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Caller, SnapshotEngine } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

/** A schedule waits for other work on the VM to end. Milliseconds. */
const PATIENCE_MS = 15 * 60_000
const PATIENCE_STEP_MS = 2000

export interface Actor {
  readonly userId: string
  readonly name: string
}

export interface SnapshotScheduleDeps {
  readonly snapshots: SnapshotRecords
  readonly records: VmRecords
  readonly busy: VmBusy
  readonly journal: Journal
  readonly scheduler: Scheduler
  readonly userName: (id: string) => string
  /** What a person may now; null: gone, or may not sign in. */
  readonly authorityOf: (userId: string) => Pick<Caller, 'userId' | 'role' | 'via' | 'grants'> | null
  readonly max: number
  /** @throws EngineError forbidden */
  assertMay(caller: Caller): void
  take(
    actor: Actor,
    record: VmRecord,
    input: { note: string; kind?: SnapshotKind; scheduleId: string },
  ): Promise<StartedJob>
  drop(actor: Actor, record: VmRecord, snapshotId: string): StartedJob
}

interface StartedJob {
  readonly view: Job
  readonly finished: Promise<string>
}

type ScheduleOperations = Pick<
  SnapshotEngine,
  'schedules' | 'createSchedule' | 'updateSchedule' | 'deleteSchedule' | 'runSchedule'
>

export function createSnapshotSchedules(deps: SnapshotScheduleDeps): ScheduleOperations {
  const { snapshots, records, busy, journal, scheduler, userName, max, assertMay, take, drop } = deps

  const scheduleView = ({ document, revision, progress, nextAt }: ScheduleState): SnapshotScheduleView => ({
    id: ScheduleId.parse(document.id),
    target: document.target,
    cron: document.cron,
    timeZone: document.timeZone,
    retention: document.retention,
    paused: document.paused,
    nextAt: nextAt?.toISOString() ?? null,
    lastRun: progress.lastRun,
    owner: { id: UserId.parse(document.ownerId), name: userName(document.ownerId) },
    createdAt: document.createdAt,
    revision,
    snapshotKind: kindFrom(document),
    jobId: progress.lastRun?.jobId ?? null,
  })
  const mustSchedule = (caller: Caller, vmId: string, scheduleId: string): ScheduleState => {
    requireVm(records, caller, vmId)
    const state = scheduler.get(scheduleId)
    if (state === null || state.document.kind !== 'snapshot' || state.document.target.id !== vmId)
      throw new EngineError('not_found', 'This VM has no such schedule.')
    return state
  }

  const waitUntilFree = async (vmId: string, signal: AbortSignal): Promise<void> => {
    const deadline = performance.now() + PATIENCE_MS
    while (busy.get(vmId) !== null && performance.now() < deadline) {
      signal.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, PATIENCE_STEP_MS))
    }
  }

  scheduler.handle('snapshot', {
    async run(schedule, { signal, setJob }) {
      const record = records.get(schedule.target.id)
      if (record === null) throw new EngineError('not_found', 'The VM is gone.')
      const authority = deps.authorityOf(schedule.ownerId)
      if (authority === null || !mayOn(authority, record, 'vm.snapshot'))
        throw new EngineError(
          'forbidden',
          `${userName(schedule.ownerId)}, in whose name this runs, may no longer take snapshots of this VM. Make a schedule of your own.`,
        )
      const actor = { userId: schedule.ownerId, name: `${userName(schedule.ownerId)} (schedule)` }
      await waitUntilFree(record.id, signal)
      await makeRoom(actor, record, schedule, signal)
      const kind = kindFrom(schedule)
      const job = await take(actor, record, { note: '', scheduleId: schedule.id, ...(kind && { kind }) })
      setJob(job.view.id)
      const id = await job.finished
      const gone = await thinOut(actor, record, schedule, signal)
      const name = snapshots.get(id)?.document.name ?? ''
      return {
        result: 'ok',
        message: gone === 0 ? `Took ${name}.` : `Took ${name} and deleted ${gone} that no rule keeps.`,
      }
    },
  })

  const madeBy = (schedule: ScheduleDocument) =>
    snapshots
      .ofVm(schedule.target.id)
      .filter(({ document }) => document.scheduleId === schedule.id && document.state === 'complete')

  /** Deletes what no rule keeps; what a person made is never among it. @returns how many */
  const thinOut = async (
    actor: Actor,
    record: VmRecord,
    schedule: ScheduleDocument,
    signal: AbortSignal,
  ): Promise<number> => {
    const mine = madeBy(schedule).map(({ document }) => ({ id: document.id, atMs: Date.parse(document.createdAt) }))
    const kept = retain(mine, schedule.retention, schedule.timeZone)
    let gone = 0
    for (const { id } of mine) {
      if (kept.has(id)) continue
      signal.throwIfAborted()
      await drop(actor, record, id).finished
      gone += 1
    }
    return gone
  }
  /** A VM that is full of snapshots gets its new one only after an old one of this schedule went. */
  const makeRoom = async (
    actor: Actor,
    record: VmRecord,
    schedule: ScheduleDocument,
    signal: AbortSignal,
  ): Promise<void> => {
    if (snapshots.ofVm(record.id).length >= max) await thinOut(actor, record, schedule, signal)
  }

  return {
    async schedules(caller, vmId) {
      requireVm(records, caller, vmId)
      return { items: scheduler.list({ kind: 'snapshot', targetId: vmId }).map(scheduleView) }
    },
    async createSchedule(caller, vmId, input) {
      const record = requireVm(records, caller, vmId)
      return journal.vmOperation('snapshotScheduleCreate', caller, record, 'scheduled snapshots of', async () => {
        assertMay(caller)
        const { kind, ...rest } = input
        return scheduleView(
          scheduler.create({
            ...rest,
            kind: 'snapshot',
            target: { type: 'vm', id: vmId },
            ownerId: caller.userId,
            options: { kind: kind ?? null },
          }),
        )
      })
    },
    async updateSchedule(caller, vmId, scheduleId, patch, expected) {
      mustSchedule(caller, vmId, scheduleId)
      const record = requireVm(records, caller, vmId)
      return journal.vmOperation('snapshotScheduleUpdate', caller, record, 'changed a schedule of', async () => {
        assertMay(caller)
        const { kind, cron, timeZone, retention, paused } = patch
        const change = {
          ...(cron !== undefined && { cron }),
          ...(timeZone !== undefined && { timeZone }),
          ...(retention !== undefined && { retention }),
          ...(paused !== undefined && { paused }),
          ...(kind !== undefined && { options: { kind } }),
        }
        return scheduleView(scheduler.update(scheduleId, change, expected))
      })
    },
    async deleteSchedule(caller, vmId, scheduleId, expected) {
      mustSchedule(caller, vmId, scheduleId)
      const record = requireVm(records, caller, vmId)
      await journal.vmOperation('snapshotScheduleDelete', caller, record, 'deleted a schedule of', async () => {
        assertMay(caller)
        scheduler.remove(scheduleId, expected)
      })
    },
    async runSchedule(caller, vmId, scheduleId) {
      mustSchedule(caller, vmId, scheduleId)
      assertMay(caller)
      return scheduleView(scheduler.runNow(scheduleId))
    },
  }
}

/** The kind a schedule asks for; null: whatever the VM has. */
function kindFrom({ options }: ScheduleDocument): SnapshotKind | null {
  const kind = options !== null && typeof options === 'object' && 'kind' in options ? options.kind : null
  return SnapshotKindSchema.safeParse(kind).data ?? null
}
