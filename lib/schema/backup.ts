/** Backups of VMs: what the API tells and takes. */
import * as z from 'zod'
import { Instant, ScheduleId, UserId, VmId } from './ids.ts'
import { CronText, Retention, ScheduleRun, TimeZoneName } from './schedule.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export const BackupId = z.string().regex(UUID).brand('BackupId').meta({ id: 'BackupId' })
export type BackupId = z.output<typeof BackupId>

export const Backup = z
  .strictObject({
    id: BackupId,
    /** `exists`: this host still has the VM. */
    vm: z.strictObject({ id: VmId, name: z.string(), exists: z.boolean() }),
    pool: z.strictObject({ id: z.string(), name: z.string() }),
    createdAt: Instant,
    kind: z.enum(['full', 'incremental']),
    parent: BackupId.nullable(),
    /** Backups that stand on it directly. */
    children: z.array(BackupId),
    running: z.boolean(),
    /** Whether the guest's file systems were frozen while it was begun. */
    frozen: z.boolean(),
    compression: z.enum(['none', 'zstd']),
    /** Bytes of its own files. */
    sizeBytes: z.number(),
    /** What the guest had changed since the parent; null for a full one. */
    changedBytes: z.number().nullable(),
    disks: z.array(
      z.strictObject({
        device: z.string(),
        kind: z.enum(['full', 'incremental']),
        virtualSizeBytes: z.number(),
        sizeBytes: z.number(),
      }),
    ),
    /** Parts besides disks. */
    nvram: z.boolean(),
    tpm: z.boolean(),
    /** What is not in it, as sentences. */
    left: z.array(z.string()),
    scheduleId: z.string().nullable(),
    note: z.string(),
    /** Never removed by retention. */
    keep: z.boolean(),
    verified: z.strictObject({ at: Instant, ok: z.boolean(), message: z.string(), booted: z.boolean() }).nullable(),
    /** Why it cannot be restored, for example because a backup it stands on is missing. */
    problem: z.string().nullable(),
    owner: z.strictObject({ id: UserId, name: z.string() }),
  })
  .meta({ id: 'Backup' })
export type Backup = z.output<typeof Backup>

/** A folder that looks like a backup and is none. For administrators. */
export const BrokenBackup = z.strictObject({
  pool: z.strictObject({ id: z.string(), name: z.string() }),
  /** Below the pool's directory of backups. */
  folder: z.string(),
  reason: z.string(),
})
export type BrokenBackup = z.output<typeof BrokenBackup>

export const BackupOptions = z.strictObject({
  /** Pool it is written to; left out: the built-in one. */
  pool: z.string().regex(UUID).optional(),
  /** `auto`: incremental where that can be, else full. */
  mode: z.enum(['auto', 'full']).default('auto'),
  compression: z.enum(['none', 'zstd']).default('zstd'),
  /** Ask the guest agent to freeze file systems for the moment of the copy. */
  freeze: z.boolean().default(true),
  /** MiB a second at most; null: as fast as it goes. */
  limitMiBps: z.int().min(1).max(100_000).nullable().default(null),
  /** After so many incremental ones a full one is made. */
  fullEvery: z.int().min(1).max(60).default(14),
})
export type BackupOptions = z.output<typeof BackupOptions>

export const BackupNote = z.string().max(500)

export const BackupChange = z.strictObject({ note: BackupNote.optional(), keep: z.boolean().optional() })

export const BackupRestore = z.discriminatedUnion('as', [
  z.strictObject({ as: z.literal('new'), name: z.string().trim().min(1).max(64) }),
  /** Puts the disks, UEFI variables and TPM of the VM back; its definition stays. */
  z.strictObject({ as: z.literal('in-place') }),
])
export type BackupRestore = z.output<typeof BackupRestore>

export const BackupVerify = z.strictObject({
  /** Also start it, cut off from everything, and take a picture of its screen. */
  boot: z.boolean().default(false),
  /** How long the guest may take until the picture is taken at the latest. */
  waitSeconds: z.int().min(2).max(600).default(60),
})
export type BackupVerify = z.output<typeof BackupVerify>

/** Which of a schedule's own backups its retention keeps, and which it would remove. */
export const BackupForecast = z.strictObject({
  items: z.array(
    z.strictObject({
      id: BackupId,
      createdAt: Instant,
      keep: z.boolean(),
      /** Rules that keep it, or `needed`: a kept one stands on it; `pinned`: somebody said so. */
      why: z.array(z.enum(['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly', 'needed', 'pinned'])),
    }),
  ),
})

const timing = { cron: CronText, timeZone: TimeZoneName, retention: Retention, options: BackupOptions }

export const BackupScheduleInput = z.strictObject({ ...timing, paused: z.boolean().default(false) })
export type BackupScheduleInput = z.output<typeof BackupScheduleInput>
export const BackupSchedulePatch = z.strictObject({ ...timing, paused: z.boolean() }).partial()
export type BackupSchedulePatch = z.output<typeof BackupSchedulePatch>

export const BackupSchedule = z
  .strictObject({
    id: ScheduleId,
    vm: z.strictObject({ id: VmId, name: z.string() }),
    ...timing,
    paused: z.boolean(),
    nextAt: Instant.nullable(),
    lastRun: ScheduleRun.nullable(),
    owner: z.strictObject({ id: UserId, name: z.string() }),
    revision: z.int().min(1),
  })
  .meta({ id: 'BackupSchedule' })
export type BackupSchedule = z.output<typeof BackupSchedule>

/** VMs whose backups need somebody. */
export const BackupConcern = z.strictObject({
  vm: z.strictObject({ id: VmId, name: z.string() }),
  /** `failed`: a schedule's last run did. `late`: there is a schedule, and no backup for much longer than it says. */
  kind: z.enum(['failed', 'late']),
  message: z.string(),
  since: Instant.nullable(),
})
export type BackupConcern = z.output<typeof BackupConcern>

/** Pools a backup can be written to. */
export const BackupTarget = z.strictObject({ id: z.string(), name: z.string() })

export const BackupList = z
  .strictObject({
    /** Newest first. */
    items: z.array(Backup),
    /** For administrators; empty for others. */
    broken: z.array(BrokenBackup),
    targets: z.array(BackupTarget),
    concerns: z.array(BackupConcern),
  })
  .meta({ id: 'BackupList' })
