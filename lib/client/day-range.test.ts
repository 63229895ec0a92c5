import { expect, test } from 'vitest'
import { dayRange } from './day-range.ts'

test('both days are in the range, from midnight to midnight of the reader', () => {
  expect(dayRange('2026-11-28', '2026-11-28')).toEqual({
    from: new Date(2026, 10, 28).toISOString(),
    until: new Date(2026, 10, 29).toISOString(),
  })
  // Over the end of a year.
  expect(dayRange(null, '2026-12-31')).toEqual({ until: new Date(2027, 0, 1).toISOString() })
})

test('what is no day bounds nothing', () => {
  for (const text of [null, '', '2026-02-30', '2026-13-01', 'yesterday', '2026-11-28T00:00'])
    expect(dayRange(text, text)).toEqual({})
})
