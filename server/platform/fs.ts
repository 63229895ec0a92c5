/**
 * Files. Run directories belong to the user QEMU runs as, so whatever is found there may have been put there by a
 * guest that broke out: it is opened without following links, and only if it is what it should be.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type FileHandle, open, readdir, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants

export class UnsafeFileError extends Error {
  override readonly name = 'UnsafeFileError'
}

export function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null
}

async function openPlain(path: string, flags: number): Promise<FileHandle> {
  // O_NONBLOCK: opening a planted FIFO must not hang a thread.
  const file = await open(path, flags | O_NOFOLLOW | O_NONBLOCK)
  const info = await file.stat()
  if (info.isFile() && info.nlink === 1) return file
  await file.close()
  throw new UnsafeFileError('not a plain file with one name')
}

/**
 * @param options.owners refuse the file unless it belongs to one of these users
 * @throws UnsafeFileError link, special file, wrong owner, or more than `maxBytes`; Error ENOENT …
 */
export async function readPlainFile(
  path: string,
  maxBytes: number,
  options: { owners?: readonly number[] } = {},
): Promise<Buffer> {
  const file = await openPlain(path, O_RDONLY)
  try {
    const info = await file.stat()
    if (options.owners?.includes(info.uid) === false) throw new UnsafeFileError('owned by another user')
    if (info.size > maxBytes) throw new UnsafeFileError(`larger than ${maxBytes} bytes`)
    const buffer = Buffer.alloc(info.size)
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** The last `bytes` of a text file; empty when there is none or it is not a plain file. */
export async function readTail(path: string, bytes: number): Promise<string> {
  let file: FileHandle
  try {
    file = await openPlain(path, O_RDONLY)
  } catch {
    return ''
  }
  try {
    const { size } = await file.stat()
    const buffer = Buffer.alloc(Math.min(size, bytes))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, Math.max(0, size - bytes))
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

/** Cuts an append-only log down to its last `keepBytes` once it has passed `maxBytes`. Never throws. */
export async function capLog(path: string, maxBytes: number, keepBytes: number): Promise<void> {
  try {
    const file = await openPlain(path, O_RDWR)
    try {
      const { size } = await file.stat()
      if (size <= maxBytes) return
      const tail = Buffer.alloc(keepBytes)
      await file.read(tail, 0, keepBytes, size - keepBytes)
      await file.truncate(0)
      await file.write(tail, 0, keepBytes, 0)
    } finally {
      await file.close()
    }
  } catch {
    // No log, no harm.
  }
}

/** A new, empty log, 0600. @throws Error EEXIST … */
export function createLog(path: string): void {
  closeSync(openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0o600))
}

/**
 * Replaces the file whole, mode 0600: readers see the old or the new text, never a part. Synchronous, as is
 * `makePrivateDir`: run directories lie in memory, where a system call costs less than a turn of the thread pool,
 * which password hashing may keep busy for long.
 * @throws Error ENOSPC …
 */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.new`
  rmSync(temporary, { force: true })
  const file = openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    writeFileSync(file, text)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
}

/** The same for a file that shall be gone; one that is not there is. */
export function dropFile(path: string): void {
  rmSync(path, { force: true })
}

/** A file that is there whole after a power cut, mode 0600. @throws Error ENOSPC … */
export function writeDurably(path: string, text: string): void {
  const temporary = `${path}.new`
  rmSync(temporary, { force: true })
  const file = openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    writeFileSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  const dir = openSync(dirname(path), O_RDONLY)
  try {
    fsyncSync(dir)
  } finally {
    closeSync(dir)
  }
}

/** A log that is there, for adding to; the caller closes the descriptor. @throws UnsafeFileError; Error ENOENT, ELOOP … */
export function openForAppending(path: string): number {
  const file = openSync(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK)
  const info = fstatSync(file)
  if (info.isFile() && info.nlink === 1) return file
  closeSync(file)
  throw new UnsafeFileError('not a plain file with one name')
}

/**
 * A fresh directory, 0700. Parents are made as needed, searchable by all: QEMU's user must be able to pass through.
 * False when the directory is already there.
 */
export function makePrivateDir(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    if (errorCode(error) !== 'ENOENT') throw error
    mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
    mkdirSync(path, { mode: 0o700 })
  }
  return true
}

/** A directory of root's in which all users may make files and none may touch another's (1777). @throws Error */
export function ensureSharedDir(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return
    throw error
  }
  chmodSync(path, 0o1777)
}

/** No error when there is none. @throws Error EACCES, EISDIR … */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true })
}

/** Removes a run directory and all in it; links are removed, never followed. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
}

/** Names in a directory; empty when it does not exist. */
export async function listDir(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  }
}

export interface FileFacts {
  readonly isFile: boolean
  readonly sizeBytes: number
  readonly dev: number
  readonly ino: number
}

/** Null when missing. Gives up after `timeoutMs`, for files on storage that hangs. @throws Error EACCES, ETIMEDOUT … */
export async function fileFacts(path: string, timeoutMs = 5000): Promise<FileFacts | null> {
  const waited = new AbortController()
  try {
    const info = await Promise.race([
      stat(path),
      sleep(timeoutMs, null, { signal: waited.signal, ref: false }).then(() => {
        throw Object.assign(new Error('the file system does not answer'), { code: 'ETIMEDOUT' })
      }),
    ])
    return { isFile: info.isFile() || info.isBlockDevice(), sizeBytes: info.size, dev: info.dev, ino: info.ino }
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  } finally {
    waited.abort()
  }
}

/** Mode and owner of whatever is there, links followed; null when missing. @throws Error EACCES … */
export async function fileMode(path: string): Promise<{ mode: number; uid: number; gid: number } | null> {
  try {
    const { mode, uid, gid } = await stat(path)
    return { mode, uid, gid }
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}

/** Changes with every boot of the host; empty where it cannot be read. */
export function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return ''
  }
}
