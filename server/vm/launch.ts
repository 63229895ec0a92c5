/**
 * One launch, in phases. Each phase is a type of its own that only the step before it can make, so that no step can be
 * skipped or repeated. What a step acquires it registers for undoing first; the stack runs backwards when one fails.
 *
 *   Checked ─▶ LaidOut ─▶ Surrounded ─▶ Spawned ─▶ Connected ─▶ Settled ─▶ Prepared ─▶ (the guest runs)
 *   files      run dir    helpers, taps process    monitor      initialised pins,
 *                                                                serial held commands
 *
 * Only the last step lets the guest execute. A process that ends before is a launch failure with its own words.
 */
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir } from '#server/launcher/shapes.ts'
import { NetworkFault } from '#server/network/fault.ts'
import type { VmRunPaths } from '#server/paths.ts'
import type { Clock } from '#server/platform/clock.ts'
import { within } from '#server/platform/clock.ts'
import {
  createLog,
  errorCode,
  fileFacts,
  makePrivateDir,
  readTail,
  removeTree,
  replaceFile,
} from '#server/platform/fs.ts'
import { isImageBeingWritten, readLocks } from '#server/platform/proc-locks.ts'
import { type ProcessExit, readProcStat, type SpawnedProcess } from '#server/platform/process.ts'
import { loadMemory, QemuJobError } from '#server/snapshots/live.ts'
import { formatNode, QEMU_IDS } from '#server/spec/ids.ts'
import { insideOf } from './confined.ts'
import { type Evidence, type Explanation, redact, STDERR_TAIL_BYTES } from './failures.ts'
import { type CreateSerialHub, Guest, type GuestListener, type GuestProcess } from './guest.ts'
import { HELPER_LOG_READ_BYTES, helperLog } from './helpers/daemon.ts'
import { HostFault } from './helpers/fault.ts'
import { setUpGuest } from './helpers/guest-setup.ts'
import { clearLeftovers, Surroundings, type SurroundingsListener } from './helpers/surroundings.ts'
import { createScan, findQemu } from './identity.ts'
import { commandOf, formatRecord, intentOf, type RunRecord, readRecord } from './run-record.ts'
import { signalQemu } from './stop.ts'
import type { MemoryLoad, PreparedLaunch } from './types.ts'

/** From spawn to an answering monitor. An idle host needs 40 ms; a starved one with swapped memory much more. */
const READY_MS = 20_000
const STDERR_READ_BYTES = 4 * STDERR_TAIL_BYTES

export interface LaunchContext {
  readonly paths: VmRunPaths
  readonly by: string
  readonly bootId: string
  readonly clock: Clock
  readonly createSerialHub: CreateSerialHub
  readonly listener: GuestListener
  readonly surroundings: SurroundingsListener
  /** Aborts the launch; everything begun is undone. */
  readonly signal: AbortSignal
}

/** The process could not be started or ended before its guest ran. Carries the evidence, not yet the explanation. */
export class LaunchFailure extends Error {
  override readonly name = 'LaunchFailure'
  readonly evidence: Omit<Evidence, 'phase'>

  constructor(evidence: Omit<Evidence, 'phase'>, options?: ErrorOptions) {
    super('QEMU did not start', options)
    this.evidence = evidence
  }
}

declare const phase: unique symbol
interface Phase<Name extends string> {
  readonly [phase]: Name
  readonly prepared: PreparedLaunch
}
interface Checked extends Phase<'checked'> {}
interface LaidOut extends Phase<'laid-out'> {
  readonly record: RunRecord
}
interface Surrounded extends Phase<'surrounded'> {
  readonly record: RunRecord
  readonly surroundings: Surroundings
}
interface Spawned extends Phase<'spawned'> {
  readonly guest: Guest
  readonly surroundings: Surroundings
}
interface Connected extends Phase<'connected'> {
  readonly guest: Guest
}
interface Settled extends Phase<'settled'> {
  readonly guest: Guest
}
interface Prepared extends Phase<'prepared'> {
  readonly guest: Guest
}

