import { describe, expect, it } from 'vitest'
import { ceilGiB, formatBytes, formatBytesPerSecond, formatDuration, formatMiB, formatShare } from './units.ts'

describe('units', () => {
  it('sizes have three significant digits and no trailing zeros', () => {
    const cases: [number, string][] = [
      [0, '0 B'],
      [999, '999 B'],
      [1000, '0.98 KiB'],
      [1536, '1.5 KiB'],
      [1024 ** 2, '1 MiB'],
      [1023 * 1024 ** 2, '1 GiB'],
      [12.34 * 1024 ** 3, '12.3 GiB'],
      [123.4 * 1024 ** 3, '123 GiB'],
      [5 * 1024 ** 6, '5120 PiB'],
    ]
    for (const [bytes, text] of cases) expect(formatBytes(bytes)).toBe(text)
  })
  it('what is not a size is shown as a dash, not as NaN', () => {
    for (const bad of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      expect(formatBytes(bad)).toBe('–')
      expect(formatBytesPerSecond(bad)).toBe('–')
      expect(formatMiB(bad)).toBe('–')
    }
    expect(formatShare(Number.NaN)).toBe('–')
    expect(formatDuration(-1)).toBe('–')
  })
  it('memory below one GiB stays in MiB', () => {
    expect(formatMiB(512)).toBe('512 MiB')
    expect(formatMiB(1000)).toBe('1000 MiB')
    expect(formatMiB(2048)).toBe('2 GiB')
    expect(formatMiB(1536)).toBe('1.5 GiB')
    expect(formatMiB(0.25)).toBe('0.3 MiB')
  })
  it('durations show the two largest units without gaps', () => {
    expect(formatDuration(0.4)).toBe('0 s')
    expect(formatDuration(65)).toBe('1 min 5 s')
    expect(formatDuration(3600)).toBe('1 h')
    expect(formatDuration(86_400 + 5)).toBe('1 d')
    expect(formatDuration(93_784)).toBe('1 d 2 h')
  })
  it('sizes are rounded up to whole GiB, at least one', () => {
    expect(ceilGiB(0)).toBe(1)
    expect(ceilGiB(1024 ** 3)).toBe(1)
    expect(ceilGiB(1024 ** 3 + 1)).toBe(2)
  })
})
