/**
 * The QMP client: one unix socket, one monitor of one QEMU (docs/interop/qmp-spec.rst).
 *
 *   connectQmp ──▶ connecting ──▶ greeting ──▶ negotiating ──▶ ready ──▶ closed
 *                      └──────────────┴─────────────┴───────────────────▶ (throws; nothing left behind)
 *
 * Owns the socket, its framer, the table of waiting commands and the list of subscribers. The first thing that goes
 * wrong is the cause every waiter and every stream is given; what follows from it is noise and is ignored.
 * Out-of-band execution is not negotiated, so QEMU answers in the order it was asked.
 */
import { connectUnix, connectUnixWhenListening, type Socket } from '#server/platform/sockets.ts'
import {
  QmpBadReplyError,
  QmpCommandError,
  QmpConnectError,
  QmpDisconnectedError,
  QmpGreetingError,
  QmpNegotiationError,
  QmpStateError,
  QmpTimeoutError,
} from './errors.ts'
import { EventQueue } from './event-stream.ts'
import { formatMessage, LineFramer, parseMessage } from './framer.ts'
import type { QmpCommands } from './generated/commands.ts'
import { commandTimeoutMs } from './timeouts.ts'
import type {
  ConnectOptions,
  ExecuteOptions,
  QmpClient,
  QmpEvent,
  QmpEventStream,
  QmpJson,
  QmpVersion,
} from './types.ts'

const CONNECT_TIMEOUT_MS = 5_000
/** A QEMU that reads nothing for so long has hung; what is sent to it must not pile up here. */
const UNSENT_LIMIT_BYTES = 1024 * 1024

/** Commands count from 1. */
const NEGOTIATION_ID = 0

type JsonObject = { [key: string]: QmpJson }

interface Waiter {
  readonly command: string
  resolve(value: QmpJson): void
  reject(error: unknown): void
}

type Phase = 'greeting' | 'negotiating' | 'ready' | 'closed'

/**
 * Connects, takes the greeting and negotiates. Events that follow the negotiation at once are held back until the
 * caller had its turn to subscribe.
 * @throws QmpConnectError, QmpGreetingError, QmpNegotiationError; the signal's reason when it aborts
 */
export async function connectQmp(path: string, options: ConnectOptions = {}): Promise<QmpClient> {
  const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS
  const deadline = AbortSignal.timeout(timeoutMs)
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline])
  const socket = await open(path, options.waitForSocket === true, timeoutMs, signal, options.signal)
  return negotiate(new Connection(socket), timeoutMs, signal, options.signal)
}

/**
 * The same over a stream that is connected already, such as one end of a socket pair given to QEMU at its start.
 * @throws QmpGreetingError, QmpNegotiationError; the signal's reason when it aborts
 */
export function attachQmp(
  socket: Socket,
  options: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<QmpClient> {
  const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS
  const deadline = AbortSignal.timeout(timeoutMs)
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline])
  return negotiate(new Connection(socket), timeoutMs, signal, options.signal)
}