/** The one place where a phase comes into being. The mark exists for the compiler alone. */
function enter<P extends Phase<string>>(content: Omit<P, typeof phase>): P {
  return content as P
}

/** A guest that runs, and what it has on the host besides QEMU. */
export interface Launched {
  readonly guest: Guest
  readonly surroundings: Surroundings
}

/**
 * Starts the guest and returns the hold on it, running (or stopped by something that happened at once).
 * @throws LaunchFailure; EngineError conflict, no_space; the signal's reason
 */
export async function launch(prepared: PreparedLaunch, context: LaunchContext): Promise<Launched> {
  await using undo = new AsyncDisposableStack()
  const checked = await check(prepared)
  context.signal.throwIfAborted()
  const laidOut = await layOut(checked, context, undo)
  const surrounded = await surround(laidOut, context, undo)
  const spawned = await spawnQemu(surrounded, context, undo)
  const { guest, surroundings } = spawned
  try {
    const connected = await unlessItEnds(guest, connect(spawned, context), context.signal)
    const settled = await unlessItEnds(guest, settle(connected), context.signal)
    const ready = await unlessItEnds(guest, setUp(settled), context.signal)
    await unlessItEnds(guest, release(ready), context.signal)
    context.signal.throwIfAborted()
  } catch (error) {
    if (context.signal.aborted) throw context.signal.reason
    if (error instanceof EngineError) throw error
    if (error instanceof HostFault) throw refused(error.known, error, error.stderr)
    // Read before the undoing removes it. A process that just died may need a moment to become an exit code.
    const exit = error instanceof Ended ? error.exit : await within(guest.process.exited, 200, null)
    throw new LaunchFailure(
      {
        exitCode: exit?.code ?? null,
        signal: exit?.signal ?? null,
        stderr: await readMessages(prepared, context),
        runState: guest.runState,
        timedOut: exit === null,
        names: prepared.files,
      },
      { cause: error },
    )
  }
  undo.move()
  return { guest, surroundings }
}

/** QEMU's, and before them what its helpers said: of a failure between the two QEMU often gives but a number. */
async function readMessages(prepared: PreparedLaunch, { paths }: LaunchContext): Promise<string> {
  const helpers = await Promise.all(
    prepared.plan.helpers.map(({ id }) => readTail(helperLog(paths, id), HELPER_LOG_READ_BYTES)),
  )
  return [...helpers, await readTail(paths.stderr, STDERR_READ_BYTES)].filter((text) => text !== '').join('\n')
}

/** Every file is there and nobody else writes to it. QEMU checks again, by its locks; this gives the better message. */
async function check(prepared: PreparedLaunch): Promise<Checked> {
  const files = await Promise.all(
    [...prepared.files].map(async ([path, name]) => {
      try {
        return { name, facts: await fileFacts(path) }
      } catch (error) {
        const hangs = errorCode(error) === 'ETIMEDOUT'
        throw refused(
          {
            code: hangs ? 'timeout' : 'permission-denied',
            summary: hangs ? `The storage of ${name} does not answer.` : `The host denies access to ${name}.`,
            advice: hangs
              ? 'Check the storage, then start again.'
              : 'Check owner and mode of the file and its directories.',
          },
          error,
        )
      }
    }),
  )
  const locks = files.length > 0 ? readLocks() : []
  for (const { name, facts } of files) {
    if (!facts?.isFile) {
      throw refused({
        code: 'image-missing',
        summary: `The file of ${name} is missing on the host.`,
        advice: 'Put the file back, or remove the drive that uses it.',
      })
    }
    if (isImageBeingWritten(locks, facts)) {
      throw refused({
        code: 'image-in-use',
        summary: `Another program is using ${name}.`,
        advice: 'Shut down the VM or end the program that uses it, then start again.',
      })
    }
  }
  return enter<Checked>({ prepared })
}

