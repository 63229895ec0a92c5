/**
 * Schedules: their documents in memory, and the clock that runs them.
 *
 *   tick ── due? ──▶ progress stored ──▶ queued ──▶ runner of its kind ──▶ lastRun stored
 *
 * One tick at least every half minute looks at the wall clock, so that a clock that jumped is noticed
 * (`lib/schedules/due.ts`). What is due is stored as seen to before it runs: a crash in a run shows it as interrupted
 * and does not repeat it. Two runs at a time, the rest waits; a schedule never runs twice at once.
 *
 * Only what a schedule made itself may be removed by its retention; runners see to that.
 */
import { randomUUIDv7 } from 'node:crypto'
import { type Pattern, takeTurn } from '#lib/schedules/due.ts'
import { JobId } from '#lib/schema/ids.ts'
import type { Retention, ScheduleKind, ScheduleRun, ScheduleTiming } from '#lib/schema/schedule.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Clock } from '#server/platform/clock.ts'
import type { Store } from '#server/store/types.ts'
import { patternOf, timingProblem } from './cron.ts'
import { createScheduleStore, type ScheduleDocument, type ScheduleProgress, type StoredSchedule } from './documents.ts'

/** Schedules of one target, and of the host. */
export const MAX_PER_TARGET = 16
export const MAX_SCHEDULES = 2000
/** One person does not use up what the host takes. */
export const MAX_OF_ONE = 500
const MAX_RUNNING = 2
const LONGEST_SLEEP_MS = 30_000
const SHORTEST_SLEEP_MS = 20

export interface RunContext {
  readonly dueAt: Date
  readonly signal: AbortSignal
  /** So that the page can show how far it is. */
  setJob(jobId: string): void
}

export interface ScheduleRunner {
  /**
   * Does it, in the name of the schedule's owner, whose rights are looked at now and not when it was made.
   * @throws EngineError: the run failed, in these words
   */
  run(schedule: ScheduleDocument, context: RunContext): Promise<{ result: 'ok' | 'skipped'; message: string }>
}

export interface ScheduleState extends StoredSchedule {
  /** Null while paused. */
  readonly nextAt: Date | null
}

export interface NewSchedule extends ScheduleTiming {
  readonly kind: ScheduleKind
  readonly target: ScheduleDocument['target']
  readonly ownerId: string
  readonly retention: Retention
  readonly options: ScheduleDocument['options']
  readonly paused: boolean
}

export type ScheduleChange = Partial<Pick<NewSchedule, 'cron' | 'timeZone' | 'retention' | 'options' | 'paused'>>

export interface Scheduler {
  /** One runner for each kind, before `open`. */
  handle(kind: ScheduleKind, runner: ScheduleRunner): void
  /** Begins to run what is due. Call once guests were adopted. */
  open(): void
  /** By creation. */
  list(filter?: { kind?: ScheduleKind; targetId?: string }): readonly ScheduleState[]
  get(id: string): ScheduleState | null
  /** @throws EngineError bad_input with its field, conflict when there are too many */
  create(input: NewSchedule): ScheduleState
  /** @throws EngineError not_found, stale_revision, bad_input */
  update(id: string, change: ScheduleChange, expected: number | null): ScheduleState
  /** @throws EngineError not_found, stale_revision */
  remove(id: string, expected?: number | null): void
  /** The target has gone, and with it what was to be done to it. */
  removeOf(targetType: ScheduleDocument['target']['type'], targetId: string): void
  /** Queues a run at once. @throws EngineError not_found, busy when it runs already */
  runNow(id: string): ScheduleState
  /** Looks at the clock now; for tests, which set it. */
  tick(): void
  /** Resolves when nothing is queued or running. */
  idle(): Promise<void>
  /** Ends what runs and waits for it. */
  close(): Promise<void>
}

export interface SchedulerDeps {
  readonly store: Store
  readonly clock: Pick<Clock, 'now'>
  readonly warn: (message: string, error?: unknown) => void
  readonly onChange: (schedule: ScheduleDocument, gone: boolean) => void
  /** A run ended badly: for the activity log. */
  readonly onFailed?: (schedule: ScheduleDocument, run: ScheduleRun) => void
}

interface Entry {
  document: ScheduleDocument
  revision: number
  progress: ScheduleProgress
  pattern: Pattern
  nextMs: number | null
}

