/** One mount of the screen: noVNC over a console link, the keyboard, and the last picture. */
import type RFB from '@novnc/novnc'
import { plainGuestText } from '#lib/console/guest-text.ts'
import { type KeyTransition, type Stroke, transitionsOf } from '#lib/console/keymap.ts'
import { keysymOfCharacter, keysymOfKey } from '#lib/console/keysyms.ts'
import type { ConsoleNews } from '#lib/schema/console.ts'
import { ConsoleLink, type LinkState } from './console-link.ts'
import type { Wish } from './presence.ts'
import type { TicketSource } from './ticket-source.ts'

export type Scale = 'fit' | 'actual'

export interface VncSessionOptions {
  readonly ticket: TicketSource
  readonly mode: 'control' | 'view'
  readonly scale: Scale
  readonly onState: (state: LinkState) => void
  readonly onNews: (news: ConsoleNews) => void
  /** The screen as it was when the connection ended. */
  readonly onPicture: (picture: Blob) => void
  /** Text was copied in the guest, as `plainGuestText` leaves it. Never called in mode `view`. */
  readonly onClipboard: (text: string) => void
}

export interface TypingOptions {
  readonly signal: AbortSignal
  /** Pause after each key transition, milliseconds. */
  readonly pauseMs: number
  readonly onProgress: (strokesDone: number) => void
}

/** Keys that change what others do; one of them left down makes the guest's keyboard useless. */
const MODIFIER = /^(Shift|Control|Alt|Meta)(Left|Right)$/

export class VncSession {
  private readonly link: ConsoleLink
  private readonly target: HTMLElement
  private readonly options: VncSessionOptions
  private Rfb: typeof RFB | null = null
  private rfb: RFB | null = null
  private scale: Scale
  private isDisposed = false
  private isHeldByOther = false
  /** Modifiers that are down in the guest. */
  private readonly held = new Set<string>()

  /** Connects at once. `target` must be empty and belong to this session until `dispose`. */
  constructor(target: HTMLElement, options: VncSessionOptions) {
    this.target = target
    this.options = options
    this.scale = options.scale
    this.link = new ConsoleLink({
      ticket: options.ticket,
      onNews: options.onNews,
      onSocket: (socket) => this.attach(socket),
      onSocketGone: () => this.detach(),
      onState: options.onState,
    })
    void this.load()
  }

  /** noVNC touches `window` when it is imported, so it is loaded here and not with the page. */
  private async load(): Promise<void> {
    this.options.onState({ kind: 'connecting' })
    try {
      const { default: Rfb } = await import('@novnc/novnc')
      if (this.isDisposed) return
      this.Rfb = Rfb
      this.link.connectNow()
    } catch (cause) {
      if (this.isDisposed) return
      this.options.onState({ kind: 'ended', why: 'failed', message: cause instanceof Error ? cause.message : '' })
    }
  }

  connectNow(): void {
    if (this.Rfb === null) void this.load()
    else this.link.connectNow()
  }

  wish(wish: Wish): void {
    this.link.wish(wish)
  }

  /** Somebody else has sole control, or no longer. The server decides; this keeps keys from going nowhere. */
  setHeldByOther(isHeld: boolean): void {
    this.isHeldByOther = isHeld
    // The server has let go of them.
    if (isHeld) this.held.clear()
    if (this.rfb !== null) this.rfb.viewOnly = this.options.mode === 'view' || isHeld
  }

  setScale(scale: Scale): void {
    this.scale = scale
    if (this.rfb !== null) this.applyScale(this.rfb)
  }

  focus(): void {
    this.rfb?.focus({ preventScroll: true })
  }

  /** Presses the keys in order and lets them go in reverse; names as in `KeyboardEvent.code`. */
  sendChord(codes: readonly string[]): void {
    for (const code of codes) this.send({ code, keysym: keysymFor(code), down: true })
    for (const code of codes.toReversed()) this.send({ code, keysym: keysymFor(code), down: false })
  }

  /** A key pressed or let go on the screen itself, which noVNC sends. */
  noteKey(code: string, down: boolean): void {
    if (!MODIFIER.test(code)) return
    if (down) this.held.add(code)
    else this.held.delete(code)
  }

  /**
   * What is still held when the keyboard is taken away would stay pressed in the guest. Only that: every event takes
   * room in QEMU's short queue.
   */
  releaseModifiers(): void {
    for (const code of [...this.held]) this.send({ code, keysym: keysymOfKey(code), down: false })
  }

  /** Types at a pace guests follow. @returns how many strokes were made: fewer than all when stopped or cut off */
  async type(strokes: readonly Stroke[], { signal, pauseMs, onProgress }: TypingOptions): Promise<number> {
    const { rfb } = this
    let done = 0
    for (const transition of transitionsOf(strokes)) {
      if (signal.aborted || this.rfb !== rfb || rfb === null) break
      this.send(transition)
      done = transition.strokesDone
      onProgress(done)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    this.releaseModifiers()
    return done
  }

  /** Makes the text what the guest pastes; the guest fetches it when it wants it. */
  setClipboard(text: string): void {
    this.rfb?.clipboardPasteFrom(text)
  }

  /** PNG of the screen as it is shown; null without a picture. */
  picture(): Promise<Blob | null> {
    const { rfb } = this
    if (rfb === null) return Promise.resolve(null)
    return new Promise((resolve) => rfb.toBlob(resolve, 'image/png'))
  }

  dispose(): void {
    this.isDisposed = true
    this.link.dispose()
  }

  private send({ code, keysym, down }: KeyTransition): void {
    this.rfb?.sendKey(keysym, code, down)
    this.noteKey(code, down)
  }

  private attach(socket: WebSocket): void {
    if (this.Rfb === null) return
    const rfb = new this.Rfb(this.target, socket, { shared: true })
    this.rfb = rfb
    rfb.background = 'transparent'
    rfb.viewOnly = this.options.mode === 'view' || this.isHeldByOther
    rfb.focusOnClick = true
    rfb.showDotCursor = true
    // On a link this short the guest's pixels cost less than compressing them twice.
    rfb.qualityLevel = 8
    rfb.compressionLevel = 1
    this.applyScale(rfb)
    rfb.addEventListener('connect', () => this.link.connected())
    rfb.addEventListener('clipboard', ({ detail }) => {
      this.options.onClipboard(plainGuestText(detail.text))
    })
    rfb.addEventListener('securityfailure', () => socket.close(1000))
  }

  private detach(): void {
    const { rfb } = this
    this.rfb = null
    this.held.clear()
    if (rfb === null) return
    try {
      if (!this.isDisposed) {
        rfb.toBlob((picture) => {
          if (picture !== null && !this.isDisposed) this.options.onPicture(picture)
        }, 'image/png')
      }
    } finally {
      // Harmless when the socket is closed already; otherwise this removes its canvas and listeners.
      rfb.disconnect()
    }
  }

  private applyScale(rfb: RFB): void {
    rfb.scaleViewport = this.scale === 'fit'
    rfb.clipViewport = false
  }
}

function keysymFor(code: string): number {
  return /^Key[A-Z]$/.test(code) ? keysymOfCharacter(code.charAt(3).toLowerCase()) : keysymOfKey(code)
}
