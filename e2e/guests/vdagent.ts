/**
 * What spice-vdagent says and hears about the clipboard, spoken by the shell of a test guest through the guest's own
 * kernel: messages of spice-protocol (spice/vd_agent.h) on the port com.redhat.spice.0. The guest needs a virtio-serial
 * driver, `dd`, `hexdump` and `timeout`.
 */
import type { GuestShell } from './guest-shell.ts'

const PORT = '/dev/virtio-ports/com.redhat.spice.0'
const WAIT_MS = 60_000
const TYPES = { clipboard: 4, capabilities: 6, grab: 7, request: 8 } as const
type MessageType = keyof typeof TYPES
const UTF8_TEXT = 1
const CLIPBOARD_BY_DEMAND = 1 << 5

interface Message {
  readonly type: number
  readonly data: Buffer
}

export class GuestClipboard {
  readonly #shell: GuestShell
  /** From QEMU, not yet looked at. */
  #heard = Buffer.alloc(0)

  private constructor(shell: GuestShell) {
    this.#shell = shell
  }

  /** Opens the port, which can be open once, and says what the agent can do. */
  static async open(shell: GuestShell): Promise<GuestClipboard> {
    await shell.until(`ls ${PORT}`, /^\/dev/)
    // In the login shell itself, so that it stays open; what `run` starts inherits it.
    shell.send(`exec 3<>${PORT}\n`)
    await shell.until('readlink /proc/self/fd/3', /vport/)
    const clipboard = new GuestClipboard(shell)
    await clipboard.#tell('capabilities', u32le(0, CLIPBOARD_BY_DEMAND))
    return clipboard
  }

  /** Waits until somebody else has copied something, then fetches its text, as pasting does. */
  async paste(whileAsked: () => Promise<void> = async () => {}): Promise<string> {
    await this.#hear('grab')
    await this.#tell('request', u32le(UTF8_TEXT))
    await whileAsked()
    const data = await this.#hear('clipboard')
    if (data.readUInt32LE(0) !== UTF8_TEXT) throw new Error(`The clipboard holds no text: ${data.toString('hex')}`)
    return data.subarray(4).toString().replace(/\0$/, '')
  }

  /** Says that text was copied here, and hands it out once somebody asks. */
  async copy(text: string, whileOffered: () => Promise<void> = async () => {}): Promise<void> {
    await this.#tell('grab', u32le(UTF8_TEXT))
    await whileOffered()
    await this.#hear('request')
    await this.#tell('clipboard', Buffer.concat([u32le(UTF8_TEXT), Buffer.from(text)]))
  }

  async #tell(type: MessageType, data: Buffer): Promise<void> {
    const octal = [...encode(type, data)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
    await this.#shell.output(`printf '${octal}' >&3`)
  }

  /** Data of the next message of the type; what came before it is forgotten. */
  async #hear(type: MessageType): Promise<Buffer> {
    const deadline = Date.now() + WAIT_MS
    for (;;) {
      const found = decode(this.#heard).find((message) => message.type === TYPES[type])
      if (found !== undefined) {
        this.#heard = Buffer.alloc(0)
        return found.data
      }
      if (Date.now() > deadline) throw new Error(`QEMU sent no ${type}, only ${this.#heard.toString('hex')}`)
      const read = `timeout 2 dd bs=4096 count=1 <&3 2>/dev/null | hexdump -v -e '1/1 "%02x"'`
      this.#heard = Buffer.concat([this.#heard, Buffer.from((await this.#shell.run(read)).output, 'hex')])
    }
  }
}

function u32le(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [n, value] of values.entries()) bytes.writeUInt32LE(value, 4 * n)
  return bytes
}

/** A message in a chunk of its own: port and length, then protocol 1, type, an opaque word of 8 bytes, length. */
function encode(type: MessageType, data: Buffer): Buffer {
  const message = Buffer.concat([u32le(1, TYPES[type], 0, 0, data.length), data])
  return Buffer.concat([u32le(1, message.length), message])
}

/** Whole messages, put together again from chunks. */
function decode(bytes: Buffer): Message[] {
  const payload: Buffer[] = []
  for (let at = 0; at + 8 <= bytes.length; at += 8 + bytes.readUInt32LE(at + 4))
    payload.push(bytes.subarray(at + 8, at + 8 + bytes.readUInt32LE(at + 4)))
  const all = Buffer.concat(payload)
  const messages: Message[] = []
  for (let at = 0; at + 20 <= all.length; at += 20 + all.readUInt32LE(at + 16)) {
    const end = at + 20 + all.readUInt32LE(at + 16)
    if (end > all.length) break
    messages.push({ type: all.readUInt32LE(at + 4), data: all.subarray(at + 20, end) })
  }
  return messages
}
