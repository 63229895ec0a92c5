/**
 * Keeps one console connected: a fresh ticket and WebSocket per attempt, growing pauses between attempts, none where
 * the answer was a refusal. Owned by one mount of a console; `dispose` ends everything.
 *
 *   connecting ──opened──▶ connected ──closed──▶ waiting ──timer, online, events back──▶ connecting
 *        ╰──────────────────refused───────────▶ ended ──connectNow──▶ connecting
 */
import { ApiError, toApiError } from '#lib/client/api-client.ts'
import { connection, reconnectDelayMs } from '#lib/client/events.ts'
import { type CloseName, closeName, retryAfterClose } from '#lib/console/close-codes.ts'
import type { ConsoleNews } from '#lib/schema/console.ts'
import type { Wish } from './presence.ts'
import type { TicketSource } from './ticket-source.ts'

export type LinkState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  /** `off`: the guest's side has ended; otherwise the connection broke. */
  | { readonly kind: 'waiting'; readonly off: boolean }
  | { readonly kind: 'ended'; readonly why: CloseName | 'failed'; readonly message: string }

export interface ConsoleLinkOptions {
  readonly ticket: TicketSource
  /** Who else is there, and what became of a wish. */
  readonly onNews: (news: ConsoleNews) => void
  /** A new socket, still connecting. Everything attached to it must die with it. */
  readonly onSocket: (socket: WebSocket) => void
  /** Before the next attempt and at the end: whatever used the socket must let go. */
  readonly onSocketGone: () => void
  readonly onState: (state: LinkState) => void
}

/** Fast at first: a dashboard that restarts is back within seconds. */
const LONGEST_PAUSE_MS = 4_000
/** A refusal with these codes is about this moment, not about this viewer. */
const PASSING: ReadonlySet<string> = new Set(['network', 'busy', 'unresponsive', 'rate_limited', 'internal'])

export class ConsoleLink {
  private readonly options: ConsoleLinkOptions
  private readonly abort = new AbortController()
  private readonly offEvents: () => void
  private socket: WebSocket | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private attempt = 0
  /** The attempt whose ticket is awaited; an older one must not go on. */
  private pending: symbol | null = null
  private state: LinkState = { kind: 'connecting' }
  private isHeld = false

  constructor(options: ConsoleLinkOptions) {
    this.options = options
    const wake = () => {
      if (this.state.kind === 'waiting' && !this.isHeld) this.connectNow()
    }
    this.offEvents = connection.subscribe(() => {
      if (connection.get().state === 'open') wake()
    })
    addEventListener('online', wake, { signal: this.abort.signal })
  }

  /** Connects unless it is connected or connecting. */
  connectNow(): void {
    this.isHeld = false
    if (this.abort.signal.aborted || this.socket !== null) return
    clearTimeout(this.timer)
    this.setState({ kind: 'connecting' })
    void this.connect()
  }

  /** Makes no further attempts until `connectNow`: the guest is off, and asking would only be refused. */
  hold(): void {
    this.isHeld = true
    clearTimeout(this.timer)
  }

  /** To be called when the console's own handshake is over. */
  connected(): void {
    this.attempt = 0
    this.setState({ kind: 'connected' })
  }

  dispose(): void {
    this.abort.abort()
    this.offEvents()
    clearTimeout(this.timer)
    this.dropSocket()
  }

  private async connect(): Promise<void> {
    const { signal } = this.abort
    // Claims the attempt, so that a second wake-up does not start another beside it.
    const claim = Symbol('attempt')
    this.pending = claim
    try {
      const { ticket, path } = await this.options.ticket(signal)
      if (signal.aborted || this.pending !== claim) return
      this.open(`${location.origin.replace(/^http/, 'ws')}${path}`, ticket)
    } catch (cause) {
      if (signal.aborted || this.pending !== claim) return
      const error = toApiError(cause)
      if (error instanceof ApiError && error.code === 'wrong_state') this.wait(true)
      else if (PASSING.has(error.code)) this.wait(false)
      else this.setState({ kind: 'ended', why: 'failed', message: error.message })
    }
  }

  private open(url: string, ticket: string): void {
    const socket = new WebSocket(url, ['binary', ticket])
    socket.binaryType = 'arraybuffer'
    this.socket = socket
    socket.addEventListener('close', (event) => {
      if (this.socket !== socket) return
      this.dropSocket()
      const retry = retryAfterClose(event.code)
      if (retry === 'never')
        this.setState({ kind: 'ended', why: closeName(event.code) ?? 'failed', message: event.reason })
      else this.wait(retry === 'when-running')
    })
    socket.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
      // Text is our own server's; bytes are the guest's.
      if (typeof data === 'string' && this.socket === socket) this.options.onNews(JSON.parse(data) as ConsoleNews)
    })
    this.options.onSocket(socket)
  }

  /** Asks something of the others; lost when there is no connection, as they see who is there anew afterwards. */
  wish(wish: Wish): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(wish))
  }

  private wait(off: boolean): void {
    this.setState({ kind: 'waiting', off })
    const pauseMs = Math.min(LONGEST_PAUSE_MS, reconnectDelayMs(this.attempt++, Math.random()))
    clearTimeout(this.timer)
    if (!this.isHeld) this.timer = setTimeout(() => this.connectNow(), pauseMs)
  }

  private dropSocket(): void {
    const { socket } = this
    if (socket === null) return
    this.socket = null
    this.options.onSocketGone()
    if (socket.readyState <= WebSocket.OPEN) socket.close(1000)
  }

  private setState(state: LinkState): void {
    if (this.abort.signal.aborted) return
    this.state = state
    this.options.onState(state)
  }
}
