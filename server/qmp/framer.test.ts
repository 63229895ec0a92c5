import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { QmpFramingError } from './errors.ts'
import { formatMessage, LineFramer, parseMessage } from './framer.ts'

/** Cuts a buffer at the given places, each a share of its length. */
function cut(bytes: Buffer, shares: readonly number[]): Buffer[] {
  const places = [...new Set(shares.map((share) => Math.floor(share * bytes.length)))].sort((a, b) => a - b)
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length))
}

const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 40 })

describe('framing', () => {
  test('any split of the byte stream gives the same messages', () => {
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), { maxLength: 8 }),
        shares,
        (messages, at) => {
          const stream = Buffer.from(messages.map((message) => `${JSON.stringify(message)}\r\n`).join(''))
          const framer = new LineFramer()
          const lines = cut(stream, at).flatMap((chunk) => framer.push(chunk))
          expect(lines).toEqual(messages.map((message) => JSON.stringify(message)))
          expect(framer.pendingBytes).toBe(0)
        },
      ),
    )
  })

  test('a character cut in the middle of its bytes arrives whole', () => {
    const framer = new LineFramer()
    const bytes = Buffer.from('{"name":"東京"}\n')
    const lines = [...bytes].flatMap((byte) => framer.push(Buffer.from([byte])))
    expect(lines).toEqual(['{"name":"東京"}'])
  })

  test('an unfinished line waits for its end', () => {
    const framer = new LineFramer()
    expect(framer.push(Buffer.from('{"a":1}\n{"b"'))).toEqual(['{"a":1}'])
    expect(framer.pendingBytes).toBe(4)
    expect(framer.push(Buffer.from(':2}\n\n'))).toEqual(['{"b":2}'])
  })

  test('a line of exactly the limit passes, one byte more is refused', () => {
    expect(new LineFramer(10).push(Buffer.from('0123456789\n'))).toEqual(['0123456789'])
    expect(() => new LineFramer(10).push(Buffer.from('0123456789a\n'))).toThrow(QmpFramingError)
  })

  test('a line that never ends is refused as soon as it passes the limit, however it is split (G04)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 7 }), (size) => {
        const framer = new LineFramer(100)
        let pushed = 0
        expect(() => {
          for (; pushed < 1000; pushed += size) framer.push(Buffer.alloc(size, 0x61))
        }).toThrow(QmpFramingError)
        expect(pushed).toBeLessThanOrEqual(100)
        expect(framer.pendingBytes).toBeLessThanOrEqual(100)
      }),
    )
  })
})

describe('numbers', () => {
  test('every 64-bit integer survives the way there and back', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (value) => {
        const text = formatMessage({ value }).trim()
        expect(text).toBe(`{"value":${value}}`)
        const parsed = parseMessage(text)
        expect(BigInt((parsed as { value: number | bigint }).value)).toBe(value)
      }),
    )
  })

  test('an integer a double holds stays a number, one it does not becomes a bigint', () => {
    expect(parseMessage('{"a":9007199254740991,"b":9007199254740993,"c":-18446744073709551615}')).toEqual({
      a: 9007199254740991,
      b: 9007199254740993n,
      c: -18446744073709551615n,
    })
  })

  test('fractions and texts full of digits stay what they are', () => {
    expect(parseMessage('{"a":1234567890123456.5,"b":1e300,"c":"18446744073709551615"}')).toEqual({
      a: 1234567890123456.5,
      b: 1e300,
      c: '18446744073709551615',
    })
  })

  test('members that are undefined are left out', () => {
    expect(formatMessage({ execute: 'eject', arguments: { id: 'cd0', force: undefined } })).toBe(
      '{"execute":"eject","arguments":{"id":"cd0"}}\n',
    )
  })

  test('what is not JSON is named, shortened', () => {
    expect(() => parseMessage(`qemu: ${'x'.repeat(5000)}`)).toThrow(QmpFramingError)
    try {
      parseMessage(`qemu: ${'x'.repeat(5000)}`)
    } catch (error) {
      expect(String(error).length).toBeLessThan(400)
    }
  })
})
