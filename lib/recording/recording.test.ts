import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { castHeaderLine, castLine, parseCast } from './asciicast.ts'
import {
  clockText,
  framesFor,
  hasEnded,
  pause,
  play,
  positionOf,
  seek,
  stoppedClock,
  withSpeed,
} from './replay-clock.ts'
import {
  createScreenReader,
  FRAME,
  frameHeaderBytes,
  handshakeBytes,
  NotARecording,
  PIXEL_FORMAT,
  type ScreenHeader,
  screenHeaderBytes,
} from './screen-file.ts'

const HEADER: ScreenHeader = {
  ...{ version: 1, by: 'ada', startedAt: '2026-11-27T10:00:00.000Z', width: 640, height: 480 },
  vm: { id: 'v', name: 'größer' },
}
const fileOf = (payloads: readonly Uint8Array[]) =>
  Buffer.concat([
    screenHeaderBytes(HEADER),
    ...payloads.flatMap((payload, i) => [
      frameHeaderBytes({ atMs: i * 100, type: i === 0 ? FRAME.key : FRAME.update, length: payload.length, crc: 7 }),
      payload,
    ]),
  ])

describe('the file of a screen', () => {
  test('is read the same however it is cut, and what is not whole is not read', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        fc.nat(60),
        (payloads, cuts, missing) => {
          const file = fileOf(payloads).subarray(0, Math.max(0, fileOf(payloads).length - missing))
          const reader = createScreenReader()
          const read: Uint8Array[] = []
          for (let at = 0, i = 0; at < file.length; i++) {
            const size = cuts[i % cuts.length] ?? 1
            for (const { payload, payloadAt } of reader.push(file.subarray(at, at + size))) {
              read.push(payload)
              expect(file.subarray(payloadAt, payloadAt + payload.length)).toEqual(Buffer.from(payload))
            }
            at += size
          }
          expect(read).toEqual(payloads.slice(0, read.length))
          expect(reader.wholeBytes).toBeLessThanOrEqual(file.length)
          if (missing === 0) {
            expect(read.length).toBe(payloads.length)
            expect(reader.header).toEqual(HEADER)
          }
        },
      ),
    )
  })

  test('is refused when it is none, and read up to a frame that is none', () => {
    expect(() => createScreenReader().push(Buffer.from('#!/bin/sh\nexit 0\n'))).toThrow(NotARecording)
    const reader = createScreenReader()
    expect(reader.push(Buffer.concat([fileOf([Buffer.from('x')]), Buffer.alloc(50)])).length).toBe(1)
    expect(() => reader.push(Buffer.alloc(1))).toThrow(NotARecording)
    const long = Buffer.concat([Buffer.from('GDSCREEN'), Buffer.of(0xff, 0xff, 0xff, 0xff)])
    expect(() => createScreenReader().push(long)).toThrow(NotARecording)
  })

  test('its header becomes the words of a VNC server', () => {
    const bytes = Buffer.from(handshakeBytes(HEADER))
    expect(bytes.subarray(0, 12).toString()).toBe('RFB 003.008\n')
    expect([...bytes.subarray(12, 18)]).toEqual([1, 1, 0, 0, 0, 0])
    expect([bytes.readUInt16BE(18), bytes.readUInt16BE(20)]).toEqual([640, 480])
    expect([...bytes.subarray(22, 38)]).toEqual(PIXEL_FORMAT)
    expect(bytes.subarray(42, 42 + bytes.readUInt32BE(38)).toString()).toBe('größer')
  })
})

describe('asciicast', () => {
  test('any text comes back as it went in, in order of time', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(100_000), fc.string({ unit: 'grapheme' }))), (lines) => {
        const sorted = lines.toSorted(([a], [b]) => a - b)
        const text =
          castHeaderLine({ version: 2, width: 80, height: 24 }) + sorted.map(([at, s]) => castLine(at, 'o', s)).join('')
        expect(parseCast(text)?.output).toEqual(sorted.map(([atMs, s]) => ({ atMs, text: s })))
      }),
    )
  })
  test('a line cut off is passed over, and something else is none', () => {
    const whole = castHeaderLine({ version: 2, width: 80, height: 24 }) + castLine(1, 'o', 'a')
    expect(parseCast(`${whole}[2.0, "o", "b`)?.output).toEqual([{ atMs: 1, text: 'a' }])
    expect(parseCast('{"version":1}\n')).toBe(null)
    expect(parseCast('')).toBe(null)
  })
})

describe('the clock of a replay', () => {
  test('goes on at its speed while it plays, stands at its end, and begins anew from there', () => {
    let clock = play(stoppedClock(10_000), 1000)
    expect(positionOf(clock, 2000)).toBe(1000)
    clock = withSpeed(clock, 4, 2000)
    expect(positionOf(clock, 3000)).toBe(5000)
    clock = pause(clock, 3000)
    expect(positionOf(clock, 9000)).toBe(5000)
    clock = seek(play(clock, 9000), 9000, 9000)
    expect(positionOf(clock, 9100)).toBe(9400)
    expect(hasEnded(clock, 20_000)).toBe(true)
    expect(positionOf(play(clock, 20_000), 20_000)).toBe(0)
    expect(positionOf(seek(clock, -5, 0), 0)).toBe(0)
  })
  test('its text has hours only where there are any', () => {
    expect([clockText(0), clockText(63_000), clockText(3_723_999)]).toEqual(['0:00', '1:03', '1:02:03'])
  })
  test('a jump begins at the key frame before it, and going on feeds each frame once', () => {
    const frames = [0, 1, 2, 3, 4, 5, 6].map((n) => ({ atMs: n * 100, isKey: n % 3 === 0 }))
    expect(framesFor(frames, 0, 0)).toEqual({ from: 0, until: 1, jumps: false })
    expect(framesFor(frames, 1, 250)).toEqual({ from: 1, until: 3, jumps: false })
    expect(framesFor(frames, 3, 250)).toEqual({ from: 3, until: 3, jumps: false })
    expect(framesFor(frames, 1, 520)).toEqual({ from: 3, until: 6, jumps: true })
    expect(framesFor(frames, 7, 150)).toEqual({ from: 0, until: 2, jumps: true })
    expect(framesFor(frames, 7, 350)).toEqual({ from: 3, until: 4, jumps: true })
    expect(framesFor([], 0, 100)).toEqual({ from: 0, until: 0, jumps: false })
  })
})
