/**
 * Pools: directories that disk files lie in. The built-in one is the data directory itself; its files are found by
 * `DataPaths`. Documents are kept in memory, so that asking where a file lies never touches a disk that may hang.
 */
import { join } from 'node:path'
import * as z from 'zod'
import { PoolPurpose } from '#lib/schema/storage.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { DataPaths } from '#server/paths.ts'
import type { Store } from '#server/store/types.ts'
import { createSpaceLedger, type Room, type SpaceLedger } from './space.ts'

/** The built-in pool. */
export const LOCAL_POOL_ID = '00000000-0000-7000-8000-000000000001'

const DEFAULT_KEY = 'default-pool'

export const PoolDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  kind: z.literal('dir'),
  /** Absolute; null: the data directory. */
  path: z.string().nullable(),
  /** Files are kept below a mount point, and nothing is written while it is not mounted. */
  mustBeMounted: z.boolean(),
  /** What it may be used for. */
  purposes: z.array(PoolPurpose).default(['disks', 'backups']),
  /** Bytes kept free; null: 5 % of the file system, at least 5 GiB. */
  reserveBytes: z.number().nullable(),
  createdAt: z.string(),
})
export type PoolDocument = z.output<typeof PoolDocument>

export interface Pools {
  open(): void
  all(): readonly PoolDocument[]
  get(id: string): PoolDocument | null
  /** @throws EngineError not_found */
  require(id: string): PoolDocument
  put(document: PoolDocument): void
  /** The pool new disks lie in unless another is chosen. */
  defaultId(): string
  makeDefault(id: string): void
  remove(id: string): void
  /** Directory that relative file names of the pool's layers start from. */
  rootOf(pool: PoolDocument): string
  /** Directory of layer files, below `rootOf`. */
  layersDirOf(pool: PoolDocument): string
  /** Reservations of one pool. Two pools on one file system count apart. */
  space(id: string): SpaceLedger
}

/**
 * @param minimumReserveBytes lower bound of the reserve; smaller only in tests on small file systems
 * @param room how much a pool has; left out: its directory is asked directly
 */
export function createPools(
  data: DataPaths,
  store: Store,
  local: SpaceLedger,
  warn: (message: string, error?: unknown) => void,
  minimumReserveBytes?: number,
  room?: (id: string) => Promise<Room>,
): Pools {
  const documents = new Map<string, PoolDocument>()
  let chosen: string = LOCAL_POOL_ID
  const ledgers = new Map<string, SpaceLedger>([[LOCAL_POOL_ID, local]])
  const rootOf = (pool: PoolDocument) => pool.path ?? data.root
  const require = (id: string): PoolDocument => {
    const pool = documents.get(id)
    if (pool === undefined) throw new EngineError('not_found', 'There is no such storage pool.')
    return pool
  }
  return {
    open() {
      chosen = z.string().catch(LOCAL_POOL_ID).parse(store.get('meta', DEFAULT_KEY)?.value)
      documents.set(LOCAL_POOL_ID, {
        v: 1,
        id: LOCAL_POOL_ID,
        name: 'local',
        kind: 'dir',
        path: null,
        mustBeMounted: false,
        purposes: ['disks', 'backups'],
        reserveBytes: null,
        createdAt: '1970-01-01T00:00:00.000Z',
      })
      for (const { key, value } of store.list('pool')) {
        const parsed = PoolDocument.safeParse(value)
        if (parsed.success) documents.set(key, parsed.data)
        else warn(`The stored pool ${key} is unreadable and is left out.`, parsed.error)
      }
    },
    all: () => [...documents.values()],
    get: (id) => documents.get(id) ?? null,
    require,
    defaultId: () => (documents.has(chosen) ? chosen : LOCAL_POOL_ID),
    makeDefault(id) {
      store.put('meta', DEFAULT_KEY, require(id).id)
      chosen = id
    },
    put(document) {
      store.put('pool', document.id, document)
      documents.set(document.id, document)
    },
    remove(id) {
      store.delete('pool', id)
      documents.delete(id)
      ledgers.delete(id)
    },
    rootOf,
    layersDirOf: (pool) => (pool.path === null ? data.layersDir : join(pool.path, 'layers')),
    space(id) {
      const known = ledgers.get(id)
      if (known !== undefined) return known
      const pool = require(id)
      const ledger = createSpaceLedger(rootOf(pool), minimumReserveBytes, room && (() => room(id)))
      ledgers.set(id, ledger)
      return ledger
    },
  }
}
