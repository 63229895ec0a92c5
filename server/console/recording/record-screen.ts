/**
 * Records a screen: pictures as they change, at most five a second and fewer when they are large, with a whole one every
 * ten seconds in which something changed. Nothing is asked for while a picture is compressed and written, so neither
 * guest nor disk can make memory grow; QEMU joins what changed meanwhile.
 */
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { crc32, deflate } from 'node:zlib'
import {
  FRAME,
  FRAME_HEADER_BYTES,
  type FrameType,
  frameHeaderBytes,
  type ScreenHeader,
  screenHeaderBytes,
} from '#lib/recording/screen-file.ts'
import { type AppendFile, createAppendFile, isDiskFull } from './append-file.ts'
import { connectScreen, type Picture, type ScreenClient, ScreenProtocolError } from './screen-client.ts'
import {
  DISK_FULL,
  type EndKind,
  type RecordingEnd,
  type RecordingLimits,
  type RunningRecording,
  SOURCE_GONE,
  TOO_LARGE,
  TOO_LONG,
} from './types.ts'

export interface ScreenTimes {
  readonly everyMs: number
  readonly keyEveryMs: number
  /** On the average; larger pictures make longer pauses. */
  readonly bytesPerSecond: number
  readonly connectMs: number
}
const TIMES: ScreenTimes = { everyMs: 200, keyEveryMs: 10_000, bytesPerSecond: 1 << 20, connectMs: 20_000 }
/** Room kept for the last frame, which says why it ended. */
const END_BYTES = 1024

const compress = promisify(deflate)

export interface ScreenRecordingOptions {
  readonly socketPath: string
  /** Must not exist yet. */
  readonly path: string
  readonly about: Omit<ScreenHeader, 'version' | 'width' | 'height'>
  readonly limits: RecordingLimits
  readonly times?: Partial<ScreenTimes>
  readonly onGrown?: (bytes: number) => void
}

/** Resolves once the first picture is on disk. @throws Error when the screen or the file cannot be opened; no file is left */
export async function recordScreen(options: ScreenRecordingOptions): Promise<RunningRecording> {
  const times = { ...TIMES, ...options.times }
  const client = await connectScreen(options.socketPath, AbortSignal.timeout(times.connectMs))
  let file: AppendFile | null = null
  try {
    file = await createAppendFile(options.path)
    const { width, height } = client
    const header = screenHeaderBytes({ version: 1, ...options.about, width, height })
    await file.append(header)
    options.onGrown?.(header.length)
    const recording = follow(client, file, options, times)
    await recording.begun
    return recording
  } catch (error) {
    client.close()
    await file?.close()
    if (file !== null) await rm(options.path, { force: true })
    throw error
  }
}

function follow(
  client: ScreenClient,
  file: AppendFile,
  { limits, onGrown }: ScreenRecordingOptions,
  times: ScreenTimes,
): RunningRecording & { readonly begun: Promise<void> } {
  const startedMs = performance.now()
  const stopping = new AbortController()
  const begun = Promise.withResolvers<void>()
  let why: { readonly kind: EndKind; readonly reason: string } | null = null
  let lastMs = 0
  const nowMs = () => Math.round(performance.now() - startedMs)

  const endWith = (kind: EndKind, reason: string): void => {
    if (why !== null) return
    why = { kind, reason }
    stopping.abort()
    client.close()
  }
  let tooLong: NodeJS.Timeout | undefined

  const frame = async (type: FrameType, atMs: number, payload: Uint8Array): Promise<number> => {
    const head = frameHeaderBytes({ atMs, type, length: payload.length, crc: crc32(payload) })
    await file.append(head, payload)
    lastMs = atMs
    onGrown?.(head.length + payload.length)
    return head.length + payload.length
  }

  /** @returns bytes written; null: it would have been too large */
  const keep = async ({ width, height, isKey, pieces }: Picture, atMs: number): Promise<number | null> => {
    const packed = await compress(Buffer.concat(pieces), { level: 1 })
    const size = Buffer.alloc(4)
    size.writeUInt16BE(width, 0)
    size.writeUInt16BE(height, 2)
    const payload = Buffer.concat([size, packed])
    if (file.sizeBytes + FRAME_HEADER_BYTES + payload.length + END_BYTES > limits.maxBytes) return null
    return await frame(isKey ? FRAME.key : FRAME.update, atMs, payload)
  }

  const run = async (): Promise<void> => {
    let wholeNext = true
    let keyMs = 0
    let hasKey = false
    while (why === null) {
      const askedMs = performance.now()
      const picture = await client.next(wholeNext)
      const atMs = nowMs()
      const written = await keep(picture, atMs)
      if (written === null) {
        endWith('limit', TOO_LARGE)
        return
      }
      if (picture.isKey) {
        keyMs = atMs
        hasKey = true
        tooLong ??= setTimeout(() => endWith('limit', TOO_LONG), limits.maxMs)
        begun.resolve()
      }
      // A new size is no picture; and a whole one is due only when something has changed since the last.
      wholeNext = !picture.isKey && (!hasKey || picture.resized || atMs - keyMs >= times.keyEveryMs)
      if (!hasKey) continue
      const pauseMs = Math.max(times.everyMs, (written / times.bytesPerSecond) * 1000) - (performance.now() - askedMs)
      if (pauseMs > 0) await sleep(pauseMs, undefined, { signal: stopping.signal })
    }
  }

  const finish = async (): Promise<RecordingEnd> => {
    try {
      await run()
    } catch (error) {
      if (isDiskFull(error)) endWith('failed', DISK_FULL)
      else if (error instanceof ScreenProtocolError)
        endWith('failed', `The screen could not be read: ${error.message}.`)
      else if (isFileError(error)) endWith('failed', 'The file could not be written.')
      else endWith('gone', SOURCE_GONE)
    }
    clearTimeout(tooLong)
    client.close()
    const { kind, reason } = why ?? { kind: 'gone', reason: SOURCE_GONE }
    begun.reject(new Error(reason))
    const durationMs = Math.max(lastMs, nowMs())
    // Without it, it counts as cut off; where the disk is full that cannot be helped.
    await frame(FRAME.end, durationMs, Buffer.from(JSON.stringify({ kind, reason }))).catch(() => {})
    await file.close()
    return { kind, reason, durationMs, sizeBytes: file.sizeBytes }
  }
  begun.promise.catch(() => {})
  const ended = finish()

  return {
    begun: begun.promise,
    ended,
    get durationMs() {
      return nowMs()
    },
    get sizeBytes() {
      return file.sizeBytes
    },
    stop(reason, kind = 'asked') {
      endWith(kind, reason)
      return ended
    },
  }
}

function isFileError(error: unknown): boolean {
  return (
    error instanceof Error && 'syscall' in error && /^(write|ftruncate|fdatasync|fsync)$/.test(String(error.syscall))
  )
}
