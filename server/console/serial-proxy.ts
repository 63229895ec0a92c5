/**
 * WebSocket viewer of a serial hub: history first, then what the guest says, in binary frames; what a controlling
 * viewer types goes back. The hub never waits for a viewer, so one that does not keep up is skipped ahead: a terminal
 * reset, a notice and the latest output instead of everything in between.
 */
import type { RawData } from 'ws'
import { CLOSE } from '#lib/console/close-codes.ts'
import { FRAME_HEADER_MAX, writeFrameHeader } from './frame.ts'
import type { ControlGate, SerialHubHandle } from './types.ts'
import type { Viewer } from './viewer.ts'

/** Output that may wait for one viewer before it is skipped ahead. */
export const SERIAL_PENDING_MAX_BYTES = 1 << 20
/** What a viewer that was skipped ahead gets of the recent past. */
const CATCH_UP_BYTES = 64 << 10
/** QEMU hands over a byte at a time; frames are filled for so long once output flows. */
const GATHER_MS = 8
/** Sent without waiting any longer. Falling behind is then always seen while frames wait, whose end starts catching up. */
const GATHER_BYTES = 64 << 10
const INPUT_RETRY_MS = 20
/** RIS, full reset: whatever state the missing bytes would have left behind. */
const TERMINAL_RESET = '\x1bc'

export function droppedNotice(bytes: number): string {
  return `\r\n\x1b[0m\x1b[7m ${bytes} bytes of output are not kept \x1b[0m\r\n`
}

/** Runs until either side ends. Never throws. @param gate closed for who only may watch */
export function proxySerial(viewer: Viewer, hub: SerialHubHandle, gate: ControlGate): void {
  let gathered: Uint8Array[] = []
  let gatheredBytes = 0
  let flushTimer: NodeJS.Timeout | NodeJS.Immediate | undefined
  let lastFlushMs = 0
  /** Bytes not sent since the viewer fell behind; null while it keeps up. */
  let skippedBytes: number | null = null
  let inputTimer: NodeJS.Timeout | undefined

  const send = (...parts: readonly Uint8Array[]) => {
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    if (length === 0) return
    const bytes = Buffer.allocUnsafe(FRAME_HEADER_MAX + length)
    let at = FRAME_HEADER_MAX
    for (const part of parts) {
      bytes.set(part, at)
      at += part.length
    }
    viewer.writeFrame(bytes.subarray(writeFrameHeader(bytes, length)), length, onTaken)
  }

  const onTaken = () => {
    if (skippedBytes === null || viewer.waitingBytes > 0 || !viewer.isOpen) return
    const latest = withoutCutCharacter(latestOf(hub, CATCH_UP_BYTES))
    const notice = droppedNotice(Math.max(0, skippedBytes - latest.length))
    skippedBytes = null
    send(Buffer.from(TERMINAL_RESET + notice), latest)
  }

  const flush = () => {
    flushTimer = undefined
    lastFlushMs = performance.now()
    const parts = gathered
    gathered = []
    gatheredBytes = 0
    send(...parts)
  }

  const cancelFlush = () => {
    clearTimeout(flushTimer as NodeJS.Timeout | undefined)
    clearImmediate(flushTimer as NodeJS.Immediate | undefined)
    flushTimer = undefined
  }

  const onOutput = (chunk: Uint8Array) => {
    if (!viewer.isOpen) return
    if (skippedBytes !== null) {
      skippedBytes += chunk.length
      return
    }
    if (viewer.waitingBytes + gatheredBytes + chunk.length > SERIAL_PENDING_MAX_BYTES) {
      cancelFlush()
      skippedBytes = gatheredBytes + chunk.length
      gathered = []
      gatheredBytes = 0
      return
    }
    gathered.push(chunk)
    gatheredBytes += chunk.length
    if (gatheredBytes >= GATHER_BYTES) {
      cancelFlush()
      flush()
      return
    }
    if (flushTimer !== undefined) return
    // The first byte after a pause goes at once: an echo must not wait. A stream is gathered into fewer frames.
    const sinceMs = performance.now() - lastFlushMs
    flushTimer = sinceMs >= GATHER_MS ? setImmediate(flush) : setTimeout(flush, GATHER_MS - sinceMs)
  }

  const history = hub.history()
  send(
    history.head,
    history.droppedBytes > 0 ? Buffer.from(droppedNotice(history.droppedBytes)) : new Uint8Array(0),
    history.droppedBytes > 0 ? withoutCutCharacter(history.tail) : history.tail,
  )
  viewer.ready = true

  const unsubscribe = hub.subscribe(onOutput)
  const offClose = hub.onClose(() => {
    cancelFlush()
    flush()
    viewer.close(CLOSE.ended, 'the guest ended the console')
  })

  /** Bytes go in order: while some wait the WebSocket is paused, so nothing overtakes them. */
  const sendInput = (queue: Uint8Array[]) => {
    while (queue.length > 0) {
      const next = queue[0]
      if (next === undefined || !hub.write(next)) break
      queue.shift()
    }
    if (queue.length === 0) {
      viewer.resumeInput()
      return
    }
    viewer.pauseInput()
    inputTimer ??= setTimeout(() => {
      inputTimer = undefined
      if (viewer.isOpen) sendInput(queue)
    }, INPUT_RETRY_MS)
  }
  const inputQueue: Uint8Array[] = []

  viewer.ws.on('message', (frame: RawData, isBinary: boolean) => {
    if (!isBinary) {
      viewer.takeText(frame)
      return
    }
    if (viewer.closeCode !== null || !Buffer.isBuffer(frame)) return
    viewer.bytesFromViewer += frame.length
    if (!gate.isOpen || frame.length === 0) return
    inputQueue.push(frame)
    sendInput(inputQueue)
  })

  viewer.onClosing(() => {
    unsubscribe()
    offClose()
    cancelFlush()
    clearTimeout(inputTimer)
  })
}

function latestOf(hub: SerialHubHandle, maxBytes: number): Uint8Array {
  const { head, tail, droppedBytes } = hub.history()
  if (tail.length >= maxBytes || droppedBytes > 0) return tail.subarray(Math.max(0, tail.length - maxBytes))
  return Buffer.concat([head, tail]).subarray(-maxBytes)
}

/** Leaves out the rest of a UTF-8 character whose beginning is not there. */
function withoutCutCharacter(bytes: Uint8Array): Uint8Array {
  let at = 0
  while (at < 3 && at < bytes.length && ((bytes[at] ?? 0) & 0xc0) === 0x80) at++
  return bytes.subarray(at)
}
