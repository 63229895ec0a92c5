/**
 * `/proc/locks`: who holds which file lock. QEMU holds a POSIX lock on its pidfile for as long as it lives, and open
 * file description locks on bytes 100 and up of its images (QEMU: block/file-posix.c, `RAW_LOCK_PERM_BASE`).
 */
import { readFileSync } from 'node:fs'

export interface FileLock {
  readonly kind: 'POSIX' | 'OFDLCK' | 'FLOCK' | 'other'
  readonly access: 'READ' | 'WRITE'
  /** -1 for open-file-description locks, which belong to no process. */
  readonly pid: number
  readonly major: number
  readonly minor: number
  readonly inode: number
  readonly start: number
  /** Infinity for "to the end of the file". */
  readonly end: number
}

const LINE =
  /^\d+: (?<kind>\S+)\s+\S+\s+(?<access>READ|WRITE)\s+(?<pid>-?\d+)\s+(?<major>[0-9a-f]+):(?<minor>[0-9a-f]+):(?<inode>\d+)\s+(?<start>\d+)\s+(?<end>\d+|EOF)/

/** Pure. Waiting requests (`->`) are not locks and are left out, as are lines of unknown shape. */
export function parseLocks(text: string): FileLock[] {
  const locks: FileLock[] = []
  for (const line of text.split('\n')) {
    const groups = LINE.exec(line)?.groups
    if (!groups) continue
    const { kind } = groups
    locks.push({
      kind: kind === 'POSIX' || kind === 'OFDLCK' || kind === 'FLOCK' ? kind : 'other',
      access: groups.access === 'WRITE' ? 'WRITE' : 'READ',
      pid: Number(groups.pid),
      major: Number.parseInt(groups.major ?? '', 16),
      minor: Number.parseInt(groups.minor ?? '', 16),
      inode: Number(groups.inode),
      start: Number(groups.start),
      end: groups.end === 'EOF' ? Number.POSITIVE_INFINITY : Number(groups.end),
    })
  }
  return locks
}

/** The lock table now; empty where `/proc/locks` cannot be read. */
export function readLocks(): FileLock[] {
  try {
    return parseLocks(readFileSync('/proc/locks', 'utf8'))
  } catch {
    return []
  }
}

/** Splits `st_dev` the way glibc's gnu_dev_major and gnu_dev_minor do. */
export function splitDevice(dev: number): { major: number; minor: number } {
  const wide = BigInt(dev)
  return {
    major: Number(((wide >> 8n) & 0xfffn) | ((wide >> 32n) & 0xfffff000n)),
    minor: Number((wide & 0xffn) | ((wide >> 12n) & 0xffffff00n)),
  }
}

export interface FileIdentity {
  readonly dev: number
  readonly ino: number
}

function locksOn(locks: readonly FileLock[], file: FileIdentity): FileLock[] {
  const { major, minor } = splitDevice(file.dev)
  return locks.filter((lock) => lock.inode === file.ino && lock.major === major && lock.minor === minor)
}

/** Process holding a write lock on the file, or null. */
export function lockOwner(locks: readonly FileLock[], file: FileIdentity): number | null {
  return locksOn(locks, file).find((lock) => lock.access === 'WRITE' && lock.pid > 0)?.pid ?? null
}

/** Byte that a QEMU block node locks while it may write: permission base 100 plus BLK_PERM_WRITE (bit 1). */
const QEMU_WRITE_IN_USE = 101

/** Whether some QEMU or qemu-img has the image open for writing. */
export function isImageBeingWritten(locks: readonly FileLock[], file: FileIdentity): boolean {
  return locksOn(locks, file).some(
    (lock) => lock.kind !== 'FLOCK' && lock.start <= QEMU_WRITE_IN_USE && lock.end >= QEMU_WRITE_IN_USE,
  )
}
