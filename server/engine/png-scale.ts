/** PNG decode (8-bit RGB, RGBA, grey; no interlace), box-filter downscale, encode. Source: PNG 3rd ed. (W3C). */
import { crc32, deflateSync, inflateSync } from 'node:zlib'

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex')
/** A screen larger than this is refused rather than decoded. */
const MAX_PIXELS = 16_384 * 16_384

interface Pixels {
  readonly width: number
  readonly height: number
  readonly channels: 1 | 3 | 4
  readonly bytes: Uint8Array
}

/** @throws Error for anything that is not such a PNG */
export function scalePng(png: Buffer, width: number): Buffer {
  return encode(shrink(decode(png), width))
}

function decode(png: Buffer): Pixels {
  if (!png.subarray(0, 8).equals(SIGNATURE)) throw new Error('not a PNG')
  const width = png.readUInt32BE(16)
  const height = png.readUInt32BE(20)
  const channels = ({ 0: 1, 2: 3, 6: 4 } as const)[png[25] ?? -1]
  if (png[24] !== 8 || channels === undefined || png[28] !== 0) throw new Error('unsupported kind of PNG')
  if (width === 0 || height === 0 || width * height > MAX_PIXELS) throw new Error('impossible size')
  const data: Buffer[] = []
  for (let at = 8; at + 12 <= png.length; ) {
    const length = png.readUInt32BE(at)
    const type = png.toString('latin1', at + 4, at + 8)
    if (type === 'IDAT') data.push(png.subarray(at + 8, at + 8 + length))
    if (type === 'IEND') break
    at += 12 + length
  }
  const stride = width * channels
  const raw = inflateSync(Buffer.concat(data), { maxOutputLength: height * (stride + 1) })
  if (raw.length !== height * (stride + 1)) throw new Error('cut off')
  return { width, height, channels, bytes: unfilter(raw, height, stride, channels) }
}

function unfilter(raw: Uint8Array, height: number, stride: number, step: number): Uint8Array {
  const out = new Uint8Array(height * stride)
  for (let y = 0; y < height; y++) {
    const from = y * (stride + 1)
    const to = y * stride
    const filter = raw[from] ?? 0
    for (let x = 0; x < stride; x++) {
      const left = x >= step ? (out[to + x - step] ?? 0) : 0
      const up = y > 0 ? (out[to + x - stride] ?? 0) : 0
      const corner = x >= step && y > 0 ? (out[to + x - stride - step] ?? 0) : 0
      out[to + x] = (raw[from + 1 + x] ?? 0) + predicted(filter, left, up, corner)
    }
  }
  return out
}

function predicted(filter: number, left: number, up: number, corner: number): number {
  switch (filter) {
    case 0:
      return 0
    case 1:
      return left
    case 2:
      return up
    case 3:
      return (left + up) >> 1
    case 4: {
      const p = left + up - corner
      const a = Math.abs(p - left)
      const b = Math.abs(p - up)
      const c = Math.abs(p - corner)
      return a <= b && a <= c ? left : b <= c ? up : corner
    }
    default:
      throw new Error('unknown filter')
  }
}

/** Every target pixel is the mean of the source pixels it covers; always three channels out. */
function shrink(source: Pixels, width: number): Pixels {
  const height = Math.max(1, Math.round((source.height * width) / source.width))
  const bytes = new Uint8Array(width * height * 3)
  const { channels } = source
  const second = channels === 1 ? 0 : 1
  const third = channels === 1 ? 0 : 2
  for (let y = 0; y < height; y++) {
    const y0 = Math.floor((y * source.height) / height)
    const y1 = Math.max(y0 + 1, Math.floor(((y + 1) * source.height) / height))
    for (let x = 0; x < width; x++) {
      const x0 = Math.floor((x * source.width) / width)
      const x1 = Math.max(x0 + 1, Math.floor(((x + 1) * source.width) / width))
      let r = 0
      let g = 0
      let b = 0
      for (let sy = y0; sy < y1; sy++) {
        let at = (sy * source.width + x0) * channels
        for (let sx = x0; sx < x1; sx++, at += channels) {
          r += source.bytes[at] ?? 0
          g += source.bytes[at + second] ?? 0
          b += source.bytes[at + third] ?? 0
        }
      }
      const count = (y1 - y0) * (x1 - x0)
      const to = (y * width + x) * 3
      bytes[to] = r / count
      bytes[to + 1] = g / count
      bytes[to + 2] = b / count
    }
  }
  return { width, height, channels: 3, bytes }
}

function encode({ width, height, bytes }: Pixels): Buffer {
  const stride = width * 3
  const raw = Buffer.alloc(height * (stride + 1))
  for (let y = 0; y < height; y++) {
    // Filter "up": screens are mostly flat areas.
    raw[y * (stride + 1)] = 2
    for (let x = 0; x < stride; x++) {
      const up = y > 0 ? (bytes[(y - 1) * stride + x] ?? 0) : 0
      raw[y * (stride + 1) + 1 + x] = ((bytes[y * stride + x] ?? 0) - up) & 0xff
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw, { level: 6 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(data.length, 0)
  body.copy(out, 4)
  out.writeUInt32BE(crc32(body), body.length + 4)
  return out
}
