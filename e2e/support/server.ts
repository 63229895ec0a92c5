/** The real dashboard as a process of its own, in directories of its own, for tests from outside. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { CACHE_DIR } from '#e2e/guests/cache.ts'
import { endProcessesUsing, guestProcess } from './leftovers.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 15_000
const SETUP_CODE_MS = 100
const LOG_LIMIT = 2_000_000

export interface DashboardOptions {
  /** Serve the API alone: needs no `next build`. */
  readonly apiOnly?: boolean
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export class Dashboard {
  readonly #options: DashboardOptions
  readonly #dir: string
  readonly port: number
  #child: ChildProcess | undefined
  #log = ''
  #setupCode: string | null = null
  #address = ''

  private constructor(options: DashboardOptions, dir: string, port: number) {
    this.#options = options
    this.#dir = dir
    this.port = port
  }

  /**
   * Starts a dashboard on a free port of loopback and waits until it says that it is ready. Files under the guests'
   * cache may be registered as images.
   * @throws Error with its log when it ends, or is not ready within a minute
   */
  static async start(options: DashboardOptions = {}): Promise<Dashboard> {
    // Short, for the sockets in it; open to guests, which run as users of their own.
    const dir = mkdtempSync('/tmp/gd-')
    chmodSync(dir, 0o711)
    mkdirSync(join(dir, 'run'))
    mkdirSync(join(dir, 'pools'), { mode: 0o755 })
    const dashboard = new Dashboard(options, dir, await freePort())
    try {
      await dashboard.launch()
    } catch (error) {
      await dashboard.dispose()
      throw error
    }
    return dashboard
  }

  /** As the dashboard itself printed it, without a slash at the end. */
  get url(): string {
    return this.#address
  }
  get dataDir(): string {
    return join(this.#dir, 'data')
  }
  /** Below it administrators may make storage pools. */
  get poolsDir(): string {
    return join(this.#dir, 'pools')
  }
  get runDir(): string {
    return join(this.#dir, 'run')
  }
  /** Everything printed so far, over all launches. */
  get log(): string {
    return this.#log
  }
  /** Printed until an administrator exists. */
  get setupCode(): string {
    if (this.#setupCode === null) throw new Error(`No setup code was printed:\n${this.#log}`)
    return this.#setupCode
  }
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('The dashboard does not run')
    return this.#child.pid
  }
  /** The guest's QEMU process; null when it does not run. */
  guestPid(vmId: string): number | null {
    return guestProcess(this.runDir, vmId)
  }

  /** Starts it again after `stop` or `kill9`, in the same directories and on the same port. */
  async launch(): Promise<void> {
    if (this.#child) throw new Error('The dashboard already runs')
    const { apiOnly = false, args = [], env = {} } = this.#options
    const child = spawn(
      process.execPath,
      [
        'server/main.ts',
        ...['--host', '127.0.0.1', '--port', String(this.port), '--data', this.dataDir],
        ...(apiOnly ? ['--api-only'] : []),
        ...args,
      ],
      {
        cwd: ROOT,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...process.env,
          NODE_ENV: 'production',
          GUESTDECK_RUN: this.runDir,
          GUESTDECK_ACCEL: 'tcg',
          GUESTDECK_IMAGE_DIRS: CACHE_DIR,
          GUESTDECK_POOL_DIRS: this.poolsDir,
          ...env,
        },
      },
    )
    this.#child = child
    const from = this.#log.length
    await new Promise<void>((ready, fail) => {
      const give = (reason: string) => fail(new Error(`The dashboard ${reason}:\n${this.#log.slice(from)}`))
      const timer = setTimeout(() => give(`was not ready in ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS)
      const take = (chunk: string) => {
        this.#log = (this.#log + chunk).slice(-LOG_LIMIT)
        const said = this.#log.slice(Math.min(from, this.#log.length))
        this.#setupCode = /^Setup code: (\S+)/m.exec(said)?.[1] ?? this.#setupCode
        const address = /^Guestdeck is ready at (http\S+?)\/?$/m.exec(said)?.[1]
        if (address === undefined) return
        this.#address = address
        clearTimeout(timer)
        // The setup code follows in a breath, when there is one.
        setTimeout(ready, /^Setup code: /m.test(said) ? 0 : SETUP_CODE_MS)
      }
      child.stdout.setEncoding('utf8').on('data', take)
      child.stderr.setEncoding('utf8').on('data', take)
      child.once('exit', (code, signal) => {
        clearTimeout(timer)
        if (this.#child === child) this.#child = undefined
        give(`ended with ${code ?? signal}`)
      })
    })
  }

  /** Ends it as a crash would: guests and their sockets stay. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends it in order; guests stay. @throws Error when it takes longer than 15 s */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.launch()
  }

  /** Ends the dashboard and all its guests, and removes its directories. */
  async dispose(): Promise<void> {
    await this.#end('SIGKILL')
    await endProcessesUsing(this.runDir)
    rmSync(this.#dir, { recursive: true, force: true })
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (!child) return
    const exited = once(child, 'exit', { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) })
    child.kill(signal)
    await exited
    this.#child = undefined
  }
}

/** Free a moment ago; the dashboard keeps it over restarts, as a browser would expect. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no TCP address')
  return address.port
}
