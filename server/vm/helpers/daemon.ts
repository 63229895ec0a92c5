/** Starting and ending one helper program of a VM: swtpm, virtiofsd. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir } from '#server/launcher/shapes.ts'
import type { VmRunPaths } from '#server/paths.ts'
import { within } from '#server/platform/clock.ts'
import { createLog, errorCode, fileFacts, readTail, removeFile } from '#server/platform/fs.ts'
import { lockOwner, readLocks } from '#server/platform/proc-locks.ts'
import { isAlive, type ProcessIdentity, readProcStat, type SpawnedProcess } from '#server/platform/process.ts'
import { isListening } from '#server/platform/unix-sockets.ts'
import { confinementOf } from '#server/spec/devices/confinement.ts'
import type { LaunchPlan, LaunchUser, PlannedHelper } from '#server/spec/types.ts'
import { explainSpawn, explainStart, HELD_TPM } from './explain.ts'
import { HostFault } from './fault.ts'

/** From spawn to a listening socket. Idle: 20 ms. */
const READY_MS = 15_000
const POLL_MS = 5
/** The lock is let go of when its holder has ended; that may still be under way. */
const LOCK_PATIENCE_MS = 2000
export const HELPER_LOG_READ_BYTES = 16 * 1024

/** As whom helpers run: as their VM's QEMU does. */
export interface HelperContext {
  readonly paths: VmRunPaths
  readonly wrapper: LaunchPlan['wrapper']
  readonly user: LaunchUser | null
  readonly signal: AbortSignal
}

/** Its messages; beside QEMU's own in the run directory. */
export const helperLog = (paths: VmRunPaths, id: string): string => join(paths.dir, `${id}.log`)

/**
 * Starts a helper and returns once it listens; ended again when it does not.
 * @param started told the process before anything is waited for, so that it can be put on record
 * @throws HostFault; EngineError no_space; the signal's reason
 */
export async function startDaemon(
  helper: PlannedHelper,
  context: HelperContext,
  started: (child: SpawnedProcess & { readonly identity: ProcessIdentity }) => void,
): Promise<void> {
  const { paths, signal } = context
  await makeDirs(helper, context.user)
  await assertStateFree(helper)
  signal.throwIfAborted()
  await removeFile(helper.socket)
  const log = helperLog(paths, helper.id)
  await removeFile(log)
  createLog(log)
  let child: SpawnedProcess
  try {
    child = await rootActs().launch({ argv: [...wrapperOf(helper, context), ...helper.option.argv], log })
  } catch (error) {
    throw new HostFault(explainSpawn(helper, errorCode(error)), { cause: error })
  }
  const identity = { pid: child.pid, startTime: readProcStat(child.pid)?.startTime ?? 0 }
  started({ ...child, identity })
  const exit = await listens(helper.socket, child, signal)
  if (exit === 'listens') return
  await endDaemon(identity, helper, child.exited)
  const words = await readTail(log, HELPER_LOG_READ_BYTES)
  throw new HostFault(explainStart(helper, words, exit === 'late' ? null : exit), { stderr: words })
}

/**
 * QEMU's own, but for virtiofsd: the C daemon insists on dropping its supplementary groups, which it may not do in the
 * namespace it has entered by then. So it has none, and its one group is the guests', which opens the way to the socket.
 */
function wrapperOf(helper: PlannedHelper, { wrapper, user }: HelperContext): string[] {
  // Helpers are not locked in: virtiofsd makes namespaces of its own, and swtpm reads nothing of the guest's making but TPM commands.
  const locked = confinementOf(wrapper)
  const argv = wrapper.filter((part) => part !== locked).flatMap((part) => part.argv)
  const guests = user?.groups[0]
  if (helper.kind !== 'virtiofsd' || guests === undefined) return argv
  return argv.map((word) => {
    if (word.startsWith('--groups=')) return '--clear-groups'
    return word.startsWith('--regid=') ? `--regid=${guests}` : word
  })
}

