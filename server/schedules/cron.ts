/** Cron patterns: five fields and a time zone. Whatever cannot be used is refused with its reason before it is stored. */
import { Cron } from 'croner'
import type { Pattern } from '#lib/schedules/due.ts'
import type { SchedulePreview, ScheduleTiming } from '#lib/schema/schedule.ts'

/** Runs closer than this are refused: each one stops a guest for a moment and takes space. Minutes. */
export const MIN_GAP_MINUTES = 5
/** Runs looked at to find the smallest gap: a day and more of the densest pattern that is allowed. */
const GAP_SAMPLES = 300
const PREVIEW_RUNS = 5

type Problem = { readonly problem: string; readonly field: 'cron' | 'timeZone' }

function isTimeZone(name: string): boolean {
  try {
    // Offsets such as `+02:00` would be taken too, and know no summer.
    return /^[A-Za-z]/.test(name) && new Intl.DateTimeFormat('en', { timeZone: name }) !== null
  } catch {
    return false
  }
}

function parse({ cron, timeZone }: ScheduleTiming): Cron | Problem {
  if (!isTimeZone(timeZone))
    return {
      field: 'timeZone',
      problem: `There is no time zone “${timeZone}”; use a name such as Europe/Vienna or UTC.`,
    }
  const fields = cron.trim().split(/\s+/)
  if (fields.length !== 5 || !fields.every((field) => /^[0-9A-Za-z*,/#?-]{1,40}$/.test(field)))
    return {
      field: 'cron',
      problem: 'Give five fields: minute, hour, day of month, month, day of week. “0 3 * * *” is every day at 3:00.',
    }
  try {
    return new Cron(fields.join(' '), { timezone: timeZone, mode: '5-part', paused: true })
  } catch (error) {
    const words = error instanceof Error ? error.message.replace(/^Cron\w+: /, '') : ''
    return { field: 'cron', problem: `This pattern cannot be read: ${words}` }
  }
}

const isProblem = (found: Cron | Problem): found is Problem => 'problem' in found

/** Why this pattern may not be used from `nowMs` on; null: it may. */
export function timingProblem(timing: ScheduleTiming, nowMs: number): Problem | null {
  const cron = parse(timing)
  if (isProblem(cron)) return cron
  const runs = cron.nextRuns(GAP_SAMPLES, new Date(nowMs))
  if (runs.length === 0) return { field: 'cron', problem: 'This day never comes; the schedule would never run.' }
  let before: Date | null = null
  for (const run of runs) {
    if (before !== null && run.getTime() - before.getTime() < MIN_GAP_MINUTES * 60_000)
      return { field: 'cron', problem: `This runs too often: leave at least ${MIN_GAP_MINUTES} minutes between runs.` }
    before = run
  }
  return null
}

/** The next runs, for people to check what they wrote. */
export function previewTiming(timing: ScheduleTiming, nowMs: number): SchedulePreview {
  const problem = timingProblem(timing, nowMs)
  if (problem !== null) return { next: [], ...problem }
  const cron = parse(timing)
  if (isProblem(cron)) return { next: [], ...cron }
  return {
    next: cron.nextRuns(PREVIEW_RUNS, new Date(nowMs)).map((run) => run.toISOString()),
    problem: null,
    field: null,
  }
}

/** @throws Error for a pattern that `timingProblem` would have refused */
export function patternOf(timing: ScheduleTiming): Pattern {
  const cron = parse(timing)
  if (isProblem(cron)) throw new Error(cron.problem)
  return {
    // Croner answers with what lies strictly before, in whole seconds.
    previous: (atMs) =>
      cron
        .previousRuns(2, new Date(atMs + 1000))
        .map((run) => run.getTime())
        .find((run) => run <= atMs) ?? null,
    next: (atMs) => cron.nextRun(new Date(atMs))?.getTime() ?? null,
  }
}
