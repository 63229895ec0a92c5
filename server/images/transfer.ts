/** Moves a whole stream into a new file, hashed on the way; nothing of it counts unless all of it came. */
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'
import type { SpaceReservation } from '#server/storage/space.ts'
import { pour } from './pour.ts'

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
 * The caller owns `handle` and removes the file when this throws.
 * @throws EngineError too_large, no_space; the source's own error; the signal's reason
 */
export async function transfer(
  source: AsyncIterable<Uint8Array>,
  handle: FileHandle,
  options: TransferOptions,
): Promise<TransferResult> {
  const hash = createHash('sha256')
  const { bytes, fault } = await pour(source, handle, {
    ...options,
    at: 0,
    onChunk: (chunk) => hash.update(chunk),
    onWritten: options.onProgress,
  })
  if (fault !== null) {
    if (fault instanceof EngineError && fault.code === 'no_space') {
      throw new EngineError(
        'no_space',
        'The disk became full. What had arrived was removed; make room and try again.',
        {
          cause: fault,
        },
      )
    }
    throw fault
  }
  options.signal.throwIfAborted()
  return { sizeBytes: bytes, sha256: hash.digest('hex') }
}
