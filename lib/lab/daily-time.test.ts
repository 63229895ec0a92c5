import { expect, test } from 'vitest'
import { cronOf, dailyTimeOf, EVERY_DAY, WEEKDAYS } from './daily-time.ts'

test('a time of day and days of the week become a pattern, and the same again', () => {
  expect(cronOf({ time: '09:05', days: WEEKDAYS })).toBe('5 9 * * 1,2,3,4,5')
  expect(cronOf({ time: '19:00', days: EVERY_DAY })).toBe('0 19 * * *')
  for (const days of [WEEKDAYS, EVERY_DAY, [0, 6], [3]])
    expect(dailyTimeOf(cronOf({ time: '07:30', days }))).toEqual({ time: '07:30', days })
})

test('ranges and Sunday as 7 are understood', () => {
  expect(dailyTimeOf('0 9 * * 1-5')).toEqual({ time: '09:00', days: WEEKDAYS })
  expect(dailyTimeOf('0 9 * * 6,7')).toEqual({ time: '09:00', days: [0, 6] })
})

test.each(['*/5 * * * *', '0 9 1 * *', '0 9 * 3 *', '0 9,10 * * *', '60 9 * * *', '0 9 * * 5-1', '0 9 * * 1-2-3'])(
  '%s says more than that',
  (cron) => expect(dailyTimeOf(cron)).toBeNull(),
)
