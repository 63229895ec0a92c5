import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CUT_TEXT_MAX_BYTES, createRfbFilter, RfbViolation } from './rfb-filter.ts'
import type { ConsoleMode } from './types.ts'

const u16 = (n: number) => [(n >> 8) & 255, n & 255]
const u32 = (n: number) => [...u16((n >>> 16) & 0xffff), ...u16(n & 0xffff)]

interface Message {
  readonly name: string
  readonly bytes: readonly number[]
  readonly input: boolean
}
const message = (name: string, input: boolean, ...bytes: number[]): Message => ({ name, bytes, input })

const setPixelFormat = message('SetPixelFormat', false, 0, 0, 0, 0, ...new Array(16).fill(7))
const setEncodings = (...encodings: number[]) =>
  message('SetEncodings', false, 2, 0, ...u16(encodings.length), ...encodings.flatMap(u32))
const updateRequest = message('FramebufferUpdateRequest', false, 3, 1, ...u16(0), ...u16(0), ...u16(800), ...u16(600))
const key = (keysym: number) => message('KeyEvent', true, 4, 1, 0, 0, ...u32(keysym))
const pointer = (mask: number) => message('PointerEvent', true, 5, mask, ...u16(3), ...u16(5))
const cutText = (text: readonly number[]) => message('ClientCutText', true, 6, 0, 0, 0, ...u32(text.length), ...text)
const extendedCutText = (body: readonly number[]) =>
  message('extended ClientCutText', true, 6, 0, 0, 0, ...u32(-body.length), ...body)
const continuous = message('EnableContinuousUpdates', false, 150, 1, ...new Array(8).fill(0))
const fence = (payload: readonly number[]) =>
  message('Fence', false, 248, 0, 0, 0, 0, 0, 0, 1, payload.length, ...payload)
const xvp = message('xvp', true, 250, 0, 1, 2)
const desktopSize = (screens: number) =>
  message('SetDesktopSize', true, 251, 0, ...u16(640), ...u16(480), screens, 0, ...new Array(16 * screens).fill(9))
const qemuKey = message('QEMU key event', true, 255, 0, ...u16(1), ...u32(0x61), ...u32(30))
const qemuAudio = (operation: number) =>
  message('QEMU audio', true, 255, 1, ...u16(operation), ...(operation === 2 ? [3, 2, ...u32(44100)] : []))

const VERSION_38 = [...Buffer.from('RFB 003.008\n')]
const HANDSHAKE = [...VERSION_38, 1, 1]

function run(mode: ConsoleMode, chunks: Iterable<Uint8Array>): number[] {
  const filter = createRfbFilter(mode)
  const out: number[] = []
  for (const chunk of chunks) for (const piece of filter.push(chunk)) out.push(...piece)
  return out
}

function runWhole(mode: ConsoleMode, messages: readonly Message[]): number[] {
  return run(mode, [Uint8Array.from([...HANDSHAKE, ...messages.flatMap((m) => m.bytes)])]).slice(HANDSHAKE.length)
}

const ALL: readonly Message[] = [
  setPixelFormat,
  setEncodings(0, 7, -258, -261),
  setEncodings(),
  updateRequest,
  key(0xff0d),
  pointer(1),
  pointer(0x81),
  cutText([104, 105]),
  cutText([]),
  extendedCutText([1, 0, 0, 1, 4, 4]),
  continuous,
  fence([]),
  fence([1, 2, 3]),
  xvp,
  desktopSize(0),
  desktopSize(2),
  qemuKey,
  qemuAudio(0),
  qemuAudio(1),
  qemuAudio(2),
]

const anyMessage = fc.oneof(
  fc.constantFrom(...ALL),
  fc.integer({ min: 0, max: 0xffff }).map(key),
  fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 300 }).map(cutText),
  fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 300 }).map(extendedCutText),
  fc.array(fc.integer({ min: -320, max: 320 }), { maxLength: 40 }).map((list) => setEncodings(...list)),
)

