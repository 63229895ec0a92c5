/**
 * Room on the data directory's file system, handed out so that concurrent work cannot promise the same bytes twice,
 * and so that a reserve stays free: a full disk pauses every guest that writes.
 */
import { statfs } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'

const GiB = 2 ** 30

export interface SpaceReservation {
  /** Tells that so many of the reserved bytes now lie on disk, and so count in the file system's own numbers. */
  consume(bytes: number): void
  /** Grows the reservation. @throws EngineError no_space */
  extend(bytes: number): Promise<void>
  /** Idempotent. */
  release(): void
}

export interface SpaceLedger {
  /** @param what begins the sentence shown when there is no room, for example "The upload" @throws EngineError no_space */
  reserve(bytes: number, what: string): Promise<SpaceReservation>
  readonly outstandingBytes: number
}

/** Bytes kept free whatever is asked: 5 % of the file system, at least `minimumBytes`. */
export function reserveBytes(totalBytes: number, minimumBytes: number): number {
  return Math.max(totalBytes * 0.05, minimumBytes)
}

/** What a file system has. `reserveBytes` left out: 5 %, or the lower bound. */
export interface Room {
  readonly totalBytes: number
  readonly freeBytes: number
  readonly reserveBytes?: number
}

async function roomOf(dir: string): Promise<Room> {
  const fs = await statfs(dir)
  return { totalBytes: fs.blocks * fs.bsize, freeBytes: fs.bavail * fs.bsize }
}

/**
 * @param minimumReserveBytes lower bound of the reserve; smaller only in tests on small file systems
 * @param ask how much room there is; left out: the directory is asked
 */
export function createSpaceLedger(
  dir: string,
  minimumReserveBytes = 5 * GiB,
  ask: () => Promise<Room> = () => roomOf(dir),
): SpaceLedger {
  let outstanding = 0
  /** Check and claim in one synchronous step after the only await, so that no two callers get the same bytes. */
  const claim = async (bytes: number, what: string): Promise<void> => {
    const room = await ask()
    const kept = room.reserveBytes ?? reserveBytes(room.totalBytes, minimumReserveBytes)
    const usable = Math.max(0, room.freeBytes - outstanding - kept)
    if (bytes > usable) {
      throw new EngineError(
        'no_space',
        `${what} needs ${format(bytes)} and only ${format(usable)} can be given out (${format(kept)} stay free so that running guests can write). Delete images or VMs, or enlarge the disk.`,
        { details: { neededBytes: bytes, usableBytes: usable } },
      )
    }
    outstanding += bytes
  }
  return {
    get outstandingBytes() {
      return outstanding
    },
    async reserve(bytes, what) {
      await claim(bytes, what)
      let held = bytes
      return {
        consume(done) {
          const taken = Math.min(done, held)
          held -= taken
          outstanding -= taken
        },
        async extend(more) {
          await claim(more, what)
          held += more
        },
        release() {
          outstanding -= held
          held = 0
        },
      }
    },
  }
}

function format(bytes: number): string {
  if (bytes >= GiB) return `${(bytes / GiB).toFixed(1)} GiB`
  return `${Math.ceil(bytes / 2 ** 20)} MiB`
}
