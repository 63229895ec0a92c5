import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ChainMember, chainOf, diskChain, MAX_CHAIN, removable } from './chain.ts'
import type { ManifestDisk } from './manifest.ts'

const member = (id: string, parent: string | null, vm = 'v'): ChainMember => ({
  id,
  // Ids of tests need not be UUIDs.
  manifest: {
    id,
    parent,
    createdAt: `2026-01-01T00:00:${id.padStart(2, '0')}Z`,
    vm: { id: vm },
  } as ChainMember['manifest'],
})
const finder = (all: readonly ChainMember[]) => (id: string) => all.find((one) => one.id === id) ?? null

describe('a chain of backups', () => {
  test('ends at its full one', () => {
    const all = [member('1', null), member('2', '1'), member('3', '2')]
    const found = chainOf('3', finder(all))
    expect(found.ok && found.chain.map(({ id }) => id)).toEqual(['3', '2', '1'])
  })

  test.each([
    ['whose parent is missing', [member('2', '1')], '2', /missing/],
    ['that stands on itself', [member('1', '2'), member('2', '1')], '2', /circle/],
    ['that goes through another VM', [member('1', null, 'w'), member('2', '1')], '2', /another VM/],
    ['that nobody knows', [], '9', /no such backup/],
  ])('%s is refused', (_, all, id, why) => {
    const found = chainOf(id, finder(all))
    expect(found).toMatchObject({ ok: false, reason: expect.stringMatching(why) })
  })

  test('that is too long is refused instead of followed', () => {
    const all = Array.from({ length: MAX_CHAIN + 1 }, (_, n) => member(String(n), n === 0 ? null : String(n - 1)))
    expect(chainOf(String(MAX_CHAIN), finder(all)).ok).toBe(false)
    expect(chainOf(String(MAX_CHAIN - 1), finder(all)).ok).toBe(true)
  })
})

describe('the files of a disk', () => {
  const disk = (device: string, kind: 'full' | 'incremental'): ManifestDisk => ({
    ...{ device, kind, file: `disk-${device}.qcow2`, sizeBytes: 1, sha256: '0'.repeat(64), format: 'qcow2' },
    ...{ virtualSizeBytes: 512, changedBytes: null },
  })
  test('end at its own full copy, which may be newer than that of other disks', () => {
    const chain = [
      { manifest: { disks: [disk('a', 'incremental'), disk('b', 'full')] } },
      { manifest: { disks: [disk('a', 'full')] } },
    ]
    expect(diskChain(chain, 'b')).toMatchObject({ ok: true, chain: [{ disk: { device: 'b' } }] })
    const a = diskChain(chain, 'a')
    expect(a.ok && a.chain).toHaveLength(2)
  })
  test('without a full copy are refused', () => {
    expect(diskChain([{ manifest: { disks: [disk('a', 'incremental')] } }], 'a').ok).toBe(false)
  })
})

describe('what retention removes', () => {
  /** A forest: each stands on an earlier one or on none. */
  const aForest = fc
    .array(fc.option(fc.nat(30), { nil: null }), { maxLength: 30 })
    .map((parents) =>
      parents.map((parent, n) => member(String(n), parent === null || parent >= n ? null : String(parent))),
    )

  test('never is what a remaining one stands on, nor what is kept', () => {
    fc.assert(
      fc.property(aForest, fc.array(fc.nat(30)), (all, kept) => {
        const isKept = ({ id }: ChainMember) => kept.includes(Number(id))
        const gone = new Set(removable(all, all, isKept).map(({ id }) => id))
        for (const one of all) {
          if (gone.has(one.id)) expect(isKept(one)).toBe(false)
          else if (one.manifest.parent !== null) expect(gone.has(one.manifest.parent)).toBe(false)
        }
      }),
    )
  })
  test('is everything else', () => {
    fc.assert(
      fc.property(aForest, (all) => {
        expect(removable(all, all, () => false)).toHaveLength(all.length)
      }),
    )
  })
  test('is never somebody else’s, and never what somebody else’s stands on', () => {
    const all = [member('1', null), member('2', '1')]
    expect(removable([all[0] as ChainMember], all, () => false)).toEqual([])
  })
})
