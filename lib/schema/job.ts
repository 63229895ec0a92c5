/** Long work with progress. */
import * as z from 'zod'
import { Instant, JobId, UserId } from './ids.ts'

/** What a job works on, so that the object's own page shows it in place. */
export const JobTarget = z.strictObject({
  type: z.enum(['vm', 'image', 'volume', 'pool', 'backup']),
  id: z.string(),
})
export type JobTarget = z.output<typeof JobTarget>

export const JobKind = z.enum([
  'image-upload',
  'image-register',
  'image-download',
  'image-import',
  'starter-add',
  'volume-copy',
  'volume-convert',
  'volume-compact',
  'volume-move',
  'snapshot-create',
  'snapshot-revert',
  'snapshot-delete',
  'vm-clone',
  'backup-create',
  'backup-restore',
  'backup-verify',
  'backup-delete',
])
export type JobKind = z.output<typeof JobKind>

export const Job = z
  .strictObject({
    id: JobId,
    kind: JobKind,
    title: z.string(),
    /** `queued`: waits until others of its kind are done. */
    state: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
    /** 0 to 1, or null when the total is unknown. */
    progress: z.number().min(0).max(1).nullable(),
    doneBytes: z.number().nullable(),
    totalBytes: z.number().nullable(),
    /** Over the last seconds; null until it can be told. */
    bytesPerSecond: z.number().nullable(),
    secondsLeft: z.number().nullable(),
    /** What it does just now, as a sentence. */
    step: z.string().nullable(),
    target: JobTarget.nullable(),
    cancellable: z.boolean(),
    /** `interrupted`: the dashboard ended in the middle of it. */
    error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
    /** Id of what it made, once done. */
    result: z.string().nullable(),
    startedBy: z.strictObject({ id: UserId, name: z.string() }),
    startedAt: Instant,
    endedAt: Instant.nullable(),
  })
  .meta({ id: 'Job' })
export type Job = z.output<typeof Job>
