/**
 * Accounts of the host, through PAM. Node has no PAM without native modules, so `pamtester` asks it: a small program that
 * runs the same conversation as `login`, for one user and one service, with the password on its standard input. It must
 * run as root, because PAM's own modules read what only root may. Root itself is never let in.
 */
import { spawn } from 'node:child_process'
import type { HostSettings } from '#lib/schema/sign-in.ts'
import { UserName } from '#lib/schema/user.ts'
import { EngineError } from '#server/engine/errors.ts'
import { captureOutput, findExecutable } from '#server/platform/child.ts'

/** PAM makes wrong passwords slow by itself. */
const PAM_MS = 15_000
const LOOK_MS = 3000
const AT_ONCE = 2
const QUEUE_MAX = 20

export interface HostPerson {
  readonly name: string
  readonly groups: readonly string[]
}

/** Why the host's accounts cannot be used; null where they can. */
export function hostAccountsUnavailable(): string | null {
  if (process.getuid?.() !== 0) return 'Only a dashboard that runs as root can ask PAM.'
  return findExecutable('pamtester') === null ? 'The program pamtester is not installed.' : null
}

let running = 0
const waiting: (() => void)[] = []

async function queued<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) {
    if (waiting.length >= QUEUE_MAX) {
      throw new EngineError('busy', 'Too many people are signing in at this moment; try again in a few seconds.')
    }
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else {
    running += 1
  }
  try {
    return await work()
  } finally {
    const next = waiting.shift()
    if (next) next()
    else running -= 1
  }
}

/** Whatever an account is called: with the uid 0 it is root. @param text what `id -u` says */
export const isOrdinaryUid = (text: string): boolean => /^[1-9]\d*\n$/.test(text)

/** Authentication, then the account itself: expired, locked, not at this hour. */
function askPam(program: string, service: string, name: string, password: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, [service, name, 'authenticate', 'acct_mgmt'], {
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C', NODE_ENV: 'production' },
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), PAM_MS)
    child.once('error', () => {
      clearTimeout(timer)
      resolve(false)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve(code === 0)
    })
    // It may have ended without reading.
    child.stdin.on('error', () => {})
    child.stdin.end(`${password}\n`)
  })
}

/** Null: no such person, root, or not their password. @throws EngineError sign_in_failed, busy */
export async function hostSignIn(settings: HostSettings, name: string, password: string): Promise<HostPerson | null> {
  const reason = hostAccountsUnavailable()
  const pamtester = findExecutable('pamtester')
  if (reason !== null || pamtester === null) throw new EngineError('sign_in_failed', reason ?? 'pamtester is missing.')
  // A line break would be a second answer; a name that begins with a dash an option.
  if (!UserName.safeParse(name).success || password === '' || /[\0\n\r]/.test(password)) return null
  const uid = await captureOutput('/usr/bin/id', ['-u', '--', name], { timeoutMs: LOOK_MS })
  const right = await queued(() => askPam(pamtester, settings.service, name, password))
  if (!right || uid?.code !== 0 || !isOrdinaryUid(uid.stdout)) return null
  const groups = await captureOutput('/usr/bin/id', ['-Gn', '--', name], { timeoutMs: LOOK_MS })
  if (groups?.code !== 0) return null
  return { name, groups: groups.stdout.trim().split(' ') }
}
