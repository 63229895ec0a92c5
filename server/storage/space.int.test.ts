import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { expect, it } from 'vitest'
import { createSpaceLedger, reserveBytes } from './space.ts'

/** What the ledger may give out with no minimum. */
const usable = () => {
  const { bavail, blocks, bsize } = statfsSync(tmpdir())
  return Math.max(0, bavail * bsize - reserveBytes(blocks * bsize, 0))
}

it('five per cent stay free, and never less than the minimum', () => {
  expect(reserveBytes(1000 * 2 ** 30, 5 * 2 ** 30)).toBe(50 * 2 ** 30)
  expect(reserveBytes(10 * 2 ** 30, 5 * 2 ** 30)).toBe(5 * 2 ** 30)
})

it('of many who ask at once only so many get room as there is', async () => {
  const ledger = createSpaceLedger(tmpdir(), 0)
  const share = Math.floor(usable() / 5.5)
  const asked = await Promise.allSettled(Array.from({ length: 20 }, () => ledger.reserve(share, 'The test')))
  const given = asked.filter((result) => result.status === 'fulfilled')
  expect(given.length).toBe(5)
  expect(ledger.outstandingBytes).toBe(given.length * share)
  for (const { value } of given) {
    value.consume(share / 2)
    value.release()
    value.release()
  }
  expect(ledger.outstandingBytes).toBe(0)
})

it('a refusal says what was wanted and what is left', async () => {
  const ledger = createSpaceLedger(tmpdir(), 2 ** 60)
  await expect(ledger.reserve(2 ** 30, 'The upload')).rejects.toMatchObject({
    code: 'no_space',
    message: expect.stringMatching(/^The upload needs 1\.0 GiB and only 0 MiB/),
  })
})
