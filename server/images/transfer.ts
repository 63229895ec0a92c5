/**
 * Moves a whole stream into a new file, hashed on the way in a thread of its own and written to disk behind; nothing of
 * it counts unless all of it came.
 */
import type { FileHandle } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'
import { StreamHash } from '#server/platform/hash-thread.ts'
import { writeBehind } from '#server/platform/write-behind.ts'
import type { SpaceReservation } from '#server/storage/space.ts'
import { pour, spaceError } from './pour.ts'

export interface TransferResult {
  readonly sizeBytes: number
  /** Lower-case hex. */
  readonly sha256: string
}

export interface TransferOptions {
  readonly reservation: SpaceReservation
  /** Bytes already reserved; beyond them the transfer asks for more. */
  readonly reservedBytes: number
  /** More than this is `too_large`. */
  readonly maxBytes: number
  readonly signal: AbortSignal
  readonly onProgress: (doneBytes: number) => void
}

/**
 * The chunks are taken over; afterwards they are empty. The caller owns `handle` and removes the file when this throws.
 * @throws EngineError too_large, no_space; the source's own error; the signal's reason
 */
export async function transfer(
  source: AsyncIterable<Uint8Array>,
  handle: FileHandle,
  options: TransferOptions,
): Promise<TransferResult> {
  const hash = new StreamHash(['sha256'])
  const behind = writeBehind(handle)
  try {
    const { bytes, fault } = await pour(source, handle, {
      ...options,
      at: 0,
      onPiece: (chunks) => hash.update(chunks),
      onWritten(bytesWritten) {
        behind.reached(bytesWritten)
        options.onProgress(bytesWritten)
      },
    })
    if (fault !== null) throw fault
    options.signal.throwIfAborted()
    const { sha256 } = await hash.digests()
    if (sha256 === undefined) throw new Error('the checksum thread made no sha256')
    await behind.settled()
    return { sizeBytes: bytes, sha256 }
  } catch (error) {
    await behind.settled().catch(() => {})
    throw fullDisk(error) ?? error
  } finally {
    hash.end()
  }
}

function fullDisk(error: unknown): EngineError | null {
  const full = error instanceof EngineError && error.code === 'no_space' ? error : spaceError(error)
  if (full === null) return null
  return new EngineError('no_space', 'The disk became full. What had arrived was removed; make room and try again.', {
    cause: full,
  })
}
