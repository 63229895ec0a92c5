/**
 * Runs one short host tool on untrusted files: no network, no credentials, nothing visible but the system's programs
 * and the directories named, limits on memory and CPU. bubblewrap makes the namespaces; without it (or where the
 * kernel refuses user namespaces) the limits alone remain, and `level` says so for the host page.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { ownUid } from '#server/platform/privileges.ts'
import { killOwn } from '#server/platform/process.ts'
import { identityArgs, NO_CAPABILITIES } from '#server/platform/setpriv.ts'

interface SandboxedRun {
  readonly program: string
  readonly args: readonly string[]
  /** Directories or files visible read-only, at their own path. */
  readonly readable: readonly string[]
  /** Directories visible read-write, at their own path. */
  readonly writable: readonly string[]
  readonly timeoutMs: number
  /** Largest file it may write; null: unlimited. */
  readonly maxFileBytes: number | null
  readonly signal?: AbortSignal
  /** Open file it reads as its input, so that it need not see the file itself. */
  readonly stdinFd?: number
  /** Open file that takes what it prints, in place of `ToolResult.stdout`; `maxFileBytes` holds for it as well. */
  readonly stdoutFd?: number
  /** Called with what it prints as it comes, for progress. */
  readonly onStdout?: (text: string) => void
  /**
   * Run as this user of a guest's, if we are root; null or left out, or if not: as the dashboard's, whose group guests' files
   * have.
   */
  readonly user?: ToolUser | null
  /** Beside what every tool gets. Never a secret: others may read it in /proc. */
  readonly env?: Readonly<Record<string, string>>
  /** Devices of the host it may use, by their paths. */
  readonly devices?: readonly string[]
  /**
   * Works on the host's own packages and on nothing of anybody's else: without namespaces, in which an ordinary user sees files of
   * root's as nobody's. It ends with us all the same.
   */
  readonly inHostsView?: boolean
  /** For tools that are more than a filter. */
  readonly limits?: ToolLimits
}

export interface ToolLimits {
  /** Address space of each of its processes. */
  readonly memoryBytes: number
  readonly openFiles: number
  /** Of each of its processes; several threads use it up faster than the clock. */
  readonly cpuSeconds: number
}

/** Root gives up its powers in the sandbox, and so could not open what belongs to a guest. */
export interface ToolUser {
  readonly uid: number
  /** Of the images guests may read; null: none. */
  readonly readersGid: number | null
  /** Of the layers several disks stand on; left out: none. */
  readonly layerGids?: readonly number[]
  /** Group of /dev/kvm, where the tool is to open that; null or left out: none. */
  readonly kvmGid?: number | null
}

interface ToolResult {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** At most 1 MiB. */
  readonly stdout: string
  /** At most 16 KiB. */
  readonly stderr: string
}

export interface ToolSandbox {
  /** `full`: namespaces and limits. `limits`: no namespaces. `none`: neither tool is installed. */
  readonly level: 'full' | 'limits' | 'none'
  /** Resolves whatever the exit code. @throws Error when it cannot be started, AbortError */
  run(request: SandboxedRun): Promise<ToolResult>
}

