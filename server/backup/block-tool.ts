/**
 * A QEMU without a machine that copies disks: it has the same block layer as a guest's QEMU, so that a guest that is off
 * is backed up like one that runs, and what a backup holds is read with every format and every file named.
 *
 * Two ways to lock it in. `jailed`: in namespaces of its own, without network, seeing nothing but the files named: for
 * files of unknown origin. `asGuest`: with the rights of the guest whose disks it opens, as the guest's own QEMU.
 *
 * It dies with the dashboard, and is asked to quit at the end: only then are dirty bitmaps written back to the disks.
 */
import { spawn } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import { Socket } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from '#server/engine/errors.ts'
import { type ChildExit, type ChildUser, findExecutable, spawnWithSocket } from '#server/platform/child.ts'
import { killOwn } from '#server/platform/process.ts'
import { attachQmp } from '#server/qmp/client.ts'
import type { QmpClient } from '#server/qmp/types.ts'
import { findProgram, TOOL_ENV } from '#server/storage/sandbox.ts'

export type Confinement =
  | { readonly kind: 'asGuest'; readonly user: ChildUser | null }
  | { readonly kind: 'jailed'; readonly readable: readonly string[]; readonly writable: readonly string[] }

export interface BlockToolOptions {
  readonly binary: string
  readonly confinement: Confinement
  readonly signal: AbortSignal
}

interface Process {
  readonly socket: Socket
  readonly exited: Promise<ChildExit>
  stderr(): string
  kill(): void
}

const START_MS = 20_000
const QUIT_MS = 30_000
const SYSTEM_DIRS = ['/usr', '/lib', '/lib64', '/bin', '/sbin', '/etc/ld.so.cache', '/etc/alternatives']

const QEMU_ARGS = [
  ...['-machine', 'none', '-accel', 'tcg', '-S', '-nodefaults', '-no-user-config', '-display', 'none'],
  ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  ...['-chardev', 'socket,id=mon0,fd=3', '-mon', 'chardev=mon0,mode=control'],
]

/** Arguments of bubblewrap that hide everything but the files named. */
export function jailArgs(readable: readonly string[], writable: readonly string[]): string[] {
  return [
    ...['--unshare-all', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--setenv', 'PATH', '/usr/bin:/bin', '--setenv', 'LANG', 'C.UTF-8', '--cap-drop', 'ALL'],
    ...SYSTEM_DIRS.filter((dir) => existsSync(dir)).flatMap((dir) => ['--ro-bind', dir, dir]),
    ...['--dev', '/dev', '--tmpfs', '/tmp'],
    ...readable.flatMap((path) => ['--ro-bind', path, path]),
    ...writable.flatMap((path) => ['--bind', path, path]),
    ...['--chdir', '/', '--'],
  ]
}

/** What a program that was installed below a directory of its own has there. */
const PARTS = ['bin', 'lib', 'lib64', 'libexec', 'share/qemu']

/**
 * A QEMU of the operator's own brings its files: `/opt/qemu/bin/qemu-system-x86_64` in `/opt/qemu`. Of that directory no more than
 * belongs to a program, as it may be somebody's home. @param program its path
 */
function filesOf(program: string): string[] {
  const files = [program, realpathSync(program)].flatMap((file) => {
    const dir = dirname(file)
    return basename(dir) === 'bin' ? PARTS.map((part) => join(dirname(dir), part)) : [file]
  })
  return files.filter((file) => existsSync(file) && !SYSTEM_DIRS.some((dir) => `${file}/`.startsWith(`${dir}/`)))
}

const InnerProcess = /"child-pid":\s*(\d+)/

/** Kills the inner process, the init of its namespaces; bubblewrap then ends by itself (`server/storage/sandbox.ts`). */
export async function spawnJailed(
  program: string,
  args: readonly string[],
  jail: { readonly readable: readonly string[]; readonly writable: readonly string[] },
): Promise<Process> {
  const bwrap = findProgram('bwrap')
  if (bwrap === null) {
    throw new EngineError(
      'internal',
      'bubblewrap is not installed, and backups are only opened locked in. Install it: apt-get install bubblewrap',
    )
  }
  // A name alone is looked up here: in the jail there is another PATH.
  const binary = findExecutable(program)
  if (binary === null) throw new EngineError('internal', `${program} is not installed.`)
  const prlimit = findProgram('prlimit')
  const line = [
    ...(prlimit === null ? [] : [prlimit, '--core=0', '--nofile=256', '--']),
    ...[bwrap, '--info-fd', '4', ...jailArgs([...filesOf(binary), ...jail.readable], jail.writable), binary, ...args],
  ]
  const child = spawn(line[0] ?? bwrap, line.slice(1), {
    ...{ cwd: '/', env: TOOL_ENV },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
  })
  let innerPid: number | null = null
  let stopping = false
  const kill = () => {
    stopping = true
    if (innerPid !== null) killOwn(innerPid)
  }
  let info = ''
  child.stdio[4]?.on('data', (bytes: Buffer) => {
    info += bytes.toString('latin1')
    const pid = InnerProcess.exec(info)?.[1]
    if (pid === undefined || innerPid !== null) return
    innerPid = Number(pid)
    if (stopping) kill()
  })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-16_384)
  })
  const exited = new Promise<ChildExit>((resolve) => {
    child.once('close', (code, signal) => {
      innerPid = null
      resolve({ code, signal })
    })
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', () => resolve())
    child.once('error', reject)
  })
  child.on('error', () => {})
  const socket = child.stdio[3]
  if (!(socket instanceof Socket)) throw new Error('bubblewrap was started without the control socket')
  return { socket, exited, stderr: () => said, kill }
}

