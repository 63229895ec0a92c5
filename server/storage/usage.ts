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
  /** What files of a pool take, or whether they are there, is another than it was. */
  onChange: (poolId: string) => void,
  /** Looks at the pool itself now. */
  isUsableNow: (poolId: string) => Promise<boolean>,
): Usage {
  const known = new Map<string, { size: FileSize | null }>()
  /** Looks under way, and the one that whoever asks meanwhile waits for: it may be about a file that is new. */
  const running = new Map<string, { now: Promise<void>; next: Promise<void> | null }>()

  const look = async (poolId: string): Promise<void> => {
    if (!isUsable(poolId)) return
    const layers = volumes.layers().filter((layer) => layer.poolId === poolId && layer.state === 'ready')
    const paths = new Map<string, LayerDocument>()
    for (const layer of layers) paths.set(volumes.pathOf(layer), layer)
    const sizes = await filesOf(poolId).sizes([...paths.keys()])
    // What is not there any more may be the whole pool, unmounted a moment ago: nobody is to bring disks back from backups
    // then.
    const hasLost = [...paths].some(([path, { id }]) => !sizes.get(path) && known.get(id)?.size !== null)
    if (hasLost && !(await isUsableNow(poolId))) return
    const alive = new Set(volumes.layers().map(({ id }) => id))
    for (const id of known.keys()) if (!alive.has(id)) known.delete(id)
    let isOther = false
    for (const [path, { id }] of paths) {
      const size = sizes.get(path) ?? null
      isOther ||= known.get(id)?.size?.allocatedBytes !== size?.allocatedBytes
      known.set(id, { size })
    }
    if (isOther) onChange(poolId)
  }
  const begin = (poolId: string): Promise<void> => {
    const entry = {
      now: look(poolId)
        .catch(() => {})
        .finally(() => {
          if (entry.next === null) running.delete(poolId)
        }),
      next: null as Promise<void> | null,
    }
    running.set(poolId, entry)
    return entry.now
  }

  return {
    of: (layerId) => known.get(layerId) ?? null,
    forget: (layerId) => known.delete(layerId),
    refresh(poolId) {
      const under = running.get(poolId)
      if (under === undefined) return begin(poolId)
      under.next ??= under.now.then(() => begin(poolId))
      return under.next
    },
  }
}
