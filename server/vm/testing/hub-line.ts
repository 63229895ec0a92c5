/** A guest's serial line as the dashboard holds it, for `GuestShell`. */
import type { SerialHubHandle } from '#server/console/types.ts'

export class HubLine {
  readonly #hub: SerialHubHandle
  readonly #stop: () => void
  #text = ''
  #wake: (() => void) | undefined

  constructor(hub: SerialHubHandle) {
    this.#hub = hub
    const { head, tail } = hub.history()
    this.#text = Buffer.concat([head, tail]).toString('latin1')
    this.#stop = hub.subscribe((chunk) => {
      this.#text += Buffer.from(chunk).toString('latin1')
      this.#wake?.()
    })
  }

  get text(): string {
    return this.#text
  }

  send(text: string): void {
    this.#hub.write(Buffer.from(text))
  }

  /** @throws Error with the last text after `timeoutMs` */
  async expect(pattern: RegExp, timeoutMs = 30_000, from = 0): Promise<RegExpExecArray> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const match = pattern.exec(this.#text.slice(from))
      if (match) return match
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`${pattern} did not appear in ${timeoutMs} ms:\n${this.#text.slice(-2000)}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  close(): void {
    this.#stop()
  }
}
