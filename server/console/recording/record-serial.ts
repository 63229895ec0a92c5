/**
 * Records what comes over a serial console as asciicast 2. It begins at the moment it begins: what the guest said before is not
 * in it. Bytes that are no UTF-8 become U+FFFD, which is all the format has for them.
 */
import { castHeaderLine, castLine } from '#lib/recording/asciicast.ts'
import type { SerialHubHandle } from '#server/console/types.ts'
import { createAppendFile, isDiskFull } from './append-file.ts'
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

/** Output is gathered for so long: QEMU hands it over a byte at a time. */
const GATHER_MS = 50
/** What may wait for the disk; the hub never waits for anybody. */
const WAITING_MAX_BYTES = 4 << 20
const END_BYTES = 1024

export interface SerialRecordingOptions {
  readonly hub: SerialHubHandle
  /** Must not exist yet. */
  readonly path: string
  readonly title: string
  readonly limits: RecordingLimits
  readonly onGrown?: (bytes: number) => void
}

/** @throws Error when the file cannot be made */
export async function recordSerial({
  hub,
  path,
  title,
  limits,
  onGrown,
}: SerialRecordingOptions): Promise<RunningRecording> {
  const file = await createAppendFile(path)
  const startedMs = performance.now()
  const nowMs = () => Math.round(performance.now() - startedMs)
  const header = Buffer.from(
    // A serial line has no size; this is what programs on one assume.
    castHeaderLine({ version: 2, width: 80, height: 24, timestamp: Math.floor(Date.now() / 1000), title }),
  )
  const decoder = new TextDecoder()
  const ended = Promise.withResolvers<RecordingEnd>()
  let gathered: Uint8Array[] = []
  let waitingBytes = 0
  /** Of the file once all that waits is written. */
  let promisedBytes = header.length
  let lostBytes = 0
  let timer: NodeJS.Timeout | undefined
  let why: { readonly kind: EndKind; readonly reason: string } | null = null

  const write = (line: string): void => {
    const bytes = Buffer.from(line)
    waitingBytes += bytes.length
    promisedBytes += bytes.length
    file.append(bytes).then(
      () => {
        waitingBytes -= bytes.length
        onGrown?.(bytes.length)
      },
      (error: unknown) => {
        waitingBytes -= bytes.length
        endWith('failed', isDiskFull(error) ? DISK_FULL : 'The file could not be written.')
      },
    )
  }
  const flush = (isLast: boolean): void => {
    clearTimeout(timer)
    timer = undefined
    if (lostBytes > 0 && waitingBytes < WAITING_MAX_BYTES / 2) {
      write(castLine(nowMs(), 'm', `${lostBytes} bytes were not recorded`))
      lostBytes = 0
    }
    const text =
      gathered.map((bytes) => decoder.decode(bytes, { stream: true })).join('') + (isLast ? decoder.decode() : '')
    gathered = []
    if (text === '') return
    const line = castLine(nowMs(), 'o', text)
    if (promisedBytes + Buffer.byteLength(line) + END_BYTES <= limits.maxBytes) write(line)
    else endWith('limit', TOO_LARGE)
  }
  const endWith = (kind: EndKind, reason: string): void => {
    if (why !== null) return
    why = { kind, reason }
    unsubscribe()
    offClose()
    clearTimeout(tooLong)
    if (kind !== 'limit' || reason !== TOO_LARGE) flush(true)
    clearTimeout(timer)
    const durationMs = nowMs()
    void file
      .append(Buffer.from(castLine(durationMs, 'm', reason)))
      .catch(() => {})
      .then(() => file.close())
      .then(() => ended.resolve({ kind, reason, durationMs, sizeBytes: file.sizeBytes }))
  }

  const tooLong = setTimeout(() => endWith('limit', TOO_LONG), limits.maxMs)
  const unsubscribe = hub.subscribe((chunk) => {
    if (why !== null) return
    if (waitingBytes > WAITING_MAX_BYTES) {
      lostBytes += chunk.length
      return
    }
    gathered.push(chunk)
    timer ??= setTimeout(() => flush(false), GATHER_MS)
  })
  const offClose = hub.onClose(() => queueMicrotask(() => endWith('gone', SOURCE_GONE)))
  try {
    await file.append(header)
    onGrown?.(header.length)
  } catch (error) {
    endWith('failed', 'The file could not be written.')
    throw error
  }

  return {
    ended: ended.promise,
    get durationMs() {
      return nowMs()
    },
    get sizeBytes() {
      return file.sizeBytes
    },
    stop(reason, kind = 'asked') {
      endWith(kind, reason)
      return ended.promise
    },
  }
}
