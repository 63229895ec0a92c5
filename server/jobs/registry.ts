/**
 * Long work: who started it, how far it is, how it ended. Finished jobs stay for a while so that a reloaded page
 * still finds the answer; they live as long as this process (what a job made is in the store, not the job).
 *
 * queued → running → done | failed | cancelled
 */
import { randomUUIDv7 } from 'node:crypto'
import { JobId, UserId } from '#lib/schema/ids.ts'
import type { Job } from '#lib/schema/job.ts'
import { EngineError } from '#server/engine/errors.ts'

/** Finished jobs kept per person. */
const KEEP_FINISHED = 50
/** A running job is announced at most this often. */
const ANNOUNCE_EVERY_MS = 250

interface JobOwner {
  readonly userId: string
  readonly name: string
}

export interface JobContext {
  /** Aborted by cancel. */
  readonly signal: AbortSignal
  /** Bytes done since the start. */
  progress(doneBytes: number): void
}

interface JobRequest {
  readonly kind: Job['kind']
  readonly title: string
  readonly owner: JobOwner
  readonly totalBytes: number | null
  /** Returns the id of what it made. */
  readonly work: (context: JobContext) => Promise<string>
}

interface JobHandle {
  readonly id: string
  view(): Job
  /** Resolves with the result; rejects with what the work threw. Observing it is optional. */
  readonly finished: Promise<string>
}

export interface JobRegistry {
  start(request: JobRequest): JobHandle
  /** Newest first. */
  list(userId: string): Job[]
  /** Null when unknown or somebody else's. */
  view(id: string, userId: string): Job | null
  /** @throws EngineError not_found, wrong_state */
  cancel(id: string, userId: string): Job
  /** Cancels everything and waits for it. */
  close(): Promise<void>
}

interface Entry {
  job: Job
  readonly ownerId: string
  readonly controller: AbortController
  finished: Promise<string>
  announcedAt: number
}

export interface JobRegistryOptions {
  readonly onChange: (job: Job, ownerId: string) => void
  readonly now?: () => Date
  readonly newId?: () => string
}

export function createJobRegistry({
  onChange,
  now = () => new Date(),
  newId = randomUUIDv7,
}: JobRegistryOptions): JobRegistry {
  const entries = new Map<string, Entry>()

  const update = (entry: Entry, change: Partial<Job>, force: boolean): void => {
    entry.job = { ...entry.job, ...change }
    const at = now().getTime()
    if (!force && at - entry.announcedAt < ANNOUNCE_EVERY_MS) return
    entry.announcedAt = at
    onChange(entry.job, entry.ownerId)
  }

  const forgetOld = (ownerId: string): void => {
    const finished = [...entries.values()].filter((e) => e.ownerId === ownerId && e.job.endedAt !== null)
    for (const entry of finished.slice(0, Math.max(0, finished.length - KEEP_FINISHED))) entries.delete(entry.job.id)
  }

  const run = async (entry: Entry, work: JobRequest['work']): Promise<string> => {
    const { signal } = entry.controller
    try {
      const result = await work({
        signal,
        progress(doneBytes) {
          const total = entry.job.totalBytes
          const progress = total === null || total === 0 ? null : Math.min(1, doneBytes / total)
          update(entry, { doneBytes, progress }, false)
        },
      })
      update(entry, { state: 'done', progress: 1, result, cancellable: false, endedAt: now().toISOString() }, true)
      return result
    } catch (error) {
      const ended = { cancellable: false, endedAt: now().toISOString() }
      if (signal.aborted) {
        update(entry, { ...ended, state: 'cancelled' }, true)
      } else {
        const known = error instanceof EngineError
        update(
          entry,
          {
            ...ended,
            state: 'failed',
            error: {
              code: known ? error.code : 'internal',
              message: known ? error.message : 'Something went wrong in the dashboard itself; its log has the details.',
            },
          },
          true,
        )
      }
      throw error
    } finally {
      forgetOld(entry.ownerId)
    }
  }

  const own = (id: string, userId: string): Entry | null => {
    const entry = entries.get(id)
    return entry !== undefined && entry.ownerId === userId ? entry : null
  }

  return {
    start({ kind, title, owner, totalBytes, work }) {
      const id = JobId.parse(newId())
      const entry: Entry = {
        ownerId: owner.userId,
        controller: new AbortController(),
        announcedAt: 0,
        finished: Promise.resolve(''),
        job: {
          id,
          kind,
          title,
          state: 'running',
          progress: totalBytes === null ? null : 0,
          doneBytes: 0,
          totalBytes,
          cancellable: true,
          result: null,
          startedBy: { id: UserId.parse(owner.userId), name: owner.name },
          startedAt: now().toISOString(),
          endedAt: null,
        },
      }
      entries.set(id, entry)
      update(entry, {}, true)
      entry.finished = run(entry, work)
      // Whoever cares awaits `finished`; nobody else must die of it.
      entry.finished.catch(() => {})
      return { id, view: () => entry.job, finished: entry.finished }
    },
    list: (userId) =>
      [...entries.values()]
        .filter((e) => e.ownerId === userId)
        .map((e) => e.job)
        .reverse(),
    view: (id, userId) => own(id, userId)?.job ?? null,
    cancel(id, userId) {
      const entry = own(id, userId)
      if (entry === null) throw new EngineError('not_found', 'There is no such job.')
      if (!entry.job.cancellable) {
        throw new EngineError('wrong_state', `This job is already over (${entry.job.state}).`)
      }
      update(entry, { cancellable: false }, true)
      entry.controller.abort(new EngineError('conflict', 'The job was cancelled.'))
      return entry.job
    },
    async close() {
      for (const entry of entries.values()) if (entry.job.endedAt === null) entry.controller.abort()
      await Promise.allSettled([...entries.values()].map((e) => e.finished))
    },
  }
}
