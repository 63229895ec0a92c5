import { expect, test } from 'vitest'
import { findEntries, type PaletteEntry, rank } from './palette-entries.ts'

const entry = (id: string, group: PaletteEntry['group'], label: string, keywords = ''): PaletteEntry => ({
  id,
  group,
  label,
  keywords,
  run: () => {},
})
const entries = [
  entry('host', 'pages', 'Host'),
  entry('vms', 'pages', 'Virtual machines'),
  entry('web', 'vms', 'web-1', 'prod shop'),
  entry('start', 'actions', 'Start web-1'),
  entry('theme', 'actions', 'Theme: Dark'),
]
const found = (query: string) => findEntries(entries, query).map(({ id }) => id)

test('an empty query offers everything in groups', () => {
  expect(found('  ')).toEqual(['host', 'vms', 'web', 'start', 'theme'])
})

test('every word must be found, in the label or its keywords', () => {
  expect(found('start web')).toEqual(['start'])
  expect(found('shop')).toEqual(['web'])
  expect(found('start host')).toEqual([])
})

test('a beginning ranks above the middle of a word', () => {
  expect(rank('web-1', 'web')).toBeGreaterThan(rank('my web', 'web'))
  expect(rank('my web', 'web')).toBeGreaterThan(rank('cobweb', 'web'))
  expect(rank('web', 'x')).toBe(0)
})
