import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { csvCell, matches } from './activity-export.ts'

it('no cell is taken for a formula, and quotes, commas and line ends stay inside their cell', () => {
  expect(csvCell('=1+1')).toBe("'=1+1")
  expect(csvCell('@SUM(A1)')).toBe("'@SUM(A1)")
  expect(csvCell('-2+3')).toBe("'-2+3")
  expect(csvCell('\t=1')).toBe("'\t=1")
  expect(csvCell('a "b", c')).toBe('"a ""b"", c"')
  expect(csvCell(-5)).toBe('-5')
  expect(csvCell(null)).toBe('')
  const check = fc.property(fc.string(), (text) => {
    const cell = csvCell(text)
    const inner = cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell
    expect(inner).not.toMatch(/^[=+\-@\t\r]/)
    expect(inner.replace(/^'/, '')).toBe(text.replace(/^'/, ''))
    if (!cell.startsWith('"')) expect(cell).not.toMatch(/[",\n\r]/)
  })
  void fc.assert(check)
})

it('an export finds what a search finds', () => {
  const line = {
    ...{ id: 1, at: '2026-01-02T00:00:00.000Z', what: 'vmStart', text: 'Ann started web.', result: 'ok' as const },
    ...{ who: 'ann', from: '127.0.0.1', topic: 'vm' as const, objectId: 'v', objectName: 'web' },
  }
  expect(matches(line, { text: 'STARTED' })).toBe(true)
  expect(matches(line, { text: '0.0.1' })).toBe(true)
  expect(matches(line, { text: 'db' })).toBe(false)
  expect(matches(line, { what: 'vmStart', who: 'ann', result: 'ok' })).toBe(true)
  expect(matches(line, { who: 'ben' })).toBe(false)
  expect(matches(line, { from: '2026-01-02T00:00:00.000Z', until: '2026-01-03T00:00:00.000Z' })).toBe(true)
  expect(matches(line, { until: '2026-01-02T00:00:00.000Z' })).toBe(false)
})
