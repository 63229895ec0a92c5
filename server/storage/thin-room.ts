/**
 * When running guests should be told to somebody before a pool is full: how far each disk file may grow before the room
 * has to be counted again, and from when on people are warned. Pure.
 */
import { FULL_BYTES } from './pool-state.ts'

export interface PoolRoom {
  readonly totalBytes: number
  readonly freeBytes: number
  /** Never given out to new work. */
  readonly reserveBytes: number
}

/** A file that a running guest writes to. */
export interface GrowingFile {
  readonly key: string
  /** Where the file ends: new clusters come after it. */
  readonly lengthBytes: number
  /** What it may still take. */
  readonly growthBytes: number
}

/** Smaller steps would make a guest that writes steadily ring all the time. */
const MIN_STEP_BYTES = 2 ** 20
const MAX_RESUME_BYTES = 2 ** 30

/** With less than this free, people are warned of running guests whose disks can take all of it. */
export function warnLine({ totalBytes, reserveBytes }: PoolRoom): number {
  return Math.max(reserveBytes, totalBytes * 0.05, FULL_BYTES)
}

/** With so much free, a guest that was stopped by a full pool goes on: enough that it does not stop again at once. */
export function resumeLine(totalBytes: number): number {
  return Math.max(FULL_BYTES, Math.min(totalBytes * 0.05, MAX_RESUME_BYTES))
}

/** Whether these files can make the pool run out, and it is near that. */
export function isRunningOut(files: readonly GrowingFile[], room: PoolRoom): boolean {
  return room.freeBytes < warnLine(room) && growthOf(files) > room.freeBytes
}

/**
 * Offsets whose first write shall be told, by file; 0: none needs to be. As long as none of them is passed, what is
 * free stays above the line at which people are warned (or, below it, above half of what is free now).
 */
export function thresholdsOf(files: readonly GrowingFile[], room: PoolRoom): Map<string, number> {
  const line = warnLine(room)
  const span = room.freeBytes > line ? room.freeBytes - line : room.freeBytes / 2
  const growing = files.filter(({ growthBytes }) => growthBytes > 0)
  const fits = growthOf(growing) <= room.freeBytes - line
  const share = Math.max(MIN_STEP_BYTES, Math.floor(span / Math.max(1, growing.length)))
  return new Map(
    files.map(({ key, lengthBytes, growthBytes }) => [
      key,
      fits || growthBytes <= share ? 0 : Math.floor(lengthBytes) + share,
    ]),
  )
}

const growthOf = (files: readonly GrowingFile[]): number =>
  files.reduce((sum, { growthBytes }) => sum + Math.max(0, growthBytes), 0)
