/**
 * One viewer's WebSocket, whatever flows over it: frames written straight to the TCP socket, how many bytes wait, and
 * whether the other end is still there and still reads.
 *
 * `ws` does the handshake, parses what the client sends and sends control frames; data frames bypass it, because its
 * sender needs two writes per frame. Both only ever write whole frames, so they cannot mix.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { CLOSE } from '#lib/console/close-codes.ts'
import { FIN_TEXT, FRAME_HEADER_MAX, writeFrameHeader } from './frame.ts'

export interface ViewerLimits {
  /** Stop reading from the guest's side when this many bytes wait for the viewer. */
  readonly pauseBytes: number
  /** Read on when fewer than this wait. */
  readonly resumeBytes: number
  /** Bytes wait and none was taken for so long: the viewer is dropped. */
  readonly stallMs: number
  readonly pingEveryMs: number
  readonly pongWithinMs: number
  /** QEMU takes no input for so long: the viewer is dropped, since its own pongs cannot be read meanwhile. */
  readonly inputStallMs: number
  /** The VNC handshake must be over by then. */
  readonly handshakeMs: number
}

export const VIEWER_LIMITS: ViewerLimits = {
  pauseBytes: 512 << 10,
  resumeBytes: 256 << 10,
  stallMs: 30_000,
  pingEveryMs: 20_000,
  pongWithinMs: 25_000,
  inputStallMs: 60_000,
  handshakeMs: 20_000,
}

/** How long a closing handshake may take before the socket is destroyed. */
const LINGER_MS = 1_000

export class Viewer {
  readonly ws: WebSocket
  readonly limits: ViewerLimits
  /** Payload and headers handed to the socket and not yet taken by the kernel. */
  waitingBytes = 0
  bytesToViewer = 0
  bytesFromViewer = 0
  /** The code this side closed with, or the one received; null while open. */
  closeCode: number | null = null
  closeReason = ''
  private readonly socket: Duplex
  private readonly closingListeners: (() => void)[] = []
  private readonly endListeners: (() => void)[] = []
  private readonly startedMs: number
  private framesTaken = 0
  private lastMark = ''
  private lastProgressMs: number
  private lastPingMs: number
  private pongDueSinceMs: number | null = null
  private inputPausedSinceMs: number | null = null
  /** Set by the protocol on top once its handshake is over. */
  ready = false
  /** Takes text messages; null: text ends the viewer. */
  onText: ((text: Buffer) => void) | null = null
  /** News not sent yet, because what went before is still waiting. Only the latest counts. */
  private news: string | null = null

  constructor(ws: WebSocket, socket: Duplex, limits: ViewerLimits) {
    this.ws = ws
    this.socket = socket
    this.limits = limits
    const now = performance.now()
    this.startedMs = now
    this.lastProgressMs = now
    this.lastPingMs = now
    ws.on('pong', () => {
      this.pongDueSinceMs = null
    })
    ws.on('error', () => {
      // ws closes by itself with the right code (1002, 1007, 1009); `close` follows.
    })
    ws.on('close', (code, reason) => {
      if (this.closeCode === null) {
        this.closeCode = code
        this.closeReason = reason.toString('utf8')
      }
      for (const listener of this.closingListeners.splice(0)) listener()
      for (const listener of this.endListeners.splice(0)) listener()
    })
  }

  get isOpen(): boolean {
    return this.ws.readyState === this.ws.OPEN
  }

  /** Called once, when nothing more will be exchanged; the other side's resources can go. */
  onClosing(listener: () => void): void {
    this.closingListeners.push(listener)
  }

  /** Called once, when the WebSocket is closed and its socket gone. */
  onEnd(listener: () => void): void {
    this.endListeners.push(listener)
  }

  /**
   * Sends one whole frame that is already built.
   * @param taken called when the kernel has all of it and `frame` may be reused; never called when it did not get there
   */
  writeFrame(frame: Buffer, payloadLength: number, taken: () => void): void {
    if (!this.isOpen) return
    const length = frame.length
    this.waitingBytes += length
    this.bytesToViewer += payloadLength
    this.socket.write(frame, (error) => {
      this.waitingBytes -= length
      this.framesTaken++
      if (error === null || error === undefined) taken()
    })
  }

  /** Sends a text message now, or the latest one once the viewer has taken what waits. */
  sendNews(text: string): void {
    this.news = text
    this.flushNews()
  }

