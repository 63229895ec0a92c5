/** Counts wrong attempts per key in a sliding window. Bounded; time is passed in milliseconds of a monotonic clock. */
import { isIPv6 } from 'node:net'
import { EngineError } from '#server/engine/errors.ts'

const KEYS_MAX = 20_000

export interface RateLimit {
  readonly max: number
  readonly windowMs: number
}

/**
 * Attempts are counted when they begin, so that a burst in parallel is stopped too; one that turns out right is
 * given back.
 */
export class AttemptLimiter {
  readonly #limit: RateLimit
  readonly #attempts = new Map<string, number[]>()
  readonly #now: () => number

  constructor(limit: RateLimit, now: () => number = () => performance.now()) {
    this.#limit = limit
    this.#now = now
  }

  /**
   * Counts one attempt. Returns the function that takes it back.
   * @throws EngineError rate_limited, with `details.retryAfterSeconds`; a refused attempt is not counted
   */
  begin(key: string): () => void {
    const now = this.#now()
    const recent = (this.#attempts.get(key) ?? []).filter((at) => at > now - this.#limit.windowMs)
    const [oldest] = recent
    if (recent.length >= this.#limit.max && oldest !== undefined) {
      const seconds = Math.max(1, Math.ceil((oldest + this.#limit.windowMs - now) / 1000))
      throw new EngineError('rate_limited', `Too many attempts. Try again in ${seconds} seconds.`, {
        details: { retryAfterSeconds: seconds },
      })
    }
    recent.push(now)
    // Re-inserted at the end: the map stays sorted by last use and the front is what may be forgotten.
    this.#attempts.delete(key)
    this.#attempts.set(key, recent)
    if (this.#attempts.size > KEYS_MAX) {
      const [first] = this.#attempts.keys()
      if (first !== undefined) this.#attempts.delete(first)
    }
    return () => {
      const list = this.#attempts.get(key)
      const index = list?.indexOf(now) ?? -1
      if (index >= 0) list?.splice(index, 1)
      if (list?.length === 0) this.#attempts.delete(key)
    }
  }
}

/** One subscriber usually has a whole /64, so an IPv6 address counts by its first four groups. */
export function addressKey(address: string): string {
  if (!isIPv6(address)) return address
  if (address.startsWith('::ffff:')) return address.slice(7)
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? []
  const left = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const right = tail === '' ? 0 : tail.split(':').length
    while (left.length < 8 - right) left.push('0')
  }
  return left.slice(0, 4).join(':')
}
