import { describe, expect, test } from 'vitest'
import { patternOf, previewTiming, timingProblem } from './cron.ts'

const NOW = Date.parse('2026-11-27T12:00:00Z')
const problem = (cron: string, timeZone = 'UTC') => timingProblem({ cron, timeZone }, NOW)

describe('a pattern is refused with its field', () => {
  test.each([
    ['* * * * * *', 'five fields'],
    ['@daily', 'five fields'],
    ['0 3 * *', 'five fields'],
    ['61 3 * * *', 'cannot be read'],
    ['0 3 * * FOO', 'cannot be read'],
    ['* * * * *', 'too often'],
    ['*/2 * * * *', 'too often'],
    ['0,1 3 * * *', 'too often'],
    ['0 0 31 2 *', 'never'],
    [`${'1,'.repeat(50)}1 * * * *`, 'five fields'],
    ['0 3 * * <script>', 'five fields'],
  ])('%s', (cron, words) => {
    expect(problem(cron)).toMatchObject({ field: 'cron', problem: expect.stringContaining(words) })
  })

  test.each(['Mars/Base', '', '+02:00', '../etc/passwd', 'Europe/Vienna\n'])('time zone “%s” (D12)', (zone) => {
    expect(problem('0 3 * * *', zone)).toMatchObject({ field: 'timeZone' })
  })

  test.each(['*/5 * * * *', '0 3 * * *', '30 2 * * MON-FRI', '0 0 1 */3 *', '0 3 L * *', '15 4 29 2 *'])(
    '%s is taken',
    (cron) => expect(problem(cron)).toBeNull(),
  )
})

test('a preview names the next runs in order', () => {
  expect(previewTiming({ cron: '0 3 * * *', timeZone: 'Europe/Vienna' }, NOW).next.slice(0, 2)).toEqual([
    '2026-11-28T02:00:00.000Z',
    '2026-11-29T02:00:00.000Z',
  ])
})

test('at half past two each night there is one run on the night without that time, and one where it comes twice', () => {
  const vienna = patternOf({ cron: '30 2 * * *', timeZone: 'Europe/Vienna' })
  const runs = (fromText: string, untilText: string) => {
    const found: string[] = []
    for (let at = vienna.next(Date.parse(fromText)); at !== null && at < Date.parse(untilText); at = vienna.next(at))
      found.push(new Date(at).toISOString())
    return found
  }
  expect(runs('2026-03-28T12:00:00Z', '2026-03-29T12:00:00Z')).toEqual(['2026-03-29T01:00:00.000Z'])
  expect(runs('2026-10-24T12:00:00Z', '2026-10-25T12:00:00Z')).toEqual(['2026-10-25T00:30:00.000Z'])
})

test('the latest run is the one at this very moment', () => {
  const pattern = patternOf({ cron: '0 12 * * *', timeZone: 'UTC' })
  expect(pattern.previous(NOW)).toBe(NOW)
  expect(pattern.previous(NOW - 1)).toBe(NOW - 86_400_000)
  expect(pattern.next(NOW)).toBe(NOW + 86_400_000)
})
