/** Days as a person names them, in their own zone, as the span of instants they are. Pure. */

const DAY = /^(\d{4})-(\d{2})-(\d{2})$/

/** Midnight at the begin of a day, `later` days on; null where there is no such day. */
function midnight(day: string, later: number): Date | null {
  const [, year, month, date] = DAY.exec(day) ?? []
  if (year === undefined) return null
  const at = new Date(Number(year), Number(month) - 1, Number(date))
  // What the calendar does not have rolls over into the next month.
  if (at.getMonth() !== Number(month) - 1 || at.getDate() !== Number(date)) return null
  at.setDate(at.getDate() + later)
  return at
}

/** Both days are in it. What is no day is left out. */
export function dayRange(
  first: string | null,
  last: string | null,
): { readonly from?: string; readonly until?: string } {
  const from = midnight(first ?? '', 0)
  const until = midnight(last ?? '', 1)
  return {
    ...(from !== null && { from: from.toISOString() }),
    ...(until !== null && { until: until.toISOString() }),
  }
}
