/**
 * Moves bytes from a stream into a file: in pieces of at least 1 MiB with one write in flight, so that receiving and
 * writing overlap; memory stays at two pieces whatever the size. What arrived before a break is written all the same.
 */
import type { FileHandle } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'
import type { SpaceReservation } from '#server/storage/space.ts'

const PIECE_BYTES = 2 ** 20
/** Without a declared length, room is asked for in steps of this size. */
const EXTEND_BYTES = 64 * 2 ** 20

export interface PourOptions {
  /** Where in the file the first byte goes. */
  readonly at: number
  readonly reservation: SpaceReservation
  /** Bytes of this stream already reserved; beyond them more is asked for. */
  readonly reservedBytes: number
  /** More than this is `too_large`. */
  readonly maxBytes: number
  readonly signal: AbortSignal
  /** Sees each chunk in order, before it is written. */
  readonly onChunk?: (chunk: Uint8Array) => void
  /** Gets the chunks in order once they are written, to keep or to empty; until it resolves, no more are written. */
  readonly onPiece?: (chunks: readonly Uint8Array[]) => Promise<void>
  /** Bytes of this stream written so far. */
  readonly onWritten: (bytes: number) => void
  /** Called, with nothing in flight, after each so many bytes, for what is written to be made safe. */
  readonly checkpoint?: { readonly everyBytes: number; readonly save: (bytes: number) => Promise<void> }
}

export interface Poured {
  /** Of this stream, all of them written. */
  readonly bytes: number
  /** Why it ended early; null: the stream came to its end. */
  readonly fault: unknown
}

/** Never throws: the caller decides what a break means. */
export async function pour(
  source: AsyncIterable<Uint8Array>,
  handle: FileHandle,
  options: PourOptions,
): Promise<Poured> {
  const { at, reservation, maxBytes, signal, checkpoint } = options
  let received = 0
  let written = 0
  let saved = 0
  let reservedBytes = options.reservedBytes
  let piece: Uint8Array[] = []
  let pieceBytes = 0
  let inFlight: Promise<void> = Promise.resolve()

  const settled = async (): Promise<void> => {
    await inFlight
    options.onWritten(written)
  }
  const flush = async (): Promise<void> => {
    await settled()
    const buffers = piece
    const bytes = pieceBytes
    piece = []
    pieceBytes = 0
    if (bytes === 0) return
    inFlight = writeAll(handle, buffers, bytes, at + written).then(async () => {
      written += bytes
      reservation.consume(bytes)
      await options.onPiece?.(buffers)
    })
    // A failure surfaces at the next flush; until then it must not count as unhandled.
    inFlight.catch(() => {})
  }

  let fault: unknown = null
  try {
    for await (const chunk of source) {
      signal.throwIfAborted()
      if (received + chunk.byteLength > maxBytes) {
        throw new EngineError('too_large', `More than the ${maxBytes} bytes arrive that are allowed here.`)
      }
      received += chunk.byteLength
      if (received > reservedBytes) {
        const more = Math.max(EXTEND_BYTES, received - reservedBytes)
        await reservation.extend(more)
        reservedBytes += more
      }
      options.onChunk?.(chunk)
      piece.push(chunk)
      pieceBytes += chunk.byteLength
      if (pieceBytes < PIECE_BYTES) continue
      await flush()
      if (checkpoint === undefined || received - saved < checkpoint.everyBytes) continue
      await settled()
      await checkpoint.save(written)
      saved = received
    }
  } catch (error) {
    fault = error
  }
  try {
    // Also after a break: what arrived need not be sent again.
    await flush()
    await settled()
  } catch (error) {
    fault = error
  }
  return { bytes: written, fault: fault === null ? null : (spaceError(fault) ?? fault) }
}

async function writeAll(handle: FileHandle, buffers: Uint8Array[], bytes: number, position: number): Promise<void> {
  const { bytesWritten } = await handle.writev(buffers, position)
  if (bytesWritten === bytes) return
  // A short write: the disk filled up or a signal came. Write the rest in one piece, which reports the real reason.
  const rest = Buffer.concat(buffers).subarray(bytesWritten)
  let done = 0
  while (done < rest.length) {
    done += (await handle.write(rest, done, rest.length - done, position + bytesWritten + done)).bytesWritten
  }
}

export function spaceError(error: unknown): EngineError | null {
  if (!(error instanceof Error) || !('code' in error)) return null
  if (error.code !== 'ENOSPC' && error.code !== 'EDQUOT' && error.code !== 'EFBIG') return null
  return new EngineError('no_space', 'The disk became full. Make room and try again.', { cause: error })
}
