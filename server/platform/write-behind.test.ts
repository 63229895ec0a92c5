import { expect, test } from 'vitest'
import { writeBehind } from './write-behind.ts'

const MIB = 2 ** 20

test('the disk is asked once at a time, and again when enough has come since', async () => {
  const ends: (() => void)[] = []
  const behind = writeBehind({ datasync: () => new Promise((resolve) => ends.push(resolve)) })
  behind.reached(31 * MIB)
  expect(ends).toHaveLength(0)
  behind.reached(32 * MIB)
  behind.reached(500 * MIB)
  expect(ends).toHaveLength(1)
  ends[0]?.()
  await behind.settled()
  behind.reached(63 * MIB)
  expect(ends).toHaveLength(1)
  behind.reached(64 * MIB)
  expect(ends).toHaveLength(2)
})

test('a write that failed behind is told at the end, and the disk is not asked again', async () => {
  let asked = 0
  const behind = writeBehind({
    datasync: async () => {
      asked++
      throw new Error('EIO')
    },
  })
  behind.reached(32 * MIB)
  await expect(behind.settled()).rejects.toThrow('EIO')
  behind.reached(64 * MIB)
  expect(asked).toBe(1)
  await expect(behind.settled()).rejects.toThrow('EIO')
})
