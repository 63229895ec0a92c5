/**
 * VMs switched on and off by the clock, one of them or all with a tag. Runs in the name of who made the schedule, whose
 * rights are looked at at each run. Of several times that passed while nobody looked the last alone counts: who was down
 * over a whole working day is not started in the evening only to be shut down.
 */

import * as z from 'zod'
import { type Grants, mayOn } from '#lib/auth/privileges.ts'
import { isOver } from '#lib/lab/lease.ts'
import type { PowerSchedule, PowerScheduleInput, PowerSchedulePatch } from '#lib/schema/lab.ts'
import { Retention } from '#lib/schema/schedule.ts'
import type { Role } from '#lib/schema/user.ts'
import type { LabRecords } from '#server/lab/records.ts'
import { inWords, type LabTime } from '#server/lab/time.ts'
import { patternOf } from '#server/schedules/cron.ts'
import type { ScheduleDocument } from '#server/schedules/documents.ts'
import type { RunContext, Scheduler, ScheduleState } from '#server/schedules/scheduler.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { canSeeVm, requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { OrderlyOffs } from './lab-off.ts'
import type { Caller } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

const Options = z.object({
  action: z.enum(['on', 'off']),
  offAfterMinutes: z.number().nullable(),
  /** The run due at this moment is left out. */
  skippedAt: z.string().nullable(),
})
type Options = z.output<typeof Options>

/** Between two starts, so that a host is not flooded in the morning. */
const STAGGER_MS = 2000
const VMS_SHOWN = 50
/** Schedules that make nothing keep nothing; the store asks for a rule. */
const NOTHING_KEPT = Retention.parse({ last: 1 })

export interface PowerDeps {
  readonly scheduler: Scheduler
  readonly records: VmRecords
  readonly lab: LabRecords
  readonly supervisor: Pick<Supervisor, 'runtime'>
  readonly journal: Journal
  readonly busy: Pick<VmBusy, 'get'>
  readonly offs: OrderlyOffs
  readonly time: LabTime
  readonly start: (caller: Caller, vmId: string) => Promise<unknown>
  /** Null: the person has gone or may not sign in. */
  readonly user: (id: string) => { readonly name: string; readonly role: Role; readonly grants?: Grants } | null
  readonly userName: (id: string) => string
  readonly may: (caller: Caller) => boolean
  readonly isTemplate: (vmId: string) => boolean
  readonly staggerMs?: number
}

export interface PowerSchedules {
  list(caller: Caller, vmId: string | undefined): PowerSchedule[]
  create(caller: Caller, input: PowerScheduleInput): PowerSchedule
  update(caller: Caller, id: string, patch: PowerSchedulePatch, expected: number | null): PowerSchedule
  remove(caller: Caller, id: string, expected: number | null): void
  /** Leaves the next run out, or takes that back. */
  skip(caller: Caller, id: string, skip: boolean): PowerSchedule
}

