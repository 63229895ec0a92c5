import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type GrowingFile, isRunningOut, resumeLine, thresholdsOf, warnLine } from './thin-room.ts'

const MiB = 2 ** 20
const GiB = 2 ** 30
const room = (freeBytes: number, more: object = {}) => ({
  ...{ totalBytes: 100 * GiB, reserveBytes: 5 * GiB },
  ...{ freeBytes, ...more },
})
const file = (key: string, growthBytes: number, lengthBytes = GiB): GrowingFile => ({ key, lengthBytes, growthBytes })

test('disks that fit above the line even when full ring no bell', () => {
  expect([...thresholdsOf([file('a', GiB), file('b', 2 * GiB)], room(20 * GiB)).values()]).toEqual([0, 0])
})

test('of the room above the line each growing disk gets an equal share', () => {
  const found = thresholdsOf([file('a', 50 * GiB), file('b', 50 * GiB, 3 * GiB), file('full', 0)], room(15 * GiB))
  expect(Object.fromEntries(found)).toEqual({ a: 6 * GiB, b: 8 * GiB, full: 0 })
})

test('whatever guests write without ringing, the room stays above the line', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ growth: fc.integer({ min: 0, max: 64 }), written: fc.double({ min: 0, max: 1, noNaN: true }) }),
        {
          minLength: 1,
          maxLength: 8,
        },
      ),
      fc.integer({ min: 6, max: 90 }),
      (disks, freeGiB) => {
        const pool = room(freeGiB * GiB)
        const files = disks.map(({ growth }, index) => file(String(index), growth * GiB))
        const thresholds = thresholdsOf(files, pool)
        const taken = disks.map(({ growth, written }, index) => {
          const threshold = thresholds.get(String(index)) ?? 0
          return written * (threshold === 0 ? growth * GiB : Math.min(growth * GiB, threshold - GiB))
        })
        expect(pool.freeBytes - taken.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThanOrEqual(warnLine(pool))
      },
    ),
  )
})

test('below the line it rings again when half of what is left is gone, and never for every cluster', () => {
  expect(thresholdsOf([file('a', 50 * GiB)], room(4 * GiB)).get('a')).toBe(3 * GiB)
  expect(thresholdsOf([file('a', 50 * GiB)], room(100)).get('a')).toBe(GiB + MiB)
})

test('people are warned when little is free and the disks can take all of it', () => {
  expect(isRunningOut([file('a', 50 * GiB)], room(6 * GiB))).toBe(false)
  expect(isRunningOut([file('a', 50 * GiB)], room(4 * GiB))).toBe(true)
  expect(isRunningOut([file('a', GiB)], room(4 * GiB))).toBe(false)
})

test('the line is never below what a full pool is called by, even with no reserve', () => {
  expect(warnLine({ totalBytes: 40 * MiB, freeBytes: 0, reserveBytes: 0 })).toBe(16 * MiB)
  expect([resumeLine(40 * MiB), resumeLine(10 * GiB), resumeLine(2 ** 44)]).toEqual([16 * MiB, 512 * MiB, GiB])
})