function refused(known: Explanation, cause?: unknown, stderr = ''): LaunchFailure {
  return new LaunchFailure({ exitCode: null, signal: null, stderr, known }, { cause })
}

/** A fresh run directory with the intent on record. Whatever an earlier run left is cleared, unless it still runs. */
async function layOut(checked: Checked, context: LaunchContext, undo: AsyncDisposableStack): Promise<LaidOut> {
  const { prepared } = checked
  const { paths } = context
  try {
    if (!makePrivateDir(paths.dir)) {
      await clearStale(prepared.vmId, paths, context)
      makePrivateDir(paths.dir)
    }
    undo.defer(() => removeTree(paths.dir))
    await rootActs().own({ path: paths.dir, as: guestDir(prepared.user?.uid ?? null), sync: false })
    const record = intentOf(prepared, context.by, context.bootId, context.clock.now().toISOString())
    replaceFile(paths.launch, formatRecord(record))
    createLog(paths.stderr)
    return enter<LaidOut>({ prepared, record })
  } catch (error) {
    if (errorCode(error) === 'ENOSPC' || errorCode(error) === 'EDQUOT') {
      throw new EngineError('no_space', 'The host has no space left for the run directory.', { cause: error })
    }
    throw error
  }
}

/** @throws EngineError conflict when the VM's QEMU is still alive after all */
async function clearStale(vmId: string, paths: VmRunPaths, context: LaunchContext): Promise<void> {
  const record = await readRecord(paths.launch)
  const alive = await findQemu(vmId, paths.pidfile, record, readLocks(), createScan())
  if (alive) {
    throw new EngineError(
      'conflict',
      'A QEMU process of this VM is still running. Restart the dashboard to take it over, or end that process.',
    )
  }
  await clearLeftovers(record, paths, context.surroundings.warn, record?.bootId === context.bootId)
  await removeTree(paths.dir)
}

/** Everything QEMU will look for when it starts: its taps, its helpers' sockets. */
async function surround(laidOut: LaidOut, context: LaunchContext, undo: AsyncDisposableStack): Promise<Surrounded> {
  const { prepared } = laidOut
  const { paths, signal } = context
  const { plan, user } = prepared
  let { record } = laidOut
  const surroundings = new Surroundings(prepared.vmId, paths, context.surroundings)
  undo.defer(() => surroundings.clear(0))
  const keep = () => {
    record = { ...record, helpers: surroundings.identities }
    replaceFile(paths.launch, formatRecord(record))
  }
  try {
    await surroundings.limit(prepared.spec, prepared.accelerator.kind)
    for (const tap of plan.taps) {
      signal.throwIfAborted()
      await surroundings.makeTap(tap, user)
    }
    // At once: each takes a moment, and they know nothing of one another. All must settle before any is undone.
    const started = await Promise.allSettled(
      plan.helpers.map((helper) =>
        surroundings.startHelper(helper, { paths, wrapper: plan.wrapper, user, signal }, keep),
      ),
    )
    for (const one of started) if (one.status === 'rejected') throw one.reason
    return enter<Surrounded>({ prepared, record, surroundings })
  } catch (error) {
    if (error instanceof HostFault) throw refused(error.known, error, error.stderr)
    if (error instanceof NetworkFault) throw refused(error, error)
    throw error
  }
}

