/** Where a replay is: a position that goes on with the wall while it plays. Pure; the caller brings the time. */
export const SPEEDS = [1, 2, 4, 8] as const
export type Speed = (typeof SPEEDS)[number]

export interface ReplayClock {
  readonly durationMs: number
  readonly isPlaying: boolean
  readonly speed: Speed
  /** The position at `sinceMs`. */
  readonly atMs: number
  readonly sinceMs: number
}

export const stoppedClock = (durationMs: number): ReplayClock => ({
  ...{ durationMs, isPlaying: false, speed: 1, atMs: 0, sinceMs: 0 },
})

const within = (clock: ReplayClock, atMs: number) => Math.min(clock.durationMs, Math.max(0, atMs))

export function positionOf(clock: ReplayClock, nowMs: number): number {
  if (!clock.isPlaying) return clock.atMs
  return within(clock, clock.atMs + Math.max(0, nowMs - clock.sinceMs) * clock.speed)
}

/** At its end it stands still. */
export const hasEnded = (clock: ReplayClock, nowMs: number): boolean => positionOf(clock, nowMs) >= clock.durationMs

export const seek = (clock: ReplayClock, atMs: number, nowMs: number): ReplayClock => ({
  ...clock,
  ...{ atMs: within(clock, atMs), sinceMs: nowMs },
})

/** From its end it begins anew. */
export const play = (clock: ReplayClock, nowMs: number): ReplayClock => ({
  ...seek(clock, hasEnded(clock, nowMs) ? 0 : positionOf(clock, nowMs), nowMs),
  isPlaying: true,
})
export const pause = (clock: ReplayClock, nowMs: number): ReplayClock => ({
  ...seek(clock, positionOf(clock, nowMs), nowMs),
  isPlaying: false,
})
export const withSpeed = (clock: ReplayClock, speed: Speed, nowMs: number): ReplayClock => ({
  ...seek(clock, positionOf(clock, nowMs), nowMs),
  speed,
})

/** `1:02:03` or `2:03`. */
export function clockText(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const two = (n: number) => String(n).padStart(2, '0')
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

/**
 * What to feed a screen to show a position: frames `from` (inclusive) to `until` (exclusive), after a reset where `from` is a
 * key frame that was jumped to.
 * @param next first frame that was not fed yet
 */
export function framesFor(
  frames: readonly { readonly atMs: number; readonly isKey: boolean }[],
  next: number,
  positionMs: number,
): { readonly from: number; readonly until: number; readonly jumps: boolean } {
  let low = 0
  let high = frames.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((frames[middle]?.atMs ?? 0) <= positionMs) low = middle + 1
    else high = middle
  }
  // The first picture stands for the moments before it.
  const until = Math.max(low, Math.min(1, frames.length))
  let key = until - 1
  while (key > 0 && frames[key]?.isKey !== true) key--
  if (until < next) return { from: key, until, jumps: true }
  return key > next ? { from: key, until, jumps: true } : { from: next, until, jumps: false }
}
