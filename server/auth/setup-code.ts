/** The one-time code that lets whoever can read the server's output become the first administrator. */
import { createHash, randomInt, timingSafeEqual } from 'node:crypto'

/** Without letters and digits that look alike: 12 of 30 are 58 bits, for at most ten guesses a minute. */
const ALPHABET = 'ABCDEFGHJKMNPQRSTVWXYZ23456789'

const digest = (text: string) => createHash('sha256').update(text).digest()
const normal = (text: string) => text.toUpperCase().replace(/[^A-Z0-9]/g, '')

export interface SetupCode {
  /** `XXXX-XXXX-XXXX`. */
  readonly text: string
  /** Case and separators do not matter. */
  matches(guess: string): boolean
}

export function createSetupCode(): SetupCode {
  const group = () => Array.from({ length: 4 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')
  const text = `${group()}-${group()}-${group()}`
  const expected = digest(normal(text))
  return { text, matches: (guess) => timingSafeEqual(digest(normal(guess)), expected) }
}
