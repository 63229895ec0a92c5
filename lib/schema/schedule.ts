/** Work that repeats: when, how much of its past is kept, how it went last. */
import * as z from 'zod'
import { Instant, JobId, ScheduleId, UserId } from './ids.ts'

/** What schedules do. A new kind needs a runner (`server/schedules/scheduler.ts`). */
export const ScheduleKind = z.enum(['snapshot', 'backup', 'power']).meta({ id: 'ScheduleKind' })
export type ScheduleKind = z.output<typeof ScheduleKind>

const keep = (max: number) => z.int().min(0).max(max).default(0)

/**
 * How many are kept of each period: the newest of each of the last N hours, days, weeks, months that have any. `last`
 * keeps the N newest whatever their time. One kept by any rule stays.
 */
export const Retention = z
  .strictObject({
    last: keep(100),
    hourly: keep(168),
    daily: keep(366),
    weekly: keep(260),
    monthly: keep(120),
    yearly: keep(20),
  })
  .refine((rule) => Object.values(rule).some((count) => count > 0), 'Keep at least one.')
  .meta({ id: 'Retention' })
export type Retention = z.output<typeof Retention>

/** Five fields: minute, hour, day of month, month, day of week. */
export const CronText = z.string().trim().min(9).max(120)
/** A name of the time zone database, such as `Europe/Vienna`. */
export const TimeZoneName = z.string().min(1).max(64)

export const ScheduleTiming = z.strictObject({ cron: CronText, timeZone: TimeZoneName })
export type ScheduleTiming = z.output<typeof ScheduleTiming>

export const ScheduleRun = z
  .strictObject({
    /** The time it was meant for; earlier than `startedAt` when it was made up for. */
    dueAt: Instant,
    startedAt: Instant,
    endedAt: Instant.nullable(),
    /** `interrupted`: the dashboard ended meanwhile. `skipped`: there was nothing to do, or it could not be done now. */
    result: z.enum(['running', 'ok', 'failed', 'skipped', 'interrupted']),
    /** Sentence for people. */
    message: z.string(),
    jobId: JobId.nullable(),
  })
  .meta({ id: 'ScheduleRun' })
export type ScheduleRun = z.output<typeof ScheduleRun>

/** What every kind has in common; `options` are the kind's own. */
export const Schedule = z
  .strictObject({
    id: ScheduleId,
    kind: ScheduleKind,
    /** What it is about: one VM, or every VM with a tag. */
    target: z.strictObject({ type: z.enum(['vm', 'tag']), id: z.string().min(1).max(64) }),
    cron: CronText,
    timeZone: TimeZoneName,
    retention: Retention,
    options: z.json(),
    paused: z.boolean(),
    /** Null while paused. */
    nextAt: Instant.nullable(),
    lastRun: ScheduleRun.nullable(),
    /** It runs in the name of this person. */
    owner: z.strictObject({ id: UserId, name: z.string() }),
    createdAt: Instant,
    revision: z.int().min(1),
  })
  .meta({ id: 'Schedule' })
export type Schedule = z.output<typeof Schedule>

/** When a pattern would run, or why it cannot be used. */
export const SchedulePreview = z
  .strictObject({
    next: z.array(Instant),
    problem: z.string().nullable(),
    field: z.enum(['cron', 'timeZone']).nullable(),
  })
  .meta({ id: 'SchedulePreview' })
export type SchedulePreview = z.output<typeof SchedulePreview>
