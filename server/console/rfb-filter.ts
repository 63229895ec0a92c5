/**
 * Reads what a VNC client sends and lets through only what it may: this is where view-only is enforced, and where one
 * viewer is kept from disturbing the others. RFC 6143 and the community protocol document (rfbproto) name the
 * messages; `protocol_client_msg` in QEMU's ui/vnc.c says which of them QEMU reads, and how.
 *
 *   version ─▶ security (3.7, 3.8) ─▶ client init ─▶ messages …
 *        └────────── 3.3 ──────────────▲
 *
 * Everything forwarded is a whole message of a known type. What is not understood ends the connection: a parser that
 * lost its place must not pass bytes on. Memory is bounded by the longest message that is judged as a whole.
 */
import type { ConsoleMode } from './types.ts'

/** Longest clipboard text (bytes) that reaches the guest's side. */
export const CUT_TEXT_MAX_BYTES = 256 << 10
/** noVNC sends about 25; QEMU would read 65,535. */
const ENCODINGS_MAX = 1024
/** rfbproto: the payload of a fence is at most 64 bytes. */
const FENCE_PAYLOAD_MAX = 64
const VERSION_LENGTH = 12
const SECURITY_NONE = 1
/**
 * With this pseudo-encoding PointerEvent has two lengths and only the server's answer tells which, so it is taken out
 * of what clients ask for.
 */
const ENCODING_EXTENDED_MOUSE_BUTTONS = -316
/**
 * Who asks for it is sent what is copied in the guest, passwords included, and may put text there. QEMU knows no other
 * clipboard (ui/vnc-clipboard.c), so taking it out of what viewers ask for keeps them off both ways.
 */
const ENCODING_EXTENDED_CLIPBOARD = 0xc0a1e5ce | 0

const MSG = {
  setPixelFormat: 0,
  setEncodings: 2,
  framebufferUpdateRequest: 3,
  keyEvent: 4,
  pointerEvent: 5,
  clientCutText: 6,
  enableContinuousUpdates: 150,
  fence: 248,
  xvp: 250,
  setDesktopSize: 251,
  qemu: 255,
} as const

const INPUT: ReadonlySet<number> = new Set([
  MSG.keyEvent,
  MSG.pointerEvent,
  MSG.clientCutText,
  MSG.xvp,
  MSG.setDesktopSize,
  MSG.qemu,
])

/** A client broke the protocol; `message` is the reason sent with close code 1008. */
export class RfbViolation extends Error {
  override readonly name = 'RfbViolation'
}

export interface RfbFilter {
  /**
   * Takes the next bytes from the client, however they are cut.
   * @returns what may go on, in order; pieces may alias `chunk`
   * @throws RfbViolation when the stream is not understood; nothing more may be forwarded after that
   */
  push(chunk: Uint8Array): Uint8Array[]
  /** The handshake is over, as far as the client's part goes. */
  readonly initialised: boolean
  /**
   * Lets input through or not, for a client that may control. When it ends, what the client still held down is let go:
   * nobody else could.
   * @returns what is to be sent to the server now, in order
   */
  setOpen(isOpen: boolean): Uint8Array[]
}

/** More keys than anybody has fingers for are not remembered. */
const HELD_MAX = 64

type Stage = 'version' | 'security' | 'init' | 'messages' | 'broken'

