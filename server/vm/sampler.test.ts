import { describe, expect, test } from 'vitest'
import { readBalloonStats, sumBlockStats } from './sampler.ts'

describe('balloon statistics', () => {
  const stats = (values: Record<string, number | bigint>, update = 1_700_000_000) =>
    readBalloonStats({ 'last-update': update, stats: values })
  test('are read in MiB', () => {
    expect(stats({ 'stat-total-memory': 1 << 29, 'stat-available-memory': 1 << 28 })).toEqual({
      totalMiB: 512,
      availableMiB: 256,
    })
  })
  test('that QEMU marks as absent, signed or unsigned, are absent', () => {
    expect(stats({ 'stat-total-memory': 1 << 29, 'stat-available-memory': 18446744073709551615n })).toEqual({
      totalMiB: 512,
      availableMiB: null,
    })
    expect(stats({ 'stat-total-memory': -1 })).toBeNull()
  })
  test('are absent before the first report of the driver', () => {
    expect(stats({ 'stat-total-memory': 0 }, 0)).toBeNull()
  })
  test('fall back on free memory for an old driver', () => {
    expect(stats({ 'stat-total-memory': 1 << 20, 'stat-free-memory': 1 << 20 })?.availableMiB).toBe(1)
  })
})

describe('disk statistics', () => {
  test('are summed over all disks, also beyond 2^53', () => {
    const one = (rd: number | bigint) => ({ device: '', stats: { rd_bytes: rd, wr_bytes: 2 } })
    expect(sumBlockStats([one(0), one(2n ** 60n)])).toEqual({ readBytes: 2 ** 60, writtenBytes: 4 })
  })
  test('of a reply with another shape are none', () => {
    expect(sumBlockStats({ error: 'x' })).toBeNull()
  })
})
