/**
 * When a seed counts as used. Nobody tells: asking cloud-init through the agent would run a program in the guest. So it is
 * inferred, on the late side, as a seed that leaves too early would make a first start fail:
 *   - the guest agent has been there for two minutes: the system is up, cloud-init's early stages have read the CD;
 *   - the guest shut itself down after at least three minutes: an installation that ended, or an image without agent;
 *   - the guest has run for an hour.
 * Pure.
 */
export interface SeedTimes {
  readonly agentMs: number
  readonly shutdownMs: number
  readonly runMs: number
}
export const SEED_TIMES: SeedTimes = { agentMs: 120_000, shutdownMs: 180_000, runMs: 3_600_000 }

export interface SeedRun {
  /** Milliseconds on one clock. */
  readonly startedAt: number
  /** Since when the agent has been there without a break; null: it is not. */
  readonly agentSince: number | null
}

/** A sentence why it counts as used now, or null. */
export function seedUsed(run: SeedRun, now: number, times: SeedTimes, hasShutDown: boolean): string | null {
  if (run.agentSince !== null && now - run.agentSince >= times.agentMs) return 'The guest agent has been running.'
  if (hasShutDown && now - run.startedAt >= times.shutdownMs) return 'The guest ran and shut itself down.'
  if (now - run.startedAt >= times.runMs) return 'The guest has run for a long time.'
  return null
}

/** When to look again, if nothing happens before. */
export function nextLook(run: SeedRun, times: SeedTimes): number {
  const byRun = run.startedAt + times.runMs
  return run.agentSince === null ? byRun : Math.min(byRun, run.agentSince + times.agentMs)
}