export function createRfbFilter(mode: ConsoleMode): RfbFilter {
  let stage: Stage = 'version'
  /** Start of a message whose rest has not come yet. */
  let held: Uint8Array = new Uint8Array(0)
  /** Bytes left of a message body that is passed or dropped as it comes. */
  let bodyLeft = 0
  let bodyPasses = false
  let isOpen = true
  /** How to let go of each key that is down, by key. */
  const down = new Map<string, Uint8Array>()
  /** The pointer with a button down, as it was last; null with none. */
  let pointer: Uint8Array | null = null
  /** To be sent once the message under way is over. */
  let afterBody: Uint8Array[] = []
  const refusedEncodings = new Set([
    ENCODING_EXTENDED_MOUSE_BUTTONS,
    ...(mode === 'control' ? [] : [ENCODING_EXTENDED_CLIPBOARD]),
  ])

  function fail(why: string): never {
    stage = 'broken'
    held = new Uint8Array(0)
    throw new RfbViolation(why)
  }

  /** How many bytes are needed to judge the message at the start of `bytes`; grows as more is known. */
  function needed(bytes: Uint8Array): number {
    switch (stage) {
      case 'version':
        return VERSION_LENGTH
      case 'security':
      case 'init':
        return 1
      case 'messages':
        return neededForMessage(bytes)
      case 'broken':
        return fail('the connection was already refused')
    }
  }

  function neededForMessage(bytes: Uint8Array): number {
    switch (bytes[0]) {
      case undefined:
        return 1
      case MSG.setPixelFormat:
        return 20
      case MSG.setEncodings: {
        if (bytes.length < 4) return 4
        const count = uint16(bytes, 2)
        if (count > ENCODINGS_MAX) fail(`${count} encodings asked for`)
        return 4 + 4 * count
      }
      case MSG.framebufferUpdateRequest:
      case MSG.enableContinuousUpdates:
        return 10
      case MSG.keyEvent:
      case MSG.clientCutText:
      case MSG.setDesktopSize:
        return 8
      case MSG.pointerEvent:
        return 6
      case MSG.fence:
        return 9
      case MSG.xvp:
        return 4
      case MSG.qemu:
        return neededForQemuMessage(bytes)
      default:
        return fail(`unknown message type ${bytes[0]}`)
    }
  }

  function neededForQemuMessage(bytes: Uint8Array): number {
    if (bytes.length < 2) return 2
    if (bytes[1] === 0) return 12
    if (bytes[1] !== 1) return fail(`unknown QEMU message ${bytes[1]}`)
    if (bytes.length < 4) return 4
    const operation = uint16(bytes, 2)
    // Audio: 0 enable, 1 disable, 2 set format (sample format u8, channels u8, frequency u32).
    if (operation > 2) fail(`unknown QEMU audio operation ${operation}`)
    return operation === 2 ? 10 : 4
  }

  /** Judges one message head of exactly the needed length. @returns the bytes to forward, or null to drop */
  function judge(head: Uint8Array): Uint8Array | null {
    switch (stage) {
      case 'version': {
        const version = Buffer.from(head).toString('latin1')
        if (version !== 'RFB 003.003\n' && version !== 'RFB 003.007\n' && version !== 'RFB 003.008\n') {
          fail('unknown protocol version')
        }
        stage = version === 'RFB 003.003\n' ? 'init' : 'security'
        return head
      }
      case 'security':
        if (head[0] !== SECURITY_NONE) fail(`security type ${head[0]} chosen`)
        stage = 'init'
        return head
      case 'init':
        stage = 'messages'
        // Shared, whatever the client says: an exclusive client would throw the others out.
        return head[0] === 1 ? head : Uint8Array.of(1)
      default:
        return judgeMessage(head)
    }
  }

  function judgeMessage(head: Uint8Array): Uint8Array | null {
    const type = head[0] ?? -1
    let passes = (mode === 'control' && isOpen) || !INPUT.has(type)
    if (passes) noteHeld(type, head)
    if (type === MSG.clientCutText) {
      // Negative: extended clipboard; its size is the absolute value.
      const length = Math.abs(int32(head, 4))
      passes &&= length <= CUT_TEXT_MAX_BYTES
      bodyLeft = length
    } else if (type === MSG.fence) {
      bodyLeft = head[8] ?? 0
      if (bodyLeft > FENCE_PAYLOAD_MAX) fail(`fence of ${bodyLeft} bytes`)
    } else if (type === MSG.setDesktopSize) {
      bodyLeft = 16 * (head[6] ?? 0)
    } else if (type === MSG.setEncodings) {
      return withoutEncodings(head, refusedEncodings)
    }
    bodyPasses = passes
    return passes ? head : null
  }

  function noteHeld(type: number, head: Uint8Array): void {
    if (type === MSG.pointerEvent) {
      pointer = head[1] === 0 ? null : Uint8Array.of(head[0] ?? 0, 0, ...head.subarray(2))
      return
    }
    const isExtended = type === MSG.qemu && head[1] === 0
    if (type !== MSG.keyEvent && !isExtended) return
    // QEMU goes by the key code where there is one, and by the symbol otherwise.
    const key = isExtended ? `c${head.subarray(8).join('.')}` : `s${head.subarray(4).join('.')}`
    const isDown = isExtended ? uint16(head, 2) !== 0 : head[1] !== 0
    if (!isDown) down.delete(key)
    else if (down.size < HELD_MAX) {
      const release = Uint8Array.from(head)
      release[isExtended ? 3 : 1] = 0
      release[isExtended ? 2 : 1] = 0
      down.set(key, release)
    }
  }

  return {
    get initialised() {
      return stage === 'messages'
    },
    setOpen(next) {
      isOpen = next
      if (next) return []
      const releases = [...down.values(), ...(pointer === null ? [] : [pointer])]
      down.clear()
      pointer = null
      if (bodyLeft === 0 || !bodyPasses) return releases
      afterBody.push(...releases)
      return []
    },
    push(chunk) {
      const out: Uint8Array[] = []
      /** Start of the run of bytes that pass unchanged and were not put into `out` yet. */
      let runStart = 0
      let at = 0
      const endRun = (end: number) => {
        if (end > runStart) out.push(chunk.subarray(runStart, end))
      }
      if (stage === 'broken') fail('the connection was already refused')
      while (at < chunk.length) {
        if (bodyLeft > 0) {
          const step = Math.min(bodyLeft, chunk.length - at)
          if (!bodyPasses) {
            endRun(at)
            runStart = at + step
          }
          bodyLeft -= step
          at += step
          if (bodyLeft === 0 && afterBody.length > 0) {
            endRun(at)
            runStart = at
            out.push(...afterBody)
            afterBody = []
          }
          continue
        }
        if (held.length > 0) {
          const need = needed(held)
          const taken = chunk.subarray(at, at + need - held.length)
          held = concat(held, taken)
          at += taken.length
          runStart = at
          if (held.length < need || held.length < needed(held)) continue
          const whole = held
          held = new Uint8Array(0)
          const forwarded = judge(whole)
          if (forwarded !== null) out.push(forwarded)
          continue
        }
        const rest = chunk.subarray(at)
        const need = needed(rest)
        if (rest.length < need) {
          endRun(at)
          // A copy: the chunk belongs to the caller and may be reused.
          held = Uint8Array.from(rest)
          runStart = at = chunk.length
          break
        }
        const head = rest.subarray(0, need)
        const forwarded = judge(head)
        if (forwarded !== head) {
          endRun(at)
          if (forwarded !== null) out.push(forwarded)
          runStart = at + need
        }
        at += need
      }
      endRun(at)
      return out
    },
  }
}

function withoutEncodings(message: Uint8Array, refused: ReadonlySet<number>): Uint8Array {
  const count = (message.length - 4) / 4
  const kept: number[] = []
  for (let i = 0; i < count; i++) {
    const value = int32(message, 4 + 4 * i)
    if (!refused.has(value)) kept.push(value)
  }
  if (kept.length === count) return message
  const out = Buffer.alloc(4 + 4 * kept.length)
  out[0] = MSG.setEncodings
  out.writeUInt16BE(kept.length, 2)
  for (const [i, value] of kept.entries()) out.writeInt32BE(value, 4 + 4 * i)
  return out
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length)
  joined.set(a)
  joined.set(b, a.length)
  return joined
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function int32(bytes: Uint8Array, at: number): number {
  return (uint16(bytes, at) << 16) | uint16(bytes, at + 2)
}
