/** Time, as one injectable thing: wall clock for people, monotonic clock for deadlines. */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Clock {
  now(): Date
  /** Milliseconds that never jump when the wall clock is set. */
  monotonicMs(): number
  /** Rejects with the signal's reason when aborted. The timer does not keep the process alive. */
  delay(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  delay: async (ms, signal) => {
    await sleep(ms, undefined, { ref: false, ...(signal && { signal }) })
  },
}

/** Resolves with the promise's value, or with `fallback` after `ms`; the promise is left running. */
export async function within<T, F>(promise: Promise<T>, ms: number, fallback: F): Promise<T | F> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      promise,
      new Promise<F>((resolve) => {
        timer = setTimeout(resolve, ms, fallback)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}

/** Rejects with the signal's reason as soon as it aborts; the work is left running. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
