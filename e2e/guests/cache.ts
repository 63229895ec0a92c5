/** Built once, shared by everybody: what a build makes appears under its name complete or not at all. */
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const CACHE_DIR = resolve(import.meta.dirname, '../../.cache/guests')
const LOCK_POLL_MS = 200

/** A short hash over whatever the result depends on. */
export function keyOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}\0`).update(part)
  return hash.digest('hex').slice(0, 16)
}

/**
 * The directory `name` of the cache, made by `build` in a scratch directory when it is not there yet. Several
 * processes may ask at once: one builds, the others wait for it.
 * @param cacheDir where it lies; made when missing
 * @returns its absolute path
 */
export async function cached(
  name: string,
  build: (scratchDir: string) => Promise<void>,
  cacheDir: string = CACHE_DIR,
): Promise<string> {
  const path = join(cacheDir, name)
  if (existsSync(path)) return path
  mkdirSync(cacheDir, { recursive: true })
  const unlock = await lock(`${path}.lock`)
  try {
    if (existsSync(path)) return path
    const scratch = mkdtempSync(join(cacheDir, '.build-'))
    try {
      await build(scratch)
      renameSync(scratch, path)
    } catch (error) {
      rmSync(scratch, { recursive: true, force: true })
      // Two who both took over an abandoned lock build the same.
      if (!existsSync(path)) throw error
    }
    return path
  } finally {
    unlock()
  }
}

/** Removes older results of the same family, `prefix-<key>`, so that the cache holds one of each. */
export function dropOthers(prefix: string, keep: string, cacheDir: string = CACHE_DIR): void {
  for (const name of readdirSync(cacheDir)) {
    const isOfFamily = name.startsWith(`${prefix}-`) && /^[0-9a-f]{16}$/.test(name.slice(prefix.length + 1))
    if (isOfFamily && name !== keep) rmSync(join(cacheDir, name), { recursive: true, force: true })
  }
}

async function lock(path: string): Promise<() => void> {
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' })
      return () => rmSync(path, { force: true })
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
    if (isAbandoned(path)) rmSync(path, { force: true })
    else await sleep(LOCK_POLL_MS)
  }
}

/** A lock whose process is gone. Two waiters may both remove it and both build: the rename decides. */
function isAbandoned(path: string): boolean {
  try {
    const pid = Number(readFileSync(path, 'utf8'))
    return Number.isInteger(pid) && pid > 0 && !existsSync(`/proc/${pid}`)
  } catch {
    return false
  }
}
