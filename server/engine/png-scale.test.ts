import { deflateSync, inflateSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { scalePng } from './png-scale.ts'

/** A PNG with every filter type in turn, written the long way round so that it does not share code with the reader. */
function png(width: number, height: number, channels: 3 | 4, pixel: (x: number, y: number) => number[]): Buffer {
  const stride = width * channels
  const plain = Buffer.alloc(height * stride)
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) plain.set(pixel(x, y), y * stride + x * channels)
  const raw = Buffer.alloc(height * (stride + 1))
  const at = (x: number, y: number) => (x < 0 || y < 0 ? 0 : (plain[y * stride + x] ?? 0))
  for (let y = 0; y < height; y++) {
    const filter = y % 5
    raw[y * (stride + 1)] = filter
    for (let x = 0; x < stride; x++) {
      const [a, b, c] = [at(x - channels, y), at(x, y - 1), at(x - channels, y - 1)]
      const p = a + b - c
      const paeth = [a, b, c].reduce((best, v) => (Math.abs(p - v) < Math.abs(p - best) ? v : best))
      const guess = [0, a, b, Math.floor((a + b) / 2), paeth][filter] ?? 0
      raw[y * (stride + 1) + 1 + x] = (at(x, y) - guess) & 255
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, channels === 3 ? 2 : 6, 0, 0, 0], 8)
  const part = (type: string, data: Buffer) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(data.length)
    return Buffer.concat([length, Buffer.from(type), data, Buffer.alloc(4)])
  }
  const body = deflateSync(raw)
  const half = Math.floor(body.length / 2)
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    part('IHDR', header),
    part('IDAT', body.subarray(0, half)),
    part('IDAT', body.subarray(half)),
    part('IEND', Buffer.alloc(0)),
  ])
}

/** Size and first pixel of what the scaler wrote (filter "up", so the first row is plain). */
function read(image: Buffer) {
  const data = image.subarray(image.indexOf('IDAT') + 4, image.indexOf('IEND') - 8)
  return { width: image.readUInt32BE(16), height: image.readUInt32BE(20), rows: inflateSync(data) }
}

it.each([3, 4] as const)('halves a picture of %i channels to the mean of its pixels', (channels) => {
  const source = png(64, 40, channels, (x, y) => [x * 4, y * 6, (x ^ y) * 2, 255].slice(0, channels))
  const { width, height, rows } = read(scalePng(source, 32))
  expect([width, height]).toEqual([32, 20])
  // Pixel 5 of the first row: source x 10 and 11, y 0 and 1.
  expect([...rows.subarray(1 + 15, 1 + 18)]).toEqual([
    42,
    3,
    Math.floor(((10 ^ 0) + (11 ^ 0) + (10 ^ 1) + (11 ^ 1)) / 2),
  ])
})

it('keeps the aspect ratio when widths do not divide', () => {
  const { width, height } = read(
    scalePng(
      png(720, 400, 3, () => [1, 2, 3]),
      160,
    ),
  )
  expect([width, height]).toEqual([160, 89])
})

it('what is not such a PNG is an error, not a picture', () => {
  expect(() => scalePng(Buffer.from('not a png at all, just text that is long enough'), 16)).toThrow()
  const cut = png(64, 40, 3, () => [0, 0, 0])
  expect(() => scalePng(cut.subarray(0, cut.length - 30), 16)).toThrow()
  const lying = png(64, 40, 3, () => [0, 0, 0])
  lying.writeUInt32BE(60_000, 16)
  lying.writeUInt32BE(60_000, 20)
  expect(() => scalePng(lying, 16)).toThrow()
})
