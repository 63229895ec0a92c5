/**
 * Passwords: argon2id from `node:crypto`, kept as PHC strings. At most two are computed at once, so that a flood of
 * sign-ins leaves libuv's four threads free for files, and a processor; what does not fit the queue is refused as busy.
 */
import { type Argon2Parameters, argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { EngineError } from '#server/engine/errors.ts'

/** OWASP's second recommended setting: 19 MiB, two passes, one lane; about 25 ms. */
const MEMORY_KIB = 19_456
const PASSES = 2
const PARALLELISM = 1
const TAG_BYTES = 32

/** One processor is left to answer everybody else. */
const AT_ONCE = Math.min(2, Math.max(1, availableParallelism() - 1))
const QUEUE_MAX = 50

const PHC = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

const unpadded = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')

function compute(parameters: Argon2Parameters): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    argon2('argon2id', parameters, (error, tag) => (error ? reject(error) : resolve(tag)))
  })
}

export interface Passwords {
  /** @throws EngineError busy */
  hash(password: string): Promise<string>
  /**
   * Takes the same time for an unknown user (`phc` null) as for a wrong password, and is then false.
   * @throws EngineError busy
   */
  verify(phc: string | null, password: string): Promise<boolean>
}

export function createPasswords(limits = { atOnce: AT_ONCE, queueMax: QUEUE_MAX }): Passwords {
  let running = 0
  const waiting: (() => void)[] = []

  const queued = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= limits.atOnce) {
      if (waiting.length >= limits.queueMax) {
        throw new EngineError('busy', 'Too many people are signing in at this moment; try again in a few seconds.')
      }
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else {
      running += 1
    }
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running -= 1
    }
  }

  // A stand-in with the current parameters and a tag that nothing hashes to (but by a chance of 2^-256).
  const nobody = `$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${PARALLELISM}$${unpadded(randomBytes(16))}$${unpadded(randomBytes(TAG_BYTES))}`

  return {
    hash: (password) =>
      queued(async () => {
        const nonce = randomBytes(16)
        const tag = await compute({
          message: password,
          nonce,
          memory: MEMORY_KIB,
          passes: PASSES,
          parallelism: PARALLELISM,
          tagLength: TAG_BYTES,
        })
        return `$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${PARALLELISM}$${unpadded(nonce)}$${unpadded(tag)}`
      }),
    verify: (phc, password) =>
      queued(async () => {
        const [, memory, passes, parallelism, salt, hash] = PHC.exec(phc ?? nobody) ?? []
        if (!salt || !hash) return false
        const expected = Buffer.from(hash, 'base64')
        const tag = await compute({
          message: password,
          nonce: Buffer.from(salt, 'base64'),
          memory: Number(memory),
          passes: Number(passes),
          parallelism: Number(parallelism),
          tagLength: expected.length,
        })
        return timingSafeEqual(tag, expected) && phc !== null
      }),
  }
}
