/** A guest under QEMU alone, without the dashboard: proves the test guests themselves. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AT_PROMPT } from './build.ts'

const CONNECT_TIMEOUT_MS = 10_000

/** One socket of the guest with all that came in so far; it is always drained. */
export class Line {
  readonly #socket: Socket
  #text = ''
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      this.#text += chunk
      this.#wake?.()
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#wake?.())
  }

  get text(): string {
    return this.#text
  }

  send(text: string): void {
    this.#socket.write(text)
  }

  /**
   * Waits until what came in from position `from` on matches.
   * @throws Error with the last text after `timeoutMs`, or when the other side closes before
   */
  async expect(pattern: RegExp, timeoutMs: number, from = 0): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const match = pattern.exec(this.#text.slice(from))
      if (match) return match
      const left = deadline - Date.now()
      if (left <= 0 || this.#socket.destroyed) {
        const when = this.#socket.destroyed ? 'before the line closed' : `in ${timeoutMs} ms`
        throw new Error(`${pattern} did not appear ${when}:\n${this.#text.slice(-2000)}`)
      }
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#wake = resolve
        }),
        sleep(Math.min(left, 250)),
      ])
    }
  }

  /** Types a line at the guest's shell and returns what it prints up to the next prompt. */
  async command(line: string, timeoutMs = 20_000): Promise<string> {
    const from = this.#text.length
    this.send(`${line}\n`)
    const match = await this.expect(new RegExp(`\\n([\\s\\S]*?)${AT_PROMPT.source}`), timeoutMs, from)
    return (match[1] ?? '').replaceAll('\r', '').trimEnd()
  }

  close(): void {
    this.#socket.destroy()
  }
}

export class PlainQemu {
  readonly #dir: string
  readonly #child: ChildProcess
  readonly exited: Promise<number | null>
  #stderr = ''

  private constructor(dir: string, child: ChildProcess) {
    this.#dir = dir
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr += chunk
    })
    this.exited = once(child, 'exit').then(([code]) => code)
  }

  /**
   * Starts QEMU under TCG with sockets `ser`, `qmp` and `qga` in a directory of its own, plus the given options. An
   * `-accel` among them replaces ours: a processor cannot be plugged in while the cache of translations is full, QEMU
   * aborts then (tcg/region.c, tcg_region_initial_alloc), and the boot of a generic kernel fills 64 MiB.
   * @param binary the installed QEMU unless given
   */
  static start(args: readonly string[], memoryMiB = 256, binary?: string): PlainQemu {
    const dir = mkdtempSync(join(tmpdir(), 'gq-'))
    const socket = (id: string) => `socket,id=${id},path=${join(dir, id)},server=on,wait=off`
    const child = spawn(
      binary ?? process.env.GUESTDECK_QEMU ?? 'qemu-system-x86_64',
      [
        ...['-M', 'q35', '-cpu', 'max', '-m', String(memoryMiB)],
        // QEMU takes the first one that works, not the last one given.
        ...(args.includes('-accel') ? [] : ['-accel', 'tcg,tb-size=64']),
        ...['-nodefaults', '-no-user-config', '-display', 'none'],
        ...['-chardev', socket('ser'), '-serial', 'chardev:ser'],
        ...['-chardev', socket('qmp'), '-mon', 'chardev=qmp,mode=control'],
        ...['-device', 'virtio-serial-pci', '-chardev', socket('qga')],
        ...['-device', 'virtserialport,chardev=qga,name=org.qemu.guest_agent.0'],
        ...args,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    return new PlainQemu(dir, child)
  }

  /** What QEMU complained of so far. */
  get stderr(): string {
    return this.#stderr
  }

  async connect(id: 'ser' | 'qmp' | 'qga'): Promise<Line> {
    const deadline = Date.now() + CONNECT_TIMEOUT_MS
    for (;;) {
      const socket = createConnection(join(this.#dir, id))
      try {
        await once(socket, 'connect')
        return new Line(socket)
      } catch (error) {
        socket.destroy()
        if (Date.now() > deadline || this.#child.exitCode !== null) {
          throw new Error(`QEMU is not there: ${this.#stderr}`, { cause: error })
        }
        await sleep(20)
      }
    }
  }

  /** Runs QMP commands one after the other on a connection of their own and returns each `return` or `error`. */
  async qmp(...commands: readonly { execute: string; arguments?: object }[]): Promise<unknown[]> {
    const line = await this.connect('qmp')
    const results: unknown[] = []
    for (const [id, command] of [{ execute: 'qmp_capabilities' }, ...commands].entries()) {
      line.send(`${JSON.stringify({ ...command, id })}\r\n`)
      const [reply] = await line.expect(new RegExp(`^\\{.*"id": ${id}[,}].*$`, 'm'), 10_000)
      results.push(JSON.parse(reply))
    }
    line.close()
    return results.slice(1)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL')
      await this.exited
    }
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
