/**
 * Every backup there is, found by looking into the pools: the folders are the truth, so that after the database was lost
 * everything can be taken up again. What lies there may come from anywhere; nothing is believed that the folder's own
 * name does not confirm, and links are never followed.
 */
import type { Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BackupId } from '#lib/schema/backup.ts'
import { VmId } from '#lib/schema/ids.ts'
import { errorCode, readPlainFile } from '#server/platform/fs.ts'
import type { PoolDocument, Pools } from '#server/storage/pools.ts'
import { chainOf, diskChain } from './chain.ts'
import { backupDir, backupsDir, GONE, PART } from './layout.ts'
import {
  type BackupNotes,
  BackupNotes as BackupNotesSchema,
  FILES,
  MANIFEST_MAX_BYTES,
  type Manifest,
  NO_NOTES,
  parseManifest,
} from './manifest.ts'

export interface StoredBackup {
  readonly id: string
  readonly poolId: string
  readonly dir: string
  readonly manifest: Manifest
  readonly notes: BackupNotes
  /** Why its own files cannot be used; null: they are there. What it stands on is looked at by `problemOf`. */
  readonly trouble: string | null
}

export interface BrokenFolder {
  readonly poolId: string
  readonly folder: string
  readonly reason: string
}

export interface Catalog {
  /** Looks into all pools, or into one. Those that do not answer keep what was found before. */
  refresh(poolId?: string): Promise<void>
  /** Looks again unless that was done a moment ago; waits for slow pools only so long. */
  fresh(): Promise<void>
  all(): readonly StoredBackup[]
  get(id: string): StoredBackup | null
  ofVm(vmId: string, poolId?: string): StoredBackup[]
  broken(): readonly BrokenFolder[]
  /** From it down to its full one. @returns the reason when that cannot be */
  chain(id: string): ReturnType<typeof chainOf<StoredBackup>>
  /** Why it cannot be restored; null: it can, as far as can be told without reading it. */
  problemOf(backup: StoredBackup): string | null
  put(backup: StoredBackup): void
  forget(id: string): void
}

const MAX_VMS = 5000
const MAX_BACKUPS_OF_VM = 2000
const FRESH_MS = 5000
const PATIENCE_MS = 4000
const NOTES_MAX_BYTES = 64 * 1024

interface Found {
  readonly backups: StoredBackup[]
  readonly broken: BrokenFolder[]
}

export function createCatalog(
  pools: Pick<Pools, 'all' | 'rootOf'>,
  warn: (message: string, error?: unknown) => void,
): Catalog {
  const found = new Map<string, Found>()
  const scanning = new Map<string, Promise<void>>()
  let index: Map<string, StoredBackup> | null = null
  let lookedAtMs = Number.NEGATIVE_INFINITY

  const byId = (): Map<string, StoredBackup> => {
    if (index === null) {
      index = new Map()
      // Of two with one id (a copied folder) the first pool's counts.
      for (const { backups } of found.values())
        for (const backup of backups) if (!index.has(backup.id)) index.set(backup.id, backup)
    }
    return index
  }
  const chain = (id: string) => chainOf<StoredBackup>(id, (one) => byId().get(one) ?? null)

  const scan = async (pool: PoolDocument): Promise<void> => {
    const result = await scanPool(pools.rootOf(pool), pool.id)
    found.set(pool.id, result)
    index = null
  }
  const refreshOne = (pool: PoolDocument): Promise<void> => {
    // A pool that hangs is asked once, however often people look.
    let underWay = scanning.get(pool.id)
    if (underWay === undefined) {
      underWay = scan(pool)
        .catch((error: unknown) => warn(`The backups in the pool ${pool.name} could not be looked at.`, error))
        .finally(() => scanning.delete(pool.id))
      scanning.set(pool.id, underWay)
    }
    return underWay
  }
  const refresh = async (poolId?: string): Promise<void> => {
    const present = pools.all()
    for (const id of found.keys()) {
      if (present.some((pool) => pool.id === id)) continue
      found.delete(id)
      index = null
    }
    const stop = new AbortController()
    await Promise.race([
      Promise.all(present.filter(({ id }) => poolId === undefined || id === poolId).map(refreshOne)),
      sleep(PATIENCE_MS, null, { ref: false, signal: stop.signal }).catch(() => {}),
    ])
    stop.abort()
    if (poolId === undefined) lookedAtMs = performance.now()
  }

  const catalog: Catalog = {
    refresh,
    async fresh() {
      if (performance.now() - lookedAtMs > FRESH_MS) await refresh()
    },
    all: () => [...byId().values()].sort((a, b) => (a.manifest.createdAt < b.manifest.createdAt ? 1 : -1)),
    get: (id) => byId().get(id) ?? null,
    ofVm: (vmId, poolId) =>
      catalog
        .all()
        .filter(({ manifest, poolId: pool }) => manifest.vm.id === vmId && (poolId === undefined || pool === poolId)),
    broken: () => [...found.values()].flatMap(({ broken }) => broken),
    chain,
    problemOf(backup) {
      if (backup.trouble !== null) return backup.trouble
      const whole = chain(backup.id)
      if (!whole.ok) return whole.reason
      const bad = whole.chain.find(({ trouble }) => trouble !== null)
      if (bad !== undefined) return `A backup it stands on is damaged: ${bad.trouble}`
      if (whole.chain.some(({ poolId }) => poolId !== backup.poolId))
        return 'A backup it stands on lies in another pool.'
      for (const { device } of backup.manifest.disks) {
        const disk = diskChain(whole.chain, device)
        if (!disk.ok) return disk.reason
      }
      return null
    },
    put(backup) {
      const pool = found.get(backup.poolId) ?? { backups: [], broken: [] }
      found.set(backup.poolId, {
        ...pool,
        backups: [...pool.backups.filter(({ id }) => id !== backup.id), backup],
      })
      index = null
    },
    forget(id) {
      for (const [poolId, pool] of found)
        found.set(poolId, { ...pool, backups: pool.backups.filter((backup) => backup.id !== id) })
      index = null
    },
  }
  return catalog
}

