import { expect, test } from 'vitest'
import { codeRegions } from './cpus.ts'

const MiB = 2 ** 20

test('the regions of TCG’s code cache are counted as QEMU counts them', () => {
  expect(codeRegions(256 * MiB, 1)).toBe(1)
  expect(codeRegions(256 * MiB, 2)).toBe(16)
  expect(codeRegions(256 * MiB, 64)).toBe(128)
  expect(codeRegions(256 * MiB, 255)).toBe(255)
})
