import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { BadFrame, decodeFacts, decodeFields, encodeFrame, FrameReader, MAX_FRAME_BYTES, numberOf } from './frames.ts'

const NAMES = [
  '',
  ' ',
  '-rf',
  '--',
  '"quoted"',
  "it's",
  'two\nlines',
  '<!inc',
  '| sh',
  '\\x41',
  '~',
  '$(id)',
  '\0',
  'ü',
]

test('whatever bytes a name has arrive as they are, in whatever pieces', () => {
  const fields = [...NAMES.map((name) => Buffer.from(name)), Buffer.from('ff00fe', 'hex'), randomBytes(5000)]
  const stream = Buffer.concat([encodeFrame(fields), encodeFrame([]), encodeFrame(['last'])])
  for (const size of [1, 3, 7, 4096, stream.length]) {
    const reader = new FrameReader()
    const frames: Buffer[][] = []
    for (let at = 0; at < stream.length; at += size) frames.push(...reader.add(stream.subarray(at, at + size)))
    expect(frames).toEqual([fields, [], [Buffer.from('last')]])
  }
})

test('a length that is not so ends it: too long, beyond its frame, or cut off', () => {
  const long = Buffer.alloc(4)
  long.writeUInt32BE(MAX_FRAME_BYTES + 1)
  expect(() => new FrameReader().add(long)).toThrow(BadFrame)
  expect(() => decodeFields(Buffer.from('00000005616263', 'hex'))).toThrow(BadFrame)
  expect(() => decodeFields(Buffer.from('ffffffff61', 'hex'))).toThrow(BadFrame)
  expect(() => decodeFields(Buffer.from('0000', 'hex'))).toThrow(BadFrame)
})

test('numbers are whole ones that can be held, or the answer is not believed', () => {
  expect(numberOf(Buffer.from('-1'))).toBe(-1)
  for (const text of ['', '1e9', '0x10', '12 ', '9007199254740992', '99999999999999999999', 'NaN'])
    expect(() => numberOf(Buffer.from(text)), text).toThrow(BadFrame)
  const facts = (...values: (string | number)[]) => decodeFacts(values.map((value) => Buffer.from(String(value))))
  expect(facts(7, 0o100644, 12, 1700000000, 500000000)).toEqual({
    ...{ mode: 0o100644, sizeBytes: 12, modifiedMs: 1700000000500 },
  })
  expect(facts(-1, 0, 0, 0, 0)).toBeNull()
  expect(facts(7, 0o100644, -5, 0, 0)?.sizeBytes).toBe(0)
  expect(() => facts(7, 0o100644)).toThrow(BadFrame)
})