export function createPowerSchedules(deps: PowerDeps): PowerSchedules {
  const { scheduler, records, lab, supervisor, journal, time } = deps
  const optionsOf = ({ options }: ScheduleDocument): Options =>
    Options.safeParse(options).data ?? { action: 'on', offAfterMinutes: null, skippedAt: null }

  const covered = ({ target }: ScheduleDocument): VmRecord[] =>
    records
      .all()
      .filter(({ id, spec }) => (target.type === 'vm' ? id === target.id : spec.tags.includes(target.id)))
      .filter(({ id }) => !deps.isTemplate(id))

  /** In whose name it runs; null: they have gone. */
  const callerOf = (document: ScheduleDocument): Caller | null => {
    const user = deps.user(document.ownerId)
    if (user === null) return null
    return {
      userId: document.ownerId,
      name: user.name,
      role: user.role,
      from: 'schedule',
      credentialId: `schedule ${document.id}`,
      via: 'session',
      ...(user.grants !== undefined && { grants: user.grants }),
    }
  }
  /** A tag is anybody's to name; whoever may not switch a VM decides nothing about it. */
  const decidesAbout = (document: ScheduleDocument, record: VmRecord): boolean => {
    const caller = callerOf(document)
    return caller !== null && deps.may(caller) && mayOn(caller, record, 'vm.power')
  }

  /** Whether a later time of another schedule has passed already that decides about this VM. */
  const isOverruled = (document: ScheduleDocument, record: VmRecord, dueAt: Date): boolean =>
    scheduler.list({ kind: 'power' }).some(({ document: other }) => {
      if (other.id === document.id || other.paused || !covered(other).includes(record)) return false
      if (!decidesAbout(other, record)) return false
      const last = patternOf(other).previous(time.wallMs())
      return last !== null && last > dueAt.getTime() && new Date(last).toISOString() !== optionsOf(other).skippedAt
    })

  const switchOn = async (caller: Caller, record: VmRecord): Promise<boolean> => {
    const { state } = supervisor.runtime(record.id)
    if (state !== 'off' && state !== 'crashed') return false
    await deps.start(caller, record.id)
    return true
  }
  const switchOff = async (caller: Caller, record: VmRecord, minutes: number | null): Promise<boolean> => {
    const { state } = supervisor.runtime(record.id)
    if (state !== 'running' && state !== 'paused') return false
    const work = deps.busy.get(record.id)
    if (work !== null) throw new EngineError('vm_busy', `${work.sentence}.`)
    await deps.offs.ask(record.id, caller.name, minutes === null ? null : minutes * 60_000)
    journal.write({
      what: 'vmShutdown',
      text: `${record.spec.name} was asked to shut down, as the schedule of ${caller.name} says.`,
      result: 'ok',
      caller,
      topic: 'vm',
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    })
    return true
  }

  const run = async (document: ScheduleDocument, { dueAt, signal }: RunContext) => {
    const { action, offAfterMinutes, skippedAt } = optionsOf(document)
    if (skippedAt !== null && Date.parse(skippedAt) <= dueAt.getTime()) {
      scheduler.update(document.id, { options: { action, offAfterMinutes, skippedAt: null } }, null)
      if (Date.parse(skippedAt) === dueAt.getTime())
        return { result: 'skipped' as const, message: 'It was left out once, as asked.' }
    }
    const caller = callerOf(document)
    if (caller === null || !deps.may(caller))
      throw new EngineError('forbidden', 'The person this schedule runs for may no longer start and stop VMs.')
    const done: string[] = []
    const left: string[] = []
    for (const record of covered(document)) {
      if (!mayOn(caller, record, 'vm.power') || isOverruled(document, record, dueAt)) continue
      signal.throwIfAborted()
      const { name } = record.spec
      try {
        const changed =
          action === 'on' ? await switchOn(caller, record) : await switchOff(caller, record, offAfterMinutes)
        if (!changed) continue
        done.push(name)
        if (action === 'on') await new Promise((resolve) => setTimeout(resolve, deps.staggerMs ?? STAGGER_MS))
      } catch (error) {
        if (!(error instanceof EngineError)) throw error
        left.push(`${name}: ${error.message}`)
      }
    }
    const what = action === 'on' ? 'Started' : 'Asked to shut down'
    if (left.length > 0)
      throw new EngineError(
        'conflict',
        [done.length > 0 ? `${what}: ${done.join(', ')}.` : '', ...left].join(' ').trim(),
      )
    return done.length === 0
      ? { result: 'skipped' as const, message: 'There was nothing to do.' }
      : { result: 'ok' as const, message: `${what}: ${done.join(', ')}.` }
  }
  scheduler.handle('power', { run })

  const nextOf = ({ document, nextAt }: ScheduleState): { nextAt: Date | null; skippedAt: string | null } => {
    const { skippedAt } = optionsOf(document)
    if (nextAt === null || skippedAt === null || Date.parse(skippedAt) !== nextAt.getTime())
      return { nextAt, skippedAt: null }
    const after = patternOf(document).next(nextAt.getTime())
    return { nextAt: after === null ? null : new Date(after), skippedAt }
  }

  const conflictsOf = (action: Options['action'], nextAt: Date | null, vms: readonly VmRecord[]): string[] => {
    if (action !== 'on' || nextAt === null) return []
    return vms.flatMap(({ id, spec: { name } }) => {
      const { lease } = lab.of(id)
      if (lease === null) return []
      if (isOver(lease)) return [`${name} is not started: its lease is over. Extend it first.`]
      if (lease.endMs === null) return []
      const endsAt = time.dateOf(lease.endMs, lease.endsAt)
      return Date.parse(endsAt) > nextAt.getTime()
        ? []
        : [`${name} will not be started: its lease ends on ${inWords(endsAt)}, before the next time. Extend it first.`]
    })
  }

  const view = (caller: Caller, state: ScheduleState): PowerSchedule => {
    const { document, progress, revision } = state
    const { action, offAfterMinutes } = optionsOf(document)
    const { nextAt, skippedAt } = nextOf(state)
    const vms = covered(document).filter((record) => canSeeVm(caller, record))
    const { target } = document
    return {
      // Ids come from the store, whose documents were parsed when they were written.
      id: document.id as PowerSchedule['id'],
      target: { ...target, name: target.type === 'tag' ? target.id : (records.get(target.id)?.spec.name ?? '') },
      vms: vms.slice(0, VMS_SHOWN).map(({ id, spec }) => ({
        id: id as PowerSchedule['vms'][number]['id'],
        name: spec.name,
      })),
      ...{ action, offAfterMinutes, skippedAt },
      cron: document.cron,
      timeZone: document.timeZone,
      paused: document.paused,
      nextAt: nextAt?.toISOString() ?? null,
      lastRun: progress.lastRun,
      conflicts: conflictsOf(action, nextAt, vms.slice(0, VMS_SHOWN)),
      owner: { id: document.ownerId as PowerSchedule['owner']['id'], name: deps.userName(document.ownerId) },
      revision,
    }
  }

  const isSeen = (caller: Caller, { target, ownerId }: ScheduleDocument): boolean => {
    if (target.type === 'tag') return ownerId === caller.userId || canSeeVm(caller, { ownerId: '' })
    const record = records.get(target.id)
    return record !== null && canSeeVm(caller, record)
  }
  const must = (caller: Caller, id: string): ScheduleState => {
    const state = scheduler.get(id)
    if (state === null || state.document.kind !== 'power' || !isSeen(caller, state.document))
      throw new EngineError('not_found', 'There is no such schedule.')
    return state
  }
  const assertMay = (caller: Caller): void => {
    if (!deps.may(caller)) throw new EngineError('forbidden', 'You may look but not change.')
  }
  const tell = (caller: Caller, what: string, document: ScheduleDocument, done: string): void => {
    const { target } = document
    const record = target.type === 'vm' ? records.get(target.id) : null
    const whom = record === null ? `VMs tagged “${target.id}”` : record.spec.name
    journal.write({
      what,
      text: `${caller.name} ${done} when ${whom} ${record === null ? 'are' : 'is'} switched ${optionsOf(document).action} (${document.cron}, ${document.timeZone}).`,
      result: 'ok',
      caller,
      ...(record !== null && {
        topic: 'vm' as const,
        objectId: record.id,
        objectName: record.spec.name,
        ownerId: record.ownerId,
      }),
    })
  }

  return {
    list: (caller, vmId) =>
      scheduler
        .list({ kind: 'power' })
        .filter(({ document }) => isSeen(caller, document))
        .filter(({ document }) => vmId === undefined || covered(document).some(({ id }) => id === vmId))
        .map((state) => view(caller, state)),
    create(caller, { target, action, cron, timeZone, offAfterMinutes, paused }) {
      if (target.type === 'vm') requireVm(records, caller, target.id)
      assertMay(caller)
      if (target.type === 'tag' && (caller.scope?.vmIds ?? null) !== null)
        throw new EngineError('forbidden', 'This token reaches some VMs alone; name one of them.')
      const state = scheduler.create({
        ...{ kind: 'power', target, cron, timeZone, paused, ownerId: caller.userId, retention: NOTHING_KEPT },
        options: { action, offAfterMinutes, skippedAt: null },
      })
      tell(caller, 'powerScheduleCreate', state.document, 'decided')
      return view(caller, state)
    },
    update(caller, id, patch, expected) {
      const { document } = must(caller, id)
      assertMay(caller)
      const { cron, timeZone, paused, offAfterMinutes } = patch
      const before = optionsOf(document)
      const isRetimed = cron !== undefined || timeZone !== undefined
      const state = scheduler.update(
        id,
        {
          ...(cron !== undefined && { cron }),
          ...(timeZone !== undefined && { timeZone }),
          ...(paused !== undefined && { paused }),
          options: {
            ...before,
            ...(offAfterMinutes !== undefined && { offAfterMinutes }),
            ...(isRetimed && { skippedAt: null }),
          },
        },
        expected,
      )
      tell(caller, 'powerScheduleUpdate', state.document, 'changed')
      return view(caller, state)
    },
    remove(caller, id, expected) {
      const { document } = must(caller, id)
      assertMay(caller)
      scheduler.remove(id, expected)
      tell(caller, 'powerScheduleDelete', document, 'removed')
    },
    skip(caller, id, skip) {
      const { document, nextAt } = must(caller, id)
      assertMay(caller)
      if (skip && nextAt === null)
        throw new EngineError('wrong_state', 'This schedule is paused; there is no next time to leave out.')
      const state = scheduler.update(
        id,
        { options: { ...optionsOf(document), skippedAt: skip ? (nextAt?.toISOString() ?? null) : null } },
        null,
      )
      tell(caller, 'powerScheduleSkip', state.document, skip ? 'left out the next time' : 'took back the leaving out')
      return view(caller, state)
    },
  }
}
