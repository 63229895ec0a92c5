/** Writes a stream into a new file and leaves holes where it is zero, so that an empty disk takes no room. */
import type { FileHandle } from 'node:fs/promises'
import type { SpaceReservation } from '#server/storage/space.ts'

const BLOCK_BYTES = 64 * 1024
const ZEROS = Buffer.alloc(BLOCK_BYTES)
/** Room is asked for in steps of this size. */
const EXTEND_BYTES = 64 * 2 ** 20

export class SparseWriter {
  readonly #handle: FileHandle
  readonly #reservation: SpaceReservation
  #reservedBytes = 0
  #pending: Buffer = Buffer.alloc(0)
  #at = 0
  #contentBytes = 0

  /** @param handle an empty file */
  constructor(handle: FileHandle, reservation: SpaceReservation) {
    this.#handle = handle
    this.#reservation = reservation
  }

  /** So long the file will be. */
  get lengthBytes(): number {
    return this.#at + this.#pending.length
  }

  /** Bytes that are not in holes. */
  get contentBytes(): number {
    return this.#contentBytes
  }

  /** @throws EngineError no_space; the file system's error */
  async write(chunk: Buffer): Promise<void> {
    const all = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    const whole = all.length - (all.length % BLOCK_BYTES)
    // Neighbouring blocks with content go out in one write.
    let start = -1
    for (let offset = 0; offset <= whole; offset += BLOCK_BYTES) {
      const empty = offset === whole || all.subarray(offset, offset + BLOCK_BYTES).equals(ZEROS)
      if (!empty && start < 0) start = offset
      if (!empty || start < 0) continue
      await this.#put(all.subarray(start, offset), this.#at + start)
      start = -1
    }
    this.#at += whole
    this.#pending = Buffer.from(all.subarray(whole))
  }

  /** Writes the rest and gives the file its length. */
  async end(): Promise<void> {
    const rest = this.#pending
    this.#pending = Buffer.alloc(0)
    if (rest.some((byte) => byte !== 0)) await this.#put(rest, this.#at)
    this.#at += rest.length
    await this.#handle.truncate(this.#at)
  }

  async #put(bytes: Buffer, position: number): Promise<void> {
    if (this.#contentBytes + bytes.length > this.#reservedBytes) {
      const more = Math.max(EXTEND_BYTES, bytes.length)
      await this.#reservation.extend(more)
      this.#reservedBytes += more
    }
    let done = 0
    while (done < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
    this.#contentBytes += bytes.length
    this.#reservation.consume(bytes.length)
  }
}
