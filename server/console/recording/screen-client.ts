/**
 * A viewer of its own on QEMU's VNC socket that only looks (RFC 6143): raw pixels in one format, so that every picture can be
 * understood without those before it, and no more pictures than are asked for. It sends no key, pointer or clipboard
 * message, and asks for nothing by which it would be sent what is copied in the guest.
 *
 *   version ─▶ security None ─▶ shared ─▶ ask ─▶ one update ─▶ ask …
 *
 * What QEMU says is taken for what a guest may have made it say: everything is bounded.
 */
import { PIXEL_FORMAT } from '#lib/recording/screen-file.ts'
import { connectUnixReader } from '#server/platform/unix-reader.ts'

const READ_BYTES = 256 << 10
/** Pixels of one update: 8192 × 4096. */
const UPDATE_MAX_BYTES = 128 << 20
const TEXT_MAX_BYTES = 1 << 20
const RAW = 0
const DESKTOP_SIZE = -223

/** QEMU, or what has taken it over, says what is not understood. */
export class ScreenProtocolError extends Error {
  override readonly name = 'ScreenProtocolError'
}

export interface Picture {
  /** Of the screen, after it. */
  readonly width: number
  readonly height: number
  /** All of the screen is in it. */
  readonly isKey: boolean
  /** The screen has another size than before. */
  readonly resized: boolean
  /** The whole FramebufferUpdate message, in pieces. */
  readonly pieces: readonly Uint8Array[]
}

export interface ScreenClient {
  readonly width: number
  readonly height: number
  /** Waits for the next change, or with `whole` asks for all of the screen. @throws Error when the connection ends */
  next(whole: boolean): Promise<Picture>
  /** Whatever waits rejects. Idempotent. */
  close(): void
}

/** @throws Error when nobody answers, or not as a VNC server does, by the time the signal aborts */
export async function connectScreen(socketPath: string, signal: AbortSignal): Promise<ScreenClient> {
  const input = openReader(socketPath)
  const abort = () => input.close(new Error('No answer in time.'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    if (signal.aborted) abort()
    const version = (await input.take(12)).toString('latin1')
    if (version !== 'RFB 003.008\n') throw new ScreenProtocolError('unknown version')
    input.send(Buffer.from(version))
    const types = await input.take((await input.take(1)).readUInt8(0))
    if (!types.includes(1)) throw new ScreenProtocolError('it wants a password')
    input.send(Buffer.of(1))
    if ((await input.take(4)).readUInt32BE(0) !== 0) throw new ScreenProtocolError('refused')
    input.send(Buffer.of(1))
    const init = await input.take(24)
    const nameLength = init.readUInt32BE(20)
    if (nameLength > TEXT_MAX_BYTES) throw new ScreenProtocolError('its name is too long')
    await input.take(nameLength)
    input.send(Buffer.of(0, 0, 0, 0, ...PIXEL_FORMAT))
    const encodings = Buffer.alloc(12)
    encodings[0] = 2
    encodings.writeUInt16BE(2, 2)
    encodings.writeInt32BE(RAW, 4)
    encodings.writeInt32BE(DESKTOP_SIZE, 8)
    input.send(encodings)
    return screenClient(input, init.readUInt16BE(0), init.readUInt16BE(2))
  } catch (error) {
    input.close(new Error('closed'))
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function screenClient(input: Reader, firstWidth: number, firstHeight: number): ScreenClient {
  let width = firstWidth
  let height = firstHeight

  /** The rest of a FramebufferUpdate message. */
  const readUpdate = async (): Promise<Picture> => {
    const head = await input.take(3)
    const count = head.readUInt16BE(1)
    const pieces: Buffer[] = [Buffer.concat([Buffer.of(0), head])]
    let bytes = 0
    let area = 0
    let resized = false
    for (let n = 0; n < count; n++) {
      const rect = await input.take(12)
      const [w, h, encoding] = [rect.readUInt16BE(4), rect.readUInt16BE(6), rect.readInt32BE(8)]
      pieces.push(rect)
      if (encoding === DESKTOP_SIZE) {
        if (w === 0 || h === 0) throw new ScreenProtocolError('a screen without a size')
        width = w
        height = h
        area = 0
        resized = true
      } else if (encoding === RAW) {
        if (rect.readUInt16BE(0) + w > width || rect.readUInt16BE(2) + h > height) {
          throw new ScreenProtocolError('pixels beside the screen')
        }
        bytes += w * h * 4
        if (bytes > UPDATE_MAX_BYTES) throw new ScreenProtocolError('the screen is too large')
        area += w * h
        pieces.push(await input.take(w * h * 4))
      } else throw new ScreenProtocolError(`encoding ${encoding} was not asked for`)
    }
    return { width, height, isKey: area === width * height, pieces, resized }
  }

  return {
    get width() {
      return width
    },
    get height() {
      return height
    },
    async next(whole) {
      const ask = Buffer.alloc(10)
      ask[0] = 3
      ask[1] = whole ? 0 : 1
      ask.writeUInt16BE(width, 6)
      ask.writeUInt16BE(height, 8)
      input.send(ask)
      for (;;) {
        const type = (await input.take(1)).readUInt8(0)
        if (type === 0) return await readUpdate()
        if (type === 2) continue
        if (type !== 3) throw new ScreenProtocolError(`message ${type} was not asked for`)
        const length = (await input.take(7)).readUInt32BE(3)
        if (length > TEXT_MAX_BYTES) throw new ScreenProtocolError('a text that is too long')
        await input.take(length)
      }
    },
    close: () => input.close(new Error('closed')),
  }
}

interface Reader {
  take(count: number): Promise<Buffer>
  send(bytes: Uint8Array): void
  close(why: Error): void
}

/** Bytes by number, one taker at a time. Reads on only while somebody waits for them. */
function openReader(socketPath: string): Reader {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  let chunks: Buffer[] = []
  let length = 0
  let waiting: { readonly count: number; readonly taken: PromiseWithResolvers<Buffer> } | null = null
  let ended: Error | null = null

  const cut = (count: number): Buffer => {
    const all = chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks)
    chunks = all.length > count ? [all.subarray(count)] : []
    length -= count
    return all.subarray(0, count)
  }
  const serve = (): void => {
    if (waiting === null || length < waiting.count) return
    const { count, taken } = waiting
    waiting = null
    taken.resolve(cut(count))
  }
  const end = (why: Error): void => {
    ended ??= why
    waiting?.taken.reject(ended)
    waiting = null
  }

  const socket = connectUnixReader(socketPath, {
    buffer: () => buffer,
    read(count) {
      chunks.push(Buffer.from(buffer.subarray(0, count)))
      length += count
      serve()
      return waiting !== null
    },
  })
  const gone = (cause?: Error) => end(new Error('The guest’s screen is gone.', { cause }))
  socket.on('error', gone)
  socket.on('close', () => gone())

  return {
    take(count) {
      if (ended !== null && length < count) return Promise.reject(ended)
      if (length >= count) return Promise.resolve(cut(count))
      const taken = Promise.withResolvers<Buffer>()
      waiting = { count, taken }
      socket.resume()
      return taken.promise
    },
    send(bytes) {
      if (!socket.destroyed) socket.write(bytes)
    },
    close(why) {
      end(why)
      socket.destroy()
    },
  }
}