async function negotiate(
  connection: Connection,
  timeoutMs: number,
  signal: AbortSignal,
  callerSignal: AbortSignal | undefined,
): Promise<QmpClient> {
  const onAbort = () => {
    if (callerSignal?.aborted === true) connection.abandon(callerSignal.reason)
    else connection.expire(timeoutMs)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    if (signal.aborted) onAbort()
    await connection.ready
    return connection
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

async function open(
  path: string,
  waitForSocket: boolean,
  timeoutMs: number,
  signal: AbortSignal,
  callerSignal: AbortSignal | undefined,
): Promise<Socket> {
  try {
    return waitForSocket ? await connectUnixWhenListening(path, { signal }) : await connectUnix(path, { signal })
  } catch (error) {
    if (callerSignal?.aborted === true) throw callerSignal.reason
    if (signal.aborted) {
      throw new QmpConnectError(`Nothing listened on ${path} within ${timeoutMs} ms`, { cause: error })
    }
    const why = error instanceof Error ? error.message : String(error)
    throw new QmpConnectError(`Cannot connect to QEMU's monitor ${path}: ${why}`, { cause: error })
  }
}

class Connection implements QmpClient {
  readonly ready: Promise<void>
  readonly whenClosed: Promise<Error>
  readonly #socket: Socket
  readonly #framer = new LineFramer()
  readonly #waiters = new Map<number, Waiter>()
  readonly #queues = new Set<EventQueue>()
  readonly #listeners = new Set<(event: QmpEvent) => void>()
  #phase: Phase = 'greeting'
  #lastId = 0
  #version: QmpVersion | null = null
  #cause: Error | null = null
  /** Lines read together with the negotiation's answer, not handled yet; null once the caller had its turn. */
  #held: string[] | null = null
  readonly #settleReady: { resolve(): void; reject(error: unknown): void }
  readonly #settleClosed: (cause: Error) => void

  constructor(socket: Socket) {
    const ready = Promise.withResolvers<void>()
    this.ready = ready.promise
    this.#settleReady = ready
    const closed = Promise.withResolvers<Error>()
    this.whenClosed = closed.promise
    this.#settleClosed = closed.resolve
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('end', () => this.#disconnected(null))
    socket.on('error', (error) => this.#disconnected(error))
    socket.on('close', () => this.#disconnected(null))
  }

  get version(): QmpVersion {
    if (this.#version === null) throw new QmpStateError('QEMU has not greeted yet')
    return this.#version
  }

  get closed(): boolean {
    return this.#phase === 'closed'
  }

  execute<K extends keyof QmpCommands>(
    command: K,
    args?: QmpCommands[K]['arguments'],
    options?: ExecuteOptions,
  ): Promise<QmpCommands[K]['returns']>
  execute(command: string, args?: { [key: string]: QmpJson | undefined }, options?: ExecuteOptions): Promise<QmpJson>
  execute(
    command: string,
    args?: { [key: string]: QmpJson | undefined },
    options: ExecuteOptions = {},
  ): Promise<QmpJson> {
    if (this.#phase !== 'ready') {
      return Promise.reject(
        new QmpStateError(`Cannot send ${command}: the connection is ${this.#phase}`, { cause: this.#cause }),
      )
    }
    if (this.#socket.writableLength > UNSENT_LIMIT_BYTES) {
      return Promise.reject(new QmpStateError(`Cannot send ${command}: QEMU has stopped reading its monitor`))
    }
    return this.#send(command, args, options)
  }

  #send(
    command: string,
    args: { [key: string]: QmpJson | undefined } | undefined,
    options: ExecuteOptions,
  ): Promise<QmpJson> {
    const { signal } = options
    const timeoutMs = options.timeoutMs ?? commandTimeoutMs(command)
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      this.#lastId += 1
      const id = this.#lastId
      const leave = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        this.#waiters.delete(id)
      }
      const waiter: Waiter = {
        command,
        resolve: (value) => {
          leave()
          resolve(value)
        },
        reject: (error) => {
          leave()
          reject(error)
        },
      }
      const onAbort = () => waiter.reject(signal?.reason)
      const timer = setTimeout(() => waiter.reject(new QmpTimeoutError(command, timeoutMs)), timeoutMs)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiters.set(id, waiter)
      this.#socket.write(
        formatMessage(args === undefined ? { execute: command, id } : { execute: command, arguments: args, id }),
      )
    })
  }

  events(names?: readonly string[]): QmpEventStream {
    const queue = new EventQueue(names ?? null, (closed) => this.#queues.delete(closed))
    this.#queues.add(queue)
    if (this.#phase === 'closed') queue.end(this.#cause)
    return queue
  }

  onEvent(listener: (event: QmpEvent) => void): () => void {
    // A wrapper, so that one function may be registered twice and removed once.
    const registered = (event: QmpEvent) => listener(event)
    this.#listeners.add(registered)
    return () => {
      this.#listeners.delete(registered)
    }
  }

  close(reason?: Error): void {
    this.#close(reason ?? new QmpDisconnectedError('The connection to QEMU was closed by the dashboard'), false)
  }

  /** The caller no longer wants the connection that is being made. */
  abandon(reason: unknown): void {
    if (this.#phase === 'ready') return
    this.#settleReady.reject(reason)
    this.close()
  }

  /** The deadline passed before the connection was ready. */
  expire(timeoutMs: number): void {
    if (this.#phase === 'greeting') {
      this.#close(
        new QmpGreetingError(
          `QEMU did not greet within ${timeoutMs} ms; another client may hold this monitor, or QEMU hangs`,
        ),
        false,
      )
    } else if (this.#phase === 'negotiating') {
      this.#close(new QmpNegotiationError(`QEMU did not answer qmp_capabilities within ${timeoutMs} ms`), false)
    }
  }

  #onData(chunk: Buffer): void {
    if (this.#phase === 'closed') return
    try {
      const lines = this.#framer.push(chunk)
      if (this.#held !== null) this.#held.push(...lines)
      else this.#handleLines(lines)
    } catch (error) {
      this.#fail(error)
    }
  }

  #handleLines(lines: readonly string[]): void {
    for (const [index, line] of lines.entries()) {
      const before = this.#phase
      if (before === 'closed') return
      this.#handleMessage(parseMessage(line))
      // `#handleMessage` moves the phase, which the type checker cannot know.
      if (before === 'negotiating' && (this.#phase as Phase) === 'ready') {
        this.#held = lines.slice(index + 1)
        setImmediate(() => this.#release())
        return
      }
    }
  }

  /** The caller of `connectQmp` has run by now and could subscribe. */
  #release(): void {
    const lines = this.#held ?? []
    this.#held = null
    try {
      this.#handleLines(lines)
    } catch (error) {
      this.#fail(error)
    }
  }

  #handleMessage(message: QmpJson): void {
    if (!isObject(message)) throw new QmpBadReplyError(`QEMU sent something that is no message: ${excerpt(message)}`)
    if (this.#phase === 'greeting') {
      this.#greet(message)
    } else if (this.#phase === 'negotiating') {
      this.#negotiate(message)
    } else if ('event' in message) {
      this.#dispatch(message)
    } else {
      this.#route(message)
    }
  }

  #greet(message: JsonObject): void {
    const version = readGreeting(message)
    if (version === null) throw new QmpGreetingError(`This is not QEMU's monitor; it said ${excerpt(message)}`)
    this.#version = version
    this.#phase = 'negotiating'
    this.#socket.write(formatMessage({ execute: 'qmp_capabilities', id: NEGOTIATION_ID }))
  }

  #negotiate(message: JsonObject): void {
    if (message.id === NEGOTIATION_ID && 'return' in message) {
      this.#phase = 'ready'
      this.#settleReady.resolve()
      return
    }
    throw new QmpNegotiationError(`QEMU refused to negotiate: ${excerpt(message)}`)
  }

  #dispatch(message: JsonObject): void {
    const event = readEvent(message)
    if (event === null) throw new QmpBadReplyError(`QEMU sent a malformed event: ${excerpt(message)}`)
    for (const queue of [...this.#queues]) queue.offer(event)
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#listeners.delete(listener)
        const why = error instanceof Error ? (error.stack ?? error.message) : String(error)
        process.emitWarning(`A listener of QMP events failed on ${event.event} and was dropped: ${why}`, 'QmpWarning')
      }
    }
  }

  #route(message: JsonObject): void {
    const { id } = message
    const isReturn = 'return' in message
    if (!isReturn && !('error' in message)) {
      throw new QmpBadReplyError(`QEMU sent neither an event nor an answer: ${excerpt(message)}`)
    }
    if (id === undefined) {
      // QEMU leaves out the id only when it could not parse the request: which one is unknown, so none can be trusted.
      throw new QmpBadReplyError(`QEMU answered without an id: ${excerpt(message)}`)
    }
    const waiter = typeof id === 'number' ? this.#waiters.get(id) : undefined
    // The answer to a command that timed out or was aborted.
    if (waiter === undefined) return
    if (isReturn) {
      waiter.resolve(message.return ?? null)
      return
    }
    const error = message.error
    if (error === undefined || !isObject(error) || typeof error.class !== 'string' || typeof error.desc !== 'string') {
      throw new QmpBadReplyError(`QEMU sent a malformed error: ${excerpt(message)}`)
    }
    waiter.reject(new QmpCommandError(waiter.command, error.class, error.desc))
  }

  #fail(error: unknown): void {
    const cause = error instanceof Error ? error : new QmpBadReplyError(String(error))
    if (this.#phase === 'negotiating' && !(cause instanceof QmpNegotiationError)) {
      this.#close(new QmpNegotiationError(`QEMU refused to negotiate: ${cause.message}`, { cause }), false)
    } else if (this.#phase === 'greeting' && !(cause instanceof QmpGreetingError)) {
      this.#close(new QmpGreetingError(`No valid greeting from QEMU: ${cause.message}`, { cause }), false)
    } else {
      this.#close(cause, false)
    }
  }

  #disconnected(error: Error | null): void {
    if (this.#phase === 'closed') return
    // Whatever QEMU said before it went away counts first.
    if (this.#held !== null) this.#release()
    const options = error === null ? {} : { cause: error }
    const how = error === null ? 'QEMU closed its monitor' : `The connection to QEMU broke: ${error.message}`
    if (this.#phase === 'greeting') this.#close(new QmpGreetingError(`${how} before greeting`, options), true)
    else if (this.#phase === 'negotiating')
      this.#close(new QmpNegotiationError(`${how} while negotiating`, options), true)
    else this.#close(new QmpDisconnectedError(how, options), true)
  }

  /** The one way out. The first cause stays; idempotent. */
  #close(cause: Error, byPeer: boolean): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#cause = cause
    this.#held = null
    this.#socket.destroy()
    for (const waiter of [...this.#waiters.values()]) {
      // QEMU may be gone before its answer to `quit` is out: that is what was asked for.
      if (byPeer && waiter.command === 'quit') waiter.resolve({})
      else waiter.reject(cause)
    }
    for (const queue of [...this.#queues]) queue.end(cause)
    this.#listeners.clear()
    this.#settleReady.reject(cause)
    // Only `connectQmp` awaits `ready`; a close after that is no unhandled rejection.
    this.ready.catch(() => {})
    this.#settleClosed(cause)
  }
}

function isObject(value: QmpJson): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function excerpt(message: QmpJson): string {
  const text = formatMessage({ message }).slice('{"message":'.length, -2)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

function readGreeting(message: JsonObject): QmpVersion | null {
  const greeting = message.QMP
  if (greeting === undefined || !isObject(greeting)) return null
  const version = greeting.version
  if (version === undefined || !isObject(version)) return null
  const qemu = version.qemu
  if (qemu === undefined || !isObject(qemu)) return null
  const { major, minor, micro } = qemu
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') return null
  return { major, minor, micro, package: typeof version.package === 'string' ? version.package : '' }
}

function readEvent(message: JsonObject): QmpEvent | null {
  const { event, data, timestamp } = message
  if (typeof event !== 'string') return null
  if (data !== undefined && !isObject(data)) return null
  if (timestamp === undefined || !isObject(timestamp)) return null
  const { seconds, microseconds } = timestamp
  // -1 for both when QEMU's clock could not be read (qapi/qmp-event.c).
  if (typeof seconds !== 'number' || typeof microseconds !== 'number') return null
  return { event, data: data ?? {}, timestampMs: seconds * 1000 + Math.floor(microseconds / 1000) }
}
