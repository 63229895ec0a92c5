/** Recordings of consoles: what was on the screen or came over the serial line. Keys and pointer are never recorded. */
import * as z from 'zod'
import { ConsoleKind } from './console.ts'
import { Instant, VmId } from './ids.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
export const RecordingId = z.string().regex(UUID).brand('RecordingId').meta({ id: 'RecordingId' })
export type RecordingId = z.output<typeof RecordingId>

/** `incomplete`: the dashboard ended in the middle; good up to there. */
export const RecordingState = z.enum(['recording', 'complete', 'incomplete'])

export const Recording = z
  .strictObject({
    id: RecordingId,
    vmId: VmId,
    kind: ConsoleKind,
    /** Who began it; of one that begins by rule, whoever set the rule. */
    by: z.string(),
    /** Begun by the rule to always record. */
    always: z.boolean(),
    startedAt: Instant,
    /** Null while it goes on. */
    endedAt: Instant.nullable(),
    durationMs: z.int().min(0),
    sizeBytes: z.int().min(0),
    state: RecordingState,
    /** Why it ended, as a sentence; null while it goes on. */
    reason: z.string().nullable(),
    /** When it will be deleted by itself; null: kept. */
    expiresAt: Instant.nullable(),
  })
  .meta({ id: 'Recording' })
export type Recording = z.output<typeof Recording>

/** Which consoles are recorded whenever the VM runs. */
export const RecordingRule = z.strictObject({ vnc: z.boolean(), serial: z.boolean() }).meta({ id: 'RecordingRule' })
export type RecordingRule = z.output<typeof RecordingRule>
export const RecordingRulePatch = RecordingRule.partial().meta({ id: 'RecordingRulePatch' })

export const RecordingList = z
  .strictObject({
    /** Newest first. */
    items: z.array(Recording),
    usedBytes: z.int(),
    /** What the recordings of one VM may take. */
    limitBytes: z.int(),
    /** The VM's own rule. */
    rule: RecordingRule,
    /** That of the host, which counts for every VM. */
    hostRule: RecordingRule,
  })
  .meta({ id: 'RecordingList' })
export type RecordingList = z.output<typeof RecordingList>

export const RecordingStart = z.strictObject({ kind: ConsoleKind }).meta({ id: 'RecordingStart' })

const SettingsShape = {
  /** Longest recording. */
  maxMinutes: z
    .int()
    .min(1)
    .max(24 * 60),
  /** Largest file. */
  maxMiB: z.int().min(1).max(4096),
  /** What all recordings of one VM may take. */
  vmMaxMiB: z
    .int()
    .min(1)
    .max(1 << 20),
  /** Deleted after so many days; null: kept until somebody deletes them. */
  keepDays: z.int().min(1).max(3650).nullable(),
  /** Every VM of this host. */
  always: RecordingRule,
}
export const RecordingSettings = z.strictObject(SettingsShape).meta({ id: 'RecordingSettings' })
export type RecordingSettings = z.output<typeof RecordingSettings>
export const RecordingSettingsPatch = z.strictObject(SettingsShape).partial().meta({ id: 'RecordingSettingsPatch' })
export type RecordingSettingsPatch = z.output<typeof RecordingSettingsPatch>

export const DEFAULT_RECORDING_SETTINGS: RecordingSettings = {
  maxMinutes: 240,
  maxMiB: 256,
  vmMaxMiB: 2048,
  keepDays: 30,
  always: { vnc: false, serial: false },
}
