/** The content of a file on a disk, as a stream. */
import { Readable } from 'node:stream'
import type { FsNode } from '#server/filesystems/types.ts'
import { EngineError } from './errors.ts'

const PIECE_BYTES = 512 * 1024

export interface StreamOptions {
  /** Before each piece. */
  readonly begin: () => void
  /** After each piece. @throws when its bytes are not the file's */
  readonly check: () => void
  readonly stallMs: number
  readonly release: () => void
}

/** Reads as the other side takes; nothing is read ahead of that. */
export function streamOf(node: FsNode, { begin, check, stallMs, release }: StreamOptions): Readable {
  let at = 0
  let stall: NodeJS.Timeout | null = null
  const next = async (): Promise<Buffer | null> => {
    if (at >= node.sizeBytes) return null
    begin()
    let piece: Buffer
    try {
      piece = await node.read(at, Math.min(PIECE_BYTES, node.sizeBytes - at))
    } finally {
      // Of a disk that was taken away because its guest starts, this is why the reading failed.
      check()
    }
    if (piece.length === 0) throw new EngineError('unreadable', 'The file ends before its size.')
    at += piece.length
    return piece
  }
  return new Readable({
    highWaterMark: PIECE_BYTES,
    read() {
      if (stall !== null) clearTimeout(stall)
      stall = null
      next().then(
        (piece) => {
          if (piece !== null) {
            stall = setTimeout(() => this.destroy(new Error('nobody takes what was asked for')), stallMs)
            stall.unref()
          }
          this.push(piece)
        },
        (error: unknown) => void this.destroy(error instanceof Error ? error : new Error(String(error))),
      )
    },
    destroy(error, done) {
      if (stall !== null) clearTimeout(stall)
      release()
      done(error)
    },
  })
}
