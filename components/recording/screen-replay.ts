/** Replays a screen by noVNC, which is handed the recorded messages through something that looks like a WebSocket. */
import type RFB from '@novnc/novnc'
import { framesFor } from '#lib/recording/replay-clock.ts'
import {
  createScreenReader,
  FRAME,
  handshakeBytes,
  PICTURE_SIZE_BYTES,
  resizeBytes,
  type ScreenHeader,
  sizeOfPicture,
} from '#lib/recording/screen-file.ts'
import { PictureStore } from './picture-store.ts'
import { fetchRange, fetchRecording, type Replay, UnplayableError } from './replay.ts'

/** noVNC takes from one message as much as fits its buffer. */
const PIECE_BYTES = 1 << 20

/** The members noVNC asks of a channel (`attach` in its core/websock.js). What it sends goes nowhere. */
class ReplayChannel {
  binaryType = 'arraybuffer'
  protocol = 'binary'
  readyState: number = WebSocket.OPEN
  onopen: (() => void) | null = null
  onmessage: ((event: { readonly data: ArrayBuffer }) => void) | null = null
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null
  onerror: ((event: unknown) => void) | null = null

  send(): void {
    // There is nobody to ask.
  }

  close(): void {
    if (this.readyState === WebSocket.CLOSED) return
    this.readyState = WebSocket.CLOSED
    this.onclose?.({ code: 1000, reason: '' })
  }

  deliver(bytes: Uint8Array<ArrayBuffer>): void {
    for (let at = 0; at < bytes.length && this.readyState === WebSocket.OPEN; at += PIECE_BYTES) {
      this.onmessage?.({ data: bytes.slice(at, at + PIECE_BYTES).buffer })
    }
  }
}

/** @param target must be empty and belong to the replay until `dispose` @throws UnplayableError, NotARecording */
export async function openScreenReplay(target: HTMLElement, url: string, signal: AbortSignal): Promise<Replay> {
  const reader = createScreenReader()
  const ended = new AbortController()
  const store = new PictureStore((from, to) => fetchRange(url, AbortSignal.any([signal, ended.signal]), from, to))
  let durationMs = 0
  const [{ default: Rfb }] = await Promise.all([
    import('@novnc/novnc'),
    fetchRecording(url, signal, (chunk) => {
      for (const { atMs, type, payload, payloadAt } of reader.push(chunk)) {
        durationMs = Math.max(durationMs, atMs)
        if (type !== FRAME.end) store.add({ atMs, isKey: type === FRAME.key, payloadAt }, payload)
      }
    }),
  ])
  signal.throwIfAborted()
  const { header } = reader
  if (header === null || store.pictures[0]?.isKey !== true) throw new UnplayableError('There is no picture in it.')
  return play(Rfb, target, header, store, durationMs, () => ended.abort())
}

function play(
  Rfb: typeof RFB,
  target: HTMLElement,
  header: ScreenHeader,
  store: PictureStore,
  durationMs: number,
  onDisposed: () => void,
): Replay {
  const channel = new ReplayChannel()
  // It has every member that noVNC uses; a whole WebSocket has many more.
  const rfb = new Rfb(target, channel as unknown as WebSocket, { shared: true })
  rfb.viewOnly = true
  rfb.focusOnClick = false
  rfb.scaleViewport = true
  rfb.background = 'transparent'
  channel.deliver(handshakeBytes(header))

  let next = 0
  let wantedMs: number | null = null
  let isFeeding = false
  let isDisposed = false
  let tell: (cause: unknown) => void = () => {}
  const { pictures } = store

  const feed = async (): Promise<void> => {
    isFeeding = true
    while (wantedMs !== null && !isDisposed) {
      const { from, until, jumps } = framesFor(pictures, next, wantedMs)
      wantedMs = null
      for (let i = from; i < until && !isDisposed; i++) {
        const payload = await store.payloadOf(i)
        if (payload === null || isDisposed) break
        const message = await inflate(payload.subarray(PICTURE_SIZE_BYTES))
        if (jumps && i === from) {
          const { width, height } = sizeOfPicture(payload)
          channel.deliver(resizeBytes(width, height))
        }
        channel.deliver(message)
        next = i + 1
        // Somebody jumps elsewhere meanwhile: what lies between need not be drawn.
        if (wantedMs !== null && framesFor(pictures, next, wantedMs).jumps) break
      }
    }
    isFeeding = false
  }

  return {
    durationMs,
    show(positionMs) {
      wantedMs = positionMs
      if (isFeeding) return
      feed().catch((cause: unknown) => {
        isFeeding = false
        if (!isDisposed) tell(cause)
      })
    },
    onFailure(listener) {
      tell = listener
    },
    dispose() {
      isDisposed = true
      onDisposed()
      rfb.disconnect()
    },
  }
}

async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}
