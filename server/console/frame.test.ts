import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BUFFER_SIZES, createBufferPool, createSizer } from './buffer-pool.ts'
import { FRAME_HEADER_MAX, writeFrameHeader } from './frame.ts'

describe('frames', () => {
  test('a header written in place says what RFC 6455 §5.2 wants', () => {
    for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 300_000]) {
      const bytes = Buffer.alloc(FRAME_HEADER_MAX + length, 7)
      const frame = bytes.subarray(writeFrameHeader(bytes, length))
      expect(frame[0]).toBe(0x82)
      const short = frame[1] ?? -1
      const [headerLength, said] =
        short < 126 ? [2, short] : short === 126 ? [4, frame.readUInt16BE(2)] : [10, Number(frame.readBigUInt64BE(2))]
      expect(said).toBe(length)
      // The shortest form is required.
      expect(headerLength).toBe(length < 126 ? 2 : length < 65_536 ? 4 : 10)
      expect(frame.length).toBe(headerLength + length)
      expect(frame.subarray(headerLength).every((byte) => byte === 7)).toBe(true)
    }
  })
})

describe('buffer pool', () => {
  test('gives a returned buffer out again and never one that is in use', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>)), (steps) => {
        const pool = createBufferPool(64 << 10)
        const inUse: ReturnType<typeof pool.take>[] = []
        for (const [give, size] of steps) {
          const last = give ? inUse.pop() : undefined
          if (last !== undefined) pool.give(last)
          else {
            const taken = pool.take(size)
            expect(inUse).not.toContain(taken)
            expect(taken.payload.length).toBe(BUFFER_SIZES[size])
            expect(taken.payload.byteOffset - taken.bytes.byteOffset).toBe(FRAME_HEADER_MAX)
            inUse.push(taken)
          }
        }
        // 64 KiB of each size at most, and one more buffer of the largest.
        expect(pool.idleBytes).toBeLessThanOrEqual(64 * 1024 * 3 + 256 * 1024)
      }),
      { numRuns: 30 },
    )
  })

  test('reads grow under bulk and shrink after a while of little', () => {
    const sizer = createSizer()
    expect(sizer.next(100)).toBe(0)
    expect(sizer.next(4 << 10)).toBe(1)
    expect(sizer.next(32 << 10)).toBe(2)
    expect(sizer.next(256 << 10)).toBe(2)
    expect([1, 2, 3, 4, 5, 6, 7].map((n) => sizer.next(n))).toEqual([2, 2, 2, 2, 2, 2, 2])
    expect(sizer.next(8)).toBe(1)
  })
})
