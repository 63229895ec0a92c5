import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createSerialHistory, HEAD_MAX_BYTES, TAIL_MAX_BYTES } from './serial-history.ts'

describe('serial history', () => {
  test('keeps the first and the latest bytes and counts what is lost between', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 60 }), (chunks) => {
        const history = createSerialHistory(32, 100)
        const all: number[] = []
        for (const chunk of chunks) {
          history.append(chunk)
          all.push(...chunk)
        }
        const { head, tail, droppedBytes } = history.read()
        expect([...head]).toEqual(all.slice(0, 32))
        const rest = all.slice(32)
        expect([...tail]).toEqual(rest.slice(Math.max(0, rest.length - 100)))
        expect(droppedBytes).toBe(Math.max(0, rest.length - 100))
        expect(history.totalBytes).toBe(all.length)
      }),
      { numRuns: 500 },
    )
  })

  test('keeps 64 KiB of the beginning and 1 MiB of the end of a flood (G07)', () => {
    const history = createSerialHistory()
    const chunk = new Uint8Array(50_000)
    for (let i = 0; i < 100; i++) history.append(chunk.fill(i))
    const { head, tail, droppedBytes } = history.read()
    expect(head).toHaveLength(HEAD_MAX_BYTES)
    expect(tail).toHaveLength(TAIL_MAX_BYTES)
    expect(head.length + tail.length + droppedBytes).toBe(5_000_000)
    expect([head[0], tail.at(-1)]).toEqual([0, 99])
  })

  test('a chunk longer than everything kept leaves its end', () => {
    const history = createSerialHistory(4, 8)
    history.append(Uint8Array.from({ length: 100 }, (_, i) => i))
    expect([...history.read().tail]).toEqual([92, 93, 94, 95, 96, 97, 98, 99])
  })

  test('what was read does not change later', () => {
    const history = createSerialHistory(4, 4)
    history.append(Uint8Array.of(1, 2, 3, 4, 5, 6))
    const before = history.read()
    history.append(Uint8Array.of(7, 8, 9, 10))
    expect([...before.tail]).toEqual([5, 6])
  })
})
