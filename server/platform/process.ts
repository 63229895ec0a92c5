/** Processes: spawning ones that outlive us, looking at others through /proc, and signalling only the right one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

export interface ProcStat {
  readonly pid: number
  /** One letter of proc(5): R, S, D, T, Z, X … */
  readonly state: string
  /** User plus system time, clock ticks. */
  readonly cpuTicks: number
  /** Start time in clock ticks after boot; with the pid it names a process for good. */
  readonly startTime: number
}

/** Names one process for as long as the host runs. */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTime: number
}

/** Pure. Null when the text is not a stat line. The command name may hold spaces and parentheses. */
export function parseProcStat(text: string): ProcStat | null {
  const close = text.lastIndexOf(')')
  if (close < 0) return null
  const rest = text.slice(close + 2).split(' ')
  const pid = Number.parseInt(text, 10)
  const cpuTicks = Number(rest[11]) + Number(rest[12])
  const startTime = Number(rest[19])
  const state = rest[0]
  if (!Number.isInteger(pid) || !state || Number.isNaN(cpuTicks) || Number.isNaN(startTime)) return null
  return { pid, state, cpuTicks, startTime }
}

/** Null when there is no such process. */
export function readProcStat(pid: number): ProcStat | null {
  try {
    return parseProcStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return null
  }
}

/** Arguments of a process, or null when it is gone or not ours to see. */
export function readCommandLine(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return text === '' ? null : text.replace(/\0$/, '').split('\0')
  } catch {
    return null
  }
}

/** True while that very process runs. A zombie counts as gone: PID 1 of a container may reap late. */
export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  const stat = readProcStat(pid)
  return stat !== null && stat.startTime === startTime && stat.state !== 'Z' && stat.state !== 'X'
}

/** Effective uid of a process, or null when it is gone. */
export function readUid(pid: number): number | null {
  try {
    const line = /^Uid:\t\d+\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return line ? Number(line[1]) : null
  } catch {
    return null
  }
}

/** Supplementary groups of a process, or null when it is gone. */
export function readGroups(pid: number): number[] | null {
  try {
    const line = /^Groups:[ \t]*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return line?.[1]?.split(' ').filter(Boolean).map(Number) ?? null
  } catch {
    return null
  }
}

/** How often the kernel's OOM killer has struck since boot; 0 where it cannot be read. */
export function readOomKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'latin1'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

const AT_PAGESZ = 6n
const AT_CLKTCK = 17n

/** Page size in bytes and clock ticks a second, from the ELF auxiliary vector: Node has no sysconf. */
export function readSystemUnits(): { pageBytes: number; ticksPerSecond: number } {
  const units = { pageBytes: 4096, ticksPerSecond: 100 }
  try {
    const vector = readFileSync('/proc/self/auxv')
    for (let at = 0; at + 16 <= vector.length; at += 16) {
      const key = vector.readBigUInt64LE(at)
      const value = Number(vector.readBigUInt64LE(at + 8))
      if (key === AT_PAGESZ) units.pageBytes = value
      if (key === AT_CLKTCK) units.ticksPerSecond = value
    }
  } catch {
    // The defaults are right on x86-64.
  }
  return units
}

/** Reads CPU time and resident memory of one process again and again through descriptors held open. */
export class ProcessMeter {
  readonly #stat: number
  readonly #statm: number
  readonly #buffer = Buffer.allocUnsafe(1024)
  #closed = false

  /** @throws Error ENOENT, EMFILE */
  constructor(pid: number) {
    this.#stat = openSync(`/proc/${pid}/stat`, 'r')
    try {
      this.#statm = openSync(`/proc/${pid}/statm`, 'r')
    } catch (error) {
      closeSync(this.#stat)
      throw error
    }
  }

  /** Null once the process is gone: the descriptors never turn to another process with the same number. */
  read(): { cpuTicks: number; residentPages: number } | null {
    if (this.#closed) return null
    try {
      const stat = parseProcStat(this.#text(this.#stat))
      const residentPages = Number(this.#text(this.#statm).split(' ')[1])
      return stat && !Number.isNaN(residentPages) ? { cpuTicks: stat.cpuTicks, residentPages } : null
    } catch {
      return null
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#stat)
    closeSync(this.#statm)
  }

  #text(fd: number): string {
    return this.#buffer.toString('latin1', 0, readSync(fd, this.#buffer, 0, this.#buffer.length, 0))
  }
}

export interface ProcessExit {
  /** Null when killed by a signal, or when it was not our child and nobody can know. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface SpawnedProcess {
  readonly pid: number
  /** Resolves once the process has ended; never rejects. */
  readonly exited: Promise<ProcessExit>
  /** Forgets the child without touching it. */
  release(): void
}

// Next's ambient types demand NODE_ENV in every environment; QEMU has no use for it.
const CLEAN_ENVIRONMENT = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' } as unknown as NodeJS.ProcessEnv

/**
 * Starts a program in a session of its own, so that neither our end nor a Ctrl-C in our terminal reaches it.
 * Nothing is inherited but a descriptor for stderr; the environment is the least that programs need.
 * @throws Error with `code` ENOENT, EACCES, EAGAIN … when the program could not be started
 */
export async function spawnDetached(
  program: string,
  args: readonly string[],
  stderrFd: number,
): Promise<SpawnedProcess> {
  const child: ChildProcess = spawn(program, args, {
    detached: true,
    stdio: ['ignore', 'ignore', stderrFd],
    env: CLEAN_ENVIRONMENT,
    cwd: '/',
  })
  child.unref()
  const { pid } = child
  if (pid === undefined) {
    throw await new Promise<Error>((resolve) => child.once('error', resolve))
  }
  child.on('error', () => {
    // A failed kill() is reported to its caller; without a listener it would end the dashboard.
  })
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  return { pid, exited, release: () => child.removeAllListeners('exit') }
}

/**
 * Kills a process that a program of ours started and still waits for, so that the number is nobody else's.
 * @param pid negative: a whole group
 */
export function killOwn(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has just ended by itself.
  }
}

/** Pids whose command line satisfies `match`. Reads all of /proc: only for recovery. */
export function findProcesses(pids: readonly number[], match: (argv: readonly string[]) => boolean): number[] {
  return pids.filter((pid) => {
    const argv = readCommandLine(pid)
    return argv !== null && match(argv)
  })
}