async function spawnQemu(surrounded: Surrounded, context: LaunchContext, undo: AsyncDisposableStack): Promise<Spawned> {
  const { prepared, record, surroundings } = surrounded
  let child: SpawnedProcess
  try {
    const spawned = await rootActs().launch({ argv: commandOf(prepared.plan), log: context.paths.stderr })
    child = await insideOf(prepared.plan, spawned)
  } catch (error) {
    throw new LaunchFailure(
      { exitCode: null, signal: null, stderr: '', spawnError: errorCode(error) ?? 'unknown' },
      { cause: error },
    )
  }
  // Our own child keeps its number until its exit is reported, so this start time is surely its own.
  const startTime = readProcStat(child.pid)?.startTime ?? 0
  const process_: GuestProcess = {
    identity: { pid: child.pid, startTime },
    exited: child.exited,
    hurry: () => {},
    release: child.release,
  }
  const guest = new Guest({
    vmId: prepared.vmId,
    paths: context.paths,
    process: process_,
    record: { ...record, process: process_.identity },
    listener: context.listener,
    createSerialHub: context.createSerialHub,
  })
  undo.defer(async () => {
    await signalQemu(process_, prepared.vmId, 'SIGKILL')
    await within(child.exited, 5000, null)
    guest.release()
  })
  replaceFile(context.paths.launch, formatRecord({ ...record, process: process_.identity }))
  // A process takes all its threads along; QEMU starts no others.
  await surroundings.enclose(child.pid)
  surroundings.watch(process_.identity)
  return enter<Spawned>({ prepared, guest, surroundings })
}

async function connect(spawned: Spawned, context: LaunchContext): Promise<Connected> {
  const { prepared, guest } = spawned
  await guest.connect({ timeoutMs: READY_MS, signal: context.signal })
  return enter<Connected>({ prepared, guest })
}

/**
 * A greeting is not a started guest: QEMU greets before it has worked through its options. An answered query is, as
 * commands run in the main loop. The serial console must be drained before the guest can say its first byte.
 */
async function settle(connected: Connected): Promise<Settled> {
  const { prepared, guest } = connected
  await guest.resync()
  if (prepared.spec.serial) await guest.openSerial()
  return enter<Settled>({ prepared, guest })
}

/** Commands of the plan, balloon, CPUs: all that must hold before the guest's first instruction. */
async function setUp(settled: Settled): Promise<Prepared> {
  const { prepared, guest } = settled
  await setUpGuest(guest)
  if (prepared.load) await loadSaved(guest, prepared.load)
  return enter<Prepared>({ prepared, guest })
}

/** The guest goes on from where its memory was saved. @throws HostFault when it cannot be loaded */
async function loadSaved(guest: Guest, load: MemoryLoad): Promise<void> {
  const nodes = load.devices.map((device) => formatNode(device, 0))
  try {
    await loadMemory(guest, load.jobId, {
      tag: load.tag,
      vmstate: nodes[0] ?? '',
      nodes: [...nodes, ...(load.nvram ? [QEMU_IDS.firmwareVars] : [])],
    })
  } catch (error) {
    if (!(error instanceof QemuJobError)) throw error
    throw new HostFault(
      {
        code: 'bad-option',
        summary: `QEMU could not load the memory of the snapshot: ${redact(error.words)}`,
        advice: 'The disks are those of the snapshot. Start the guest to boot from them.',
      },
      { cause: error },
    )
  }
}

/**
 * Lets the guest run. QEMU announces that it does (RESUME) before it answers `cont`, and announces a stop that follows;
 * only where no word came is it asked.
 */
async function release({ guest, prepared }: Prepared): Promise<void> {
  if (prepared.load?.goesOn === false) {
    await guest.readRunState()
    return
  }
  await guest.ask('cont')
  if (guest.runState === 'prelaunch') await guest.readRunState()
}

class Ended extends Error {
  readonly exit: ProcessExit

  constructor(exit: ProcessExit) {
    super('QEMU ended')
    this.exit = exit
  }
}

/** The step's result, or `Ended` as soon as the process is gone, or the signal's reason. */
async function unlessItEnds<T>(guest: Guest, step: Promise<T>, signal: AbortSignal): Promise<T> {
  const given = Promise.withResolvers<never>()
  const onAbort = () => given.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  const ended = guest.process.exited.then((exit): never => {
    throw new Ended(exit)
  })
  // Whichever loses is heard by nobody.
  for (const loser of [given.promise, ended, step]) loser.catch(() => {})
  try {
    return await Promise.race([step, ended, given.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
