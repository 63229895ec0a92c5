/**
 * A file that only grows, by whole pieces. A piece that did not fit is taken back, so the file ends with a whole one
 * whatever the disk did; after `kill -9` at most its last piece is cut.
 */
import { type FileHandle, open } from 'node:fs/promises'

/** So much of the end a power cut may cost. */
const SYNC_EVERY_MS = 5_000

export interface AppendFile {
  /** Of whole pieces. */
  readonly sizeBytes: number
  /** One piece; pieces go in the order of the calls. Rejects when it could not be written, and from then on. */
  append(...parts: readonly Uint8Array[]): Promise<void>
  /** Flushes. Idempotent. */
  close(): Promise<void>
}

/** @throws Error when the file exists or cannot be made */
export async function createAppendFile(path: string): Promise<AppendFile> {
  const handle = await open(path, 'wx', 0o600)
  let sizeBytes = 0
  let failed: unknown = null
  let syncedMs = performance.now()
  let closing: Promise<void> | null = null
  let last: Promise<void> = Promise.resolve()

  const write = async (parts: readonly Uint8Array[]): Promise<void> => {
    if (failed !== null) throw failed
    try {
      const piece = parts.length === 1 ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts)
      await writeAll(handle, piece, sizeBytes)
      sizeBytes += piece.length
      if (performance.now() - syncedMs < SYNC_EVERY_MS) return
      await handle.datasync()
      syncedMs = performance.now()
    } catch (error) {
      failed = error
      await handle.truncate(sizeBytes).catch(() => {})
      throw error
    }
  }

  return {
    get sizeBytes() {
      return sizeBytes
    },
    append(...parts) {
      const done = last.then(() => write(parts))
      last = done.catch(() => {})
      return done
    },
    close() {
      closing ??= last.then(async () => {
        try {
          await handle.sync()
        } catch {
          // What cannot be flushed was told when it was written, or is lost with the disk.
        } finally {
          await handle.close()
        }
      })
      return closing
    },
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, at + done)
    done += bytesWritten
  }
}

/** Whether the disk, and not the program, is why nothing could be written. */
export function isDiskFull(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return code === 'ENOSPC' || code === 'EDQUOT'
}
