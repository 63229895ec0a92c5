/**
 * The clipboard between a viewer and a guest through everything real: RFB through the dashboard's filter, QEMU's VNC
 * server and its own vdagent, virtio-serial, the guest's kernel. In the guest a shell plays spice-vdagent; the viewer
 * speaks the extended clipboard (rfbproto).
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { deflateSync, inflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureDeviceGuest } from '#e2e/guests/build.ts'
import { GuestClipboard } from '#e2e/guests/vdagent.ts'
import { connectUnix } from '#server/platform/sockets.ts'
import { CompiledGuest } from '#server/testing/compiled-guest.ts'
import { createRfbFilter } from './rfb-filter.ts'

const BOOT_TIMEOUT_MS = 170_000
const WAIT_MS = 60_000
const TEXT = 'Grüße, 世界 — over the wire'

const CUT = { caps: 1 << 24, request: 1 << 25, notify: 1 << 27, provide: 1 << 28, text: 1 } as const

/** A viewer behind the filter that asks for no pictures, only the clipboard. */
class ClipboardViewer {
  readonly #socket: Socket
  readonly #filter: ReturnType<typeof createRfbFilter>
  #bytes = Buffer.alloc(0)

  private constructor(socket: Socket, mode: 'control' | 'view') {
    this.#socket = socket
    this.#filter = createRfbFilter(mode)
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
    })
  }

  static async connect(path: string, mode: 'control' | 'view'): Promise<ClipboardViewer> {
    const viewer = new ClipboardViewer(await connectUnix(path), mode)
    viewer.#send(Buffer.from('RFB 003.008\n'))
    viewer.#send(Buffer.from([1, 1]))
    const server = await viewer.#take((bytes) => {
      // Version, one security type, its result, then the screen with its name.
      const head = 12 + 2 + 4 + 24
      return bytes.length < head ? null : head + bytes.readUInt32BE(head - 4)
    })
    expect(server.subarray(0, 4).toString()).toBe('RFB ')
    const encodings = Buffer.from([2, 0, 0, 2, 0, 0, 0, 0, 0xc0, 0xa1, 0xe5, 0xce])
    viewer.#send(encodings)
    return viewer
  }

  /** Flags and data of the next clipboard message from QEMU. */
  async next(timeoutMs = WAIT_MS): Promise<{ flags: number; data: Buffer }> {
    const message = await this.#take((bytes) => {
      if (bytes.length < 8) return null
      if (bytes[0] !== 3) throw new Error(`QEMU sent message ${bytes[0]}`)
      return 8 + Math.abs(bytes.readInt32BE(4))
    }, timeoutMs)
    return { flags: message.readUInt32BE(8), data: message.subarray(12) }
  }

  /** Next message with one of the flags. */
  async until(flag: number): Promise<{ flags: number; data: Buffer }> {
    for (;;) {
      const message = await this.next()
      if ((message.flags & flag) !== 0) return message
    }
  }

  async isSilent(forMs: number): Promise<boolean> {
    return this.next(forMs).then(
      () => false,
      () => true,
    )
  }

  send(flags: number, data: Buffer = Buffer.alloc(0)): void {
    const head = Buffer.alloc(12)
    head[0] = 6
    head.writeInt32BE(-(4 + data.length), 4)
    head.writeUInt32BE(flags, 8)
    this.#send(Buffer.concat([head, data]))
  }

  close(): void {
    this.#socket.destroy()
  }

  #send(bytes: Buffer): void {
    for (const piece of this.#filter.push(bytes)) this.#socket.write(piece)
  }

  async #take(length: (bytes: Buffer) => number | null, timeoutMs = WAIT_MS): Promise<Buffer> {
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const needed = length(this.#bytes)
      if (needed !== null && this.#bytes.length >= needed) {
        const taken = this.#bytes.subarray(0, needed)
        this.#bytes = this.#bytes.subarray(needed)
        return taken
      }
      await once(this.#socket, 'data', { signal })
    }
  }
}

/** Text with its length, as the extended clipboard packs it: a NUL ends it. */
const packed = (text: string) => {
  const bytes = Buffer.from(`${text}\0`)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return deflateSync(Buffer.concat([length, bytes]))
}
const unpacked = (data: Buffer) => {
  const bytes = inflateSync(data, { finishFlush: 2 })
  return bytes
    .subarray(4, 4 + bytes.readUInt32BE(0))
    .toString()
    .replace(/\0$/, '')
}

describe('the clipboard', () => {
  let guest: CompiledGuest
  let inside: GuestClipboard
  beforeAll(async () => {
    const { kernel, initrd, commandLine } = await ensureDeviceGuest()
    guest = await CompiledGuest.start({
      guest: 'linux',
      accelerator: 'tcg',
      memoryMiB: 384,
      networks: [],
      display: 'std',
      clipboard: true,
      directKernel: { kernel, initrd, commandLine },
    })
    const shell = await guest.boot(BOOT_TIMEOUT_MS)
    inside = await GuestClipboard.open(shell)
  }, BOOT_TIMEOUT_MS)
  afterAll(() => guest?.[Symbol.asyncDispose]())

  it('text copied by who controls the guest is what the guest pastes', async () => {
    const viewer = await ClipboardViewer.connect(guest.input.paths.vnc, 'control')
    await viewer.until(CUT.caps)
    viewer.send(CUT.notify | CUT.text)
    const pasted = await inside.paste(async () => {
      await viewer.until(CUT.request)
      viewer.send(CUT.provide | CUT.text, packed(TEXT))
    })
    expect(pasted).toBe(TEXT)
    viewer.close()
  })

  it('text copied in the guest reaches who controls it, and no viewer', async () => {
    const viewer = await ClipboardViewer.connect(guest.input.paths.vnc, 'control')
    const onlooker = await ClipboardViewer.connect(guest.input.paths.vnc, 'view')
    await viewer.until(CUT.caps)
    await inside.copy(TEXT, async () => {
      await viewer.until(CUT.notify)
      viewer.send(CUT.request | CUT.text)
    })
    expect(unpacked((await viewer.until(CUT.provide)).data)).toBe(TEXT)
    expect(await onlooker.isSilent(1000)).toBe(true)
    // Nor may it put text there.
    onlooker.send(CUT.notify | CUT.text)
    expect(await viewer.isSilent(1000)).toBe(true)
    viewer.close()
    onlooker.close()
  })
})
