/** One mount of the serial terminal: xterm.js over a console link. */
import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import type { ConsoleNews } from '#lib/schema/console.ts'
import { ConsoleLink, type LinkState } from './console-link.ts'
import { OutputLog } from './output-log.ts'
import type { Wish } from './presence.ts'
import { isReleaseKey } from './release-key.ts'
import { guardAnswers } from './terminal-answers.ts'
import type { TicketSource } from './ticket-source.ts'

export interface SerialSessionOptions {
  readonly ticket: TicketSource
  readonly mode: 'control' | 'view'
  /** Shown where output had to be left out. */
  readonly skippedNotice: string
  readonly onState: (state: LinkState) => void
  readonly onNews: (news: ConsoleNews) => void
  readonly onSelection: (hasSelection: boolean) => void
  /** The reader wants the keyboard back. */
  readonly onRelease: () => void
}

/** Output waiting to be drawn; a browser cannot slow a WebSocket down, so beyond this output is left out. */
const DRAW_QUEUE_MAX_BYTES = 4 << 20
const DRAW_QUEUE_RESUME_BYTES = 256 << 10
/** The proxy takes frames up to 64 KiB. */
const INPUT_FRAME_BYTES = 32 << 10
/** The screen is dark in both themes. */
const FOREGROUND = '#dcdfe4'
const SCROLLBACK_LINES = 10_000

export class SerialSession {
  readonly log = new OutputLog()
  private readonly options: SerialSessionOptions
  private readonly terminal: Terminal
  private readonly fit = new FitAddon()
  private readonly link: ConsoleLink
  private readonly resizes: ResizeObserver
  private readonly offAnswers: () => void
  private socket: WebSocket | null = null
  private queuedBytes = 0
  private isSkipping = false
  /** Old output is being drawn: nobody may answer what it asks. */
  private isReplaying = true
  private isHeldByOther = false

  /** Connects at once. `target` must be empty and belong to this session until `dispose`. */
  constructor(target: HTMLElement, options: SerialSessionOptions) {
    this.options = options
    const style = getComputedStyle(target)
    this.terminal = new Terminal({
      allowProposedApi: false,
      convertEol: false,
      cursorBlink: options.mode === 'control',
      disableStdin: options.mode === 'view',
      fontFamily: style.fontFamily,
      fontSize: 14,
      screenReaderMode: true,
      scrollback: SCROLLBACK_LINES,
      theme: { background: style.backgroundColor, foreground: FOREGROUND, cursor: FOREGROUND },
      windowOptions: {},
    })
    this.terminal.loadAddon(this.fit)
    this.offAnswers = guardAnswers(this.terminal.parser, () => this.mayType && !this.isReplaying)
    this.terminal.attachCustomKeyEventHandler((event) => this.onKey(event))
    this.terminal.onData((text) => this.sendText(text))
    this.terminal.onBinary((text) => this.sendBytes(Uint8Array.from(text, (c) => c.charCodeAt(0))))
    this.terminal.onSelectionChange(() => options.onSelection(this.terminal.hasSelection()))
    this.terminal.open(target)
    this.fit.fit()
    this.resizes = new ResizeObserver(() => this.fit.fit())
    this.resizes.observe(target)
    this.link = new ConsoleLink({
      ticket: options.ticket,
      onNews: options.onNews,
      onSocket: (socket) => this.attach(socket),
      onSocketGone: () => {
        this.socket = null
      },
      onState: options.onState,
    })
    this.link.connectNow()
  }

  connectNow(): void {
    this.link.connectNow()
  }

  wish(wish: Wish): void {
    this.link.wish(wish)
  }

  /** Somebody else has sole control, or no longer: a terminal that may not type answers nothing either. */
  setHeldByOther(isHeld: boolean): void {
    this.isHeldByOther = isHeld
    this.terminal.options.disableStdin = !this.mayType
  }

  private get mayType(): boolean {
    return this.options.mode === 'control' && !this.isHeldByOther
  }

  /** Stops trying until `connectNow`. */
  hold(): void {
    this.link.hold()
  }

  focus(): void {
    this.terminal.focus()
  }

  clear(): void {
    this.terminal.clear()
    this.log.clear()
  }

  get selection(): string {
    return this.terminal.getSelection()
  }

  /** Bracketed where the guest asked for it, with line ends as a keyboard sends them. */
  paste(text: string): void {
    this.terminal.paste(text)
  }

  /** `stty` for the present size: a serial line cannot carry it. */
  get sizeCommand(): string {
    return `stty rows ${this.terminal.rows} cols ${this.terminal.cols}`
  }

  sendText(text: string): void {
    this.sendBytes(new TextEncoder().encode(text))
  }

  dispose(): void {
    this.link.dispose()
    this.resizes.disconnect()
    this.offAnswers()
    this.terminal.dispose()
  }

  private attach(socket: WebSocket): void {
    this.socket = socket
    socket.addEventListener('open', () => {
      // The history that follows begins at the beginning.
      this.terminal.reset()
      this.log.clear()
      this.isReplaying = true
      this.isSkipping = false
      this.link.connected()
      // With no history the first output is live; replaying then ends with the first frame all the same.
    })
    socket.addEventListener('message', (event) => {
      if (event.data instanceof ArrayBuffer) this.onOutput(new Uint8Array(event.data))
    })
  }

  private onOutput(bytes: Uint8Array<ArrayBuffer>): void {
    this.log.append(bytes)
    if (this.isSkipping) return
    if (this.queuedBytes + bytes.length > DRAW_QUEUE_MAX_BYTES && this.queuedBytes > 0) {
      this.isSkipping = true
      return
    }
    this.queuedBytes += bytes.length
    this.terminal.write(bytes, () => {
      this.queuedBytes -= bytes.length
      this.isReplaying = false
      if (this.isSkipping && this.queuedBytes < DRAW_QUEUE_RESUME_BYTES) {
        this.isSkipping = false
        this.terminal.write(`\x1bc\r\n\x1b[7m ${this.options.skippedNotice} \x1b[0m\r\n`)
      }
    })
  }

  private sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
    const { socket } = this
    if (!this.mayType || socket === null || socket.readyState !== WebSocket.OPEN) return
    for (let at = 0; at < bytes.length; at += INPUT_FRAME_BYTES) socket.send(bytes.subarray(at, at + INPUT_FRAME_BYTES))
  }

  /** @returns false to keep the key from the terminal */
  private onKey(event: KeyboardEvent): boolean {
    if (isReleaseKey(event)) {
      if (event.type === 'keydown') this.options.onRelease()
      event.preventDefault()
      return false
    }
    // Ctrl+Shift+C copies; Ctrl+Shift+V and Shift+Insert are pastes of the browser's own.
    if (event.ctrlKey && event.shiftKey && event.code === 'KeyC') {
      event.preventDefault()
      if (event.type === 'keydown' && this.terminal.hasSelection()) void navigator.clipboard?.writeText(this.selection)
      return false
    }
    return !(event.ctrlKey && event.shiftKey && event.code === 'KeyV')
  }
}
