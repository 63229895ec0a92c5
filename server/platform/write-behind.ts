/**
 * Has the kernel write a growing file to disk while it grows. It would otherwise keep up to a tenth of the host's
 * memory for later: the flush at the end, which nothing large goes without, would take long, and guests would find
 * their memory full of it.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

const EVERY_BYTES = 32 * 2 ** 20

export interface WriteBehind {
  /** So many bytes are written; never waits. */
  reached(bytes: number): void
  /** What goes on is over; the last bytes are still to be flushed. @throws what writing to the disk threw */
  settled(): Promise<void>
}

/** @param handle stays open until `settled` */
export function writeBehind(handle: Pick<FileHandle, 'datasync'>): WriteBehind {
  let asked = 0
  let running: Promise<void> | null = null
  // The kernel tells of a failed write once: it must not be lost here.
  let fault: { readonly error: unknown } | null = null
  return {
    reached(bytes) {
      if (running !== null || fault !== null || bytes - asked < EVERY_BYTES) return
      asked = bytes
      running = handle
        .datasync()
        .catch((error: unknown) => {
          fault = { error }
        })
        .finally(() => {
          running = null
        })
    },
    async settled() {
      await running
      if (fault !== null) throw fault.error
    },
  }
}

/** Of a file that another program writes. @throws what opening it throws */
export async function writeBehindFile(path: string): Promise<WriteBehind & AsyncDisposable> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  const behind = writeBehind(handle)
  return {
    ...behind,
    async [Symbol.asyncDispose]() {
      await behind.settled().catch(() => {}) // who wants to know asks `settled` before
      await handle.close()
    },
  }
}
