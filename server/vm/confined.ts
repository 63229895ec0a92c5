/**
 * A QEMU that bubblewrap has locked in. What we start is bubblewrap, which stays outside and waits; QEMU is below it:
 *
 *   bwrap (waits, turns a signal into an exit code) ─▶ bwrap (first process in there) ─▶ sh ─▶ QEMU
 *
 * QEMU has another number in there than out here, where all of us look.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from '#server/engine/errors.ts'
import { type ProcessExit, readCommandLine, type SpawnedProcess } from '#server/platform/process.ts'
import { confinementOf, hasNoNetwork, hiddenFiles } from '#server/spec/devices/confinement.ts'
import type { LaunchPlan } from '#server/spec/types.ts'

/** bubblewrap makes a few dozen mounts; a starved host takes its time. */
const INSIDE_MS = 20_000
const POLL_MS = 2

const isBubblewrap = (argv: readonly string[] | null): boolean => argv?.[0]?.split('/').at(-1) === 'bwrap'

const childrenOf = (pid: number): number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').map(Number).filter(Boolean)
  } catch {
    return []
  }
}

function findInside(pid: number, depth = 0): number | null {
  for (const child of childrenOf(pid)) {
    const argv = readCommandLine(child)
    if (argv !== null && !isBubblewrap(argv)) return child
    const found = depth < 2 ? findInside(child, depth + 1) : null
    if (found !== null) return found
  }
  return null
}

/**
 * The process that is, or becomes, QEMU. Without confinement what was started. Nothing interrupts the wait: it is over in
 * milliseconds, and a launch that is given up must know whom to end. Never throws.
 */
export async function insideOf(plan: Pick<LaunchPlan, 'wrapper'>, child: SpawnedProcess): Promise<SpawnedProcess> {
  if (confinementOf(plan.wrapper) === null) return child
  let isOver = false
  void child.exited.then(() => {
    isOver = true
  })
  const exited = child.exited.then(innerExit)
  for (const deadline = performance.now() + INSIDE_MS; ; await sleep(POLL_MS)) {
    const pid = findInside(child.pid)
    if (pid !== null) return { ...child, pid, exited }
    // Its words are in the log; what is started next fails with them.
    if (isOver || performance.now() > deadline) return { ...child, exited }
  }
}

/** Bubblewrap ends with 128 and the signal's number (bubblewrap.c, propagate_exit_status). Pure. */
export function innerExit({ code, signal }: ProcessExit): ProcessExit {
  if (code === null || code <= 128) return { code, signal }
  const found = Object.entries(constants.signals).find(([, number]) => number === code - 128)
  // Names and numbers of one table.
  return found === undefined ? { code, signal } : { code: null, signal: found[0] as NodeJS.Signals }
}

/** Numbers of QEMU's threads in there → out here. Empty when it is not to be looked at. */
export function threadsOf(pid: number): Map<number, number> {
  const threads = new Map<number, number>()
  try {
    for (const name of readdirSync(`/proc/${pid}/task`)) {
      const status = readFileSync(`/proc/${pid}/task/${name}/status`, 'latin1')
      const inner = /^NSpid:.*\t(\d+)$/m.exec(status)?.[1]
      if (inner !== undefined) threads.set(Number(inner), Number(name))
    }
  } catch {
    // It has just ended.
  }
  return threads
}

/**
 * Refuses what a locked-in QEMU could not open, in words that help; QEMU would say that there is no such file.
 * @throws EngineError conflict
 */
export function assertWithinReach(plan: Pick<LaunchPlan, 'wrapper'> | null, command: string, args: unknown): void {
  if (plan === null || confinementOf(plan.wrapper) === null) return
  if (command.startsWith('blockdev-') && hiddenFiles(plan.wrapper, fileNames(args)).length > 0) {
    throw new EngineError(
      'conflict',
      'The running guest is locked in with the files it was started with, and this file lies elsewhere. Shut it down first, or leave the change for its next start.',
    )
  }
  if (command === 'netdev_add' && hasNoNetwork(plan.wrapper)) {
    throw new EngineError(
      'conflict',
      'The running guest was started without a network card and is locked in without a network. Leave the card for its next start.',
    )
  }
}

function fileNames(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    (key === 'filename' || key === 'snapshot-file') && typeof inner === 'string' ? [inner] : fileNames(inner),
  )
}
