/**
 * Room for a file that a tool writes: asked for in steps while it grows, because nobody knows beforehand how large it
 * will be. When there is no more, or the caller gives up, the tool's signal is raised.
 */
import { stat } from 'node:fs/promises'
import type { SpaceLedger } from '#server/storage/space.ts'

/** Asked for ahead of what is written, so that a fast disk cannot outrun the watch. */
const AHEAD_BYTES = 256 * 2 ** 20
const LOOK_EVERY_MS = 200

/** A file may always unpack to so many bytes of content … */
const GROWTH_FREE_BYTES = 2 ** 30
/** … and beyond that to so many times its size. */
const GROWTH_RATIO = 100

/** The most that may come out of a file of this size: what a bomb is measured by. */
export const growthLimit = (bytes: number): number => Math.max(GROWTH_FREE_BYTES, bytes * GROWTH_RATIO)

export interface GrowthGuard {
  /** Give it to the tool. Its reason is the caller's, or no_space. */
  readonly signal: AbortSignal
  /** Idempotent; the room taken so far counts as written. */
  release(): void
}

/** @param what begins the sentence shown when there is no room @throws EngineError no_space */
export async function growthGuard(
  space: SpaceLedger,
  path: string,
  what: string,
  signal: AbortSignal,
  /** @throws to raise the tool's signal with it */
  onGrowth: (bytes: number) => void | Promise<void> = () => {},
): Promise<GrowthGuard> {
  const reservation = await space.reserve(AHEAD_BYTES, what)
  const full = new AbortController()
  let written = 0
  let reserved = AHEAD_BYTES
  let looking = false
  const look = async (): Promise<void> => {
    const facts = await stat(path).catch(() => null)
    if (facts === null) return
    const now = facts.blocks * 512
    if (now > written) {
      reservation.consume(now - written)
      written = now
    }
    await onGrowth(written)
    if (written + AHEAD_BYTES / 2 <= reserved) return
    await reservation.extend(AHEAD_BYTES)
    reserved += AHEAD_BYTES
  }
  const timer = setInterval(() => {
    if (looking) return
    looking = true
    look()
      .catch((error: unknown) => full.abort(error))
      .finally(() => {
        looking = false
      })
  }, LOOK_EVERY_MS)
  return {
    signal: AbortSignal.any([signal, full.signal]),
    release() {
      clearInterval(timer)
      reservation.release()
    },
  }
}
