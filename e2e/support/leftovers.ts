/** Guests outlive the dashboard by design: whoever starts a dashboard for a test ends its guests. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const END_TIMEOUT_MS = 10_000

/** Processes with an argument naming a file under `runDir`, which is this test's own: QEMU, its wrappers, swtpm. */
export function processesUsing(runDir: string): number[] {
  const pids: number[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    if (readArguments(name).some((argument) => argument.includes(`${runDir}/`))) pids.push(Number(name))
  }
  return pids
}

/** The QEMU process of one guest, by its `-uuid`; null when it does not run. */
export function guestProcess(runDir: string, vmId: string): number | null {
  let pid: string
  try {
    pid = readFileSync(`${runDir}/${vmId}/pid`, 'utf8').trim()
  } catch {
    return null
  }
  if (!/^\d+$/.test(pid)) return null
  const args = readArguments(pid)
  return args[args.indexOf('-uuid') + 1] === vmId ? Number(pid) : null
}

function readArguments(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

/** @throws Error when one is still there after ten seconds of SIGKILL */
export async function endProcessesUsing(runDir: string): Promise<void> {
  const deadline = Date.now() + END_TIMEOUT_MS
  for (let pids = processesUsing(runDir); pids.length > 0; pids = processesUsing(runDir)) {
    if (Date.now() > deadline) throw new Error(`Processes ${pids.join(', ')} of ${runDir} do not end`)
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Ended in between.
      }
    }
    await sleep(50)
  }
}
