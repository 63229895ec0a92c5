/**
 * What goes between the dashboard and `files.pl`: a frame is its length (32 bits, big-endian) and fields, each with its
 * length before it. Pure. The other side read somebody else's disk: nothing it says of lengths and numbers is believed.
 */

/** Of one answer: a directory of 20,000 long names, or a piece of a file. */
export const MAX_FRAME_BYTES = 12 * 2 ** 20

export class BadFrame extends Error {}

export function encodeFrame(fields: readonly (string | Buffer)[]): Buffer {
  const pieces = fields.flatMap((field) => {
    const bytes = Buffer.from(field)
    return [lengthOf(bytes.length), bytes]
  })
  const body = Buffer.concat(pieces)
  return Buffer.concat([lengthOf(body.length), body])
}

const lengthOf = (length: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(length)
  return bytes
}

/** @throws BadFrame when its fields are not exactly the frame */
export function decodeFields(body: Buffer): Buffer[] {
  const fields: Buffer[] = []
  for (let at = 0; at < body.length; ) {
    if (at + 4 > body.length) throw new BadFrame('a length is cut off')
    const length = body.readUInt32BE(at)
    if (at + 4 + length > body.length) throw new BadFrame('a field is longer than its frame')
    fields.push(body.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return fields
}

/** Takes what arrives in pieces of any size, and hands out whole frames. */
export class FrameReader {
  #pieces: Buffer[] = []
  #have = 0

  /** @throws BadFrame */
  add(piece: Buffer): Buffer[][] {
    this.#pieces.push(piece)
    this.#have += piece.length
    const frames: Buffer[][] = []
    for (;;) {
      if (this.#have < 4) return frames
      if ((this.#pieces[0]?.length ?? 0) < 4) this.#join()
      const length = this.#pieces[0]?.readUInt32BE(0) ?? 0
      if (length > MAX_FRAME_BYTES) throw new BadFrame('a frame is too long')
      if (this.#have < 4 + length) return frames
      const all = this.#join()
      frames.push(decodeFields(all.subarray(4, 4 + length)))
      const rest = all.subarray(4 + length)
      this.#pieces = rest.length > 0 ? [rest] : []
      this.#have = rest.length
    }
  }

  #join(): Buffer {
    const all = Buffer.concat(this.#pieces)
    this.#pieces = [all]
    return all
  }
}

export interface Facts {
  /** As `lstat` has it. */
  readonly mode: number
  readonly sizeBytes: number
  readonly modifiedMs: number
}

/** Fields of `Facts` in an answer. */
export const FACTS = 5

/** @returns null: nothing is known of it @throws BadFrame */
export function decodeFacts(fields: readonly Buffer[]): Facts | null {
  if (fields.length !== FACTS) throw new BadFrame('facts are missing')
  const [inode, mode, sizeBytes, seconds, nanoseconds] = fields.map(numberOf)
  // So libguestfs says that it could not be asked for.
  if (inode === -1) return null
  return {
    mode: mode ?? 0,
    sizeBytes: Math.max(0, sizeBytes ?? 0),
    modifiedMs: (seconds ?? 0) * 1000 + Math.floor((nanoseconds ?? 0) / 1e6),
  }
}

/** @throws BadFrame when it is none, or one that JavaScript cannot hold */
export function numberOf(field: Buffer): number {
  const text = field.toString('latin1', 0, 32)
  const value = /^-?\d{1,20}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new BadFrame('a number cannot be believed')
  return value
}
