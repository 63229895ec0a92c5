/**
 * What is done to the files of layers, apart from what qemu-img does. On the data directory directly; in any other pool
 * by a child process, because its storage may hang.
 */
import { constants } from 'node:fs'
import { link, mkdir, open, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestFile, readersFile, type Shape } from '#server/launcher/shapes.ts'
import { PoolActError } from '#server/launcher/verbs.ts'
import { type WriteBehind, writeBehindFile } from '#server/platform/write-behind.ts'
import { syncDir } from './dirs.ts'
import type { PoolChild } from './pool-child.ts'

export interface LayerFiles {
  /** Private to the guest that writes it (null: to the dashboard), and on disk for good. @throws Error ENOENT … */
  own(path: string, uid: number | null): Promise<void>
  /** To have a file on disk early that a tool of ours fills. To be disposed of when the tool has ended. */
  behind(path: string): Promise<WriteBehind & AsyncDisposable>
  /** Readable for all guests, written by none, and on disk for good. */
  open(path: string, readersGid: number | null): Promise<void>
  /** No error when there is none. */
  remove(path: string): Promise<void>
  /** An empty raw file; refused when there is one. */
  createRaw(path: string, sizeBytes: number): Promise<void>
  /** A second name in the same file system; no error when it is there. */
  link(path: string, target: string): Promise<void>
  /** Sizes of those that are there. */
  sizes(paths: readonly string[]): Promise<Map<string, FileSize>>
}

export interface FileSize {
  /** On disk. */
  readonly allocatedBytes: number
  readonly bytes: number
}

/** Writing back what the kernel still holds of a large file takes its time. */
const SYNC_MS = 600_000
/** Names handed to one child. */
const CHUNK = 400

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export function directFiles(): LayerFiles {
  return {
    async own(path, uid) {
      await rootActs().own({ path, as: guestFile(uid), sync: true })
      await syncDir(dirname(path))
    },
    behind: writeBehindFile,
    async open(path, readersGid) {
      await rootActs().own({ path, as: readersFile(readersGid), sync: true })
      await syncDir(dirname(path))
    },
    async remove(path) {
      // While it is open only its name goes; giving back the room of a large file takes longer, and nobody waits for it.
      const handle = await open(path, READ).catch(() => null)
      try {
        await rm(path, { force: true })
        await syncDir(dirname(path)).catch(() => {})
      } finally {
        handle?.close().catch(() => {})
      }
    },
    async createRaw(path, sizeBytes) {
      const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
      try {
        await handle.truncate(sizeBytes)
      } finally {
        await handle.close()
      }
    },
    async link(path, target) {
      await mkdir(dirname(target), { recursive: true, mode: 0o700 })
      if (path === target) return
      await link(path, target).catch((error: unknown) => {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
      })
    },
    async sizes(paths) {
      const found = new Map<string, FileSize>()
      for (const path of paths) {
        const info = await stat(path).catch(() => null)
        if (info?.isFile()) found.set(path, { allocatedBytes: info.blocks * 512, bytes: info.size })
      }
      return found
    },
  }
}

function refused(what: string, stderr: string, cause: Error): EngineError {
  if (/No space left|quota exceeded/i.test(stderr))
    return new EngineError('no_space', `${what} failed: the storage is full.`, { cause })
  if (/Read-only file system/i.test(stderr))
    return new EngineError('pool_unavailable', `${what} failed: the storage is read-only.`, { cause })
  return new EngineError('internal', `${what} failed; the server's log has the details.`, { cause })
}

/** @throws EngineError pool_unavailable, no_space, internal */
export function childFiles(child: PoolChild): LayerFiles {
  const run = async (what: string, script: string, args: readonly string[], timeoutMs?: number): Promise<string> => {
    const { code, stdout, stderr } = await child.run(script, args, timeoutMs === undefined ? {} : { timeoutMs })
    if (code === 0) return stdout
    throw refused(what, stderr, new Error(`${what}: exit ${code}: ${stderr.trim()}`))
  }
  const give = async (what: string, path: string, as: Shape): Promise<void> => {
    await rootActs()
      .ownInPool({ path, as, sync: true }, child)
      .catch((error: unknown) => {
        throw error instanceof PoolActError ? refused(what, error.message, error) : error
      })
    await run(what, 'sync -- "$1"', [dirname(path)], SYNC_MS)
  }
  return {
    own: (path, uid) => give('Handing over a disk file', path, guestFile(uid)),
    // Waiting for a storage that hangs is not for this process; it is written when the tool ends.
    behind: async () => ({ reached() {}, async settled() {}, async [Symbol.asyncDispose]() {} }),
    open: (path, readersGid) => give('Sharing a disk file', path, readersFile(readersGid)),
    async remove(path) {
      // Large files take a while on some file systems.
      await run('Removing a disk file', 'rm -f -- "$1" && { sync -- "$2" || :; }', [path, dirname(path)], 60_000)
    },
    async createRaw(path, sizeBytes) {
      await run(
        'Creating a disk file',
        'set -C; umask 077; : > "$1" && truncate -s "$2" -- "$1"',
        [path, String(Math.trunc(sizeBytes))],
        30_000,
      )
    },
    async link(path, target) {
      if (path !== target) await run('Naming a disk file', '[ -e "$2" ] || ln -- "$1" "$2"', [path, target], 30_000)
    },
    async sizes(paths) {
      const found = new Map<string, FileSize>()
      for (let at = 0; at < paths.length; at += CHUNK) {
        const { stdout } = await child.run(
          `stat -c '%F|%b|%B|%s|%n' -- "$@" 2>/dev/null; :`,
          paths.slice(at, at + CHUNK),
        )
        for (const line of stdout.split('\n')) {
          const [type, blocks, unit, size, ...name] = line.split('|')
          if (type?.startsWith('regular') && name.length > 0)
            found.set(name.join('|'), { allocatedBytes: Number(blocks) * Number(unit), bytes: Number(size) })
        }
      }
      return found
    },
  }
}
