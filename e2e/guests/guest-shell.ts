/** Commands in a test guest over its serial line, with what they print and how they end. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { AT_PROMPT } from './build.ts'
import { Line } from './plain-qemu.ts'

/** TCG on a busy machine with two processors. */
const BOOT_TIMEOUT_MS = 150_000
const COMMAND_TIMEOUT_MS = 60_000
const POLL_MS = 250
const NUDGE_MS = 5_000
/** The guest's line editor takes 1,023 characters. */
const MAX_TYPED = 900

/** A serial line, whatever carries it: a socket of QEMU (`Line`) or the dashboard's console (`GuestLine`). */
export interface GuestChannel {
  /** All that came in so far. */
  readonly text: string
  send(text: string): void
  expect(pattern: RegExp, timeoutMs?: number, from?: number): Promise<RegExpExecArray>
  close(): void
}

export interface CommandResult {
  /** stdout and stderr, without carriage returns and without the last line's end. */
  readonly output: string
  readonly status: number
}

export class GuestShell {
  readonly #channel: GuestChannel
  /** A console's history may hold what another shell ran. */
  readonly #tag = randomBytes(3).toString('hex')
  #count = 0

  private constructor(channel: GuestChannel) {
    this.#channel = channel
  }

  /** Waits for the guest's shell on a unix socket that QEMU listens on, such as `ser` of a `PlainQemu`. */
  static async connect(socketPath: string, timeoutMs = BOOT_TIMEOUT_MS): Promise<GuestShell> {
    const socket = createConnection(socketPath)
    await once(socket, 'connect')
    return GuestShell.over(new Line(socket), timeoutMs)
  }

  /**
   * Waits for the guest's shell on a line that is open already. The shell may have been there for long: then its
   * prompt is asked for.
   * @throws Error with the last text when there is no prompt after `timeoutMs`
   */
  static async over(channel: GuestChannel, timeoutMs = BOOT_TIMEOUT_MS): Promise<GuestShell> {
    const shell = new GuestShell(channel)
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const askedAt = Date.now()
      const waitMs = Math.min(Math.max(deadline - askedAt, 1), NUDGE_MS)
      try {
        await channel.expect(AT_PROMPT, waitMs)
        break
      } catch (error) {
        const isOver = Date.now() >= deadline || Date.now() - askedAt < waitMs / 2
        if (isOver) throw error
        // A guest that still boots takes no notice.
        channel.send('\n')
      }
    }
    // The kernel writes to the same line.
    await shell.run('dmesg -n 1')
    return shell
  }

  /**
   * Runs a command line of busybox's ash, which may hold several lines, in a subshell without input.
   * @throws Error with what was printed so far when it has not ended after `timeoutMs`; it is then interrupted
   */
  async run(command: string, timeoutMs = COMMAND_TIMEOUT_MS): Promise<CommandResult> {
    const id = `${this.#tag}-${++this.#count}`
    const from = this.#channel.text.length
    // The line editor echoes what is typed, where the separator (RS) is still spelled out.
    const quoted = await this.#pass(command)
    this.#channel.send(
      `printf '\\036%s\\036' b${id}; (eval ${quoted}) </dev/null; printf '\\036%s:%d\\036' e${id} $?\n`,
    )
    const pattern = new RegExp(`\\x1eb${id}\\x1e([^]*?)\\x1ee${id}:(\\d+)\\x1e[^]*${AT_PROMPT.source}`)
    try {
      const [, output = '', status] = await this.#channel.expect(pattern, timeoutMs, from)
      return { output: output.replaceAll('\r', '').replace(/\n$/, ''), status: Number(status) }
    } catch (error) {
      await this.#interrupt()
      throw new Error(`In the guest, ${JSON.stringify(command)} did not end in ${timeoutMs} ms`, { cause: error })
    }
  }

  /** As `run`, for commands that must succeed. @returns the output @throws Error with it when the status is not 0 */
  async output(command: string, timeoutMs = COMMAND_TIMEOUT_MS): Promise<string> {
    const { output, status } = await this.run(command, timeoutMs)
    if (status !== 0) throw new Error(`In the guest, ${JSON.stringify(command)} ended with ${status}:\n${output}`)
    return output
  }

  /**
   * Runs a command again and again until its output matches, for what a guest does in its own time after hotplug.
   * @throws Error with the last output after `timeoutMs`
   */
  async until(command: string, pattern: RegExp, timeoutMs = COMMAND_TIMEOUT_MS): Promise<string> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const { output } = await this.run(command, timeoutMs)
      if (pattern.test(output)) return output
      if (Date.now() > deadline) {
        throw new Error(
          `In the guest, ${JSON.stringify(command)} did not print ${pattern} in ${timeoutMs} ms:\n${output}`,
        )
      }
      await sleep(POLL_MS)
    }
  }

  /** Types without waiting, as for `poweroff -f`. */
  send(text: string): void {
    this.#channel.send(text)
  }

  close(): void {
    this.#channel.close()
  }

  /** @returns the command as one word of the guest's shell; a long one goes there in pieces first */
  async #pass(command: string): Promise<string> {
    if (quote(command).length <= MAX_TYPED) return quote(command)
    const piece = MAX_TYPED / 4
    await this.#type(': >/tmp/command')
    for (let at = 0; at < command.length; at += piece) {
      await this.#type(`printf %s ${quote(command.slice(at, at + piece))} >>/tmp/command`)
    }
    return '"$(cat /tmp/command)"'
  }

  /** What is typed before the interrupt is through is lost with it. */
  async #interrupt(): Promise<void> {
    const from = this.#channel.text.length
    this.#channel.send('\x03')
    await this.#channel.expect(AT_PROMPT, NUDGE_MS, from).catch(() => {})
  }

  async #type(line: string): Promise<void> {
    const from = this.#channel.text.length
    this.#channel.send(`${line}\n`)
    await this.#channel.expect(new RegExp(`\\n[^]*${AT_PROMPT.source}`), COMMAND_TIMEOUT_MS, from)
  }
}

/** One word for ash on one line of plain ASCII: $'…' takes C escapes. */
function quote(text: string): string {
  const bytes = [...Buffer.from(text, 'utf8')].map((byte) => {
    const char = String.fromCharCode(byte)
    return byte < 0x20 || byte > 0x7e || char === "'" || char === '\\' ? `\\${byte.toString(8).padStart(3, '0')}` : char
  })
  return `$'${bytes.join('')}'`
}
