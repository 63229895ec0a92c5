import { describe, expect, it } from 'vitest'
import { attachment, parseRange } from './byte-range.ts'

describe('a range', () => {
  it.each([
    ['bytes=0-0', { from: 0, to: 0 }],
    ['bytes=10-', { from: 10, to: 99 }],
    ['bytes=10-1000', { from: 10, to: 99 }],
    ['bytes=-5', { from: 95, to: 99 }],
    ['bytes=-500', { from: 0, to: 99 }],
    ['BYTES=1-2', { from: 1, to: 2 }],
  ])('%s of 100 bytes', (header, range) => {
    expect(parseRange(header, 100)).toEqual(range)
  })

  it('is ignored in units we do not know', () => {
    expect(parseRange(undefined, 100)).toBeNull()
    expect(parseRange('lines=1-2', 100)).toBeNull()
  })

  it.each(['bytes=', 'bytes=-', 'bytes=5-2', 'bytes=100-', 'bytes=-0', 'bytes=0-1,3-4', 'bytes=a-b', 'bytes=0x1-2'])(
    '%s is refused',
    (header) => {
      expect(() => parseRange(header, 100)).toThrow()
    },
  )
})

it('a file name is plain in the old form and whole in the new one (A10)', () => {
  expect(attachment('Образ "x" 🐧\'.iso')).toBe(
    `attachment; filename="_____ _x_ __'.iso"; filename*=UTF-8''%D0%9E%D0%B1%D1%80%D0%B0%D0%B7%20%22x%22%20%F0%9F%90%A7%27.iso`,
  )
})
