/**
 * Recordings of a screen: the file format, version 1 (docs/adr/0019-recordings.md). Written once from front to back,
 * so that whatever ended the writing leaves a file that is good up to its last whole frame.
 *
 *   "GDSCREEN" · u32 length · header (JSON)
 *   then frames: u32 ms since the start · u8 type · u32 length · u32 CRC-32 of the payload · payload
 *
 * The payload of a picture is the size of the screen after it (u16, u16) and one or more whole RFB FramebufferUpdate
 * messages (RFC 6143 §7.6.1) of raw and DesktopSize rectangles in `PIXEL_FORMAT`, compressed on their own (zlib). A key frame
 * is the whole screen, so replay can begin at any of them. Numbers are big-endian.
 */
import * as z from 'zod'
import { Instant } from '../schema/ids.ts'

export const SCREEN_MAGIC = 'GDSCREEN'
export const FRAME_HEADER_BYTES = 13
export const HEADER_MAX_BYTES = 64 << 10
export const PAYLOAD_MAX_BYTES = 128 << 20
/** What one picture may unpack to: a screen of 8192 × 4096 and room for its rectangles' headers. */
export const UNPACKED_MAX_BYTES = (128 << 20) + (1 << 20)

export const FRAME = { update: 1, key: 2, end: 3 } as const
export type FrameType = (typeof FRAME)[keyof typeof FRAME]

/** RFC 6143 §7.4: 32 bits, depth 24, little-endian, true colour, red in the lowest byte. What noVNC asks servers for. */
export const PIXEL_FORMAT: readonly number[] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0]

export const ScreenHeader = z.object({
  version: z.literal(1),
  vm: z.object({ id: z.string(), name: z.string() }),
  by: z.string(),
  startedAt: Instant,
  width: z.int().min(1).max(65_535),
  height: z.int().min(1).max(65_535),
})
export type ScreenHeader = z.output<typeof ScreenHeader>

export interface ScreenFrame {
  readonly atMs: number
  readonly type: FrameType
  readonly crc: number
  /** Where in the file the payload begins. */
  readonly payloadAt: number
  readonly payload: Uint8Array<ArrayBuffer>
}

/** The bytes are not a recording, or not one of this version. */
export class NotARecording extends Error {
  override readonly name = 'NotARecording'
}

export interface ScreenReader {
  /** Takes the next bytes of the file, however they are cut, and gives the frames that are whole now. @throws NotARecording */
  push(chunk: Uint8Array): ScreenFrame[]
  readonly header: ScreenHeader | null
  /** Bytes of the file up to the end of the last whole frame. */
  readonly wholeBytes: number
}