export function createScheduler({ store, clock, warn, onChange, onFailed }: SchedulerDeps): Scheduler {
  const kept = createScheduleStore(store)
  const entries = new Map<string, Entry>()
  const runners = new Map<ScheduleKind, ScheduleRunner>()
  const waiting: { readonly id: string; readonly dueAt: Date }[] = []
  const running = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>()
  let timer: NodeJS.Timeout | undefined
  let isOpen = false
  let lastTickMs = 0

  const nowMs = () => clock.now().getTime()
  const stateOf = ({ document, revision, progress, nextMs }: Entry): ScheduleState => ({
    document,
    revision,
    progress,
    nextAt: document.paused || nextMs === null ? null : new Date(nextMs),
  })

  for (const stored of kept.load(nowMs(), warn)) {
    const { document } = stored
    let pattern: Pattern
    try {
      pattern = patternOf(document)
    } catch (error) {
      // A time zone may have gone from the system since.
      warn(`The schedule ${document.id} cannot be read any more and does not run.`, error)
      continue
    }
    const { lastRun } = stored.progress
    const progress: ScheduleProgress =
      lastRun?.result === 'running'
        ? {
            ...stored.progress,
            lastRun: { ...lastRun, result: 'interrupted', message: 'The dashboard ended while this ran.' },
          }
        : stored.progress
    entries.set(document.id, { ...stored, progress, pattern, nextMs: pattern.next(stored.progress.handledMs) })
  }

  const must = (id: string): Entry => {
    const entry = entries.get(id)
    if (entry === undefined) throw new EngineError('not_found', 'There is no such schedule.')
    return entry
  }
  const isBusy = (id: string) => running.has(id) || waiting.some((one) => one.id === id)

  const note = (id: string, run: ScheduleRun): void => {
    const entry = entries.get(id)
    // It may have been removed while it ran.
    if (entry === undefined) return
    entry.progress = { ...entry.progress, lastRun: run }
    try {
      kept.saveProgress(id, entry.progress)
    } catch (error) {
      warn(`How the schedule ${id} went could not be saved.`, error)
    }
    onChange(entry.document, false)
  }

  const carryOut = async (id: string, dueAt: Date, abort: AbortController): Promise<void> => {
    const entry = entries.get(id)
    if (entry === undefined) return
    const { document } = entry
    let run: ScheduleRun = {
      dueAt: dueAt.toISOString(),
      startedAt: clock.now().toISOString(),
      endedAt: null,
      result: 'running',
      message: 'It is under way.',
      jobId: null,
    }
    note(id, run)
    try {
      const runner = runners.get(document.kind)
      if (runner === undefined) throw new Error(`no runner for ${document.kind}`)
      const { result, message } = await runner.run(document, {
        dueAt,
        signal: abort.signal,
        setJob(jobId) {
          run = { ...run, jobId: JobId.parse(jobId) }
          note(id, run)
        },
      })
      run = { ...run, result, message }
    } catch (error) {
      const known = error instanceof EngineError
      if (!known) warn(`The schedule ${id} failed.`, error)
      run = abort.signal.aborted
        ? { ...run, result: 'interrupted', message: 'The dashboard ended while this ran.' }
        : {
            ...run,
            result: 'failed',
            message: known ? error.message : 'Something went wrong in the dashboard itself; its log has the details.',
          }
    }
    run = { ...run, endedAt: clock.now().toISOString() }
    note(id, run)
    if (run.result === 'failed') onFailed?.(document, run)
  }

  const startWaiting = (): void => {
    while (isOpen && running.size < MAX_RUNNING) {
      const next = waiting.shift()
      if (next === undefined) return
      const abort = new AbortController()
      const done = carryOut(next.id, next.dueAt, abort).finally(() => {
        running.delete(next.id)
        // Its next time may have come meanwhile.
        if (isOpen) tick()
      })
      running.set(next.id, { abort, done })
    }
  }

  const look = (entry: Entry, now: number): void => {
    const { document } = entry
    if (document.paused || isBusy(document.id)) return
    const turn = takeTurn(entry.pattern, entry.progress.handledMs, now)
    if (turn.handledMs !== entry.progress.handledMs) {
      const progress = { ...entry.progress, handledMs: turn.handledMs }
      try {
        kept.saveProgress(document.id, progress)
      } catch (error) {
        // What cannot be written down would be repeated after a crash: it waits.
        warn(`The schedule ${document.id} is due, and that cannot be saved; it is tried again.`, error)
        return
      }
      entry.progress = progress
    }
    entry.nextMs = turn.nextMs
    if (turn.dueMs !== null) waiting.push({ id: document.id, dueAt: new Date(turn.dueMs) })
  }

  const tick = (): void => {
    const now = nowMs()
    const wentBack = now < lastTickMs
    lastTickMs = now
    for (const entry of entries.values())
      if (wentBack || (entry.nextMs !== null && entry.nextMs <= now)) look(entry, now)
    startWaiting()
    plan()
  }

  const plan = (): void => {
    clearTimeout(timer)
    if (!isOpen) return
    let next = nowMs() + LONGEST_SLEEP_MS
    for (const { document, nextMs } of entries.values())
      if (!document.paused && nextMs !== null && !isBusy(document.id)) next = Math.min(next, nextMs)
    timer = setTimeout(tick, Math.max(SHORTEST_SLEEP_MS, next - nowMs())).unref()
  }

  /** @throws EngineError bad_input */
  const checkTiming = (timing: ScheduleTiming): void => {
    const problem = timingProblem(timing, nowMs())
    if (problem !== null) throw new EngineError('bad_input', problem.problem, { field: problem.field })
  }

  const remove = (id: string, expected?: number | null): void => {
    const { document } = must(id)
    if (!kept.remove(id, expected ?? undefined))
      throw new EngineError('stale_revision', 'Somebody changed this schedule meanwhile; look at it again.')
    entries.delete(id)
    const index = waiting.findIndex((one) => one.id === id)
    if (index >= 0) waiting.splice(index, 1)
    onChange(document, true)
  }

  return {
    handle: (kind, runner) => void runners.set(kind, runner),
    open() {
      isOpen = true
      tick()
    },
    list: ({ kind, targetId } = {}) =>
      [...entries.values()]
        .filter(({ document }) => kind === undefined || document.kind === kind)
        .filter(({ document }) => targetId === undefined || document.target.id === targetId)
        .map(stateOf)
        .sort((a, b) => (a.document.id < b.document.id ? -1 : 1)),
    get(id) {
      const entry = entries.get(id)
      return entry === undefined ? null : stateOf(entry)
    },
    create(input) {
      checkTiming(input)
      const siblings = [...entries.values()].filter(
        ({ document }) =>
          document.kind === input.kind &&
          document.target.id === input.target.id &&
          // A tag is anybody's to name: each plans for their own VMs of it.
          (input.target.type !== 'tag' || document.ownerId === input.ownerId),
      )
      if (siblings.length >= MAX_PER_TARGET)
        throw new EngineError('conflict', `There are ${MAX_PER_TARGET} schedules already; change one of them.`)
      if ([...entries.values()].filter(({ document }) => document.ownerId === input.ownerId).length >= MAX_OF_ONE)
        throw new EngineError('conflict', `You have ${MAX_OF_ONE} schedules, as many as one person may; remove some.`)
      if (entries.size >= MAX_SCHEDULES)
        throw new EngineError('conflict', `This host has ${MAX_SCHEDULES} schedules, which is as many as it takes.`)
      const document: ScheduleDocument = {
        v: 1,
        id: randomUUIDv7(),
        kind: input.kind,
        target: input.target,
        ownerId: input.ownerId,
        cron: input.cron,
        timeZone: input.timeZone,
        retention: input.retention,
        options: input.options,
        paused: input.paused,
        createdAt: clock.now().toISOString(),
      }
      const progress: ScheduleProgress = { handledMs: nowMs(), lastRun: null }
      const revision = store.transaction(() => {
        kept.saveProgress(document.id, progress)
        return kept.write(document, 0)
      })
      if (revision === null) throw new EngineError('conflict', 'There is such a schedule already.')
      const pattern = patternOf(document)
      const entry = { document, revision, progress, pattern, nextMs: pattern.next(progress.handledMs) }
      entries.set(document.id, entry)
      plan()
      onChange(document, false)
      return stateOf(entry)
    },
    update(id, change, expected) {
      const entry = must(id)
      const document = { ...entry.document, ...change }
      const isRetimed = document.cron !== entry.document.cron || document.timeZone !== entry.document.timeZone
      if (isRetimed) checkTiming(document)
      const revision = kept.write(document, expected ?? entry.revision)
      if (revision === null)
        throw new EngineError('stale_revision', 'Somebody changed this schedule meanwhile; look at it again.')
      entry.document = document
      entry.revision = revision
      // What was missed at the old times, or while it was paused, is not made up for.
      if (isRetimed || change.paused === false) {
        entry.pattern = patternOf(document)
        entry.progress = { ...entry.progress, handledMs: nowMs() }
        kept.saveProgress(id, entry.progress)
        entry.nextMs = entry.pattern.next(entry.progress.handledMs)
      }
      plan()
      onChange(document, false)
      return stateOf(entry)
    },
    remove,
    removeOf(targetType, targetId) {
      for (const { document } of [...entries.values()])
        if (document.target.type === targetType && document.target.id === targetId) remove(document.id)
    },
    runNow(id) {
      const entry = must(id)
      if (isBusy(id)) throw new EngineError('busy', 'This schedule runs at the moment.')
      waiting.push({ id, dueAt: clock.now() })
      startWaiting()
      return stateOf(entry)
    },
    tick,
    async idle() {
      while (running.size > 0) await Promise.all([...running.values()].map(({ done }) => done))
    },
    async close() {
      isOpen = false
      clearTimeout(timer)
      waiting.length = 0
      for (const { abort } of running.values()) abort.abort(new EngineError('busy', 'The dashboard is closing.'))
      await Promise.all([...running.values()].map(({ done }) => done))
    },
  }
}
