/**
 * SHA-512 crypt(3), “$6$”: what Linux systems take as a password hash. After Ulrich Drepper's “Unix crypt using SHA-256
 * and SHA-512” (version 0.6); names of the sums are his. Tested with his vectors and against openssl.
 */
import { createHash, randomBytes } from 'node:crypto'

const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SUM = 64
/** crypt(3) takes from 1000 to 999,999,999; its default is 5000. Some 15 ms here. */
const ROUNDS = 10_000

const sha512 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha512')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** `sum` again and again until there are `length` bytes. */
const stretched = (sum: Buffer, length: number): Buffer =>
  Buffer.concat(Array.from({ length: Math.ceil(length / SUM) }, () => sum)).subarray(0, length)

/** 24 bits as four characters, least significant first. */
function encoded(b2: number, b1: number, b0: number, characters: number): string {
  let bits = (b2 << 16) | (b1 << 8) | b0
  let text = ''
  for (let n = 0; n < characters; n += 1) {
    text += ALPHABET[bits & 0x3f]
    bits >>= 6
  }
  return text
}

/** @param salt up to 16 characters of `./0-9A-Za-z`; longer ones are cut, as crypt(3) does */
export function sha512Crypt(password: string, salt: string, rounds?: number): string {
  const key = Buffer.from(password, 'utf8')
  const pepper = Buffer.from(salt.slice(0, 16), 'latin1')
  const times = Math.min(Math.max(rounds ?? 5000, 1000), 999_999_999)

  const b = sha512(key, pepper, key)
  const start = [key, pepper, stretched(b, key.length)]
  for (let bits = key.length; bits > 0; bits >>= 1) start.push((bits & 1) === 1 ? b : key)
  let sum = sha512(...start)

  const p = stretched(sha512(...Array.from({ length: key.length }, () => key)), key.length)
  const s = stretched(sha512(...Array.from({ length: 16 + (sum[0] ?? 0) }, () => pepper)), pepper.length)
  for (let round = 0; round < times; round += 1) {
    const odd = (round & 1) === 1
    const parts = [odd ? p : sum]
    if (round % 3 !== 0) parts.push(s)
    if (round % 7 !== 0) parts.push(p)
    parts.push(odd ? sum : p)
    sum = sha512(...parts)
  }

  // Bytes 0, 21, 42, then each a step further, in turning order; the last one alone.
  let text = ''
  for (let n = 0; n < 21; n += 1) {
    const at = [n, n + 21, n + 42].map((index) => sum[index] ?? 0)
    const turned = [0, 1, 2].map((k) => at[(n + k) % 3] ?? 0)
    text += encoded(turned[0] ?? 0, turned[1] ?? 0, turned[2] ?? 0, 4)
  }
  text += encoded(0, 0, sum[63] ?? 0, 2)
  return `$6$${rounds === undefined ? '' : `rounds=${times}$`}${pepper.toString('latin1')}$${text}`
}

/** A fresh hash with a salt of its own. */
export function hashGuestPassword(password: string): string {
  const salt = [...randomBytes(16)].map((byte) => ALPHABET[byte & 0x3f]).join('')
  return sha512Crypt(password, salt, ROUNDS)
}
