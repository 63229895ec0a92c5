import { expect, test } from 'vitest'
import {
  formatAbsolute,
  formatBytes,
  formatDuration,
  formatMiB,
  formatPercent,
  formatRate,
  formatRelative,
} from './format.ts'

const plain = (text: string) => text.replace(/\s/gu, ' ')

test.each([
  [0, '0 B'],
  [1, '1 B'],
  [1023, '1,023 B'],
  [1024, '1 KiB'],
  [1536, '1.5 KiB'],
  [1024 * 1024 - 1, '1 MiB'],
  [661_651_456, '631 MiB'],
  [5e11, '466 GiB'],
  [2 ** 53, '8 PiB'],
])('%d bytes read as %s', (bytes, text) => {
  expect(plain(formatBytes(bytes))).toBe(text)
})

test('what is not an amount is a dash', () => {
  expect([formatBytes(-1), formatBytes(Number.NaN), formatPercent(Number.NaN)]).toEqual(['–', '–', '–'])
})

test('mebibytes step up to the unit people say', () => {
  expect([512, 1024, 1536, 16_777_216].map((mib) => plain(formatMiB(mib)))).toEqual([
    '512 MiB',
    '1 GiB',
    '1.5 GiB',
    '16 TiB',
  ])
  expect(plain(formatRate(2048))).toBe('2 KiB/s')
})

test('percentages are whole and may pass a hundred', () => {
  expect([0, 0.004, 0.5, 1.25].map((share) => plain(formatPercent(share)))).toEqual(['0 %', '0 %', '50 %', '125 %'])
})

test.each([
  [-5, '0s'],
  [0, '0s'],
  [59.9, '59s'],
  [60, '1m'],
  [61, '1m 1s'],
  [3_600, '1h'],
  [3_661, '1h 1m'],
  [90_061, '1d 1h'],
  [86_400 + 60, '1d'],
])('%d seconds last %s', (seconds, text) => {
  expect(plain(formatDuration(seconds))).toBe(text)
})

test('relative times name the largest whole unit, past and future', () => {
  const now = new Date('2026-11-23T12:00:00Z')
  const at = (seconds: number) => plain(formatRelative(new Date(now.getTime() + seconds * 1000), now))
  expect([-3, -45, -125, -7_300, -100_000, 7_300].map(at)).toEqual([
    'now',
    '45 seconds ago',
    '2 minutes ago',
    '2 hours ago',
    'yesterday',
    'in 2 hours',
  ])
  expect(formatRelative('2026-01-02T12:00:00Z', now)).toBe('Jan 2, 2026')
})

test('what is not a time is a dash', () => {
  expect(formatRelative('yesterday-ish', new Date())).toBe('–')
  expect(formatAbsolute('')).toBe('–')
})
