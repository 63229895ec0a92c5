/**
 * How the pools are. Each is looked at from a child process every few seconds; what was seen last is kept in memory,
 * so that asking costs nothing and waits for nobody. A pool that hangs is looked at again only once its last child is
 * gone.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PoolState } from '#lib/schema/storage.ts'
import { EngineError } from '#server/engine/errors.ts'
import { createPoolChild, LOOK_MS, type PoolChild } from './pool-child.ts'
import { isMountPoint, judgePool, LOOK_SCRIPT, type PoolLook, parseLook, reserveOf } from './pool-state.ts'
import { LOCAL_POOL_ID, type PoolDocument, type Pools } from './pools.ts'

/** File in a pool's directory that says whose it is. */
export const MARK = 'guestdeck-pool.json'

export interface PoolHealthView {
  readonly state: PoolState
  readonly evidence: string
  readonly advice: string
  readonly checkedAt: string | null
  readonly look: PoolLook | null
  readonly reserveBytes: number
}

export interface PoolHealth {
  /** As last seen. */
  view(id: string): PoolHealthView
  /** Looks now; never throws, never takes longer than the deadline. */
  look(id: string): Promise<PoolHealthView>
  /** Looks at every pool that is not hanging. */
  lookAtAll(): Promise<void>
  /**
   * Before anything touches a pool's files: a fresh look, so that only the unluckiest meets a hang.
   * @throws EngineError pool_unavailable with what is wrong
   */
  assertUsable(id: string, purpose: 'read' | 'write'): Promise<void>
  childOf(id: string): PoolChild
  /** Whether the path itself is a mount point. Asks the kernel's list alone. */
  isMounted(path: string): boolean
  /** Called when a pool's state changes. */
  onChange(listener: (id: string, view: PoolHealthView) => void): () => void
  start(): void
  close(): void
}

export interface PoolHealthDeps {
  readonly pools: Pools
  /** Lower bound of a reserve that nobody has set. */
  readonly minimumReserveBytes: number
  readonly everyMs?: number
  readonly lookMs?: number
  readonly now?: () => Date
  readonly mountInfo?: () => string
}

const EVERY_MS = 15_000
/** A look at the data directory this young is fresh enough to begin work on. */
const FRESH_MS = 2000
const USABLE: ReadonlySet<PoolState> = new Set(['ok', 'low', 'full'])

export function createPoolHealth(deps: PoolHealthDeps): PoolHealth {
  const { pools } = deps
  const now = deps.now ?? (() => new Date())
  const mountInfo = deps.mountInfo ?? (() => readFileSync('/proc/self/mountinfo', 'utf8'))
  const seen = new Map<string, PoolHealthView>()
  const lookedAt = new Map<string, number>()
  const looking = new Map<string, Promise<PoolHealthView>>()
  const children = new Map<string, PoolChild>()
  const listeners = new Set<(id: string, view: PoolHealthView) => void>()
  let timer: NodeJS.Timeout | undefined

  const childOf = (id: string): PoolChild => {
    let child = children.get(id)
    if (child === undefined) {
      child = createPoolChild(() => pools.get(id)?.name ?? 'that has gone')
      children.set(id, child)
    }
    return child
  }

  const ask = async (pool: PoolDocument): Promise<PoolLook | null | string> => {
    const root = pools.rootOf(pool)
    try {
      const answer = await childOf(pool.id).run(LOOK_SCRIPT, [root, join(root, MARK)], {
        timeoutMs: deps.lookMs ?? LOOK_MS,
      })
      const look = answer.code === 0 ? parseLook(answer.stdout) : null
      return look ?? (answer.stderr.trim().split('\n').at(-1) || 'The directory could not be read.')
    } catch (error) {
      if (error instanceof EngineError) return null
      throw error
    }
  }

  const lookOnce = async (id: string): Promise<PoolHealthView> => {
    const pool = pools.require(id)
    const path = pools.rootOf(pool)
    const mounted = isMountPoint(path, mountInfo())
    const skip = pool.mustBeMounted && !mounted
    const answer = skip ? 'Nothing is mounted there.' : await ask(pool)
    const look = answer !== null && typeof answer !== 'string' ? answer : null
    const before = seen.get(id) ?? null
    const capacity = look ?? before?.look ?? null
    const reserveBytes = reserveOf(capacity?.totalBytes ?? 0, pool.reserveBytes, deps.minimumReserveBytes)
    const { mustBeMounted, name } = pool
    const view: PoolHealthView = {
      ...judgePool({
        ...{ id, name, path, mounted, mustBeMounted, reserveBytes, look: answer },
        builtIn: id === LOCAL_POOL_ID,
      }),
      checkedAt: look === null ? (before?.checkedAt ?? null) : now().toISOString(),
      look: capacity,
      reserveBytes,
    }
    // It may have been removed meanwhile.
    if (pools.get(id) === null) return view
    seen.set(id, view)
    lookedAt.set(id, now().getTime())
    if (before?.state !== view.state || before.evidence !== view.evidence)
      for (const listener of listeners) listener(id, view)
    return view
  }

  const look = (id: string): Promise<PoolHealthView> => {
    let running = looking.get(id)
    if (running === undefined) {
      running = lookOnce(id).finally(() => looking.delete(id))
      looking.set(id, running)
    }
    return running
  }

  const lookAtAll = async (): Promise<void> => {
    for (const id of seen.keys()) if (pools.get(id) === null) forget(id)
    await Promise.allSettled(pools.all().map(({ id }) => look(id)))
  }
  const forget = (id: string): void => {
    seen.delete(id)
    lookedAt.delete(id)
    children.delete(id)
  }

  const view = (id: string): PoolHealthView =>
    seen.get(id) ?? {
      state: 'unknown',
      evidence: 'Not looked at yet.',
      advice: '',
      checkedAt: null,
      look: null,
      reserveBytes: 0,
    }

  return {
    view,
    look,
    lookAtAll,
    childOf,
    isMounted: (path) => isMountPoint(path, mountInfo()),
    async assertUsable(id, purpose) {
      pools.require(id)
      // Should the data directory itself hang, so does everything.
      const age = now().getTime() - (lookedAt.get(id) ?? Number.NEGATIVE_INFINITY)
      const current = id === LOCAL_POOL_ID && age < FRESH_MS ? view(id) : await look(id)
      if (USABLE.has(current.state) || (purpose === 'read' && current.state === 'read-only')) return
      const name = pools.get(id)?.name ?? ''
      throw new EngineError('pool_unavailable', `The storage pool ${name} cannot be used: ${current.evidence}`, {
        details: { poolId: id, state: current.state, advice: current.advice },
      })
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    start() {
      timer = setInterval(() => void lookAtAll(), deps.everyMs ?? EVERY_MS)
      timer.unref()
    },
    close() {
      clearInterval(timer)
      listeners.clear()
    },
  }
}
