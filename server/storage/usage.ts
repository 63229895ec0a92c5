/**
 * What disk files take on disk, and whether they are there. Kept from the last look, because asking storage may hang;
 * each pool is asked on its own.
 */
import type { FileSize, LayerFiles } from './layer-files.ts'
import type { LayerDocument } from './volume-documents.ts'
import type { Volumes } from './volume-types.ts'

export interface Usage {
  /** Null: not looked at since it was made. `size` null: it is not there. */
  of(layerId: string): { readonly size: FileSize | null } | null
  /** Looks at every file of a pool. Never throws. */
  refresh(poolId: string): Promise<void>
  forget(layerId: string): void
}

export function createUsage(
  volumes: Pick<Volumes, 'layers' | 'pathOf'>,
  filesOf: (poolId: string) => LayerFiles,
  isUsable: (poolId: string) => boolean,
): Usage {
  const known = new Map<string, { size: FileSize | null }>()
  const running = new Map<string, Promise<void>>()

  const look = async (poolId: string): Promise<void> => {
    if (!isUsable(poolId)) return
    const layers = volumes.layers().filter((layer) => layer.poolId === poolId && layer.state === 'ready')
    const paths = new Map<string, LayerDocument>()
    for (const layer of layers) paths.set(volumes.pathOf(layer), layer)
    const sizes = await filesOf(poolId).sizes([...paths.keys()])
    const alive = new Set(volumes.layers().map(({ id }) => id))
    for (const id of known.keys()) if (!alive.has(id)) known.delete(id)
    for (const [path, { id }] of paths) known.set(id, { size: sizes.get(path) ?? null })
  }

  return {
    of: (layerId) => known.get(layerId) ?? null,
    forget: (layerId) => known.delete(layerId),
    refresh(poolId) {
      let one = running.get(poolId)
      if (one === undefined) {
        one = look(poolId)
          .catch(() => {})
          .finally(() => running.delete(poolId))
        running.set(poolId, one)
      }
      return one
    },
  }
}
