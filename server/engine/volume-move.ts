/**
 * Moves a disk to another pool while its guest writes to it. QEMU copies it, and writes everything to both files from the
 * start; once they are equal, the guest stands still for the moment in which it goes over to the new one.
 *
 *   copying ──(equal, guest stopped, both flushed)──▶ pivoting ──(QEMU has gone over)──▶ stored as the head ──▶ guest goes on
 *
 * The phase is stored before each step. Whoever is killed: while copying the old file counts; while pivoting both hold the
 * same, so whichever QEMU has open counts, and the new one where QEMU is gone. The other is nobody's and is collected.
 * A guest that stood still when the dashboard was killed is let go on by the next one.
 *
 * QEMU: qapi/block-core.json (blockdev-mirror), block/mirror.c, softmmu/cpus.c (do_vm_stop flushes every file, running or
 * not, which writes out the tables of the new one).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { JobContext } from '#server/jobs/registry.ts'
import { QmpCommandError, QmpDisconnectedError, QmpTimeoutError } from '#server/qmp/errors.ts'
import { dropNode, listNodes as listFileNodes, overlayNode } from '#server/snapshots/live.ts'
import type { LayerDocument, VolumeDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { type BlockNode, findNode, formatNodeOf, isReadBy, rootNodeOf } from '#server/vm/block/find-node.ts'
import { overlayArguments } from '#server/vm/block/overlay.ts'
import { cancel, complete, jobError, listJobs, runJob } from '#server/vm/block/run-job.ts'
import type { Supervisor } from '#server/vm/types.ts'
import type { GuestWork } from '#server/vm/work.ts'
import { EngineError } from './errors.ts'
import type { RunningPlan } from './running-plan.ts'
import { RecoverLater, type VmBusy } from './vm-busy.ts'

export const MOVE_WORK = 'volume-move'

const About = z.object({
  volumeId: z.string(),
  device: z.string(),
  source: z.string(),
  target: z.string(),
  phase: z.enum(['copying', 'pivoting']),
  /** The guest ran, and is stopped for the moment. */
  stopped: z.boolean(),
})
type About = z.output<typeof About>

export interface LiveMoveDeps {
  readonly volumes: Volumes
  readonly busy: VmBusy
  readonly supervisor: Pick<Supervisor, 'work' | 'runtime' | 'onChange'>
  readonly planOf: RunningPlan
  readonly warn: (message: string, error?: unknown) => void
}

export interface LiveMove {
  readonly volume: VolumeDocument & { readonly vm: NonNullable<VolumeDocument['vm']> }
  readonly poolId: string
  /** Null: as fast as it goes. */
  readonly limitMiBps: number | null
  /** Tells what now is its recovery. */
  readonly note: (about: About) => void
  /** Bytes as QEMU counts them; the total grows with what the guest writes. */
  readonly onProgress: (done: number, total: number) => void
}

export interface LiveMover {
  /** To be called inside `busy.run` of kind `MOVE_WORK`. @throws EngineError; the signal's reason: the disk is where it was */
  run(move: LiveMove, context: Pick<JobContext, 'signal' | 'step' | 'settle'>): Promise<void>
}

/** How long a job that was told to end may take. Milliseconds. */
const END_MS = 60_000
const LOOK_MS = 100
const LOSS_MS = 5000
/** Stopping writes out what the host still holds of every disk. */
const STOP_MS = 120_000

const jobName = (layerId: string) => `gdmove-${layerId}`

export function createLiveMover(deps: LiveMoveDeps): LiveMover {
  const { volumes, busy, supervisor, warn } = deps

  // The new file is nobody's until QEMU has gone over to it; what a crash left must not be collected before it is known.
  volumes.registerHolder({
    holds: (layerId) =>
      busy.aboutAll(MOVE_WORK).some((about) => About.safeParse(about).data?.target === layerId) &&
      volumes.volumeOfHead(layerId) === null
        ? 'a move under way'
        : null,
  })
  busy.onRecovery(MOVE_WORK, async (vmId, { about }) => {
    const left = About.safeParse(about).data
    if (left === undefined) return
    try {
      await recover(deps, vmId, left)
    } catch (error) {
      throw later(vmId, error)
    }
  })
  /** Its QEMU runs and does not answer, so nobody knows which file it writes: both stay until it does, or has ended. */
  const later = (vmId: string, cause: unknown): RecoverLater => {
    const stop = supervisor.onChange((id, { state }) => {
      if (id !== vmId || state === 'unmanageable') return
      stop()
      busy
        .recoverOne(vmId)
        .then(() => volumes.collect())
        .catch((error: unknown) => warn(`What a move left of ${vmId} could not be cleared up.`, error))
    })
    return new RecoverLater(
      'How the move ended is not known yet: QEMU did not answer, or it could not be stored. Both files stay until that is cleared up, which happens when the guest answers or has been shut down.',
      { cause },
    )
  }

  return {
    async run(move, context) {
      const { vm, head, name } = move.volume
      const source = volumes.layer(head)
      if (source === null) throw new EngineError('volume_missing', 'The file of this disk is no longer known.')
      const state: State = { about: null, isGone: false }
      const releases: (() => void)[] = []
      try {
        await supervisor.work(vm.id, async (work) => {
          const node = await findNode(work, volumes.pathOf(source), name)
          const target = await volumes.makeLayer(
            {
              ...{ poolId: move.poolId, format: source.format, parent: null, uid: source.uid },
              sizeBytes: node.image?.['virtual-size'] ?? move.volume.sizeBytes,
            },
            (layer) => releases.push(volumes.pin(layer.id)),
          )
          await mirror({ deps, move, context, work, node, source, target, state })
        })
      } catch (error) {
        if (error instanceof Unsettled) throw later(vm.id, error.cause)
        // The guest ended in between: it stood still, so both files hold the same, and nothing was written since.
        if (state.about?.phase !== 'pivoting' || !state.isGone) throw error
        takeOver(volumes, state.about)
      } finally {
        for (const release of releases) release()
      }
    },
  }
}

