/**
 * Which process is a VM's QEMU. A pid alone names nothing, numbers are used again; so before anything is believed or
 * signalled: the lock on the pidfile's inode (QEMU holds it for life), the start time, and `-uuid` on its command line.
 */
import { readdirSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { readPlainFile } from '#server/platform/fs.ts'
import { type FileLock, lockOwner } from '#server/platform/proc-locks.ts'
import { isAlive, type ProcessIdentity, readCommandLine, readProcStat } from '#server/platform/process.ts'
import type { RunRecord } from './run-record.ts'

/** Whether a command line is that of the VM's QEMU, or of the wrapper that is about to become it. Pure. */
export function isCommandOf(argv: readonly string[], vmId: string): boolean {
  const at = argv.indexOf('-uuid')
  // Bubblewrap becomes nothing: it stays and waits for the QEMU that it has locked in.
  return at > 0 && argv[at + 1] === vmId && !isBubblewrap(argv)
}

const isBubblewrap = (argv: readonly string[]) => argv[0]?.split('/').at(-1) === 'bwrap'

/** To be asked before every signal: still that process, still that VM. */
export function isQemuOf(identity: ProcessIdentity, vmId: string): boolean {
  if (!isAlive(identity)) return false
  const argv = readCommandLine(identity.pid)
  return argv !== null && isCommandOf(argv, vmId)
}

async function pidfileFacts(path: string): Promise<{ pid: number | null; dev: number; ino: number } | null> {
  try {
    const [info, text] = await Promise.all([stat(path), readPlainFile(path, 64)])
    const pid = Number.parseInt(text.toString('latin1'), 10)
    return { pid: Number.isInteger(pid) && pid > 1 ? pid : null, dev: info.dev, ino: info.ino }
  } catch {
    return null
  }
}

function named(pid: number, vmId: string): ProcessIdentity | null {
  const stat = readProcStat(pid)
  if (!stat) return null
  const identity = { pid, startTime: stat.startTime }
  return isQemuOf(identity, vmId) ? identity : null
}

/**
 * The living QEMU of a VM, or null when there is surely none.
 * @param scan finds a process by command line: for a launch that was cut short before QEMU wrote its pidfile
 */
export async function findQemu(
  vmId: string,
  pidfile: string,
  record: RunRecord | null,
  locks: readonly FileLock[],
  scan: (vmId: string) => number | null,
): Promise<ProcessIdentity | null> {
  if (record?.process && isQemuOf(record.process, vmId)) return record.process
  const file = await pidfileFacts(pidfile)
  if (file) {
    const owner = lockOwner(locks, file)
    const locked = owner === null ? null : named(owner, vmId)
    if (locked) return locked
    // Some file systems show another device number in /proc/locks than in stat(2): then the command line decides.
    const written = file.pid === null ? null : named(file.pid, vmId)
    if (written) return written
  }
  const found = scan(vmId)
  return found === null ? null : named(found, vmId)
}

/** Reads all command lines once, on first use: for one recovery pass over many VMs. */
export function createScan(): (vmId: string) => number | null {
  let byVm: Map<string, number> | null = null
  return (vmId) => {
    byVm ??= scanProcesses()
    return byVm.get(vmId) ?? null
  }
}

function scanProcesses(): Map<string, number> {
  const byVm = new Map<string, number>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const argv = readCommandLine(pid)
    const at = argv?.indexOf('-uuid') ?? -1
    const vmId = at > 0 ? argv?.[at + 1] : undefined
    if (vmId !== undefined && argv !== null && isCommandOf(argv, vmId)) byVm.set(vmId, pid)
  }
  return byVm
}