/**
 * Runs `use` with a fresh block tool and ends it, whatever happened.
 * @throws EngineError when it does not start; what `use` throws; the signal's reason
 */
export async function withBlockTool<T>(options: BlockToolOptions, use: (qmp: QmpClient) => Promise<T>): Promise<T> {
  options.signal.throwIfAborted()
  const { confinement } = options
  const child: Process =
    confinement.kind === 'jailed'
      ? await spawnJailed(options.binary, QEMU_ARGS, confinement)
      : await spawnWithSocket(options.binary, QEMU_ARGS, { user: confinement.user })
  let qmp: QmpClient | null = null
  try {
    try {
      qmp = await attachQmp(child.socket, { timeoutMs: START_MS, signal: options.signal })
    } catch (error) {
      options.signal.throwIfAborted()
      throw new EngineError('internal', 'The helper that copies disks did not start; the server’s log has its words.', {
        cause: new Error(child.stderr().slice(-2000), { cause: error }),
      })
    }
    return await use(qmp)
  } finally {
    if (qmp !== null && !qmp.closed) await qmp.execute('quit').catch(() => {})
    const ended = await Promise.race([child.exited.then(() => true), sleep(QUIT_MS, false, { ref: false })])
    if (!ended || qmp === null) child.kill()
    qmp?.close()
    child.socket.destroy()
    await child.exited
  }
}

export type BlockNodeOptions = { [key: string]: string | boolean | null | BlockNodeOptions }

/** A chain of files as one read-only node, top first: formats named, nothing written in a file is followed. */
export function chainNode(
  name: string,
  files: readonly { readonly path: string; readonly format: 'raw' | 'qcow2' }[],
): BlockNodeOptions {
  const build = (depth: number): BlockNodeOptions => {
    const file = files[depth]
    if (file === undefined) throw new Error('an empty chain')
    return {
      driver: file.format,
      'node-name': depth === 0 ? name : `${name}-${depth}`,
      'read-only': true,
      ...(file.format === 'qcow2' && { backing: depth + 1 < files.length ? build(depth + 1) : null }),
      file: { driver: 'file', filename: file.path, 'read-only': true, locking: 'on' },
    }
  }
  return build(0)
}

/** A qcow2 file that is written. Whatever it stands on is not opened. */
export function targetNode(name: string, path: string): BlockNodeOptions {
  return {
    driver: 'qcow2',
    'node-name': name,
    backing: null,
    discard: 'unmap',
    file: { driver: 'file', filename: path, locking: 'on', discard: 'unmap' },
  }
}
