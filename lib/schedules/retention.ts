/** Which of what a schedule made is kept. Pure: the same answer for the server that deletes and the page that shows it. */
import type { Retention } from '../schema/schedule.ts'

export type RetentionRule = keyof Retention

export interface Taken {
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly atMs: number
}

const RULES: readonly RetentionRule[] = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly']
const DAY_MS = 86_400_000

/** The calendar of a time zone, by `Intl`. An unknown zone counts as UTC: nothing is deleted for want of a name. */
function calendarOf(timeZone: string): (atMs: number) => { year: number; month: number; day: number; hour: number } {
  const make = (zone: string) =>
    new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
    })
  let format: Intl.DateTimeFormat
  try {
    format = make(timeZone)
  } catch {
    format = make('UTC')
  }
  return (atMs) => {
    const found = { year: 0, month: 0, day: 0, hour: 0 }
    for (const { type, value } of format.formatToParts(atMs))
      if (type in found) Object.assign(found, { [type]: +value })
    return found
  }
}

/** Monday of the week, as days since the epoch in that zone's calendar: weeks of ISO 8601, without their numbers. */
function weekOf(year: number, month: number, day: number): number {
  const days = Math.round(Date.UTC(year, month - 1, day) / DAY_MS)
  // 1 January 1970 was a Thursday.
  return days - ((((days + 3) % 7) + 7) % 7)
}

/**
 * What is kept, with the rules that keep it. Items of one instant are told apart by id. The newest of all is always
 * kept. Keeping again what was kept keeps the same.
 */
export function retain(
  items: readonly Taken[],
  retention: Retention,
  timeZone: string,
): ReadonlyMap<string, readonly RetentionRule[]> {
  const calendar = calendarOf(timeZone)
  const newestFirst = [...items].sort((a, b) => b.atMs - a.atMs || (a.id < b.id ? 1 : -1))
  const kept = new Map<string, RetentionRule[]>()
  const keep = (id: string, rule: RetentionRule) => {
    const rules = kept.get(id)
    if (rules === undefined) kept.set(id, [rule])
    else rules.push(rule)
  }
  const periods = newestFirst.map(({ atMs }): Readonly<Record<RetentionRule, string>> => {
    const { year, month, day, hour } = calendar(atMs)
    return {
      last: '',
      // By the hour that passed, not its number: the hour that comes twice in autumn is two.
      hourly: `${year}-${month}-${day}-${hour}-${Math.floor(atMs / 3_600_000)}`,
      daily: `${year}-${month}-${day}`,
      weekly: String(weekOf(year, month, day)),
      monthly: `${year}-${month}`,
      yearly: String(year),
    }
  })
  for (const rule of RULES) {
    const seen = new Set<string>()
    for (const [index, { id }] of newestFirst.entries()) {
      if (seen.size >= retention[rule]) break
      const period = rule === 'last' ? String(index) : (periods[index]?.[rule] ?? '')
      if (seen.has(period)) continue
      seen.add(period)
      keep(id, rule)
    }
  }
  const [newest] = newestFirst
  if (newest !== undefined && !kept.has(newest.id)) keep(newest.id, 'last')
  return kept
}