/** Absolute path of a program, looked up once in PATH and the usual places; null when missing. */
export function findProgram(name: string, path = process.env.PATH ?? ''): string | null {
  const dirs = [...path.split(delimiter), '/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin']
  for (const dir of dirs) {
    if (!dir.startsWith('/')) continue
    const candidate = join(dir, name)
    try {
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch {
      // Not here; the next directory may have it.
    }
  }
  return null
}

/** What a dynamically linked system tool needs to see. */
const SYSTEM_DIRS = [
  '/usr',
  '/lib',
  '/lib64',
  '/lib32',
  '/bin',
  '/sbin',
  '/etc/ld.so.cache',
  '/etc/alternatives',
].filter((dir) => existsSync(dir))

/** Cast: Next's types make NODE_ENV mandatory, and these programs are not ours. */
export const TOOL_ENV = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' } as unknown as NodeJS.ProcessEnv

const STDOUT_MAX = 2 ** 20
const STDERR_MAX = 16 * 1024

function bwrapArgs(request: SandboxedRun): string[] {
  return [
    '--info-fd',
    '3',
    '--unshare-all',
    '--die-with-parent',
    '--new-session',
    '--clearenv',
    '--setenv',
    'PATH',
    '/usr/bin:/bin',
    '--setenv',
    'LANG',
    'C.UTF-8',
    '--setenv',
    'MALLOC_ARENA_MAX',
    ENV.MALLOC_ARENA_MAX,
    ...Object.entries(request.env ?? {}).flatMap(([name, value]) => ['--setenv', name, value]),
    '--cap-drop',
    'ALL',
    ...SYSTEM_DIRS.flatMap((dir) => ['--ro-bind', dir, dir]),
    '--dev',
    '/dev',
    ...(request.devices ?? []).flatMap((path) => ['--dev-bind', path, path]),
    '--tmpfs',
    '/tmp',
    // Where QEMU keeps what it writes over a disk that is opened to be thrown away.
    '--tmpfs',
    '/var/tmp',
    // Outer ones first: a file to be read stays read-only within a directory to be written.
    ...[
      ...request.readable.map((path) => ({ how: '--ro-bind', path })),
      ...request.writable.map((path) => ({ how: '--bind', path })),
    ]
      .sort((a, b) => a.path.length - b.path.length)
      .flatMap(({ how, path }) => [how, path, path]),
    '--chdir',
    '/',
    '--',
  ]
}

/**
 * Each thread of glibc sets address space aside for a heap of its own; with those of a busy qemu-img the limit below was
 * reached, which ended it in the middle of a sound image.
 */
const ENV = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', MALLOC_ARENA_MAX: '2' } as const

function prlimitArgs(request: SandboxedRun): string[] {
  const { memoryBytes, openFiles, cpuSeconds } = request.limits ?? {
    ...{ memoryBytes: 2 ** 30, openFiles: 64 },
    cpuSeconds: Math.ceil(request.timeoutMs / 1000),
  }
  return [
    '--core=0',
    `--as=${memoryBytes}`,
    `--nofile=${openFiles}`,
    `--cpu=${cpuSeconds}`,
    ...(request.maxFileBytes === null ? [] : [`--fsize=${request.maxFileBytes}`]),
    '--',
  ]
}

function setprivArgs({ uid, readersGid, layerGids = [], kvmGid = null }: ToolUser): string[] {
  const groups = [readersGid, kvmGid, ...layerGids].filter((gid) => gid !== null)
  return [...identityArgs({ uid, gid: uid, groups }), '--no-new-privs', '--']
}

/** Root among them is the owner of its files, and no more. */
const tied = (): string[] => [...(ownUid() === 0 ? NO_CAPABILITIES : []), '--no-new-privs', '--pdeathsig=KILL', '--']

/** What bubblewrap reports on `--info-fd` once the inner process exists. */
const InnerProcess = /"child-pid":\s*(\d+)/

/**
 * @param jailed whether bubblewrap runs it and reports the inner process on descriptor 3. Killing bubblewrap alone
 *   would leave an inner process that has not yet asked to die with it, so the inner one, the init of its namespace,
 *   is killed; bubblewrap then ends by itself.
 */
function execute(
  command: string,
  args: readonly string[],
  request: SandboxedRun,
  jailed: boolean,
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: '/',
      env: { ...TOOL_ENV, ...request.env },
      stdio: [request.stdinFd ?? 'ignore', request.stdoutFd ?? 'pipe', 'pipe', jailed ? 'pipe' : 'ignore'],
    })
    let innerPid: number | null = null
    let stopping = false
    let timedOut = false
    const stop = (): void => {
      stopping = true
      if (!jailed) child.kill('SIGKILL')
      // Not reported yet: it will be, within milliseconds, and then it is killed.
      else if (innerPid !== null) killOwn(innerPid)
    }
    let info = ''
    child.stdio[3]?.on('data', (bytes: Buffer) => {
      info += bytes.toString('latin1')
      const pid = InnerProcess.exec(info)?.[1]
      if (pid === undefined || innerPid !== null) return
      innerPid = Number(pid)
      if (stopping) killOwn(innerPid)
    })
    const timer = setTimeout(() => {
      timedOut = true
      stop()
    }, request.timeoutMs)
    request.signal?.addEventListener('abort', stop, { once: true })
    const settle = (): void => {
      clearTimeout(timer)
      request.signal?.removeEventListener('abort', stop)
    }
    let stdout = ''
    let stderr = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      request.onStdout?.(text)
      if (stdout.length < STDOUT_MAX) stdout += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < STDERR_MAX) stderr += text.slice(0, STDERR_MAX)
    })
    child.once('error', (error) => {
      settle()
      reject(error)
    })
    child.once('close', (exitCode, signal) => {
      settle()
      innerPid = null
      if (request.signal?.aborted) reject(request.signal.reason)
      // Bubblewrap turns the inner signal into an exit code; say what it was.
      else if (timedOut) resolve({ exitCode: null, signal: 'SIGKILL', stdout, stderr })
      else resolve({ exitCode, signal, stdout, stderr })
    })
  })
}

/** Finds bubblewrap and prlimit and tries once whether the kernel allows the namespaces. */
export async function createToolSandbox(): Promise<ToolSandbox> {
  const bwrap = findProgram('bwrap')
  const prlimit = findProgram('prlimit')
  const setpriv = findProgram('setpriv')
  const wrap = (useBwrap: boolean, request: SandboxedRun): [string, string[]] => {
    const inner = [request.program, ...request.args]
    const isJailed = useBwrap && bwrap !== null && request.inHostsView !== true
    const open = request.inHostsView === true && setpriv !== null ? [setpriv, ...tied(), ...inner] : inner
    const jailed = isJailed ? [bwrap, ...bwrapArgs(request), ...inner] : open
    const own =
      request.user && setpriv !== null && ownUid() === 0 ? [setpriv, ...setprivArgs(request.user), ...jailed] : jailed
    const limited = prlimit === null ? own : [prlimit, ...prlimitArgs(request), ...own]
    return [limited[0] ?? request.program, limited.slice(1)]
  }
  let namespaces = false
  if (bwrap !== null) {
    const trial: SandboxedRun = {
      program: '/usr/bin/true',
      args: [],
      readable: [],
      writable: [],
      timeoutMs: 5_000,
      maxFileBytes: null,
    }
    const [command, args] = wrap(true, trial)
    namespaces = await execute(command, args, trial, true).then(
      (result) => result.exitCode === 0,
      () => false,
    )
  }
  return {
    level: namespaces ? 'full' : prlimit === null ? 'none' : 'limits',
    async run(request) {
      request.signal?.throwIfAborted()
      const [command, args] = wrap(namespaces, request)
      return execute(command, args, request, namespaces && request.inHostsView !== true)
    },
  }
}
