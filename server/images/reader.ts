/** Bounded random access to a file that somebody else wrote. */
import type { FileHandle } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'

export interface BoundedReader {
  readonly sizeBytes: number
  /** Exactly `length` bytes, or fewer at the end of the file. Length is a constant of the caller, never from the file. */
  read(offset: number, length: number): Promise<Buffer>
}

export async function fileReader(handle: FileHandle): Promise<BoundedReader> {
  const { size } = await handle.stat()
  return {
    sizeBytes: size,
    async read(offset, length) {
      if (offset < 0 || offset >= size) return Buffer.alloc(0)
      const buffer = Buffer.alloc(Math.min(length, size - offset))
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset)
      return buffer.subarray(0, bytesRead)
    },
  }
}

/** For tests and for headers already in memory. */
export function bufferReader(buffer: Buffer, sizeBytes = buffer.length): BoundedReader {
  return { sizeBytes, read: async (offset, length) => buffer.subarray(offset, offset + length) }
}

/** @throws EngineError image_refused, always */
export function refuseImage(message: string): never {
  throw new EngineError('image_refused', message)
}