interface State {
  about: About | null
  /** The guest has ended. */
  isGone: boolean
}

/** QEMU lives, and which file it writes is not known or not stored. */
class Unsettled extends Error {
  override readonly name = 'Unsettled'
}

interface Run {
  readonly deps: LiveMoveDeps
  readonly move: LiveMove
  readonly context: Pick<JobContext, 'signal' | 'step' | 'settle'>
  readonly work: GuestWork
  readonly node: BlockNode
  readonly source: LayerDocument
  readonly target: LayerDocument
  readonly state: State
}

async function mirror(run: Run): Promise<void> {
  const { deps, move, context, work, node, source, target, state } = run
  const { volumes } = deps
  const { device, id: vmId } = move.volume.vm
  const disk = work.spec?.disks.find(({ id }) => id === device)
  if (disk?.device !== 'disk') throw new EngineError('conflict', 'What the guest was started with is not on record.')
  const note = (change: Partial<About>) => {
    const before = state.about ?? {
      ...{ volumeId: move.volume.id, device, source: source.id, target: target.id },
      ...{ phase: 'copying' as const, stopped: false },
    }
    const about = { ...before, ...change }
    move.note(about)
    state.about = about
  }
  const targetNode = overlayNode(device, target.id)
  const jobId = jobName(target.id)
  // QEMU mirrors what the device reads: where a disk has limits that is the filter that holds it to them.
  const root = (await rootNodeOf(work, device)) ?? node['node-name']
  note({})
  await work.ask('blockdev-add', overlayArguments(disk, targetNode, volumes.pathOf(target), target.format))
  context.step('Copying while the guest goes on')
  try {
    await runJob(work, {
      jobId,
      what: 'The move',
      signal: context.signal,
      isPastCancel: () => state.about?.phase === 'pivoting',
      start: () =>
        work.ask('blockdev-mirror', {
          'job-id': jobId,
          device: root,
          ...(root !== node['node-name'] && { replaces: node['node-name'] }),
          target: targetNode,
          sync: 'full',
          'copy-mode': 'write-blocking',
          'auto-dismiss': false,
          ...(move.limitMiBps !== null && { speed: move.limitMiBps * 2 ** 20 }),
        }),
      progress: move.onProgress,
      ready: async () => {
        await carryBitmaps(run, targetNode)
        context.settle()
        context.step('Going over to the new file')
        await standStill(work, note)
        await assertEqual(work, jobId)
        note({ phase: 'pivoting' })
        await complete(jobId)(work)
      },
    })
  } catch (error) {
    state.isGone = await hasEnded(work, error)
    if (state.isGone) throw error
    // Refused or failed at the last step, it may have gone over all the same.
    const hasGoneOver = await settled(run, async () => {
      await endJob(work, jobId)
      if (await isReadBy(work, device, volumes.pathOf(target))) return true
      if (state.about?.phase === 'pivoting') note({ phase: 'copying' })
      await dropNode(work, targetNode)
      await goOn(work, state.about)
      return false
    })
    if (!hasGoneOver) throw error
  }
  // Should this fail, the guest stays stopped: what it wrote from here on would be lost at its next start.
  await settled(run, async () => takeOver(volumes, { volumeId: move.volume.id, target: target.id }))
  await goOn(work, state.about)
  await dropChain(deps, work, source)
  await rememberPlan(deps, vmId, work)
}

/** @throws Unsettled when the step fails and the guest lives */
async function settled<T>({ work, state }: Run, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    state.isGone = await hasEnded(work, error)
    throw state.isGone ? error : new Unsettled('unsettled', { cause: error })
  }
}

/** The monitor is lost a moment before the process is known to have gone. */
async function hasEnded({ signal }: GuestWork, error: unknown): Promise<boolean> {
  const isLost = error instanceof QmpDisconnectedError || error instanceof QmpTimeoutError
  if (signal.aborted || !isLost) return signal.aborted
  await sleep(LOSS_MS, undefined, { signal }).catch(() => {})
  return signal.aborted
}

