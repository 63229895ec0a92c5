import { expect, test } from 'vitest'
import type { LayerFiles } from './layer-files.ts'
import { createUsage } from './usage.ts'
import type { LayerDocument } from './volume-documents.ts'

const POOL = '00000000-0000-7000-8000-0000000000aa'

test('a file that is gone together with its pool is not called missing; one that is gone alone is', async () => {
  let isThere = true
  let isMounted = true
  const told: string[] = []
  // All that is read of a layer.
  const layer = { id: 'layer', poolId: POOL, state: 'ready' } as LayerDocument
  const files = {
    sizes: async (paths: readonly string[]) =>
      new Map(paths.map((path) => [path, isThere && isMounted ? { allocatedBytes: 7, sizeBytes: 9 } : null])),
    // The rest is not asked for.
  } as unknown as LayerFiles
  const usage = createUsage(
    { layers: () => [layer], pathOf: () => '/pool/layer' },
    () => files,
    () => true,
    (id) => told.push(id),
    async () => isMounted,
  )
  await usage.refresh(POOL)
  expect(usage.of('layer')?.size).toMatchObject({ allocatedBytes: 7 })
  isMounted = false
  await usage.refresh(POOL)
  expect(usage.of('layer')?.size).toMatchObject({ allocatedBytes: 7 })
  expect(told).toEqual([POOL])
  isMounted = true
  isThere = false
  await usage.refresh(POOL)
  expect(usage.of('layer')).toEqual({ size: null })
  expect(told).toEqual([POOL, POOL])
})
