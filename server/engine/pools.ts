/** Storage pools as the API knows them. */
import { randomUUIDv7 } from 'node:crypto'
import type { Pool, PoolInput, PoolPatch } from '#lib/schema/storage.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import { isBelowOneOf, setUpPool, takeDownPool } from '#server/storage/pool-setup.ts'
import { LOCAL_POOL_ID, type PoolDocument, type Pools } from '#server/storage/pools.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { StorageViews } from './storage-views.ts'
import type { Caller, PoolEngine } from './types.ts'

export interface PoolEngineDeps {
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly views: StorageViews
  readonly journal: Journal
  /** Directories below which an administrator may make pools. */
  readonly roots: readonly string[]
  /** The dashboard's own directories: no pool may lie in them, nor hold them. */
  readonly ownDirs: readonly string[]
  readonly readersGid: number | null
  /** Why a pool cannot go, besides disks in it; null: it can. */
  readonly usedBy: (poolId: string) => string | null
  readonly onChange: (poolId: string) => void
  readonly now?: () => Date
}

export function createPoolEngine(deps: PoolEngineDeps): PoolEngine {
  const { pools, volumes, health, views, journal } = deps
  const at = () => (deps.now ?? (() => new Date()))().toISOString()

  const note = (what: string, caller: Caller, text: string): void =>
    journal.write({ what, text, result: 'ok', caller, topic: 'pool', durable: true })

  const assertNameFree = (name: string, but: string | null): void => {
    const key = name.normalize('NFKC').toLowerCase()
    if (pools.all().some((pool) => pool.id !== but && pool.name.normalize('NFKC').toLowerCase() === key))
      throw new EngineError('name_taken', 'There is already a pool of this name.', { field: 'name' })
  }

  const assertPath = (path: string): void => {
    if (!isBelowOneOf(path, deps.roots)) {
      throw new EngineError(
        'forbidden',
        deps.roots.length === 0
          ? 'No directory of this host may become a pool. The administrator of the host lists those below which pools may lie in GUESTDECK_POOL_DIRS.'
          : `Pools may lie in ${deps.roots.join(', ')} and below. The administrator of the host lists these directories in GUESTDECK_POOL_DIRS.`,
        { field: 'path' },
      )
    }
    const clash = (a: string, b: string) => isBelowOneOf(a, [b]) || isBelowOneOf(b, [a])
    if (deps.ownDirs.some((dir) => clash(path, dir)))
      throw new EngineError('forbidden', "The dashboard's own files lie there.", { field: 'path' })
    const other = pools.all().find((pool) => pool.path !== null && clash(path, pool.path))
    if (other !== undefined)
      throw new EngineError('conflict', `The pool ${other.name} lies there already; pools cannot lie in each other.`, {
        field: 'path',
      })
  }

  const viewOf = (caller: Caller, id: string): Pool => views.pool(caller, pools.require(id))
  /** What is being made: two requests at once must not both find a path free. */
  const making = new Set<string>()

  return {
    list: async (caller) => ({ items: pools.all().map((pool) => views.pool(caller, pool)) }),
    async create(caller, input: PoolInput) {
      assertNameFree(input.name, null)
      const path = input.path.length > 1 ? input.path.replace(/\/+$/, '') : input.path
      assertPath(path)
      if (making.has(path)) throw new EngineError('conflict', 'This pool is being made just now.', { field: 'path' })
      making.add(path)
      const document: PoolDocument = {
        v: 1,
        id: randomUUIDv7(),
        name: input.name,
        kind: 'dir',
        path,
        mustBeMounted: input.mustBeMounted,
        purposes: [...input.purposes],
        reserveBytes: input.reserveBytes,
        createdAt: at(),
      }
      try {
        if (input.mustBeMounted && !health.isMounted(path))
          throw new EngineError(
            'bad_input',
            `Nothing is mounted at ${path}. Mount it first, or take “must be mounted” back.`,
            {
              field: 'mustBeMounted',
            },
          )
        await setUpPool(health.childOf(document.id), {
          id: document.id,
          name: input.name,
          path,
          readersGid: deps.readersGid,
        })
        pools.put(document)
      } finally {
        making.delete(path)
      }
      await health.look(document.id)
      note('poolCreate', caller, `${caller.name} made ${path} the storage pool ${input.name}.`)
      deps.onChange(document.id)
      return viewOf(caller, document.id)
    },
    async update(caller, id, patch: PoolPatch) {
      const before = pools.require(id)
      if (
        id === LOCAL_POOL_ID &&
        (patch.name !== undefined || patch.mustBeMounted === true || patch.purposes !== undefined)
      )
        throw new EngineError('conflict', 'Of the built-in pool only the reserve can be changed.')
      if (patch.name !== undefined) assertNameFree(patch.name, id)
      const after: PoolDocument = {
        ...before,
        ...(patch.name !== undefined && { name: patch.name }),
        ...(patch.mustBeMounted !== undefined && { mustBeMounted: patch.mustBeMounted }),
        ...(patch.reserveBytes !== undefined && { reserveBytes: patch.reserveBytes }),
        ...(patch.purposes !== undefined && { purposes: patch.purposes }),
      }
      if (!after.purposes.includes('disks') && volumes.all().some(({ poolId }) => poolId === id))
        throw new EngineError('conflict', 'There are disks in this pool; move or remove them first.', {
          field: 'purposes',
        })
      if (patch.isDefault === true) {
        if (!after.purposes.includes('disks'))
          throw new EngineError('conflict', 'This pool is not for disks.', { field: 'isDefault' })
        pools.makeDefault(id)
      }
      pools.put(after)
      await health.look(id)
      note('poolUpdate', caller, `${caller.name} changed the storage pool ${after.name}.`)
      deps.onChange(id)
      return viewOf(caller, id)
    },
    async delete(caller, id) {
      const pool = pools.require(id)
      if (id === LOCAL_POOL_ID) throw new EngineError('conflict', 'The built-in pool is the data directory; it stays.')
      const disks = volumes.all().filter(({ poolId }) => poolId === id)
      const trashed = disks.filter(({ trashedAt }) => trashedAt !== null).length
      if (disks.length > 0)
        throw new EngineError(
          'in_use',
          trashed === disks.length
            ? `There are ${trashed} disks in this pool's trash. Restore or remove them first.`
            : `There are ${disks.length - trashed} disks in this pool. Move or remove them first.`,
        )
      const layer = volumes.layers().find(({ poolId }) => poolId === id)
      if (layer !== undefined)
        throw new EngineError('in_use', `A snapshot or another disk needs a file in this pool (${layer.file}).`)
      const use = deps.usedBy(id)
      if (use !== null) throw new EngineError('in_use', use)
      pools.remove(id)
      // Storage that is away keeps its mark; it says whose it was.
      if (pool.path !== null) await takeDownPool(health.childOf(id), pool.path).catch(() => {})
      note('poolDelete', caller, `${caller.name} removed the storage pool ${pool.name}. Its directory stays.`)
      deps.onChange(id)
    },
    async check(caller, id) {
      pools.require(id)
      await health.look(id)
      return viewOf(caller, id)
    },
    needs: async (caller) => ({ items: views.needs(caller) }),
  }
}
