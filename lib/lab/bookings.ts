/** Times at which somebody has a device. A booking ends the moment before `untilMs`. Pure. */
export interface Span {
  readonly fromMs: number
  readonly untilMs: number
}

export const overlaps = (a: Span, b: Span): boolean => a.fromMs < b.untilMs && b.fromMs < a.untilMs
export const covers = (span: Span, atMs: number): boolean => span.fromMs <= atMs && atMs < span.untilMs

/** Where the names two people gave a device may mean the same thing. */
export const meetsAny = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => {
  for (const name of a) if (b.has(name)) return true
  return false
}

/** Midnights of a week in the reader's zone, beginning on its Monday: eight, the last one its end. */
export function weekOf(at: Date): Date[] {
  const monday = new Date(at.getFullYear(), at.getMonth(), at.getDate() - ((at.getDay() + 6) % 7))
  // By the calendar, not by adding hours: a day may have 23 or 25 of them.
  return Array.from({ length: 8 }, (_, n) => new Date(monday.getFullYear(), monday.getMonth(), monday.getDate() + n))
}
