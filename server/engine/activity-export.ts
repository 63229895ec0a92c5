/** The activity log as a file: JSON lines with their hashes, or a table. */
import { setImmediate as pause } from 'node:timers/promises'
import type { ActivityEntry, ActivitySearch } from '#lib/schema/event.ts'
import type { Store } from '#server/store/types.ts'

type Line = ReturnType<Store['logAfter']>[number]

/** Lines read at once, between which others get their turn. */
const PAGE = 2000

const COLUMNS = [
  'id',
  'at',
  'what',
  'result',
  'who',
  'from',
  'topic',
  'objectId',
  'objectName',
  'text',
  'hash',
] as const

/**
 * One cell. A text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage return)
 * gets an apostrophe, which makes it text. Pure. Source: OWASP, CSV injection.
 */
export function csvCell(value: string | number | null): string {
  if (value === null) return ''
  const text = typeof value === 'number' || !/^[=+\-@\t\r]/.test(value) ? String(value) : `'${value}`
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The same conditions as `Store.activity`, for lines read in order. Pure. */
export function matches(line: ActivityEntry, search: ActivitySearch): boolean {
  const { text, what, who, result, from, until } = search
  const needle = text?.toLowerCase()
  if (needle !== undefined) {
    const hay = [line.text, line.objectName, line.who, line.from]
    if (!hay.some((part) => part?.toLowerCase().includes(needle))) return false
  }
  return (
    (what === undefined || line.what === what) &&
    (who === undefined || line.who === who) &&
    (result === undefined || line.result === result) &&
    (from === undefined || line.at >= from) &&
    (until === undefined || line.at < until)
  )
}

export async function exportLog(store: Store, search: ActivitySearch, format: 'jsonl' | 'csv'): Promise<Buffer> {
  const parts: Buffer[] = []
  if (format === 'csv') parts.push(Buffer.from(`${COLUMNS.join(',')}\r\n`))
  const lineOf = (line: Line): string =>
    format === 'jsonl' ? `${JSON.stringify(line)}\n` : `${COLUMNS.map((column) => csvCell(line[column])).join(',')}\r\n`
  for (let after = 0; ; ) {
    const page = store.logAfter(after, PAGE)
    parts.push(
      Buffer.from(
        page
          .filter((line) => matches(line, search))
          .map(lineOf)
          .join(''),
      ),
    )
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return Buffer.concat(parts)
    after = last.id
    await pause()
  }
}
