/**
 * A block or snapshot job of a running QEMU, from its start to its dismissal. Jobs are started with `auto-dismiss` off
 * where the command has it, so that how one ended can still be asked when its last event was missed.
 * QEMU: qapi/job.json (JobStatus: created, running, paused, ready, standby, waiting, pending, aborting, concluded, null).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError, QmpDisconnectedError, QmpTimeoutError } from '#server/qmp/errors.ts'
import type { QmpJson } from '#server/qmp/types.ts'
import type { GuestWork } from '../work.ts'

const Jobs = z.array(
  z.object({
    id: z.string(),
    type: z.string(),
    status: z.string(),
    'current-progress': z.coerce.number(),
    'total-progress': z.coerce.number(),
    error: z.string().optional(),
  }),
)
export type QemuJob = z.output<typeof Jobs>[number]

/** How often progress is asked for, and how late a missed event is noticed. Milliseconds. */
const LOOK_MS = 500
/** The monitor may be lost for so long before the job counts as out of reach. Milliseconds. */
const OUT_OF_REACH_MS = 60_000

export interface JobRun {
  /** The job's id in QEMU; unique there while it lasts. */
  readonly jobId: string
  /** What is being done, for messages: `The snapshot`. */
  readonly what: string
  /** Starts it; the command names `jobId`. */
  start(work: GuestWork): Promise<unknown>
  /** Bytes as QEMU counts them; the total may grow. */
  progress?(done: number, total: number): void
  /**
   * Called once when a mirror or an active commit has caught up with the guest (status `ready`). Completes or cancels
   * it; left out: completed at once.
   */
  ready?(work: GuestWork): Promise<void>
  readonly signal: AbortSignal
  /** The last moment to cancel has passed when this says so; the signal is then ignored. */
  isPastCancel?(): boolean
}

/** @throws QmpError */
export async function listJobs(work: GuestWork): Promise<QemuJob[]> {
  return Jobs.parse(await work.ask('query-jobs'))
}

/**
 * Runs a job to its end. Cancelling (the signal) ends it in QEMU first, then throws the signal's reason.
 * @throws EngineError wrong_state with QEMU's words when the job failed, no_space, unresponsive; QmpError when it was not
 * started; the signal's reason
 */
export async function runJob(work: GuestWork, run: JobRun): Promise<void> {
  run.signal.throwIfAborted()
  const nudge = new Nudge()
  const unsubscribe = work.onEvent(({ event, data }) => {
    if (event === 'JOB_STATUS_CHANGE' && data.id === run.jobId) nudge.now()
    else if (event === 'BLOCK_JOB_READY' && data.device === run.jobId) nudge.now()
  })
  const onAbort = () => nudge.now()
  run.signal.addEventListener('abort', onAbort, { once: true })
  try {
    await run.start(work)
    await followJob(work, run, nudge)
  } finally {
    unsubscribe()
    run.signal.removeEventListener('abort', onAbort)
  }
}

/**
 * Takes up a job that is there already, for example after the dashboard was killed in the middle of it.
 * @returns false when QEMU has no such job
 * @throws as `runJob`
 */
export async function resumeJob(work: GuestWork, run: Omit<JobRun, 'start'>): Promise<boolean> {
  if (!(await listJobs(work)).some(({ id }) => id === run.jobId)) return false
  await runJob(work, { ...run, start: async () => {} })
  return true
}

async function followJob(work: GuestWork, run: JobRun, nudge: Nudge): Promise<void> {
  let isCancelled = false
  let isReady = false
  let lostSince: number | null = null
  for (;;) {
    if (run.signal.aborted && !isCancelled && !(run.isPastCancel?.() ?? false)) {
      isCancelled = true
      await cancel(work, run.jobId)
    }
    let job: QemuJob | undefined
    try {
      job = (await listJobs(work)).find(({ id }) => id === run.jobId)
      lostSince = null
    } catch (error) {
      if (work.signal.aborted) throw guestEnded(run.what, work.signal.reason)
      if (!(error instanceof QmpTimeoutError || error instanceof QmpDisconnectedError)) throw error
      lostSince ??= performance.now()
      if (performance.now() - lostSince > OUT_OF_REACH_MS)
        throw new EngineError(
          'unresponsive',
          `${run.what}: QEMU has not answered for a minute; how it ended is unknown.`,
          {
            cause: error,
          },
        )
      await nudge.wait(LOOK_MS, work.signal)
      continue
    }
    if (job === undefined) {
      // It dismissed itself. Without its last words only cancelling can be told from success.
      if (isCancelled) run.signal.throwIfAborted()
      return
    }
    run.progress?.(job['current-progress'], job['total-progress'])
    if (job.status === 'ready' && !isReady && !isCancelled) {
      isReady = true
      await (run.ready ?? complete(run.jobId))(work)
      continue
    }
    if (job.status === 'pending') await work.ask('job-finalize', { id: run.jobId }).catch(ignoreRefusal)
    if (job.status === 'concluded') {
      await work.ask('job-dismiss', { id: run.jobId }).catch(ignoreRefusal)
      if (isCancelled) run.signal.throwIfAborted()
      if (job.error !== undefined) throw jobError(run.what, job.error)
      return
    }
    await nudge.wait(LOOK_MS, work.signal)
    if (work.signal.aborted) throw guestEnded(run.what, work.signal.reason)
  }
}

/** Completes a mirror or active commit: the guest goes over to the other file. */
export const complete =
  (jobId: string) =>
  async (work: GuestWork): Promise<void> => {
    await work.ask('job-complete', { id: jobId })
  }

/** Ends a mirror that has caught up without going over to it: source and target are equal now. */
export const endWithoutPivot =
  (jobId: string) =>
  async (work: GuestWork): Promise<void> => {
    await work.ask('block-job-cancel', { device: jobId, force: false })
  }

/** Idempotent: one that has ended meanwhile is refused, which is as good. @throws QmpError when QEMU does not answer */
export async function cancel(work: GuestWork, jobId: string): Promise<void> {
  await work.ask('job-cancel', { id: jobId }).catch(ignoreRefusal)
}

function ignoreRefusal(error: unknown): QmpJson {
  if (error instanceof QmpCommandError) return null
  throw error
}

const guestEnded = (what: string, cause: unknown) =>
  new EngineError('wrong_state', `${what} was broken off: the guest ended meanwhile.`, { cause })

/** QEMU's words for a failed job, which may name host files; those are cut out. */
export function jobError(what: string, words: string): EngineError {
  if (/No space left on device|Disk quota exceeded|File too large/i.test(words))
    return new EngineError('no_space', `${what} failed: the disk it was written to is full. Make room and try again.`)
  return new EngineError('wrong_state', `${what} failed. QEMU says: ${withoutPaths(words)}`)
}

const withoutPaths = (words: string) => words.replace(/\/[^\s'":]*\/[^\s'":]*/g, '…').slice(0, 300)

/** Sleeps that an event ends early. An event that comes while nobody sleeps ends the next one. */
class Nudge {
  #wake: (() => void) | null = null
  #pending = false

  now(): void {
    if (this.#wake === null) this.#pending = true
    else this.#wake()
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#pending || signal.aborted) {
      this.#pending = false
      return
    }
    const stop = new AbortController()
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    await Promise.race([
      woken,
      sleep(ms, undefined, { signal: AbortSignal.any([signal, stop.signal]) }).catch(() => {}),
    ])
    stop.abort()
    this.#wake = null
    this.#pending = false
  }
}
