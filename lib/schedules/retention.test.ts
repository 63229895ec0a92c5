import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Retention } from '../schema/schedule.ts'
import { type RetentionRule, retain, type Taken } from './retention.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const keep = (rules: Partial<Record<RetentionRule, number>>): Retention => Retention.parse(rules)
const at = (text: string): Taken => ({ id: text, atMs: Date.parse(text) })
const ids = (items: readonly Taken[], rules: Retention, zone = 'UTC') => [...retain(items, rules, zone).keys()].sort()

const aTaken = fc.array(
  fc.record({ id: fc.uuid(), atMs: fc.integer({ min: Date.parse('2024-01-01'), max: Date.parse('2027-12-31') }) }),
  { maxLength: 60 },
)
const aRetention = fc
  .record({
    last: fc.nat(5),
    hourly: fc.nat(6),
    daily: fc.nat(8),
    weekly: fc.nat(6),
    monthly: fc.nat(6),
    yearly: fc.nat(3),
  })
  .filter((rules) => Object.values(rules).some((count) => count > 0))
const aZone = fc.constantFrom('UTC', 'Europe/Vienna', 'America/St_Johns', 'Pacific/Apia', 'Asia/Kathmandu')

describe('what retention keeps', () => {
  test('is the newest of each of the last days that have any', () => {
    const items = ['2026-11-20T01:00:00Z', '2026-11-20T23:00:00Z', '2026-11-23T05:00:00Z', '2026-11-24T05:00:00Z'].map(
      at,
    )
    expect(ids(items, keep({ daily: 3 }))).toEqual([
      '2026-11-20T23:00:00Z',
      '2026-11-23T05:00:00Z',
      '2026-11-24T05:00:00Z',
    ])
  })

  test('follows the calendar of the time zone, not of UTC', () => {
    const items = ['2026-11-20T22:30:00Z', '2026-11-20T23:30:00Z'].map(at)
    expect(ids(items, keep({ daily: 9 }))).toHaveLength(1)
    expect(ids(items, keep({ daily: 9 }), 'Europe/Vienna')).toHaveLength(2)
  })

  test('takes the hour that comes twice in autumn for two', () => {
    const items = ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'].map(at)
    expect(ids(items, keep({ hourly: 9 }), 'Europe/Vienna')).toHaveLength(2)
  })

  test('begins a week on Monday, also across a new year', () => {
    const items = ['2026-12-27T12:00:00Z', '2026-12-28T12:00:00Z', '2027-01-03T12:00:00Z', '2027-01-04T12:00:00Z'].map(
      at,
    )
    expect(ids(items, keep({ weekly: 9 }))).toEqual([
      '2026-12-27T12:00:00Z',
      '2027-01-03T12:00:00Z',
      '2027-01-04T12:00:00Z',
    ])
  })

  test('counts an unknown time zone as UTC instead of keeping nothing', () => {
    expect(ids([at('2026-11-20T22:30:00Z')], keep({ daily: 1 }), 'Mars/Base')).toHaveLength(1)
  })

  test('holds seven days and four weeks, whichever day one looks, when one is taken each day and the rest removed', () => {
    let held: Taken[] = []
    const rules = keep({ daily: 7, weekly: 4 })
    for (let day = 0; day < 120; day += 1) {
      const now = Date.parse('2026-01-01T03:00:00Z') + day * DAY
      held.push({ id: String(day), atMs: now })
      const kept = retain(held, rules, 'UTC')
      held = held.filter(({ id }) => kept.has(id))
      for (let back = 0; back < Math.min(7, day + 1); back += 1)
        expect(held.some(({ atMs }) => atMs === now - back * DAY)).toBe(true)
      // This week is the first of four; each of the others keeps its Sunday.
      if (day > 35) expect(Math.min(...held.map(({ atMs }) => atMs))).toBeLessThanOrEqual(now - 15 * DAY)
      expect(held.length).toBeLessThanOrEqual(11)
    }
  })

  test('is never more than its rules allow together, and always includes the newest', () => {
    fc.assert(
      fc.property(aTaken, aRetention, aZone, (items, rules, zone) => {
        const kept = retain(items, rules, zone)
        const sum = Object.values(rules).reduce((a, b) => a + b, 0)
        expect(kept.size).toBeLessThanOrEqual(sum)
        if (items.length === 0) return
        const newest = Math.max(...items.map(({ atMs }) => atMs))
        expect(items.some(({ id, atMs }) => atMs === newest && kept.has(id))).toBe(true)
      }),
    )
  })

  test('stays the same when what was not kept is gone', () => {
    fc.assert(
      fc.property(aTaken, aRetention, aZone, (items, rules, zone) => {
        const kept = retain(items, rules, zone)
        const again = retain(
          items.filter(({ id }) => kept.has(id)),
          rules,
          zone,
        )
        expect([...again.keys()].sort()).toEqual([...kept.keys()].sort())
      }),
    )
  })

  test('only grows when a rule keeps more', () => {
    fc.assert(
      fc.property(
        aTaken,
        aRetention,
        aZone,
        fc.constantFrom<RetentionRule>('hourly', 'daily', 'weekly', 'monthly'),
        (items, rules, zone, rule) => {
          const more = retain(items, { ...rules, [rule]: rules[rule] + 1 }, zone)
          for (const id of retain(items, rules, zone).keys()) expect(more.has(id)).toBe(true)
        },
      ),
    )
  })

  test('does not depend on the order they are listed in', () => {
    fc.assert(
      fc.property(aTaken, aRetention, aZone, (items, rules, zone) => {
        expect(ids([...items].reverse(), rules, zone)).toEqual(ids(items, rules, zone))
      }),
    )
  })
})
