/** Long work with progress. */
import * as z from 'zod'
import { Instant, JobId, UserId } from './ids.ts'

export const Job = z
  .strictObject({
    id: JobId,
    kind: z.enum(['image-upload', 'image-register', 'starter-add']),
    title: z.string(),
    state: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
    /** 0 to 1, or null when the total is unknown. */
    progress: z.number().min(0).max(1).nullable(),
    doneBytes: z.number().nullable(),
    totalBytes: z.number().nullable(),
    cancellable: z.boolean(),
    error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
    /** Id of what it made, once done. */
    result: z.string().nullable(),
    startedBy: z.strictObject({ id: UserId, name: z.string() }),
    startedAt: Instant,
    endedAt: Instant.nullable(),
  })
  .meta({ id: 'Job' })
export type Job = z.output<typeof Job>