  /** Sends a text message that only matters now; not at all to a viewer that is behind. */
  sendText(text: string): void {
    if (!this.isOpen || this.waitingBytes >= this.limits.resumeBytes) return
    const payload = Buffer.from(text)
    const frame = Buffer.allocUnsafe(FRAME_HEADER_MAX + payload.length)
    payload.copy(frame, FRAME_HEADER_MAX)
    // No bytes of the console: what counts those must not see it.
    this.writeFrame(frame.subarray(writeFrameHeader(frame, payload.length, FIN_TEXT)), 0, () => this.flushNews())
  }

  private flushNews(): void {
    if (this.news === null || !this.isOpen || this.waitingBytes >= this.limits.resumeBytes) return
    const { news } = this
    this.news = null
    this.sendText(news)
  }

  /** A text message came. */
  takeText(text: unknown): void {
    if (this.closeCode !== null) return
    if (this.onText === null || !Buffer.isBuffer(text)) this.close(CLOSE.unsupported, 'bytes expected, text received')
    else this.onText(text)
  }

  pauseInput(): void {
    if (this.inputPausedSinceMs !== null) return
    this.inputPausedSinceMs = performance.now()
    this.ws.pause()
  }

  resumeInput(): void {
    if (this.inputPausedSinceMs === null) return
    this.inputPausedSinceMs = null
    this.pongDueSinceMs = null
    this.ws.resume()
  }

  /** Asks the client to close and cuts the connection when it does not. Idempotent: the first code stays. */
  close(code: number, reason: string): void {
    if (this.closeCode !== null) return
    this.closeCode = code
    this.closeReason = reason
    // Frames of data that already wait go out before this one.
    this.ws.close(code, reason)
    for (const listener of this.closingListeners.splice(0)) listener()
    // While paused the client's answer could not be read.
    if (this.inputPausedSinceMs !== null) this.ws.resume()
    const linger = setTimeout(() => this.ws.terminate(), LINGER_MS)
    linger.unref()
    this.onEnd(() => clearTimeout(linger))
  }

  /** To be called every few seconds with the monotonic time. */
  tick(nowMs: number): void {
    if (!this.isOpen) return
    this.watchOutput(nowMs)
    this.flushNews()
    if (this.inputPausedSinceMs !== null) {
      if (nowMs - this.inputPausedSinceMs >= this.limits.inputStallMs) {
        this.close(CLOSE.stalled, 'the guest takes no input')
      }
      return
    }
    if (!this.ready && nowMs - this.startedMs >= this.limits.handshakeMs) {
      this.close(this.bytesToViewer === 0 ? CLOSE.stalled : CLOSE.policy, 'no handshake in time')
      return
    }
    this.watchPeer(nowMs)
  }

  private watchOutput(nowMs: number): void {
    const mark = `${this.framesTaken}/${queuedInKernelWrite(this.socket)}`
    if (this.waitingBytes === 0 || mark !== this.lastMark) {
      this.lastMark = mark
      this.lastProgressMs = nowMs
      // A ping waits behind the data in front of it, so its answer is not due while those move.
      if (this.waitingBytes > 0 && this.pongDueSinceMs !== null) this.pongDueSinceMs = nowMs
    } else if (nowMs - this.lastProgressMs >= this.limits.stallMs) {
      this.close(CLOSE.stalled, 'the viewer does not read')
    }
  }

  private watchPeer(nowMs: number): void {
    if (this.pongDueSinceMs !== null) {
      // A connection whose other end vanished without a word; there is nobody to tell.
      if (nowMs - this.pongDueSinceMs >= this.limits.pongWithinMs) {
        this.closeCode ??= CLOSE.stalled
        this.ws.terminate()
      }
    } else if (nowMs - this.lastPingMs >= this.limits.pingEveryMs) {
      this.lastPingMs = nowMs
      this.pongDueSinceMs = nowMs
      this.ws.ping()
    }
  }
}

/**
 * What libuv still has of the write under way; shrinks with every partial write, so that a slow viewer is told from a
 * stalled one. Not in Node's documented interface (its own socket timeout uses it), hence the care.
 */
function queuedInKernelWrite(socket: Duplex): number {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null) return 0
  const size: unknown = Reflect.get(handle, 'writeQueueSize')
  return typeof size === 'number' ? size : 0
}
