/** “At 9:00 on Monday to Friday” as a cron pattern and back. Pure. */
export interface DailyTime {
  /** `09:00` */
  readonly time: string
  /** 0 is Sunday. Sorted. */
  readonly days: readonly number[]
}

export const EVERY_DAY: readonly number[] = [0, 1, 2, 3, 4, 5, 6]
export const WEEKDAYS: readonly number[] = [1, 2, 3, 4, 5]

const sorted = (days: readonly number[]) => [...new Set(days)].sort((a, b) => a - b)

export function cronOf({ time, days }: DailyTime): string {
  const [hour, minute] = time.split(':').map(Number)
  const list = sorted(days)
  return `${minute ?? 0} ${hour ?? 0} * * ${list.length === 7 || list.length === 0 ? '*' : list.join(',')}`
}

/** Null for a pattern that says more than a time of day on some days of the week. */
export function dailyTimeOf(cron: string): DailyTime | null {
  const found = /^(\d{1,2}) (\d{1,2}) \* \* (\*|[0-7](?:[,-][0-7])*)$/.exec(cron.trim())
  if (found === null) return null
  const [, minute = '', hour = '', list = ''] = found
  if (Number(minute) > 59 || Number(hour) > 23) return null
  const days = list === '*' ? EVERY_DAY : daysOf(list)
  return days === null ? null : { time: `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`, days: sorted(days) }
}

function daysOf(list: string): number[] | null {
  const days: number[] = []
  for (const part of list.split(',')) {
    const [from = Number.NaN, to = from, more] = part.split('-').map(Number)
    if (more !== undefined || to < from) return null
    for (let day = from; day <= to; day += 1) days.push(day % 7)
  }
  return days
}
