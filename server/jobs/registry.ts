/**
 * Long work: who started it, how far it is, how it ended. Jobs are stored, so that a page loaded after a restart of the
 * dashboard still finds the answer: what was under way then is shown as interrupted. What a job made is in the store of
 * its own kind, not here.
 *
 * queued → running → done | failed | cancelled
 */
import { randomUUIDv7 } from 'node:crypto'
import { JobId, UserId } from '#lib/schema/ids.ts'
import { Job, type JobTarget } from '#lib/schema/job.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'
import { Rate } from './rate.ts'

/** Finished jobs kept per person. */
const KEEP_FINISHED = 50
/** A running job is announced at most this often. */
const ANNOUNCE_EVERY_MS = 250
/** Work that fills disk and processor: so many at once, the rest waits. */
const QUEUE_WIDTH = { convert: 2 } as const
export type JobQueue = keyof typeof QUEUE_WIDTH

interface JobOwner {
  readonly userId: string
  readonly name: string
}

export interface JobContext {
  readonly jobId: string
  /** Aborted by cancel. */
  readonly signal: AbortSignal
  /** Bytes done since the start. @param totalBytes when it has become known, or has changed */
  progress(doneBytes: number, totalBytes?: number): void
  /** What is being done now, as a sentence. */
  step(sentence: string): void
  /** Waits for a place in a queue and works there: for a job of which only a part is heavy. @throws the signal's reason */
  inQueue<T>(queue: JobQueue, work: () => Promise<T>): Promise<T>
  /** From here on the work cannot be cancelled: it is about to take effect. @throws the signal's reason */
  settle(): void
}

export interface JobRequest {
  readonly kind: Job['kind']
  readonly title: string
  readonly owner: JobOwner
  readonly totalBytes: number | null
  readonly target?: JobTarget | null
  readonly queue?: JobQueue
  readonly cancellable?: boolean
  /** Returns the id of what it made. */
  readonly work: (context: JobContext) => Promise<string>
}

export interface JobHandle {
  readonly id: string
  view(): Job
  /** Resolves with the result; rejects with what the work threw. Observing it is optional. */
  readonly finished: Promise<string>
}

export interface JobRegistry {
  /** Reads what was stored; marks what was under way as interrupted. Call once. */
  open(): void
  start(request: JobRequest): JobHandle
  /** Newest first. @param userId null: everybody's */
  list(userId: string | null): Job[]
  /** Null when unknown or somebody else's. @param userId null: anybody's */
  view(id: string, userId: string | null): Job | null
  /** Resolves when the job is over, or at the signal; at once when it is over already or unknown. Never throws. */
  whenOver(id: string, signal: AbortSignal): Promise<void>
  /** @throws EngineError not_found, wrong_state */
  cancel(id: string, userId: string | null): Job
  /** Cancels everything and waits for it. */
  close(): Promise<void>
}

interface Entry {
  job: Job
  readonly ownerId: string
  readonly controller: AbortController
  readonly rate: Rate
  finished: Promise<string>
  announcedAt: number
}

export interface JobRegistryOptions {
  readonly onChange: (job: Job, ownerId: string) => void
  /** Where jobs are kept; left out: nowhere. */
  readonly store?: Store
  readonly warn?: (message: string, error: unknown) => void
  readonly now?: () => Date
  readonly newId?: () => string
}

const isOver = (job: Job) => job.endedAt !== null

