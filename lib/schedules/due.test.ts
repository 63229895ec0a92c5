import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Pattern, takeTurn } from './due.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

/** Every `stepMs`, at multiples of it. */
const every = (stepMs: number): Pattern => ({
  previous: (atMs) => Math.floor(atMs / stepMs) * stepMs,
  next: (atMs) => (Math.floor(atMs / stepMs) + 1) * stepMs,
})

test('a run that is due is due once', () => {
  const first = takeTurn(every(DAY), 0.5 * DAY, DAY + 5)
  expect(first).toEqual({ dueMs: DAY, handledMs: DAY + 5, nextMs: 2 * DAY })
  expect(takeTurn(every(DAY), first.handledMs, DAY + 6).dueMs).toBeNull()
})

test('a hundred missed runs are made up for by one', () => {
  const turn = takeTurn(every(HOUR), 0, 100.5 * HOUR)
  expect(turn.dueMs).toBe(100 * HOUR)
  expect(takeTurn(every(HOUR), turn.handledMs, 100.6 * HOUR).dueMs).toBeNull()
})

test('a clock set back by minutes does not run it twice', () => {
  const { handledMs } = takeTurn(every(DAY), 0, DAY + 10)
  const back = takeTurn(every(DAY), handledMs, DAY - 60_000)
  expect(back).toEqual({ dueMs: null, handledMs, nextMs: 2 * DAY })
  expect(takeTurn(every(DAY), back.handledMs, DAY + 5).dueMs).toBeNull()
})

test('a clock set back by a day does not silence it until the old time comes again', () => {
  const { handledMs } = takeTurn(every(DAY), 0, 10 * DAY + 5)
  const back = takeTurn(every(DAY), handledMs, 9 * DAY + 5)
  expect(back).toEqual({ dueMs: null, handledMs: 9 * DAY + 5, nextMs: 10 * DAY })
})

test('however the clock jumps, each jump causes at most one run, and it never sleeps past its next time', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -3 * DAY, max: 3 * DAY }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 48 }),
      (jumps, hours) => {
        const pattern = every(hours * HOUR)
        let now = 100 * DAY
        let handled = now
        for (const jump of jumps) {
          now += jump
          const turn = takeTurn(pattern, handled, now)
          handled = turn.handledMs
          expect(takeTurn(pattern, handled, now).dueMs).toBeNull()
          // An hour at most is waited out again.
          expect(turn.nextMs ?? 0).toBeLessThanOrEqual(now + HOUR + hours * HOUR)
        }
      },
    ),
  )
})
