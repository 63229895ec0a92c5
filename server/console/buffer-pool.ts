/**
 * Read buffers shared by all viewers, in three sizes with room for a frame header in front. A quiet screen waits on
 * a small buffer; one that fills its buffer gets the next size, so that bulk moves in few large frames.
 */
import { FRAME_HEADER_MAX } from './frame.ts'

export const BUFFER_SIZES = [4 << 10, 32 << 10, 256 << 10] as const
export type SizeClass = 0 | 1 | 2

export interface PooledBuffer {
  readonly sizeClass: SizeClass
  readonly capacity: number
  /** Header room and payload. */
  readonly bytes: Buffer
  /** Where reads go: everything after the header room. */
  readonly payload: Buffer
}

export interface BufferPool {
  take(sizeClass: SizeClass): PooledBuffer
  /** The giver must not touch it again, and nothing may still be reading from it. */
  give(buffer: PooledBuffer): void
  /** Bytes kept for reuse. */
  readonly idleBytes: number
}

/** @param keepBytes how many bytes of unused buffers of each size are kept; the rest is left to the collector. */
export function createBufferPool(keepBytes = 3 << 20): BufferPool {
  const free: [PooledBuffer[], PooledBuffer[], PooledBuffer[]] = [[], [], []]
  return {
    get idleBytes() {
      return free.reduce((sum, list, i) => sum + list.length * (BUFFER_SIZES[i] ?? 0), 0)
    },
    take(sizeClass) {
      const kept = free[sizeClass].pop()
      if (kept !== undefined) return kept
      const capacity = BUFFER_SIZES[sizeClass]
      // Slow: a slice of Node's shared slab would keep the whole slab alive for as long as a viewer waits.
      const bytes = Buffer.allocUnsafeSlow(FRAME_HEADER_MAX + capacity)
      return { sizeClass, capacity, bytes, payload: bytes.subarray(FRAME_HEADER_MAX) }
    },
    give(buffer) {
      const list = free[buffer.sizeClass]
      if (list.length * buffer.capacity < keepBytes) list.push(buffer)
    },
  }
}

/** Which size the next read should use, from how full the last ones were. */
export function createSizer(): { next(readBytes: number): SizeClass } {
  let size: SizeClass = 0
  let small = 0
  return {
    next(readBytes) {
      if (readBytes >= BUFFER_SIZES[size]) {
        small = 0
        if (size < 2) size = (size + 1) as SizeClass
      } else if (size > 0 && readBytes <= BUFFER_SIZES[size] / 16) {
        // Not at the first small read: bulk ends in a short one each time the guest has to think.
        if (++small >= 8) {
          small = 0
          size = (size - 1) as SizeClass
        }
      } else {
        small = 0
      }
      return size
    },
  }
}
