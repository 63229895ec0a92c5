/**
 * WebSocket ↔ QEMU's VNC socket for one viewer.
 *
 * Guest to viewer: every read lands behind room for a frame header and leaves as one frame in one write, with no copy.
 * Reading stops while too much waits for the viewer; QEMU then skips frames for this viewer alone.
 * Viewer to guest: through the RFB filter; the WebSocket is paused while QEMU does not take input.
 */
import type { RawData } from 'ws'
import { CLOSE } from '#lib/console/close-codes.ts'
import { connectUnixReader } from '#server/platform/unix-reader.ts'
import { type BufferPool, createSizer, type PooledBuffer } from './buffer-pool.ts'
import { FRAME_HEADER_MAX, writeFrameHeader } from './frame.ts'
import { createRfbFilter, RfbViolation } from './rfb-filter.ts'
import type { ConsoleMode, ControlGate } from './types.ts'
import type { Viewer } from './viewer.ts'

export interface VncProxyOptions {
  readonly socketPath: string
  readonly mode: ConsoleMode
  readonly gate: ControlGate
  readonly pool: BufferPool
}

/** Runs until either side ends; the other is then closed too. Never throws. */
export function proxyVnc(viewer: Viewer, { socketPath, mode, gate, pool }: VncProxyOptions): void {
  const filter = createRfbFilter(mode)
  const sizer = createSizer()
  const { pauseBytes, resumeBytes } = viewer.limits
  let reading: PooledBuffer = pool.take(0)
  let lastRead = 0
  let connected = false

  const vnc = connectUnixReader(socketPath, {
    buffer: () => {
      // Asked once before the first read and again after each; the one just read into now belongs to its frame.
      if (lastRead > 0) reading = pool.take(sizer.next(lastRead))
      lastRead = 0
      return reading.payload
    },
    read: (length) => {
      // Closing: what still comes is for nobody, and the buffer stays ours.
      if (!viewer.isOpen) return false
      lastRead = length
      const filled = reading
      const start = writeFrameHeader(filled.bytes, length)
      viewer.writeFrame(filled.bytes.subarray(start, FRAME_HEADER_MAX + length), length, () => {
        pool.give(filled)
        if (viewer.waitingBytes < resumeBytes && !vnc.destroyed) vnc.resume()
      })
      return viewer.waitingBytes < pauseBytes
    },
  })

  vnc.on('connect', () => {
    connected = true
  })
  vnc.on('error', () => {
    // `close` follows and says it to the viewer.
  })
  vnc.on('drain', () => viewer.resumeInput())
  vnc.on('close', () => {
    pool.give(reading)
    if (connected) viewer.close(CLOSE.ended, 'the guest ended the console')
    else viewer.close(CLOSE.off, 'the guest has no screen now')
  })

  viewer.ws.on('message', (frame: RawData, isBinary: boolean) => {
    if (!isBinary) {
      viewer.takeText(frame)
      return
    }
    if (viewer.closeCode !== null || !Buffer.isBuffer(frame)) return
    viewer.bytesFromViewer += frame.length
    try {
      const pieces = filter.push(frame)
      if (pieces.length > 1) vnc.cork()
      let hasRoom = true
      for (const piece of pieces) hasRoom = vnc.write(piece)
      if (pieces.length > 1) vnc.uncork()
      if (!hasRoom) viewer.pauseInput()
      viewer.ready ||= filter.initialised
    } catch (error) {
      if (!(error instanceof RfbViolation)) throw error
      viewer.close(CLOSE.policy, error.message)
    }
  })
  if (!gate.isOpen) filter.setOpen(false)
  gate.onChange((isOpen) => {
    for (const release of filter.setOpen(isOpen)) vnc.write(release)
  })
  viewer.onClosing(() => vnc.destroy())
}
