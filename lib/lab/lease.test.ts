import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advanced, dueStep, extendedEnd, type LeaseState, NOTICE_MS, nextStep, renewed, settled } from './lease.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const RULES = { warnMs: DAY, graceMs: 7 * DAY }

/** Ticks through a time and tells the steps that came, with their time. */
function run(lease: LeaseState, times: readonly number[], settledMs = 0) {
  let state = lease
  const steps: [string, number][] = []
  for (const now of times) {
    const step = dueStep(state, RULES, now, settledMs)
    if (step === null) continue
    steps.push([step, now])
    state = settled(advanced(state, step, now))
  }
  return { state, steps }
}

test('it is warned of before the end, suspended at the end, archived after the grace, and then nothing', () => {
  const hours = Array.from({ length: 24 * 30 }, (_, n) => n * HOUR)
  expect(run(renewed(3 * DAY, 0), hours).steps).toEqual([
    ['warn', 2 * DAY],
    ['suspend', 3 * DAY],
    ['archive', 10 * DAY],
  ])
})

test('without an end nothing ever comes', () => {
  expect(run(renewed(null, 0), [0, 1000 * DAY]).steps).toEqual([])
})

test('what is begun and not done waits: no other step comes meanwhile', () => {
  const begun = advanced(renewed(DAY, 0), 'suspend', DAY)
  expect(dueStep(begun, RULES, 100 * DAY, 0)).toBeNull()
  expect(dueStep(settled(begun), RULES, 100 * DAY, 0)).toBe('archive')
})

test('a year that passed in one moment is a warning first, and each further step has its time (F40)', () => {
  const year = 365 * DAY
  const after = Array.from({ length: 24 * 9 * 60 }, (_, n) => year + n * 60_000)
  expect(run(renewed(3 * DAY, 0), after, year + 900_000).steps).toEqual([
    ['warn', year],
    ['suspend', year + NOTICE_MS],
    ['archive', year + NOTICE_MS + 7 * DAY],
  ])
})

test('nothing is stopped in the first minutes of a dashboard, though it may be warned of', () => {
  const warned = advanced(renewed(DAY, 0), 'warn', 0)
  expect(dueStep(warned, RULES, 3 * DAY, 3 * DAY + 1)).toBeNull()
  expect(dueStep(renewed(DAY, 0), RULES, 3 * DAY, 3 * DAY + 1)).toBe('warn')
  expect(nextStep(warned, RULES, 3 * DAY + 1)).toEqual({ step: 'suspend', atMs: 3 * DAY + 1 })
})

describe('an extension', () => {
  test('goes on from the end, and from now once that has passed', () => {
    const reach = { byMs: DAY, maxMs: null }
    expect(extendedEnd(renewed(5 * DAY, 0), reach, DAY)).toBe(6 * DAY)
    expect(extendedEnd(renewed(5 * DAY, 0), reach, 9 * DAY)).toBe(10 * DAY)
    expect(extendedEnd(advanced(renewed(5 * DAY, 0), 'archive', 2 * DAY), reach, 2 * DAY)).toBe(3 * DAY)
  })
  test('never leads beyond the maximum', () => {
    expect(extendedEnd(renewed(5 * DAY, 0), { byMs: 7 * DAY, maxMs: 8 * DAY }, 0)).toBe(8 * DAY)
  })
})

test('whatever time does, each step comes once, in order, and never without its notice', () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(40 * DAY) }),
    fc.record({ kind: fc.constant('restart' as const) }),
    fc.record({ kind: fc.constant('extend' as const), ms: fc.integer({ min: HOUR, max: 10 * DAY }) }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), fc.integer({ min: HOUR, max: 10 * DAY }), (events, length) => {
      let now = 0
      let settledMs = 900_000
      let lease = renewed(length, 0)
      let since: string[] = []
      let warnedMs = Number.POSITIVE_INFINITY
      for (const one of events) {
        if (one.kind === 'wait') now += one.ms
        // The stored state is all that a restart keeps.
        else if (one.kind === 'restart') {
          lease = JSON.parse(JSON.stringify(lease))
          settledMs = now + 900_000
        } else {
          lease = renewed(extendedEnd(lease, { byMs: one.ms, maxMs: null }, now), now)
          since = []
        }
        // A busy clock looks more than once at the same moment.
        for (let look = 0; look < 3; look += 1) {
          const step = dueStep(lease, RULES, now, settledMs)
          if (step === null) continue
          if (step === 'warn') warnedMs = now
          if (step === 'suspend') {
            expect(now - warnedMs).toBeGreaterThanOrEqual(NOTICE_MS)
            expect(now).toBeGreaterThanOrEqual(lease.endMs ?? 0)
            expect(now).toBeGreaterThanOrEqual(settledMs)
          }
          since.push(step)
          lease = settled(advanced(lease, step, now))
        }
        expect(since).toEqual(['warn', 'suspend', 'archive'].slice(0, since.length))
      }
    }),
  )
})