/** A bitmap tells the next backup what changed. Those that cannot be carried over make it a full one, and it says so. */
async function carryBitmaps({ deps, work, source }: Run, targetNode: string): Promise<void> {
  if (source.format !== 'qcow2') return
  const node = await findNode(work, deps.volumes.pathOf(source), source.file)
  const bitmaps = (node['dirty-bitmaps'] ?? []).flatMap(({ name, granularity, ...bitmap }) =>
    name !== undefined && bitmap.persistent && bitmap.recording && !bitmap.busy && bitmap.inconsistent !== true
      ? [{ name, granularity }]
      : [],
  )
  if (bitmaps.length === 0) return
  // Begun before the merge: what the guest writes meanwhile is counted in one of the two at least.
  const actions = bitmaps.flatMap(({ name, granularity }) => [
    { type: 'block-dirty-bitmap-add', data: { node: targetNode, name, granularity, persistent: true } },
    {
      type: 'block-dirty-bitmap-merge',
      data: { node: targetNode, target: name, bitmaps: [{ node: node['node-name'], name }] },
    },
  ])
  try {
    await work.ask('transaction', { actions })
  } catch (error) {
    if (!(error instanceof QmpCommandError)) throw error
    deps.warn('What changed since the last backup could not be carried over; the next one is a full one.', error)
  }
}

/** Stops the guest where it runs, and has every file written out, in either case. */
async function standStill(work: GuestWork, note: (change: Partial<About>) => void): Promise<void> {
  const isRunning = (await work.readRunState()) === 'running'
  if (isRunning) note({ stopped: true })
  await work.ask('stop', undefined, { timeoutMs: STOP_MS })
}

async function goOn(work: GuestWork, about: About | null): Promise<void> {
  if (about?.stopped !== true) return
  // Refused when the guest was shut down or its power cut meanwhile.
  await work.ask('cont').catch(() => null)
  await work.readRunState().catch(() => null)
}

/** A write that reached the old file alone ends the job. */
async function assertEqual(work: GuestWork, jobId: string): Promise<void> {
  const job = (await listJobs(work)).find(({ id }) => id === jobId)
  if (job?.status === 'ready' && job.error === undefined) return
  throw jobError('The move', job?.error ?? 'the copy ended by itself')
}

function takeOver(volumes: Volumes, { volumeId, target }: Pick<About, 'volumeId' | 'target'>): void {
  if (volumes.layer(target) !== null && volumes.get(volumeId) !== null) volumes.change(volumeId, { head: target })
}

/** The old file, and what it stood on: layers that snapshots put below it are nodes of their own. */
async function dropChain({ volumes, warn }: LiveMoveDeps, work: GuestWork, source: LayerDocument): Promise<void> {
  try {
    for (const { path } of volumes.chain(source.id)) {
      const node = formatNodeOf(await listFileNodes(work), path)
      if (node !== null) await dropNode(work, node)
    }
  } catch (error) {
    warn('The old file of a disk that was moved is still open in its guest.', error)
  }
}

async function rememberPlan({ planOf, warn }: LiveMoveDeps, vmId: string, work: GuestWork): Promise<void> {
  if (work.spec === null) return
  try {
    work.keepPlan(await planOf(vmId, work.spec))
  } catch (error) {
    warn(`The command line of what ${vmId} runs could not be put right.`, error)
  }
}

/** What a crash of the dashboard left: exactly one of the two files is the disk when this returns. */
async function recover(deps: LiveMoveDeps, vmId: string, about: About): Promise<void> {
  const { volumes, supervisor } = deps
  const { state } = supervisor.runtime(vmId)
  if (state === 'off' || state === 'crashed') {
    if (about.phase === 'pivoting') takeOver(volumes, about)
    return
  }
  try {
    await supervisor.work(vmId, (work) => recoverLive(deps, vmId, about, work))
  } catch (error) {
    const now = supervisor.runtime(vmId).state
    if (now !== 'off' && now !== 'crashed') throw error
    // Ended meanwhile.
    if (about.phase === 'pivoting') takeOver(volumes, about)
  }
}

async function recoverLive(deps: LiveMoveDeps, vmId: string, about: About, work: GuestWork): Promise<void> {
  const { volumes } = deps
  await endJob(work, jobName(about.target))
  const target = volumes.layer(about.target)
  const source = volumes.layer(about.source)
  if (target !== null && (await isReadBy(work, about.device, volumes.pathOf(target)))) {
    takeOver(volumes, about)
    await goOn(work, about)
    if (source !== null) await dropChain(deps, work, source)
    await rememberPlan(deps, vmId, work)
    return
  }
  await dropNode(work, overlayNode(about.device, about.target))
  await goOn(work, about)
}

/** @throws EngineError unresponsive when QEMU does not end it */
async function endJob(work: GuestWork, id: string): Promise<void> {
  for (const deadline = performance.now() + END_MS; performance.now() < deadline; ) {
    const job = (await listJobs(work)).find((one) => one.id === id)
    if (job === undefined) return
    if (job.status === 'concluded') await work.ask('job-dismiss', { id }).catch(() => null)
    else await cancel(work, id)
    await sleep(LOOK_MS)
  }
  throw new EngineError('unresponsive', 'QEMU was told to end a copy and has not done so.')
}