/** Cuts bytes at random places, one-byte and empty pieces included. */
const split = (bytes: readonly number[], cuts: readonly number[]): Uint8Array[] => {
  const at = [...cuts.map((c) => c % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b)
  return at.slice(1).map((end, i) => Uint8Array.from(bytes.slice(at[i], end)))
}

const HANDSHAKE_BYTES = Uint8Array.from([...Buffer.from('RFB 003.008\n'), 1, 1])

describe('RFB filter', () => {
  test('a view-only client’s input never gets through, everything else does (R02)', () => {
    for (const m of ALL) expect([m.name, runWhole('view', [m])]).toEqual([m.name, m.input ? [] : [...m.bytes]])
  })

  test('a controlling client’s messages get through unchanged', () => {
    for (const m of ALL) expect([m.name, runWhole('control', [m])]).toEqual([m.name, [...m.bytes]])
  })

  test.each(['control', 'view'] as const)('how the stream is cut changes nothing (%s)', (mode) => {
    fc.assert(
      fc.property(fc.array(anyMessage, { maxLength: 30 }), fc.array(fc.nat(), { maxLength: 60 }), (messages, cuts) => {
        const bytes = [...HANDSHAKE, ...messages.flatMap((m) => m.bytes)]
        const whole = run(mode, [Uint8Array.from(bytes)])
        expect(run(mode, split(bytes, cuts))).toEqual(whole)
        expect(
          run(
            mode,
            bytes.map((b) => Uint8Array.of(b)),
          ),
        ).toEqual(whole)
      }),
      { numRuns: 300 },
    )
  })

  test('in view mode the output is exactly the messages that are no input', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ALL), { maxLength: 40 }), fc.array(fc.nat()), (messages, cuts) => {
        const bytes = [...HANDSHAKE, ...messages.flatMap((m) => m.bytes)]
        const expected = messages.filter((m) => !m.input).flatMap((m) => m.bytes)
        expect(run('view', split(bytes, cuts))).toEqual([...HANDSHAKE, ...expected])
      }),
    )
  })

  test('what was judged is not changed when the caller reuses its buffer', () => {
    const filter = createRfbFilter('control')
    const scratch = new Uint8Array(64)
    const feed = (bytes: readonly number[]) => {
      scratch.fill(0xee)
      scratch.set(bytes)
      return filter.push(scratch.subarray(0, bytes.length)).flatMap((piece) => [...piece])
    }
    feed(HANDSHAKE)
    expect(feed(key(0x41).bytes.slice(0, 5))).toEqual([])
    expect(feed(key(0x41).bytes.slice(5))).toEqual(key(0x41).bytes)
  })

  test.each(['control', 'view'] as const)('every client is made a sharing one, %s (R04)', (mode) => {
    for (const flag of [0, 1, 7, 255]) {
      const out = run(mode, [Uint8Array.from([...VERSION_38, 1, flag])])
      expect(out).toEqual([...VERSION_38, 1, 1])
    }
  })

  test('in protocol 3.3 no security type is sent', () => {
    const bytes = [...Buffer.from('RFB 003.003\n'), 0, ...key(0x41).bytes]
    expect(run('view', [Uint8Array.from(bytes)])).toEqual([...Buffer.from('RFB 003.003\n'), 1])
  })

  test('input stops while somebody else has control, what is held is let go, and goes on afterwards', () => {
    const filter = createRfbFilter('control')
    filter.push(HANDSHAKE_BYTES)
    const extended = (down: number) => Uint8Array.of(255, 0, 0, down, 0, 0, 0, 0x61, 0, 0, 0, 30)
    filter.push(Uint8Array.of(4, 1, 0, 0, 0, 0, 0xff, 0xe3))
    filter.push(extended(1))
    filter.push(Uint8Array.of(4, 1, 0, 0, 0, 0, 0, 0x62, 4, 0, 0, 0, 0, 0, 0, 0x62))
    filter.push(Uint8Array.of(5, 4, 0, 1, 0, 2))
    expect(filter.setOpen(false)).toEqual([
      Uint8Array.of(4, 0, 0, 0, 0, 0, 0xff, 0xe3),
      extended(0),
      Uint8Array.of(5, 0, 0, 1, 0, 2),
    ])
    expect(filter.setOpen(false)).toEqual([])
    expect(filter.push(Uint8Array.of(4, 1, 0, 0, 0, 0, 0, 0x63))).toEqual([])
    expect(filter.setOpen(true)).toEqual([])
    expect(filter.push(Uint8Array.of(4, 1, 0, 0, 0, 0, 0, 0x64))).toHaveLength(1)
  })

  test('control that ends within a clipboard text lets that text go through whole, then the keys go up', () => {
    const filter = createRfbFilter('control')
    filter.push(HANDSHAKE_BYTES)
    filter.push(Uint8Array.of(4, 1, 0, 0, 0, 0, 0, 0x61))
    filter.push(Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 4, 1, 2))
    expect(filter.setOpen(false)).toEqual([])
    const rest = filter.push(Uint8Array.of(3, 4, 4, 1, 0, 0, 0, 0, 0, 0x65))
    expect(Buffer.concat(rest)).toEqual(Buffer.of(3, 4, 4, 0, 0, 0, 0, 0, 0, 0x61))
  })

  test('no number of keys that are pressed and never let go fills the memory', () => {
    const filter = createRfbFilter('control')
    filter.push(HANDSHAKE_BYTES)
    for (let key = 0; key < 5000; key++) filter.push(Uint8Array.of(4, 1, 0, 0, 0, 0, key >> 8, key & 255))
    expect(filter.setOpen(false).length).toBeLessThanOrEqual(64)
  })

  test('clipboard text passes up to the limit and is dropped whole above it, with the place in the stream kept (W11)', () => {
    const long = (length: number, claimed: number) =>
      Buffer.concat([Uint8Array.of(6, 0, 0, 0, ...u32(claimed)), Buffer.alloc(length, 65)])
    const over = CUT_TEXT_MAX_BYTES + 1
    const control = (...parts: Uint8Array[]) =>
      Buffer.concat(createRfbFilter('control').push(Buffer.concat([Uint8Array.from(HANDSHAKE), ...parts]))).subarray(
        HANDSHAKE.length,
      )
    const [one, two, three] = [key(1), key(2), key(3)].map((m) => Uint8Array.from(m.bytes)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    expect(control(long(CUT_TEXT_MAX_BYTES, CUT_TEXT_MAX_BYTES))).toHaveLength(CUT_TEXT_MAX_BYTES + 8)
    expect(control(one, long(over, over), two, long(over, -over), three)).toEqual(Buffer.concat([one, two, three]))
  })

  test('the clipboard is offered to those who control the guest, not to viewers', () => {
    const clipboard = 0xc0a1e5ce | 0
    const asked = [setEncodings(7, clipboard, -258)]
    expect(runWhole('control', asked)).toEqual([...setEncodings(7, clipboard, -258).bytes])
    expect(runWhole('view', asked)).toEqual([...setEncodings(7, -258).bytes])
  })

  test('the encoding that makes pointer events ambiguous is taken out of what clients ask for', () => {
    expect(runWhole('control', [setEncodings(7, -316, -258), key(1)])).toEqual([
      ...setEncodings(7, -258).bytes,
      ...key(1).bytes,
    ])
  })

  test.each([
    ['an unknown version', [...Buffer.from('RFB 009.001\n')]],
    ['HTTP', [...Buffer.from('GET / HTTP/1.1\r\n')]],
    ['password authentication', [...VERSION_38, 2]],
    ['no security type', [...VERSION_38, 0]],
    ['an unknown message', [...HANDSHAKE, 99]],
    ['an unknown QEMU message', [...HANDSHAKE, 255, 7]],
    ['an unknown audio operation', [...HANDSHAKE, 255, 1, 0, 9]],
    ['too many encodings', [...HANDSHAKE, 2, 0, 0xff, 0xff]],
    ['an overlong fence', [...HANDSHAKE, 248, 0, 0, 0, 0, 0, 0, 0, 200]],
  ])('%s ends the connection and nothing follows', (_, bytes) => {
    for (const mode of ['control', 'view'] as const) {
      const filter = createRfbFilter(mode)
      expect(() => filter.push(Uint8Array.from(bytes))).toThrow(RfbViolation)
      expect(() => filter.push(Uint8Array.from(updateRequest.bytes))).toThrow(RfbViolation)
    }
  })

  test('random bytes never crash the filter and what it passes in view mode holds no input', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
        let out: number[] = []
        try {
          out = run('view', [Uint8Array.from(HANDSHAKE), noise])
        } catch (error) {
          expect(error).toBeInstanceOf(RfbViolation)
        }
        // Read again by a filter that lets input through: were there any, dropping would change the bytes.
        const again = run('view', [Uint8Array.from(out)])
        expect(again).toEqual(out)
      }),
      { numRuns: 500 },
    )
  })
})