/** Real directories only, sorted; empty when there is none. */
export async function directories(path: string): Promise<string[]> {
  let entries: Dirent[]
  try {
    entries = await readdir(path, { withFileTypes: true })
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw error
  }
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

async function scanPool(poolRoot: string, poolId: string): Promise<Found> {
  const backups: StoredBackup[] = []
  const broken: BrokenFolder[] = []
  const root = backupsDir(poolRoot)
  // The directory itself must not be a link either.
  if (!(await lstat(root).catch(() => null))?.isDirectory()) return { backups, broken }
  const folder = (vm: string, name: string) => `${clean(vm)}/${clean(name)}`
  for (const vm of (await directories(root)).slice(0, MAX_VMS)) {
    if (!VmId.safeParse(vm).success) {
      broken.push({ poolId, folder: clean(vm), reason: 'Its name is not the id of a VM.' })
      continue
    }
    for (const name of (await directories(join(root, vm))).slice(0, MAX_BACKUPS_OF_VM)) {
      if (name.endsWith(PART) || name.endsWith(GONE)) continue
      if (!BackupId.safeParse(name).success) {
        broken.push({ poolId, folder: folder(vm, name), reason: 'Its name is not the id of a backup.' })
        continue
      }
      const read = await readBackup(poolRoot, poolId, vm, name)
      if (typeof read === 'string') broken.push({ poolId, folder: folder(vm, name), reason: read })
      else backups.push(read)
    }
  }
  return { backups, broken: broken.slice(0, 200) }
}

const clean = (text: string) => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 80)

/** @returns the reason, as a sentence, when it is none */
export async function readBackup(
  poolRoot: string,
  poolId: string,
  vmId: string,
  id: string,
): Promise<StoredBackup | string> {
  const dir = backupDir(poolRoot, vmId, id)
  let text: string
  try {
    text = (await readPlainFile(join(dir, FILES.manifest), MANIFEST_MAX_BYTES)).toString('utf8')
  } catch (error) {
    return errorCode(error) === 'ENOENT' ? 'It has no manifest.' : 'Its manifest cannot be read.'
  }
  const manifest = parseManifest(text)
  if (typeof manifest === 'string') return manifest
  if (manifest.id !== id || manifest.vm.id !== vmId) return 'Its manifest belongs to another folder.'
  return {
    id,
    poolId,
    dir,
    manifest,
    notes: await readNotes(dir),
    trouble: await troubleOf(dir, manifest),
  }
}

export async function readNotes(dir: string): Promise<BackupNotes> {
  try {
    const text = (await readPlainFile(join(dir, FILES.notes), NOTES_MAX_BYTES)).toString('utf8')
    return BackupNotesSchema.parse(JSON.parse(text))
  } catch {
    return NO_NOTES
  }
}

async function troubleOf(dir: string, manifest: Manifest): Promise<string | null> {
  for (const { file, sizeBytes } of filesOf(manifest)) {
    const facts = await lstat(join(dir, file)).catch(() => null)
    if (facts === null) return `Its file ${file} is missing.`
    if (!facts.isFile()) return `Its file ${file} is not a plain file.`
    if (facts.size !== sizeBytes) return `Its file ${file} has another size than the manifest says.`
  }
  return null
}

/** Every file a manifest names. */
export const filesOf = (manifest: Manifest) => [
  ...manifest.disks,
  ...manifest.tpm,
  ...(manifest.nvram === null ? [] : [manifest.nvram]),
]
