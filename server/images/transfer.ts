/**
 * Moves bytes from a stream into a new file: hashed on the way, in pieces of at least 1 MiB with one write in flight,
 * so that hashing and writing overlap; memory stays at two pieces whatever the size.
 */
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'
import type { SpaceReservation } from '#server/storage/space.ts'

const PIECE_BYTES = 2 ** 20
/** Without a declared length, room is asked for in steps of this size. */
const EXTEND_BYTES = 64 * 2 ** 20

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
  const { reservation, maxBytes, signal, onProgress } = options
  const hash = createHash('sha256')
  let sizeBytes = 0
  let reservedBytes = options.reservedBytes
  let piece: Uint8Array[] = []
  let pieceBytes = 0
  let inFlight: Promise<void> = Promise.resolve()

  const flush = async (): Promise<void> => {
    await inFlight
    const buffers = piece
    const bytes = pieceBytes
    piece = []
    pieceBytes = 0
    if (bytes === 0) return
    inFlight = writeAll(handle, buffers, bytes).then(() => reservation.consume(bytes))
    // A failure surfaces at the next flush; until then it must not count as unhandled.
    inFlight.catch(() => {})
  }

  try {
    for await (const chunk of source) {
      signal.throwIfAborted()
      sizeBytes += chunk.byteLength
      if (sizeBytes > maxBytes) {
        throw new EngineError('too_large', `The upload is larger than the ${maxBytes} bytes that are allowed for it.`)
      }
      if (sizeBytes > reservedBytes) {
        const more = Math.max(EXTEND_BYTES, sizeBytes - reservedBytes)
        await reservation.extend(more)
        reservedBytes += more
      }
      hash.update(chunk)
      piece.push(chunk)
      pieceBytes += chunk.byteLength
      if (pieceBytes >= PIECE_BYTES) {
        await flush()
        onProgress(sizeBytes)
      }
    }
    await flush()
    await inFlight
  } catch (error) {
    // The file is about to be closed: no write may be under way.
    await inFlight.catch(() => {})
    throw spaceError(error) ?? error
  }
  signal.throwIfAborted()
  onProgress(sizeBytes)
  return { sizeBytes, sha256: hash.digest('hex') }
}

async function writeAll(handle: FileHandle, buffers: Uint8Array[], bytes: number): Promise<void> {
  const { bytesWritten } = await handle.writev(buffers)
  if (bytesWritten === bytes) return
  // A short write: the disk filled up or a signal came. Write the rest in one piece, which reports the real reason.
  const rest = Buffer.concat(buffers).subarray(bytesWritten)
  let done = 0
  while (done < rest.length) done += (await handle.write(rest, done)).bytesWritten
}

function spaceError(error: unknown): EngineError | null {
  if (!(error instanceof Error) || !('code' in error)) return null
  if (error.code !== 'ENOSPC' && error.code !== 'EDQUOT' && error.code !== 'EFBIG') return null
  return new EngineError('no_space', 'The disk became full. What had arrived was removed; make room and try again.', {
    cause: error,
  })
}
