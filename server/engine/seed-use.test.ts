import { describe, expect, it } from 'vitest'
import { applyPatch, normalizeSpec } from '#server/spec/normalize.ts'
import { capabilitiesOf, factsFor } from '#server/spec/test-support.ts'
import { seedBus, seedsIn, withoutSeed, withSeed } from './seed-drive.ts'
import { nextLook, SEED_TIMES, seedUsed } from './seed-use.ts'

const MINUTE = 60_000

describe('a seed counts as used', () => {
  const used = (agentSince: number | null, now: number, off = false) =>
    seedUsed({ startedAt: 0, agentSince }, now, SEED_TIMES, off) !== null

  it('when the agent has been there for two minutes', () => {
    expect(used(MINUTE, 2 * MINUTE)).toBe(false)
    expect(used(MINUTE, 3 * MINUTE)).toBe(true)
  })

  it('when the guest shut down after three minutes, not when it failed at once', () => {
    expect(used(null, 2 * MINUTE, true)).toBe(false)
    expect(used(null, 3 * MINUTE, true)).toBe(true)
    expect(used(null, 3 * MINUTE)).toBe(false)
  })

  it('when the guest has run for an hour', () => {
    expect(used(null, 59 * MINUTE)).toBe(false)
    expect(used(null, 60 * MINUTE)).toBe(true)
  })

  it('and the next look is when the first of these can be', () => {
    expect(nextLook({ startedAt: 0, agentSince: null }, SEED_TIMES)).toBe(60 * MINUTE)
    expect(nextLook({ startedAt: 0, agentSince: 5 * MINUTE }, SEED_TIMES)).toBe(7 * MINUTE)
  })
})

describe('the drive of a seed', () => {
  const facts = factsFor(capabilitiesOf('7.2'))
  const ID = '01890000-0000-7000-8000-000000005eed'
  const OTHER = '01890000-0000-7000-8000-000000005ee2'
  const put = (spec: Parameters<typeof withSeed>[0], id = ID) =>
    applyPatch(spec, withSeed(spec, { id, bus: undefined }), facts)

  it('sits on a bus that the guest knows at its first start', () => {
    const bus = (guest: 'linux' | 'windows' | 'other', machine?: string) =>
      seedBus(normalizeSpec({ name: 'a', guest, ...(machine !== undefined && { machine }), disks: [] }, facts))
    expect(bus('linux')).toBe('virtio-scsi')
    expect(bus('linux', 'pc')).toBe('virtio-scsi')
    expect(bus('windows')).toBe('sata')
    expect(bus('other', 'pc')).toBe('ide')
  })

  it('is new beside what there is, never booted from, and the others keep their places', () => {
    const before = normalizeSpec({ name: 'a', guest: 'linux', disks: [{ device: 'disk' }, { device: 'cdrom' }] }, facts)
    const after = put(before)
    expect(after.disks.slice(0, 2)).toEqual(before.disks)
    expect(after.disks[2]).toMatchObject({ id: 'seed', device: 'cdrom', bus: 'virtio-scsi', seed: ID, bootIndex: null })
  })

  it('takes the next seed, stays when empty, and is used again', () => {
    const first = put(normalizeSpec({ name: 'a', disks: [] }, facts))
    const second = put(first, OTHER)
    expect(second.disks).toHaveLength(1)
    expect(seedsIn(second)).toEqual([OTHER])
    const empty = applyPatch(second, withoutSeed(second), facts)
    expect(empty.disks).toMatchObject([{ id: 'seed', seed: null }])
    expect(put(empty).disks).toMatchObject([{ id: 'seed', seed: ID }])
  })

  it('holds an image or a seed, not both', () => {
    const spec = put(normalizeSpec({ name: 'a', disks: [] }, facts))
    const image = [...facts.images.keys()][0] as never
    expect(() => applyPatch(spec, { disks: [{ device: 'cdrom', id: 'seed', image }] }, facts)).toThrow('holds the seed')
  })
})
