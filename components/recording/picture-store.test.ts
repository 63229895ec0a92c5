import { expect, test } from 'vitest'
import { PictureStore } from './picture-store.ts'

test('of a recording larger than what is kept every picture is there, in any order, and few are held', async () => {
  const file = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 7) % 251)
  const asked: [number, number][] = []
  const store = new PictureStore(
    async (from, to) => {
      asked.push([from, to])
      return file.slice(from, to + 1)
    },
    1000,
    500,
  )
  const places = Array.from({ length: 150 }, (_, n) => ({ at: 100 + n * 113, length: n === 120 ? 800 : 100 }))
  for (const [n, { at, length }] of places.entries())
    store.add({ atMs: n, isKey: n % 10 === 0, payloadAt: at }, file.slice(at, at + length))
  const expected = (n: number) => {
    const { at, length } = places[n] ?? { at: 0, length: 0 }
    return file.slice(at, at + length)
  }
  for (const n of [0, 9, 10, 11, 12, 149, 148, 120, 3, 77]) expect(await store.payloadOf(n)).toEqual(expected(n))
  // The first ten are kept; 10 to 12 came together; nothing beyond the last picture was asked for.
  expect(asked.map(([from]) => from)).toEqual([10, 149, 148, 120, 77].map((n) => places[n]?.at))
  expect(Math.max(...asked.map(([from, to]) => to - from + 1))).toBe(800)
  expect(Math.max(...asked.map(([, to]) => to))).toBeLessThan(100 + 149 * 113 + 100)
  expect(await store.payloadOf(150)).toBeNull()
})

test('what does not come is told to who asked for it, and asked for again', async () => {
  let fails = true
  const store = new PictureStore(async (from, to) => {
    if (fails) throw new Error('HTTP 503')
    return new Uint8Array(to - from + 1)
  }, 0)
  store.add({ atMs: 0, isKey: true, payloadAt: 50 }, new Uint8Array(10))
  await expect(store.payloadOf(0)).rejects.toThrow('HTTP 503')
  fails = false
  expect(await store.payloadOf(0)).toHaveLength(10)
})
