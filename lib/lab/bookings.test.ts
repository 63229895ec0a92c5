import { expect, test } from 'vitest'
import { covers, meetsAny, overlaps, weekOf } from './bookings.ts'

const span = (fromMs: number, untilMs: number) => ({ fromMs, untilMs })

test('bookings that touch do not overlap, those that share a moment do', () => {
  expect(overlaps(span(0, 10), span(10, 20))).toBe(false)
  expect(overlaps(span(0, 11), span(10, 20))).toBe(true)
  expect(overlaps(span(0, 30), span(10, 20))).toBe(true)
  expect(covers(span(0, 10), 0)).toBe(true)
  expect(covers(span(0, 10), 10)).toBe(false)
})

test('names of a device meet where one is the same', () => {
  expect(meetsAny(new Set(['usb 1:2', 'usb port 1-4']), new Set(['usb port 1-4']))).toBe(true)
  expect(meetsAny(new Set(['pci a']), new Set(['pci b']))).toBe(false)
})

test('a week begins on Monday and ends where the next begins, also when the clocks change', () => {
  const days = weekOf(new Date(2026, 2, 29, 15))
  expect(days.map((day) => day.getDate())).toEqual([23, 24, 25, 26, 27, 28, 29, 30])
  expect(days.every((day) => day.getHours() === 0)).toBe(true)
  expect(weekOf(new Date(2026, 10, 23))[0]?.getDate()).toBe(23)
})
