/** A guest's serial console beside the browser: what the guest says about what the page did to it. */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { AT_PROMPT, READY_TEXT } from '#e2e/guests/build.ts'
import type { Api } from './api.ts'

/** TCG on a busy machine with two processors. */
const BOOT_TIMEOUT_MS = 100_000
const COMMAND_TIMEOUT_MS = 30_000

export class GuestLine {
  readonly #socket: WebSocket
  #text = ''
  #wake: (() => void) | undefined

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (bytes: Buffer) => {
      this.#text += bytes.toString('latin1')
      this.#wake?.()
    })
    socket.on('close', () => this.#wake?.())
  }

  /** The history comes first. @throws Error when the console refuses */
  static async open(
    api: Pick<Api, 'call' | 'headers'> & { dashboard: { url: string } },
    vmId: string,
  ): Promise<GuestLine> {
    const { ticket, path } = await api.call<{ ticket: string; path: string }>('POST', `/vms/${vmId}/console-tickets`, {
      kind: 'serial',
      mode: 'control',
    })
    const url = `${api.dashboard.url.replace(/^http/, 'ws')}${path}`
    const socket = new WebSocket(url, ['binary', ticket], { headers: api.headers })
    const line = new GuestLine(socket)
    await once(socket, 'open')
    return line
  }

  /** All that came in so far. */
  get text(): string {
    return this.#text
  }

  send(text: string): void {
    this.#socket.send(Buffer.from(text))
  }

  /** Waits until the guest's shell takes commands. */
  async booted(): Promise<void> {
    await this.expect(new RegExp(`${READY_TEXT}[^]*${AT_PROMPT.source}`), BOOT_TIMEOUT_MS)
  }

  /**
   * Waits until what the guest said from position `from` on matches.
   * @throws Error with the last text after `timeoutMs`, or when the console ends before
   */
  async expect(pattern: RegExp, timeoutMs = COMMAND_TIMEOUT_MS, from = 0): Promise<RegExpExecArray> {
    const late = AbortSignal.timeout(timeoutMs)
    const end = new Promise<void>((resolve) => late.addEventListener('abort', () => resolve()))
    for (;;) {
      const match = pattern.exec(this.#text.slice(from))
      if (match) return match
      if (late.aborted || this.#socket.readyState > WebSocket.OPEN) {
        throw new Error(`${pattern} did not appear in ${timeoutMs} ms:\n${this.#text.slice(-2000)}`)
      }
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await Promise.race([more, end])
    }
  }

  /** Types a line at the guest's shell and returns what it prints up to the next prompt. */
  async command(line: string): Promise<string> {
    const from = this.#text.length
    this.send(`${line}\n`)
    const match = await this.expect(new RegExp(`\\n([^]*?)${AT_PROMPT.source}`), COMMAND_TIMEOUT_MS, from)
    return (match[1] ?? '').replaceAll('\r', '').trimEnd()
  }

  close(): void {
    this.#socket.terminate()
  }
}
