/**
 * When a schedule's turn has come, whatever the clock did meanwhile. Pure: patterns are asked through `previous` and
 * `next`.
 *
 * `handledMs` is the wall clock up to which everything due was seen to. A run that was missed, by one or by a hundred
 * times, is made up for once. A clock set forward looks like missed runs; one set back far must not keep the schedule
 * silent until the old time comes again, and one set back a little must not run it twice.
 */
export interface Pattern {
  /** The latest time at or before `atMs`; null when there was none. */
  previous(atMs: number): number | null
  /** The first time after `atMs`; null when there is none. */
  next(atMs: number): number | null
}

/** A clock that went back less than this was mended, not set. */
const MENDED_MS = 3_600_000

export interface Turn {
  /** The time a run is due for; null: not now. */
  readonly dueMs: number | null
  /** To be stored before the run begins, so that a crash in it does not repeat it for ever. */
  readonly handledMs: number
  readonly nextMs: number | null
}

export function takeTurn(pattern: Pattern, handledMs: number, nowMs: number): Turn {
  if (handledMs > nowMs) {
    const from = handledMs - nowMs > MENDED_MS ? nowMs : handledMs
    return { dueMs: null, handledMs: from, nextMs: pattern.next(from) }
  }
  const latest = pattern.previous(nowMs)
  const dueMs = latest !== null && latest > handledMs ? latest : null
  return { dueMs, handledMs: dueMs === null ? handledMs : nowMs, nextMs: pattern.next(nowMs) }
}
