/**
 * One subscriber's queue of events. Bounded: a subscriber that stops reading must not hold memory for ever,
 * and must learn that it missed something rather than read on.
 */
import { QmpStateError, QmpTimeoutError } from './errors.ts'
import type { QmpEvent, QmpEventStream } from './types.ts'

/** Events held for a subscriber that does not read. */
const EVENT_QUEUE_LIMIT = 1024

interface Reader {
  resolve(result: IteratorResult<QmpEvent>): void
  reject(error: Error): void
}

type Ending = { readonly error: Error | null }

export class EventQueue implements QmpEventStream {
  readonly #names: ReadonlySet<string> | null
  readonly #limit: number
  readonly #onClose: (queue: EventQueue) => void
  #events: QmpEvent[] = []
  #readers: Reader[] = []
  #ending: Ending | null = null

  constructor(
    names: readonly string[] | null,
    onClose: (queue: EventQueue) => void,
    limit: number = EVENT_QUEUE_LIMIT,
  ) {
    this.#names = names === null ? null : new Set(names)
    this.#onClose = onClose
    this.#limit = limit
  }

  /** Called by the client for every event, in order. */
  offer(event: QmpEvent): void {
    if (this.#ending !== null) return
    if (this.#names !== null && !this.#names.has(event.event)) return
    const reader = this.#readers.shift()
    if (reader !== undefined) {
      reader.resolve({ done: false, value: event })
      return
    }
    if (this.#events.length >= this.#limit) {
      this.#events = []
      this.end(new QmpStateError(`More than ${this.#limit} events were waiting to be read; the stream was closed`))
      return
    }
    this.#events.push(event)
  }

  /** Ends the stream; what is queued can still be read, then the error (if any) is thrown once. Idempotent. */
  end(error: Error | null): void {
    if (this.#ending !== null) return
    this.#ending = { error }
    this.#onClose(this)
    const readers = this.#readers
    this.#readers = []
    // Readers wait only while nothing is queued, so every one of them sees the end.
    for (const reader of readers) {
      if (error === null) reader.resolve({ done: true, value: undefined })
      else reader.reject(error)
    }
  }

  next(): Promise<IteratorResult<QmpEvent>> {
    const event = this.#events.shift()
    if (event !== undefined) return Promise.resolve({ done: false, value: event })
    if (this.#ending !== null) {
      const { error } = this.#ending
      return error === null ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error)
    }
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject })
    })
  }

  /**
   * Takes events until one matches; those before it are discarded.
   * @throws QmpTimeoutError, the signal's reason, the error that ended the stream, or QmpStateError when it was closed
   */
  async waitFor(
    match: (event: QmpEvent) => boolean,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<QmpEvent> {
    const { timeoutMs, signal } = options
    signal?.throwIfAborted()
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const result = await this.#nextBefore(deadline, timeoutMs, signal)
      if (result.done === true) throw new QmpStateError('The event stream was closed while something waited on it')
      if (match(result.value)) return result.value
    }
  }

  /** Like `next`, but gives up, leaving no reader behind that would swallow an event. */
  #nextBefore(deadline: number, timeoutMs: number, signal: AbortSignal | undefined): Promise<IteratorResult<QmpEvent>> {
    if (this.#events.length > 0 || this.#ending !== null) return this.next()
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        this.#readers = this.#readers.filter((other) => other !== reader)
      }
      const reader: Reader = {
        resolve: (result) => {
          leave()
          resolve(result)
        },
        reject: (error) => {
          leave()
          reject(error)
        },
      }
      const onAbort = () => {
        leave()
        reject(signal?.reason)
      }
      const timer = setTimeout(
        () => {
          leave()
          reject(new QmpTimeoutError(`with the event waited for`, timeoutMs))
        },
        Math.max(0, deadline - performance.now()),
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#readers.push(reader)
    })
  }

  close(): void {
    this.#events = []
    this.end(null)
  }

  return(): Promise<IteratorResult<QmpEvent>> {
    this.close()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close()
    return Promise.resolve()
  }
}
