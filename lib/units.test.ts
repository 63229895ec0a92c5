import { expect, it } from 'vitest'
import { ceilGiB, GIB } from './units.ts'

it('sizes are rounded up to whole GiB, at least one', () => {
  expect(ceilGiB(0)).toBe(1)
  expect(ceilGiB(GIB)).toBe(1)
  expect(ceilGiB(GIB + 1)).toBe(2)
  expect(ceilGiB(3 * GIB)).toBe(3)
})
