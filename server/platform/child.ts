/**
 * Short-lived children that are waited for: version queries and throw-away QEMUs.
 * They never outlive their purpose: killed at the deadline, and by the kernel when the dashboard dies (`setpriv --pdeathsig`).
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { Socket } from 'node:net'
import { delimiter, isAbsolute, join } from 'node:path'
import { ownUid } from './privileges.ts'
import { identityArgs, NO_CAPABILITIES, type RunUser } from './setpriv.ts'

const STDERR_KEEP_BYTES = 16 * 1024
const STDERR_GRACE_MS = 200
/** Enough for every program run here; a caller's variables (LD_PRELOAD, QEMU_*) must not change what is found. */
const CLEAN_ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LANG: 'C.UTF-8',
  // Next's types demand it of every environment; no program run here reads it.
  NODE_ENV: 'production' as const,
}

/** Absolute path of an executable, by path or by name along PATH and the usual system directories; null when there is none. */
export function findExecutable(program: string, path: string = process.env.PATH ?? ''): string | null {
  if (isAbsolute(program)) return isExecutable(program) ? program : null
  if (program.includes('/')) return null
  for (const dir of [...path.split(delimiter), ...CLEAN_ENVIRONMENT.PATH.split(':')]) {
    if (!isAbsolute(dir)) continue
    const candidate = join(dir, program)
    if (isExecutable(candidate)) return candidate
  }
  return null
}

function isExecutable(path: string): boolean {
  try {
    // First what throws nothing where there is nothing, as in most directories of PATH.
    if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** User a child runs as; null keeps ours. */
export type ChildUser = RunUser

export interface ChildExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ChildWithSocket {
  readonly pid: number
  /** Our end of the stream pair; the child has the other as descriptor 3. */
  readonly socket: Socket
  /** Resolves when it ended and its stderr is read. */
  readonly exited: Promise<ChildExit>
  /** The last 16 KiB the child wrote to stderr. */
  stderr(): string
  /** SIGKILL; harmless when it is gone. */
  kill(): void
}

/**
 * Starts a program with one end of a connected unix stream pair as descriptor 3: no socket file, nothing to clean up.
 * Runs as `user` where given and we are root, else as ourselves, who then have the group of what is the guest's; without new
 * privileges.
 * @throws the system error when it cannot be started
 */
export async function spawnWithSocket(
  program: string,
  args: readonly string[],
  options: { user?: ChildUser | null } = {},
): Promise<ChildWithSocket> {
  const user = ownUid() === 0 ? (options.user ?? null) : null
  const setpriv = findExecutable('setpriv')
  const prlimit = findExecutable('prlimit')
  const [file = program, ...argv] = [
    // A QEMU that aborts while it is asked must not leave a core file.
    ...(prlimit === null ? [] : [prlimit, '--core=0', '--']),
    ...(setpriv === null ? [] : [setpriv, ...setprivArgs(user)]),
    program,
    ...args,
  ]
  const spawnOptions: SpawnOptions = {
    cwd: '/',
    env: CLEAN_ENVIRONMENT,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  }
  if (setpriv === null && user !== null) {
    // Without setpriv the supplementary groups are lost, so the device's group has to be the primary one.
    spawnOptions.uid = user.uid
    spawnOptions.gid = user.groups[0] ?? user.gid
  }
  const child = spawn(file, argv, spawnOptions)
  const exited = new Promise<ChildExit>((resolve) => {
    child.once('exit', (code, signal) => {
      const settle = () => {
        clearTimeout(timer)
        resolve({ code, signal })
      }
      // Its last words may still be in the pipe. A grandchild that holds the pipe open is not waited for.
      const timer = setTimeout(settle, STDERR_GRACE_MS)
      if (child.stderr === null || child.stderr.closed) settle()
      else child.stderr.once('close', settle)
    })
  })
  const stderr = keepTail(child, STDERR_KEEP_BYTES)
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', () => resolve())
    child.once('error', reject)
  })
  // Later errors are failures to signal a process that is gone.
  child.on('error', () => {})
  const socket = child.stdio[3]
  if (child.pid === undefined || !(socket instanceof Socket)) {
    child.kill('SIGKILL')
    throw new Error(`${program} was started without its control socket`)
  }
  return { pid: child.pid, socket, exited, stderr, kill: () => void child.kill('SIGKILL') }
}

function setprivArgs(user: ChildUser | null): string[] {
  const identity = user === null ? [] : identityArgs(user)
  // Root without capabilities is still the owner of its files, and no more.
  const capabilities = ownUid() === 0 ? NO_CAPABILITIES : []
  return [...identity, ...capabilities, '--no-new-privs', '--pdeathsig=KILL', '--']
}

function keepTail(child: ChildProcess, limitBytes: number): () => string {
  let tail = Buffer.alloc(0)
  child.stderr?.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-limitBytes)
  })
  return () => tail.toString('utf8')
}

export interface CapturedOutput extends ChildExit {
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program to its end with nothing on stdin and returns what it wrote (64 KiB of each at most).
 * Killed after `timeoutMs`. Null when it cannot be started.
 */
export function captureOutput(
  program: string,
  args: readonly string[],
  options: { timeoutMs: number },
): Promise<CapturedOutput | null> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: '/', env: CLEAN_ENVIRONMENT, stdio: ['ignore', 'pipe', 'pipe'] })
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs)
    const text = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        text[name] = (text[name] + chunk).slice(0, 64 * 1024)
      })
    }
    child.once('error', () => {
      clearTimeout(timer)
      resolve(null)
    })
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, ...text })
    })
  })
}
