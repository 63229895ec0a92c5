import { expect, test } from 'vitest'
import type { LayerDocument, VolumeDocument } from './volume-documents.ts'
import { growthOfHead, sumVolumes, worstCaseOfFile } from './volume-sums.ts'

const GiB = 2 ** 30

const layer = (
  id: string,
  parent: LayerDocument['parent'],
  format: LayerDocument['format'] = 'qcow2',
): LayerDocument => ({
  ...{ v: 1, id, poolId: 'p', file: id, format, sizeBytes: GiB, parent, uid: null, state: 'ready', createdAt: '' },
})
const volume = (id: string, head: string): VolumeDocument => ({
  ...{ v: 1, id, name: id, poolId: 'p', ownerId: 'o', vm: null, head, sizeBytes: GiB, createdAt: '', trashedAt: null },
})
const sums = (
  volumes: VolumeDocument[],
  layers: LayerDocument[],
  sizes: Record<string, number>,
  held: readonly string[] = [],
) =>
  sumVolumes({
    volumes,
    layers: new Map(layers.map((one) => [one.id, one])),
    allocated: (id) => sizes[id] ?? null,
    holdsSnapshots: (id) => held.includes(id),
  })

test('a thin file may grow to its size and the tables that say where things are', () => {
  expect(worstCaseOfFile(GiB, 'raw')).toBe(GiB)
  expect(worstCaseOfFile(GiB, 'qcow2')).toBeGreaterThan(GiB)
  expect(worstCaseOfFile(GiB, 'qcow2')).toBeLessThan(GiB * 1.001)
  const facts = { sizeBytes: GiB, format: 'raw', allocatedBytes: GiB / 4, holdsSnapshots: false } as const
  expect(growthOfHead(facts)).toBe((GiB * 3) / 4)
  expect(growthOfHead({ ...facts, allocatedBytes: 2 * GiB })).toBe(0)
})

test('with snapshots inside, everything may be written once more beside what is kept', () => {
  const found = sums([volume('v', 'a')], [layer('a', null)], { a: GiB / 2 }, ['a']).get('v')
  expect(found).toMatchObject({ growthBytes: worstCaseOfFile(GiB, 'qcow2') })
  expect(found?.worstCaseBytes).toBe(GiB / 2 + worstCaseOfFile(GiB, 'qcow2'))
})

test('an overlay may take the whole size again, whatever lies below it', () => {
  const layers = [layer('base', null), layer('a', { layer: 'base' }), layer('b', { layer: 'base' })]
  const found = sums([volume('one', 'a'), volume('two', 'b')], layers, { base: 700, a: 100, b: 50 })
  // What both stand on counts for neither.
  expect(found.get('one')).toMatchObject({
    allocatedBytes: 100,
    worstCaseBytes: worstCaseOfFile(GiB, 'qcow2'),
    layers: 2,
  })
  expect(found.get('two')?.growthBytes).toBe(worstCaseOfFile(GiB, 'qcow2') - 50)
  const alone = sums([volume('one', 'a')], layers, { base: 700, a: 100 }).get('one')
  expect(alone).toMatchObject({ allocatedBytes: 800, worstCaseBytes: worstCaseOfFile(GiB, 'qcow2') + 700 })
})