export function createJobRegistry({
  onChange,
  store,
  warn = () => {},
  now = () => new Date(),
  newId = randomUUIDv7,
}: JobRegistryOptions): JobRegistry {
  const entries = new Map<string, Entry>()
  const waiting: Record<JobQueue, (() => void)[]> = { convert: [] }
  const busy: Record<JobQueue, number> = { convert: 0 }
  let closing = false

  /** A full disk must not fail the work itself. */
  const keep = (job: Job): void => {
    try {
      // What a job made is flushed by itself. Of the job, a power cut may take the last moment.
      store?.transaction(() => store.put('job', job.id, job), { relaxed: true })
    } catch (error) {
      warn(`The job ${job.id} could not be stored.`, error)
    }
  }

  const update = (entry: Entry, change: Partial<Job>, force: boolean): void => {
    entry.job = { ...entry.job, ...change }
    const at = now().getTime()
    if (!force && at - entry.announcedAt < ANNOUNCE_EVERY_MS) return
    entry.announcedAt = at
    onChange(entry.job, entry.ownerId)
  }
  /** A change of state, which is stored as well. */
  const move = (entry: Entry, change: Partial<Job>): void => {
    update(entry, change, true)
    keep(entry.job)
  }

  const forgetOld = (ownerId: string): void => {
    const finished = [...entries.values()].filter((e) => e.ownerId === ownerId && isOver(e.job))
    for (const { job } of finished.slice(0, Math.max(0, finished.length - KEEP_FINISHED))) {
      entries.delete(job.id)
      try {
        store?.transaction(() => store.delete('job', job.id), { relaxed: true })
      } catch (error) {
        warn(`The old job ${job.id} could not be forgotten.`, error)
      }
    }
  }

  /** Waits for a place. @returns what gives it back @throws the signal's reason */
  const enter = async (queue: JobQueue, entry: Entry): Promise<() => void> => {
    const leave = () => {
      busy[queue] -= 1
      waiting[queue].shift()?.()
    }
    if (busy[queue] < QUEUE_WIDTH[queue]) {
      busy[queue] += 1
      return leave
    }
    const { signal } = entry.controller
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', giveUp)
        busy[queue] += 1
        resolve()
      }
      const giveUp = () => {
        waiting[queue] = waiting[queue].filter((other) => other !== go)
        reject(signal.reason)
      }
      waiting[queue].push(go)
      signal.addEventListener('abort', giveUp, { once: true })
    })
    return leave
  }

  const contextOf = (entry: Entry, held: JobQueue | undefined): JobContext => ({
    jobId: entry.job.id,
    signal: entry.controller.signal,
    progress(doneBytes, totalBytes) {
      const total = totalBytes ?? entry.job.totalBytes
      entry.rate.add(now().getTime(), doneBytes)
      update(
        entry,
        {
          doneBytes,
          totalBytes: total,
          progress: total === null || total === 0 ? null : Math.min(1, doneBytes / total),
          bytesPerSecond: entry.rate.bytesPerSecond,
          secondsLeft: entry.rate.secondsLeft(doneBytes, total),
        },
        false,
      )
    },
    step: (sentence) => update(entry, { step: sentence }, true),
    async inQueue(name, part) {
      // A job that began in the queue has its place already; waiting for another could wait for itself.
      if (held === name) return part()
      if (busy[name] >= QUEUE_WIDTH[name]) update(entry, { step: 'Waits until other conversions are done.' }, true)
      const leave = await enter(name, entry)
      try {
        return await part()
      } finally {
        leave()
      }
    },
    settle() {
      entry.controller.signal.throwIfAborted()
      update(entry, { cancellable: false }, true)
    },
  })

  const run = async (entry: Entry, { work, queue }: JobRequest): Promise<string> => {
    const { signal } = entry.controller
    let leave = () => {}
    try {
      if (queue !== undefined) {
        leave = await enter(queue, entry)
        if (entry.job.state === 'queued') move(entry, { state: 'running' })
      }
      const result = await work(contextOf(entry, queue))
      move(entry, {
        ...{ state: 'done', progress: 1, result, cancellable: false, step: null, secondsLeft: null },
        endedAt: now().toISOString(),
      })
      return result
    } catch (error) {
      const ended = { cancellable: false, step: null, secondsLeft: null, endedAt: now().toISOString() }
      if (signal.aborted && closing) {
        move(entry, { ...ended, state: 'failed', error: INTERRUPTED })
      } else if (signal.aborted) {
        move(entry, { ...ended, state: 'cancelled' })
      } else {
        const known = error instanceof EngineError
        move(entry, {
          ...ended,
          state: 'failed',
          error: {
            code: known ? error.code : 'internal',
            message: known ? error.message : 'Something went wrong in the dashboard itself; its log has the details.',
          },
        })
        // Of one that was foreseen but for its reason, the log has the reason.
        if (!known || error.code === 'internal') warn(`The job ${entry.job.kind} (${entry.job.id}) failed.`, error)
      }
      throw error
    } finally {
      leave()
      forgetOld(entry.ownerId)
    }
  }

  const own = (id: string, userId: string | null): Entry | null => {
    const entry = entries.get(id)
    return entry !== undefined && (userId === null || entry.ownerId === userId) ? entry : null
  }
  const entryOf = (job: Job, ownerId: string): Entry => ({
    job,
    ownerId,
    controller: new AbortController(),
    rate: new Rate(),
    announcedAt: 0,
    finished: Promise.resolve(''),
  })

  return {
    open() {
      for (const { key, value } of store?.list('job') ?? []) {
        const parsed = Job.safeParse(value)
        if (!parsed.success) {
          store?.delete('job', key)
          continue
        }
        const { data: job } = parsed
        const entry = entryOf(job, job.startedBy.id)
        entries.set(job.id, entry)
        if (isOver(job)) continue
        const ended = { cancellable: false, step: null, secondsLeft: null, endedAt: now().toISOString() }
        entry.job = { ...job, ...ended, state: 'failed', error: INTERRUPTED }
        keep(entry.job)
      }
    },
    start(request) {
      const { kind, title, owner, totalBytes, target = null, queue, cancellable = true } = request
      const id = JobId.parse(newId())
      const mustWait = queue !== undefined && busy[queue] >= QUEUE_WIDTH[queue]
      const entry = entryOf(
        {
          id,
          kind,
          title,
          state: mustWait ? 'queued' : 'running',
          progress: totalBytes === null ? null : 0,
          doneBytes: 0,
          totalBytes,
          bytesPerSecond: null,
          secondsLeft: null,
          step: null,
          target,
          cancellable,
          result: null,
          startedBy: { id: UserId.parse(owner.userId), name: owner.name },
          startedAt: now().toISOString(),
          endedAt: null,
        },
        owner.userId,
      )
      entries.set(id, entry)
      move(entry, {})
      entry.finished = run(entry, request)
      // Whoever cares awaits `finished`; nobody else must die of it.
      entry.finished.catch(() => {})
      return { id, view: () => entry.job, finished: entry.finished }
    },
    list: (userId) =>
      [...entries.values()]
        .filter((e) => userId === null || e.ownerId === userId)
        .map((e) => e.job)
        .reverse(),
    view: (id, userId) => own(id, userId)?.job ?? null,
    async whenOver(id, signal) {
      const entry = entries.get(id)
      if (entry === undefined || isOver(entry.job) || signal.aborted) return
      using stop = new DisposableStack()
      const given = new Promise<void>((resolve) => {
        const end = () => resolve()
        signal.addEventListener('abort', end, { once: true })
        stop.defer(() => signal.removeEventListener('abort', end))
      })
      await Promise.race([
        entry.finished.then(
          () => {},
          () => {},
        ),
        given,
      ])
    },
    cancel(id, userId) {
      const entry = own(id, userId)
      if (entry === null) throw new EngineError('not_found', 'There is no such job.')
      if (!entry.job.cancellable) {
        throw new EngineError(
          'wrong_state',
          isOver(entry.job)
            ? `This job is already over (${entry.job.state}).`
            : 'This job can no longer be cancelled; it ends by itself.',
        )
      }
      update(entry, { cancellable: false }, true)
      entry.controller.abort(new EngineError('conflict', 'The job was cancelled.'))
      return entry.job
    },
    async close() {
      closing = true
      for (const entry of entries.values()) if (!isOver(entry.job)) entry.controller.abort()
      await Promise.allSettled([...entries.values()].map((e) => e.finished))
    },
  }
}

const INTERRUPTED = {
  code: 'interrupted',
  message:
    'The dashboard ended in the middle of it. Uploads and downloads go on where they stood; start anything else again.',
}
