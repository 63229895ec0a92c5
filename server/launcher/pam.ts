/**
 * Asks PAM. Node has no PAM without native modules, so `pamtester` does it: a small program that runs the same
 * conversation as `login`, for one user and one service, with the password on its standard input. It must run as root,
 * because PAM's own modules read what only root may.
 */
import { spawn } from 'node:child_process'
import { findExecutable } from '#server/platform/child.ts'

/** PAM makes wrong passwords slow by itself. */
const PAM_MS = 15_000

/** Authentication, then the account itself: expired, locked, not at this hour. */
export function askPam(service: string, name: string, password: string): Promise<boolean> {
  const program = findExecutable('pamtester')
  if (program === null) return Promise.resolve(false)
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
