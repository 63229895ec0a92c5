/** Times of the lab: decided by a clock nobody sets, shown by the wall clock. */
export interface LabClock {
  /** Never decreases, goes on over restarts of the dashboard, and knows nothing of the date. */
  steadyMs(): number
  wallMs(): number
}

/** A difference people would not notice, and a clock that is mended all the time makes. */
const DRIFT_MS = 120_000

export interface LabTime extends LabClock {
  /** A moment of the steady clock as a date; the one that was promised, while the wall clock still agrees with it. */
  dateOf(steadyMs: number, promised?: string | null): string
  steadyOf(instant: string): number
  /** Nothing is stopped before. */
  readonly settledMs: number
}

export function createLabTime(clock: LabClock, settleMs: number): LabTime {
  return {
    steadyMs: () => clock.steadyMs(),
    wallMs: () => clock.wallMs(),
    dateOf(steadyMs, promised = null) {
      const wallMs = clock.wallMs() + steadyMs - clock.steadyMs()
      if (promised !== null && Math.abs(Date.parse(promised) - wallMs) < DRIFT_MS) return promised
      // To the minute: it would change with each look.
      return new Date(Math.round(wallMs / 60_000) * 60_000).toISOString()
    },
    steadyOf: (instant) => clock.steadyMs() + Date.parse(instant) - clock.wallMs(),
    settledMs: clock.steadyMs() + settleMs,
  }
}

/** `2026-12-04 18:00 UTC`, for sentences in the log. */
export const inWords = (instant: string): string => `${instant.slice(0, 16).replace('T', ' ')} UTC`
