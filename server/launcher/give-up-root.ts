/**
 * From root to the dashboard's own user: what it needs is made its own, the launcher is started, and root is given up for
 * good. Done once, before anything of the web is there.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, lstatSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { captureOutput, findExecutable } from '#server/platform/child.ts'
import { identityArgs, NO_CAPABILITIES } from '#server/platform/setpriv.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'
import { type Launcher, startLauncher } from './client.ts'
import type { LauncherSettings } from './guarded.ts'

const LOOK_MS = 10_000

/** The dashboard's user has the number of its group; neither needs an entry in /etc/passwd. */
interface Ids {
  readonly id: number
  readonly readersGid: number
}

export function dashboardIds({ readersGid, dashboardGid }: GuestIdentity): Ids | null {
  return readersGid === null || dashboardGid === null ? null : { id: dashboardGid, readersGid }
}

/**
 * Why the dashboard has to stay root; null when it need not. Asked of the kernel, as that user.
 * @param program directory of the dashboard's own files
 * @param files what else it has to open
 */
export async function whyStayRoot(ids: Ids | null, program: string, files: readonly string[]): Promise<string | null> {
  if (ids === null) return 'this container’s user namespace has no room for users of their own'
  const setpriv = findExecutable('setpriv')
  if (setpriv === null || findExecutable('find') === null) return 'the programs setpriv and find are not both installed'
  const user = { uid: ids.id, gid: ids.id, groups: groupsOf(ids) }
  const own = ['package.json', 'server/main.ts', 'node_modules/fastify/package.json', '.next/BUILD_ID']
  const mine = [process.execPath, ...own.map((name) => join(program, name)).filter(existsSync)]
  const words = [...identityArgs(user), '--no-new-privs', ...NO_CAPABILITIES, '--']
  const looks = ['/bin/sh', '-c', 'for file; do [ -r "$file" ] || { echo "$file"; exit 1; }; done', 'sh']
  const answer = await captureOutput(setpriv, [...words, ...looks, ...mine, ...files], { timeoutMs: LOOK_MS })
  if (answer?.code === 0) return null
  const closed = answer?.stdout.trim() ?? ''
  if (closed === '') return 'it may not become another user here'
  if (files.includes(closed)) return `other users cannot read ${closed}`
  return `its own files are closed to other users (${closed}). Install the package, or move it to a place like /opt`
}

/** For what a probe or a tool opens, as guests do. Never root's own group, whatever the device says. */
function groupsOf({ readersGid }: Ids): number[] {
  const device = statSync('/dev/kvm', { throwIfNoEntry: false })
  const named = /^kvm:[^:]*:(\d+):/m.exec(existsSync('/etc/group') ? readFileSync('/etc/group', 'latin1') : '')?.[1]
  const kvm = device?.gid ?? Number(named ?? 0)
  return kvm === 0 ? [readersGid] : [readersGid, kvm]
}

/** Of what find says, the end is enough. */
const SETTLE = { stdio: ['ignore', 'ignore', 'pipe'] as ['ignore', 'ignore', 'pipe'], maxBuffer: 2 ** 20 }

/** Makes what is root's below `dir` the dashboard's; `-execdir` works within the directory that was found. */
function settle(dir: string, id: number): void {
  const real = realpathSync(dir)
  // A second name may be one that somebody has given to a file of root's.
  const kinds = ['(', '-type', 'd', '-o', '-type', 's', '-o', '-type', 'f', '-links', '1', ')']
  const words = [
    // Guests that run may remove what is theirs meanwhile.
    ...[real, '-ignore_readdir_race', '-depth', '-uid', '0', '(', '('],
    ...['-gid', '0', ...kinds, '-execdir', 'chgrp', '-h', String(id), '{}', '+', ')', ',', '('],
    ...[...kinds, '-execdir', 'chown', '-h', String(id), '{}', '+', ')', ')'],
  ]
  execFileSync('find', words, { ...SETTLE, env: { PATH: '/usr/bin:/bin', NODE_ENV: 'production' }, cwd: '/' })
}

/** Groups of guests are made and limited by the dashboard; to move a process there is the launcher's. @throws Error */
export function settleGroups(dir: string, id: number): void {
  for (const name of ['', 'cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads'])
    chownSync(join(dir, name), id, id)
  for (const name of readdirSync(dir)) {
    const group = join(dir, name)
    if (!lstatSync(group).isDirectory()) continue
    chownSync(group, id, id)
    for (const file of readdirSync(group))
      if (lstatSync(join(group, file)).isFile()) chownSync(join(group, file), id, id)
  }
}

/**
 * Makes the dashboard's directories its own; idempotent.
 * @returns why they could not all be handed over, in a few words; null: they were
 */
export function settleDirs({ id }: Ids, dirs: readonly string[]): string | null {
  for (const dir of dirs) {
    try {
      settle(dir, id)
      chmodSync(dir, 0o711)
    } catch (error) {
      const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim().split('\n').at(-1) : null
      return `what is in ${dir} cannot all be given to another user (${said || String(error)})`
    }
  }
  return null
}

/** Starts the launcher and gives root up for good. @throws Error when it cannot be started */
export function giveUpRoot(ids: Ids, settings: LauncherSettings): Launcher {
  const launcher = startLauncher(settings)
  process.setgroups?.(groupsOf(ids))
  process.setgid?.(ids.id)
  process.setuid?.(ids.id)
  process.env.HOME = settings.dataDir
  return launcher
}

/**
 * Root's command on the data directory of a dashboard that is not root works as that dashboard does: names in there may
 * lead anywhere, if somebody has taken it over.
 */
export function becomeOwnerOf(dir: string): void {
  const { uid, gid } = statSync(dir)
  if (process.getuid?.() !== 0 || uid === 0) return
  process.setgroups?.([gid])
  process.setgid?.(gid)
  process.setuid?.(uid)
}
