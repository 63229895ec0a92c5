/** Bounded random access to a file that somebody else wrote. */
import type { FileHandle } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'

/** Why an image is turned away, for programs; the sentence is for people. */
type Refusal = 'image_refused' | 'image_has_backing' | 'unsupported_format'

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

/**
 * @param code `image_has_backing`: it needs another file. `unsupported_format`: a kind we never take.
 * @throws EngineError always
 */
export function refuseImage(message: string, code: Refusal = 'image_refused'): never {
  throw new EngineError(code, message)
}

/** True for `length` bytes at `offset` that lie in the file. Safe for any 64-bit number a header may hold. */
export function liesInside(reader: BoundedReader, offset: bigint, length: number): boolean {
  return offset >= 0n && length >= 0 && offset + BigInt(length) <= BigInt(reader.sizeBytes)
}

const TiB = 2 ** 40
/** QEMU itself stops at 2^63; a library image beyond this is a mistake or an attack. */
export const MAX_VIRTUAL_BYTES = 64 * TiB

/**
 * The size a header claims, as a number.
 * @param what begins the sentence, for example "This VDI image"
 * @throws EngineError image_refused
 */
export function checkVirtualSize(what: string, bytes: bigint): number {
  if (bytes === 0n) refuseImage(`${what} has a size of zero.`)
  if (bytes % 512n !== 0n) refuseImage(`${what} has a size that is not a multiple of 512 bytes.`)
  if (bytes > BigInt(MAX_VIRTUAL_BYTES)) refuseImage(`${what} claims to be larger than 64 TiB.`)
  return Number(bytes)
}
