/**
 * What a serial port said: the first part (boot loader, kernel) and the latest part, each bounded. Memory grows with
 * what was said, up to the bounds; silent guests cost nothing.
 */

export const HEAD_MAX_BYTES = 64 << 10
export const TAIL_MAX_BYTES = 1 << 20
const FIRST_RING_BYTES = 16 << 10

export interface SerialHistory {
  append(bytes: Uint8Array): void
  /** Copies. `droppedBytes` came between head and tail and are gone. */
  read(): { head: Uint8Array; tail: Uint8Array; droppedBytes: number }
  readonly totalBytes: number
}

export function createSerialHistory(headMax = HEAD_MAX_BYTES, tailMax = TAIL_MAX_BYTES): SerialHistory {
  let head = Buffer.alloc(0)
  let headLength = 0
  let ring = Buffer.alloc(0)
  /** Where the next byte goes once the ring is full; until then equal to `ringLength`. */
  let ringEnd = 0
  let ringLength = 0
  let totalBytes = 0

  const growRing = (needed: number) => {
    if (ring.length >= tailMax || ringLength + needed <= ring.length) return
    let size = Math.max(ring.length * 2, Math.min(FIRST_RING_BYTES, tailMax))
    while (size < ringLength + needed && size < tailMax) size *= 2
    const grown = Buffer.allocUnsafeSlow(Math.min(size, tailMax))
    // Below its greatest size the ring has never wrapped.
    ring.copy(grown, 0, 0, ringLength)
    ring = grown
    ringEnd = ringLength
  }

  const appendToRing = (bytes: Uint8Array) => {
    const kept = bytes.length > tailMax ? bytes.subarray(bytes.length - tailMax) : bytes
    growRing(kept.length)
    if (ringEnd === ring.length) ringEnd = 0
    const first = Math.min(kept.length, ring.length - ringEnd)
    ring.set(kept.subarray(0, first), ringEnd)
    if (first < kept.length) ring.set(kept.subarray(first), 0)
    ringEnd = first < kept.length ? kept.length - first : ringEnd + first
    ringLength = Math.min(ring.length, ringLength + kept.length)
  }

  const readTail = (): Buffer => {
    const out = Buffer.allocUnsafe(ringLength)
    const start = ringEnd - ringLength
    if (start >= 0) {
      ring.copy(out, 0, start, ringEnd)
    } else {
      const wrapped = ring.copy(out, 0, ring.length + start, ring.length)
      ring.copy(out, wrapped, 0, ringEnd)
    }
    return out
  }

  return {
    get totalBytes() {
      return totalBytes
    },
    append(bytes) {
      totalBytes += bytes.length
      const toHead = Math.min(bytes.length, headMax - headLength)
      if (toHead > 0) {
        if (headLength + toHead > head.length) {
          const grown = Buffer.allocUnsafeSlow(Math.min(headMax, Math.max(4096, 2 * (headLength + toHead))))
          head.copy(grown, 0, 0, headLength)
          head = grown
        }
        head.set(bytes.subarray(0, toHead), headLength)
        headLength += toHead
      }
      if (toHead < bytes.length) appendToRing(bytes.subarray(toHead))
    },
    read() {
      return {
        head: Buffer.from(head.subarray(0, headLength)),
        tail: readTail(),
        droppedBytes: totalBytes - headLength - ringLength,
      }
    },
  }
}