/** @throws the signal's reason */
async function listens(
  socket: string,
  child: SpawnedProcess,
  signal: AbortSignal,
): Promise<'listens' | 'late' | Awaited<SpawnedProcess['exited']>> {
  const deadline = performance.now() + READY_MS
  let exit: Awaited<SpawnedProcess['exited']> | null = null
  void child.exited.then((given) => {
    exit = given
  })
  for (;;) {
    if (exit !== null) return exit
    if (isListening(socket, child.pid)) return 'listens'
    if (performance.now() > deadline) return 'late'
    await sleep(POLL_MS, undefined, { signal })
  }
}

/**
 * SIGTERM → SIGKILL to that very process, as far as it is still that helper. Resolves when it has gone. Never throws.
 * @param graceMs how long it may take to end by itself first, as both do when QEMU lets go of them
 */
export async function endDaemon(
  identity: ProcessIdentity,
  helper: PlannedHelper,
  exited: Promise<unknown> | null,
  graceMs = 0,
): Promise<void> {
  const gone = async (ms: number): Promise<boolean> => {
    if (exited) {
      return await within(
        exited.then(() => true),
        ms,
        false,
      )
    }
    for (const deadline = performance.now() + ms; performance.now() < deadline; await sleep(POLL_MS)) {
      if (!isAlive(identity)) return true
    }
    return !isAlive(identity)
  }
  if (graceMs > 0 && (await gone(graceMs))) return
  for (const [signal, ms] of [
    ['SIGTERM', 1000],
    ['SIGKILL', 3000],
  ] as const) {
    // A stopped process takes no signal but SIGKILL.
    if (signal === 'SIGTERM' && readProcStat(identity.pid)?.state.toUpperCase() === 'T') continue
    const target = { kind: 'helper' as const, socket: helper.socket, argv: [...helper.option.argv] }
    if (!(await rootActs().signal({ ...identity, target, signal }))) return
    if (await gone(ms)) return
  }
}

async function makeDirs(helper: PlannedHelper, user: LaunchUser | null): Promise<void> {
  try {
    for (const dir of helper.dirs) {
      makeUnlessThere(dir)
      await rootActs().own({ path: dir, as: guestDir(user?.uid ?? null), sync: false })
    }
    if (helper.kind === 'virtiofsd') await rootActs().makeVirtiofsdLocks()
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new EngineError('no_space', `The host has no space left for the directory of ${helper.kind}.`, {
        cause: error,
      })
    }
    throw new HostFault(
      {
        code: 'permission-denied',
        summary: `The directory of ${helper.kind} cannot be made.`,
        advice: "Check owner and mode of the VM's data directory.",
      },
      { cause: error },
    )
  }
}

function makeUnlessThere(dir: string): void {
  try {
    mkdirSync(dir, { mode: 0o700 })
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
  }
}

/**
 * swtpm takes its lock only when QEMU initialises the TPM, and then QEMU fails with a number. Looked at beforehand, the
 * reason can be given. A lock file without a holder means nothing: locks end with their process.
 */
async function assertStateFree(helper: PlannedHelper): Promise<void> {
  if (helper.kind !== 'swtpm') return
  for (const dir of helper.dirs) {
    const file = await fileFacts(join(dir, '.lock')).catch(() => null)
    if (!file) continue
    const deadline = performance.now() + LOCK_PATIENCE_MS
    for (let holder = lockOwner(readLocks(), file); holder !== null; holder = lockOwner(readLocks(), file)) {
      if (performance.now() > deadline) throw new HostFault(HELD_TPM)
      const startTime = readProcStat(holder)?.startTime
      // Left by an earlier run of this very VM, whose QEMU is gone: nobody's any more.
      if (startTime !== undefined) await endDaemon({ pid: holder, startTime }, helper, null)
      await sleep(POLL_MS)
    }
  }
}
