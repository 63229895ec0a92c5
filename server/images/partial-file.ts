/**
 * A file that arrives in pieces, perhaps over several runs of the dashboard. Its checksums are made as the bytes come;
 * when the dashboard ended in between, they are made again from the file, in a thread of their own.
 */
import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { hashFile } from '#server/platform/hash-thread.ts'
import { syncDir } from '#server/storage/dirs.ts'
import type { SpaceReservation } from '#server/storage/space.ts'
import type { Algorithm, Checksum } from './checksums.ts'
import { type Poured, pour } from './pour.ts'

const CREATE_NEW = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY
const WRITE = constants.O_WRONLY | constants.O_NOFOLLOW

/** @throws EngineError no_space */
export async function createPartial(path: string): Promise<void> {
  await (await open(path, CREATE_NEW, 0o600)).close()
  await syncDir(dirname(path))
}

export interface AppendOptions {
  readonly reservation: SpaceReservation
  readonly reservedBytes: number
  readonly maxBytes: number
  readonly signal: AbortSignal
  /** Absolute position in the file. */
  readonly onProgress: (position: number) => void
  /** Told after the bytes before it are safe on disk. */
  readonly onSafe: (position: number) => void
  readonly safeEveryBytes: number
  /** Also sees the chunks: a checksum of this piece alone. */
  readonly onChunk?: (chunk: Uint8Array) => void
}

export class PartialFile {
  readonly path: string
  readonly #algorithms: readonly Algorithm[]
  /** Over the first `#hashed` bytes. */
  #hashes: readonly (readonly [Algorithm, Hash])[]
  #hashed = 0

  constructor(path: string, algorithms: readonly Algorithm[]) {
    this.path = path
    this.#algorithms = algorithms
    this.#hashes = this.#fresh()
  }

  #fresh() {
    return this.#algorithms.map((algorithm) => [algorithm, createHash(algorithm)] as const)
  }

  /** Writes what comes from `position` on; afterwards all of it is on disk. */
  async append(source: AsyncIterable<Uint8Array>, position: number, options: AppendOptions): Promise<Poured> {
    const handle = await open(this.path, WRITE)
    try {
      // What a crash left beyond the last safe byte is of unknown content.
      await handle.truncate(position)
      if (position === 0) {
        this.#hashes = this.#fresh()
        this.#hashed = 0
      }
      const continues = this.#hashed === position
      const before = this.#hashes.map(([name, hash]) => [name, hash.copy()] as const)
      const poured = await pour(source, handle, {
        ...options,
        at: position,
        onChunk: (chunk) => {
          if (continues) for (const [, hash] of this.#hashes) hash.update(chunk)
          options.onChunk?.(chunk)
          if (continues) this.#hashed += chunk.byteLength
        },
        onWritten: (bytes) => options.onProgress(position + bytes),
        checkpoint: {
          everyBytes: options.safeEveryBytes,
          save: async (bytes) => {
            await handle.datasync()
            options.onSafe(position + bytes)
          },
        },
      })
      if (continues && this.#hashed !== position + poured.bytes) {
        // A write failed: what was counted is not what lies there.
        this.#hashes = before
        this.#hashed = -1
      }
      if (poured.bytes > 0) {
        await handle.datasync()
        options.onSafe(position + poured.bytes)
      }
      return poured
    } finally {
      await handle.close()
    }
  }

  /** Takes back what lies beyond `position`; the checksums are made again at the end. */
  async truncate(position: number): Promise<void> {
    const handle = await open(this.path, WRITE)
    try {
      await handle.truncate(position)
    } finally {
      await handle.close()
    }
    this.#hashed = -1
  }

  /** Checksums of the whole file, which has `sizeBytes`. @throws the signal's reason */
  async digests(
    sizeBytes: number,
    signal: AbortSignal,
    onProgress: (doneBytes: number) => void,
  ): Promise<Readonly<Partial<Record<Algorithm, string>>>> {
    if (this.#hashed === sizeBytes) {
      return Object.fromEntries(this.#hashes.map(([name, hash]) => [name, hash.copy().digest('hex')]))
    }
    return (await hashFile(this.path, this.#algorithms, signal, onProgress)).digests
  }

  /** Idempotent. */
  async remove(): Promise<void> {
    await rm(this.path, { force: true })
  }
}

/** @throws EngineError checksum_mismatch */
export function assertChecksum(
  expected: Checksum | null,
  digests: Readonly<Partial<Record<Algorithm, string>>>,
  where: string,
): void {
  if (expected === null) return
  const received = digests[expected.algorithm]
  if (received === expected.value) return
  const name = expected.algorithm === 'sha256' ? 'SHA-256' : 'SHA-512'
  throw new EngineError(
    'checksum_mismatch',
    `The file that arrived does not have the expected ${name}, so it was not kept. ${where}`,
    { field: 'checksum', details: { expected: expected.value, received: received ?? null } },
  )
}
