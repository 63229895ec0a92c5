/** Points in a VM's past that it can go back to. */
import * as z from 'zod'
import { Instant, JobId, ScheduleId, SnapshotId, UserId, VmId } from './ids.ts'
import { CronText, Retention, Schedule, TimeZoneName } from './schedule.ts'
import { PendingChange } from './vm-state.ts'

/**
 * `memory`: disks and, of a guest that runs, its memory, kept inside the disk files. `disk`: disks alone; a new layer is
 * begun over each, the old ones are kept. A VM has snapshots of one kind only.
 */
export const SnapshotKind = z.enum(['memory', 'disk']).meta({ id: 'SnapshotKind' })
export type SnapshotKind = z.output<typeof SnapshotKind>

/** For people; the files carry the id. Not all digits, which qemu-img takes for a number of its own. */
export const SnapshotName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'letters, digits, . _ - (up to 64)')
  .refine((name) => !/^[0-9]+$/.test(name), 'must not be digits only')
  .meta({ id: 'SnapshotName' })

export const SnapshotNote = z.string().max(2000)

/**
 * `incomplete`: the work was interrupted; it cannot be gone back to, only deleted. `deleting`: its data is being merged
 * into what follows, or that was interrupted; deleting again goes on with it.
 */
export const SnapshotState = z.enum(['creating', 'complete', 'incomplete', 'deleting']).meta({ id: 'SnapshotState' })
export type SnapshotState = z.output<typeof SnapshotState>

/**
 * What the guest's file systems were when it was taken. `frozen`: the agent held them still, so nothing was half
 * written. `off`: the guest was off. `memory`: its memory is part of it, which is as good. `crash`: as after a power cut,
 * because there was no agent, it did not answer, or it refused.
 */
export const SnapshotConsistency = z.enum(['frozen', 'off', 'memory', 'crash']).meta({ id: 'SnapshotConsistency' })
export type SnapshotConsistency = z.output<typeof SnapshotConsistency>

const Allowed = z.strictObject({ allowed: z.boolean(), reason: z.string().nullable() })

export const Snapshot = z
  .strictObject({
    id: SnapshotId,
    vmId: VmId,
    kind: SnapshotKind,
    /** The one the VM was at when this was taken. */
    parent: SnapshotId.nullable(),
    name: SnapshotName,
    note: SnapshotNote,
    state: SnapshotState,
    /** What went wrong or is worth knowing, as a sentence. */
    detail: z.string().nullable(),
    /** Whether going back means that the guest runs on, stays paused, or is off. */
    runState: z.enum(['running', 'paused', 'off']),
    consistency: SnapshotConsistency,
    /** Bytes of memory in it; null: none. */
    memoryBytes: z.number().nullable(),
    /** Bytes on the host that deleting it may give back; null while unknown. */
    sizeBytes: z.number().nullable(),
    disks: z.array(z.strictObject({ device: z.string(), sizeBytes: z.number() })),
    hasScreenshot: z.boolean(),
    /** The schedule that made it; null: a person. */
    scheduleId: ScheduleId.nullable(),
    createdAt: Instant,
    createdBy: z.strictObject({ id: UserId, name: z.string() }),
    actions: z.strictObject({ revert: Allowed, delete: Allowed, change: Allowed }),
    revision: z.int().min(1),
  })
  .meta({ id: 'Snapshot' })
export type Snapshot = z.output<typeof Snapshot>

export const SnapshotList = z
  .strictObject({
    /** Oldest first. */
    items: z.array(Snapshot),
    /** Where the VM is: the snapshot it was taken to or went back to last. */
    current: SnapshotId.nullable(),
    /** Kind of the snapshots there are; null: none yet. */
    kind: SnapshotKind.nullable(),
    create: z.strictObject({ memory: Allowed, disk: Allowed }),
    max: z.int(),
  })
  .meta({ id: 'SnapshotList' })
export type SnapshotList = z.output<typeof SnapshotList>

export const SnapshotInput = z
  .strictObject({
    /** Left out: made of the time. */
    name: SnapshotName.optional(),
    note: SnapshotNote.default(''),
    /** Left out: the kind there is; without any, `memory` where that is possible. */
    kind: SnapshotKind.optional(),
  })
  .meta({ id: 'SnapshotInput' })
export type SnapshotInput = z.output<typeof SnapshotInput>

export const SnapshotPatch = z
  .strictObject({ name: SnapshotName.optional(), note: SnapshotNote.optional() })
  .meta({ id: 'SnapshotPatch' })
export type SnapshotPatch = z.output<typeof SnapshotPatch>

export const SnapshotRevertInput = z
  .strictObject({
    /** Take one of the present state first. */
    keepPresent: z.boolean().default(false),
    /** Hardware and settings: those of the snapshot, or those of now. With memory always those of the snapshot. */
    definition: z.enum(['restore', 'keep']).default('restore'),
    /** Start the guest afterwards, where the snapshot itself is of a guest that was off. */
    start: z.boolean().default(false),
  })
  .meta({ id: 'SnapshotRevertInput' })
export type SnapshotRevertInput = z.output<typeof SnapshotRevertInput>

/** What going back would change. */
export const SnapshotComparison = z
  .strictObject({
    /** The definition now (`live`) against that of the snapshot (`next`). */
    changes: z.array(PendingChange),
    /** What is lost, and what happens to the guest, a sentence each. */
    loses: z.array(z.string()),
    stays: z.array(z.string()),
  })
  .meta({ id: 'SnapshotComparison' })
export type SnapshotComparison = z.output<typeof SnapshotComparison>

const timing = { cron: CronText, timeZone: TimeZoneName, retention: Retention }
export const SnapshotScheduleInput = z
  .strictObject({ ...timing, kind: SnapshotKind.optional(), paused: z.boolean().default(false) })
  .meta({ id: 'SnapshotScheduleInput' })
export type SnapshotScheduleInput = z.output<typeof SnapshotScheduleInput>

export const SnapshotSchedulePatch = z
  .strictObject({ ...timing, kind: SnapshotKind.nullable(), paused: z.boolean() })
  .partial()
  .meta({ id: 'SnapshotSchedulePatch' })
export type SnapshotSchedulePatch = z.output<typeof SnapshotSchedulePatch>

export const SnapshotScheduleView = z
  .strictObject({
    ...Schedule.omit({ options: true, kind: true }).shape,
    snapshotKind: SnapshotKind.nullable(),
    jobId: JobId.nullable(),
  })
  .meta({ id: 'SnapshotSchedule' })
export type SnapshotScheduleView = z.output<typeof SnapshotScheduleView>