/** Reads front to back with memory for one frame. Payloads are copies. */
export function createScreenReader(): ScreenReader {
  let held: Uint8Array<ArrayBuffer> = new Uint8Array(0)
  /** Pieces behind `held`, joined only when a frame can be whole. */
  let waiting: Uint8Array[] = []
  let waitingBytes = 0
  let needed = SCREEN_MAGIC.length + 4
  let header: ScreenHeader | null = null
  let wholeBytes = 0

  const join = (): void => {
    const all = new Uint8Array(held.length + waitingBytes)
    all.set(held)
    let at = held.length
    for (const piece of waiting) {
      all.set(piece, at)
      at += piece.length
    }
    held = all
    waiting = []
    waitingBytes = 0
  }
  const take = (count: number): void => {
    held = held.subarray(count)
    wholeBytes += count
  }
  const readHeader = (): boolean => {
    const view = viewOf(held)
    if (new TextDecoder().decode(held.subarray(0, SCREEN_MAGIC.length)) !== SCREEN_MAGIC) {
      throw new NotARecording('The file does not begin like a recording of a screen.')
    }
    const length = view.getUint32(SCREEN_MAGIC.length)
    if (length > HEADER_MAX_BYTES) throw new NotARecording('The header of the recording is too long.')
    needed = SCREEN_MAGIC.length + 4 + length
    if (held.length < needed) return false
    header = headerOf(new TextDecoder().decode(held.subarray(SCREEN_MAGIC.length + 4, needed)))
    take(needed)
    needed = FRAME_HEADER_BYTES
    return true
  }

  return {
    get header() {
      return header
    },
    get wholeBytes() {
      return wholeBytes
    },
    push(chunk) {
      waiting.push(chunk)
      waitingBytes += chunk.length
      const frames: ScreenFrame[] = []
      while (held.length + waitingBytes >= needed) {
        if (waiting.length > 0) join()
        if (header === null) {
          if (!readHeader()) break
          continue
        }
        const view = viewOf(held)
        const length = view.getUint32(5)
        const type = view.getUint8(4)
        if (length > PAYLOAD_MAX_BYTES || (type !== FRAME.update && type !== FRAME.key && type !== FRAME.end)) {
          if (frames.length === 0) throw new NotARecording('A frame of the recording is not understood.')
          // Those before it are good; whoever goes on is told.
          break
        }
        needed = FRAME_HEADER_BYTES + length
        if (held.length < needed) continue
        frames.push({
          atMs: view.getUint32(0),
          type,
          crc: view.getUint32(9),
          payloadAt: wholeBytes + FRAME_HEADER_BYTES,
          payload: held.slice(FRAME_HEADER_BYTES, needed),
        })
        take(needed)
        needed = FRAME_HEADER_BYTES
      }
      return frames
    },
  }
}

export function screenHeaderBytes(header: ScreenHeader): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(header))
  const bytes = new Uint8Array(SCREEN_MAGIC.length + 4 + json.length)
  bytes.set(new TextEncoder().encode(SCREEN_MAGIC))
  viewOf(bytes).setUint32(SCREEN_MAGIC.length, json.length)
  bytes.set(json, SCREEN_MAGIC.length + 4)
  return bytes
}

export function frameHeaderBytes(frame: {
  readonly atMs: number
  readonly type: FrameType
  readonly length: number
  readonly crc: number
}): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES)
  const view = viewOf(bytes)
  view.setUint32(0, frame.atMs)
  view.setUint8(4, frame.type)
  view.setUint32(5, frame.length)
  view.setUint32(9, frame.crc)
  return bytes
}

/** Size of the screen after a picture, from the start of its payload. */
export function sizeOfPicture(payload: Uint8Array): { readonly width: number; readonly height: number } {
  const view = viewOf(payload)
  return { width: view.getUint16(0), height: view.getUint16(2) }
}
/** Of a picture's payload: what is compressed. */
export const PICTURE_SIZE_BYTES = 4

/** What a server says before the first picture, for a viewer that asks for security type None. */
export function handshakeBytes({ width, height, vm }: ScreenHeader): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(vm.name)
  const start = [...new TextEncoder().encode('RFB 003.008\n'), 1, 1, 0, 0, 0, 0]
  const bytes = new Uint8Array(start.length + 24 + name.length)
  bytes.set(start)
  const view = new DataView(bytes.buffer, start.length)
  view.setUint16(0, width)
  view.setUint16(2, height)
  bytes.set(PIXEL_FORMAT, start.length + 4)
  view.setUint32(20, name.length)
  bytes.set(name, start.length + 24)
  return bytes
}

/** A FramebufferUpdate with one DesktopSize rectangle: what a seek begins with. */
export function resizeBytes(width: number, height: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16)
  const view = viewOf(bytes)
  view.setUint16(2, 1)
  view.setUint16(8, width)
  view.setUint16(10, height)
  view.setInt32(12, -223)
  return bytes
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function headerOf(text: string): ScreenHeader {
  let json: unknown = null
  try {
    json = JSON.parse(text)
  } catch {
    // Told below.
  }
  const parsed = ScreenHeader.safeParse(json)
  if (!parsed.success) throw new NotARecording('The header of the recording is not understood.')
  return parsed.data
}
