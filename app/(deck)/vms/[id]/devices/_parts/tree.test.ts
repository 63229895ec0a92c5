import { expect, test } from 'vitest'
import type { GuestDevice } from '#lib/schema/vm-devices.ts'
import { treeOf } from './tree.ts'

const device = (key: string, bus: GuestDevice['bus'], parent: string | null = null) =>
  ({ key, bus, parent }) as GuestDevice
const shape = (items: readonly GuestDevice[]) =>
  treeOf(items).map(({ bus, rows }) => [bus, rows.map((row) => `${row.depth} ${row.device.key}`)])

test('devices stand below what they hang on, buses in one order, empty ones left out', () => {
  expect(
    shape([
      device('tablet', 'usb', 'xhci'),
      device('disk0', 'pci', 'rp0'),
      device('rp0', 'pci'),
      device('xhci', 'pci'),
    ]),
  ).toEqual([
    ['pci', ['0 rp0', '1 disk0', '0 xhci']],
    ['usb', ['0 tablet']],
  ])
})

test('a device that hangs on itself is shown once all the same', () => {
  expect(shape([device('a', 'other', 'b'), device('b', 'other', 'a')])).toEqual([['other', ['0 a', '1 b']]])
})
