/**
 * For tests: the dashboard as a process of its own, on a data directory that goes away with the test. Importing it
 * makes that directory before each test and ends every process after it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import { endProcessesUsing } from '#e2e/support/leftovers.ts'
import { keep, keptDirectory, takeKept } from './kept.ts'

const ROOT = join(import.meta.dirname, '../..')
export const PASSWORD = 'correct horse battery'
export let dir: string
let children: ChildProcess[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-'))
  // Guests have users of their own and must be able to pass.
  chmodSync(dir, 0o711)
  // For orders that a dashboard without root takes away.
  mkdirSync(join(dir, 'kill'))
  chmodSync(join(dir, 'kill'), 0o777)
})
afterEach(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
  }
  children = []
  // Guests outlive whoever started them, by design.
  await endProcessesUsing(join(dir, 'r'))
  rmSync(dir, { recursive: true, force: true })
})

/** Of an orphan, nobody may have taken the exit status yet: a zombie does not run. */
export function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

export interface Run {
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  out(): string
  err(): string
}

/** @returns path of a program, or of what is loaded before one, as `join-programs.ts` makes it */
export function joined(name: 'main' | 'kill-points' | 'kill-at' | 'moved-clock'): string {
  const make = (to: string) => execFileSync(process.execPath, [join(import.meta.dirname, 'join-programs.ts'), to])
  return join(keptDirectory('programs', make), `${name}.mjs`)
}

export function run(program: string, args: string[], input?: string, env: Record<string, string> = {}): Run {
  const before = env.GUESTDECK_TEST_KILL === undefined ? [] : ['--import', joined('kill-points')]
  const path = program === 'server/main.ts' ? joined('main') : join(ROOT, program)
  const child = spawn(process.execPath, [...before, path, ...args], {
    env: {
      ...process.env,
      GUESTDECK_RUN: join(dir, 'r'),
      GUESTDECK_DATA: join(dir, 'd'),
      GUESTDECK_ACCEL: 'tcg',
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  children.push(child)
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk) => {
    out += chunk
  })
  child.stderr?.on('data', (chunk) => {
    err += chunk
  })
  child.stdin?.end(input ?? '')
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  return { child, ended, out: () => out, err: () => err }
}

/** With what an earlier one of this run found out about QEMU, where that is still so. */
export function server(args: string[] = [], env?: Record<string, string>): Run {
  if (existsSync(join(dir, 'd')) && !existsSync(capabilities())) takeKept('capabilities.json', capabilities())
  return run('server/main.ts', ['--api-only', '--port', '0', ...args], undefined, env)
}
const capabilities = () => join(dir, 'd/capabilities.json')
export const deck = (args: string[], input?: string) => run('cli/guestdeck.mjs', args, input)

export async function ready(started: Run): Promise<number> {
  await expect
    .poll(started.out, { timeout: 60_000, message: started.err() })
    .toContain('Guestdeck is ready at http://127.0.0.1:')
  keep('capabilities.json', capabilities())
  return Number(/127\.0\.0\.1:(\d+)/.exec(started.out())?.[1])
}

/** An administrator called ann, and an API token of hers: on a fresh directory those that the command made first. */
export async function token(): Promise<string> {
  const store = join(dir, 'd/state.db')
  const ann = join(dir, 'ann')
  const isFresh = !existsSync(join(dir, 'd'))
  if (isFresh && takeKept('ann', ann)) {
    mkdirSync(dirname(store), { mode: 0o711 })
    renameSync(join(ann, 'state.db'), store)
    return readFileSync(join(ann, 'secret'), 'utf8')
  }
  const added = deck(['user', 'add', 'ann', '--role', 'admin', '--password-stdin'], `${PASSWORD}\n`)
  expect(await added.ended).toBe(0)
  const created = deck(['token', 'create', '--user', 'ann', '--label', 'test'])
  expect(await created.ended).toBe(0)
  expect(created.out()).toMatch(/^gd_[A-Za-z0-9_-]{43}\n$/)
  if (isFresh) {
    mkdirSync(ann)
    copyFileSync(store, join(ann, 'state.db'))
    writeFileSync(join(ann, 'secret'), created.out().trim())
    keep('ann', ann)
  }
  return created.out().trim()
}
