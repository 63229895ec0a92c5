/** A real dashboard for the bench: own data and run directories, an administrator, a token, keep-alive requests. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { API_BASE } from '#lib/api/contract.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { endOf } from './libvirt.ts'

export interface Deck {
  readonly base: string
  readonly port: number
  readonly pid: number
  readonly token: string
  readonly runDir: string
  readonly dataDir: string
  /** JSON request with the token. @throws Error on any status ≥ 400 */
  call<T>(method: string, path: string, body?: unknown): Promise<T>
  /** The same without parsing; returns the number of bytes. */
  fetchBytes(path: string): Promise<number>
  create(name: string, spec?: Record<string, unknown>): Promise<Vm>
  /** The administrator, for signing in from a browser. */
  readonly person: { name: string; password: string }
  /** `kill -9`, then a new process on the same directories; resolves when it says it is ready. */
  killAndRestart(): Promise<void>
  stop(): Promise<void>
}

export interface DeckOptions {
  /** Serve pages too. */
  readonly pages?: boolean
  readonly env?: Record<string, string>
}

export async function startDeck(options: DeckOptions = {}): Promise<Deck> {
  const root = mkdtempSync('/tmp/gdb-')
  const dataDir = join(root, 'data')
  const runDir = join(root, 'run')
  let child: ChildProcess
  let port = 0
  let setupCode = ''
  const launch = async () => {
    child = spawn(
      process.execPath,
      [
        '--max-old-space-size=256',
        'server/main.ts',
        '--port',
        String(port),
        '--data',
        dataDir,
        ...(options.pages ? [] : ['--api-only']),
      ],
      {
        env: { ...process.env, NODE_ENV: 'production', GUESTDECK_RUN: runDir, GUESTDECK_LOG: 'error', ...options.env },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const started = child
    let text = ''
    await new Promise<void>((resolve, reject) => {
      started.once('exit', (code) => reject(new Error(`the dashboard ended with ${code}: ${text}`)))
      started.stdout?.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        const ready = /ready at http:\/\/[^:]+:(\d+)/.exec(text)
        setupCode = /Setup code: (\S+)/.exec(text)?.[1] ?? setupCode
        if (ready && (setupCode !== '' || token !== '')) {
          port = Number(ready[1])
          resolve()
        }
      })
    })
  }
  let token = ''
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const send = (method: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; text: string; bytes: number; cookie: string }>((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const outgoing = request(
        {
          host: '127.0.0.1',
          port,
          agent,
          method,
          path: API_BASE + path,
          headers: {
            ...(token !== '' && { authorization: `Bearer ${token}` }),
            ...(text !== undefined && {
              'content-type': 'application/json',
              'content-length': String(Buffer.byteLength(text)),
            }),
            ...headers,
          },
        },
        (incoming) => {
          const chunks: Buffer[] = []
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
          incoming.on('end', () => {
            const all = Buffer.concat(chunks)
            resolve({
              status: incoming.statusCode ?? 0,
              text: all.toString(),
              bytes: all.length,
              cookie: (incoming.headers['set-cookie'] ?? []).map((line) => line.split(';')[0]).join('; '),
            })
          })
          incoming.on('error', reject)
        },
      )
      outgoing.on('error', reject)
      outgoing.end(text)
    })
  const checked = async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
    const answer = await send(method, path, body, headers)
    if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.text.slice(0, 600)}`)
    return answer
  }
  await launch()
  const origin = `http://127.0.0.1:${port}`
  const person = { name: 'bench', password: 'a long bench password' }
  const setup = await checked('POST', '/setup', { code: setupCode, ...person }, { origin })
  const minted = await checked('POST', '/tokens', { label: 'bench' }, { origin, cookie: setup.cookie })
  token = (JSON.parse(minted.text) as { token: string }).token

  return {
    base: origin,
    get port() {
      return port
    },
    get pid() {
      return child.pid ?? 0
    },
    get token() {
      return token
    },
    runDir,
    dataDir,
    person,
    call: async <T>(method: string, path: string, body?: unknown) => {
      const { text } = await checked(method, path, body)
      return (text === '' ? undefined : JSON.parse(text)) as T
    },
    fetchBytes: async (path) => (await checked('GET', path)).bytes,
    create: async (name, spec = {}) => JSON.parse((await checked('POST', '/vms', { name, ...spec })).text) as Vm,
    killAndRestart: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
      await launch()
    },
    stop: async () => {
      agent.destroy()
      await endOf(child)
      killGuests(runDir)
      rmSync(root, { recursive: true, force: true })
    },
  }
}

/** Ends every QEMU left in a run directory of ours, after checking that the process is the one the pidfile means. */
function killGuests(runDir: string): void {
  let names: string[] = []
  try {
    names = readdirSync(runDir)
  } catch {
    return
  }
  for (const vmId of names) {
    try {
      const pid = Number(readFileSync(join(runDir, vmId, 'pid'), 'utf8'))
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(vmId)) process.kill(pid, 'SIGKILL')
    } catch {
      // Already gone.
    }
  }
}
