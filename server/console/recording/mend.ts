/** After a crash: what a recording still has, with its file cut to the last whole piece. */
import { createReadStream } from 'node:fs'
import { truncate } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { parseCast } from '#lib/recording/asciicast.ts'
import { createScreenReader, FRAME, FRAME_HEADER_BYTES, NotARecording } from '#lib/recording/screen-file.ts'

export interface Mended {
  readonly sizeBytes: number
  readonly durationMs: number
  /** Its last frame says that it ended in order. */
  readonly isWhole: boolean
}

/** Null: nothing of it can be replayed. @param kind decides the format @throws Error when the file cannot be read */
export async function mendRecording(path: string, kind: 'vnc' | 'serial'): Promise<Mended | null> {
  const mended = kind === 'vnc' ? await mendScreen(path) : await mendSerial(path)
  if (mended !== null) await truncate(path, mended.sizeBytes)
  return mended
}

async function mendScreen(path: string): Promise<Mended | null> {
  const reader = createScreenReader()
  let sizeBytes = 0
  let durationMs = 0
  let isWhole = false
  let hasPicture = false
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      const before = reader.wholeBytes
      let at = before
      // Node types a stream's chunks as any; without an encoding they are buffers.
      const frames = reader.push(chunk as Buffer)
      if (before === 0 && reader.header !== null) {
        at = reader.wholeBytes - frames.reduce((sum, { payload }) => sum + FRAME_HEADER_BYTES + payload.length, 0)
        sizeBytes = at
      }
      for (const { atMs, type, crc, payload } of frames) {
        // After a power cut a file may have its length and not its bytes.
        if (crc32(payload) !== crc) throw new NotARecording('damaged')
        at += FRAME_HEADER_BYTES + payload.length
        sizeBytes = at
        durationMs = Math.max(durationMs, atMs)
        isWhole = type === FRAME.end
        hasPicture ||= type === FRAME.key
      }
    }
  } catch (error) {
    if (!(error instanceof NotARecording)) throw error
  }
  return hasPicture ? { sizeBytes, durationMs, isWhole } : null
}

async function mendSerial(path: string): Promise<Mended | null> {
  let sizeBytes = 0
  let durationMs = 0
  let held = ''
  let header: string | null = null
  for await (const chunk of createReadStream(path, { encoding: 'utf8', highWaterMark: 1 << 20 })) {
    held += chunk as string // With an encoding a stream's chunks are strings.
    const end = held.lastIndexOf('\n') + 1
    if (end === 0) continue
    let text = held.slice(0, end)
    held = held.slice(end)
    if (header === null) {
      header = text.slice(0, text.indexOf('\n') + 1)
      if (parseCast(header) === null) return null
      text = text.slice(header.length)
      sizeBytes += Buffer.byteLength(header)
    }
    const lines = parseCast(header + text)
    durationMs = Math.max(durationMs, lines?.durationMs ?? 0)
    sizeBytes += Buffer.byteLength(text)
  }
  return header === null ? null : { sizeBytes, durationMs, isWhole: false }
}
