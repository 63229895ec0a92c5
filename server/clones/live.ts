/**
 * The moment of a guest that runs. All disks and the UEFI variables are taken in one transaction, with the guest's file
 * systems held still by its agent where it has one; otherwise as after a power cut.
 *
 *   linked   new tops made, stored as ready and noted ─▶ one transaction: the guest writes to them ─▶ stored as heads
 *   full     empty files made ─▶ one transaction: a backup job for each disk ─▶ jobs followed to their end
 *
 * A crash between the transaction and the store is what the note is for (`recoverLive`). The new tops are right either
 * way: one that QEMU did not go over to is empty and shows what is below it.
 */
import { dirname } from 'node:path'
import * as z from 'zod'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import { type FreezeMark, thaw, whileFrozen } from '#server/snapshots/freeze.ts'
import {
  dropNode,
  jobFailure,
  listJobs,
  listNodes,
  overlayNode,
  seeThrough,
  switchOver,
} from '#server/snapshots/live.ts'
import { QEMU_IDS } from '#server/spec/ids.ts'
import { syncDir } from '#server/storage/dirs.ts'
import { LOCAL_POOL_ID } from '#server/storage/pools.ts'
import { writeEmptyQcow2 } from '#server/storage/qcow2-write.ts'
import type { LayerDocument } from '#server/storage/volume-documents.ts'
import { formatNodeOf } from '#server/vm/block/find-node.ts'
import { overlayArguments } from '#server/vm/block/overlay.ts'
import type { GuestWork } from '#server/vm/work.ts'
import { atOnce, type BaseDisk, type CloneContext, dropLayers, type TpmFile } from './context.ts'
import { readTpm } from './fill.ts'
import { type DiskOf, dropTops, makeTops, type NewTop, nameShared, openTops, takeTops } from './freeze.ts'

/** What recovery needs to know. */
const Note = z.object({
  frozen: z.boolean(),
  tops: z.array(z.object({ volumeId: z.string(), headId: z.string(), topId: z.string() })),
})
type Note = z.output<typeof Note>

export interface LiveSource {
  readonly id: string
  readonly uid: number | null
  readonly spec: VmSpec
  readonly disks: readonly DiskOf[]
}

export interface LiveProgress {
  readonly signal: AbortSignal
  step(sentence: string): void
  progress(done: number, total: number): void
  /** Stores what recovery would need from here on. */
  note(about: Note): void
}

export interface LiveMoment {
  readonly disks: readonly BaseDisk[]
  /** Files made for this alone, to be dropped when the clones are there. */
  readonly made: readonly LayerDocument[]
  readonly nvram: LayerDocument | null
  readonly tpm: readonly TpmFile[]
}

const WHAT = 'The clone'
const JOB = 'gd-clone-'
const NODE = 'gdc'

/** Nodes the disks' tops have in the running QEMU. @throws EngineError conflict */
async function topNodes({ volumes }: CloneContext, guest: GuestWork, disks: readonly DiskOf[]) {
  const nodes = await listNodes(guest)
  return disks.map(({ device, volume }) => {
    const layer = volumes.layer(volume.head)
    const node = layer === null ? null : formatNodeOf(nodes, volumes.pathOf(layer))
    if (node === null)
      throw new EngineError(
        'conflict',
        `The running guest does not have the file of “${device}” open that is on record.`,
      )
    return node
  })
}

/** An empty file that QEMU may write, known to be half made. */
async function makeTarget(context: CloneContext, uid: number | null, poolId: string, sizeBytes: number) {
  const layer = context.volumes.announceLayer({ poolId, format: 'qcow2', sizeBytes, parent: null, uid })
  await writeEmptyQcow2(context.volumes.pathOf(layer), sizeBytes, null, uid)
  return layer
}

const NvramSize = z.array(
  z.object({ 'node-name': z.string().default(''), image: z.object({ 'virtual-size': z.coerce.number() }) }),
)

interface Run {
  readonly context: CloneContext
  readonly guest: GuestWork
  readonly source: LiveSource
  readonly progress: LiveProgress
  /** Directory of what the TPM knows; null: it is not taken. */
  readonly tpmDir: string | null
  readonly made: LayerDocument[]
  readonly nodes: string[]
}

const fileNode = (node: string, filename: string) => ({
  driver: 'qcow2',
  'node-name': node,
  backing: null,
  file: { driver: 'file', 'node-name': `${node}f`, filename },
})

/** A file and a node for a copy of the UEFI variables. */
async function nvramTarget({ context, guest, source, made, nodes }: Run) {
  if (source.spec.firmware !== 'uefi') return null
  const all = NvramSize.parse(await guest.ask('query-named-block-nodes', { flat: true }))
  const size = all.find((one) => one['node-name'] === QEMU_IDS.firmwareVars)?.image['virtual-size']
  if (size === undefined) return null
  const layer = await makeTarget(context, source.uid, LOCAL_POOL_ID, size)
  made.push(layer)
  const target = `${NODE}v${layer.id.slice(-8)}`
  await guest.ask('blockdev-add', fileNode(target, context.volumes.pathOf(layer)))
  nodes.push(target)
  return { layer, node: QEMU_IDS.firmwareVars, target, jobId: `${JOB}v${layer.id}` }
}

/** Does `moment` with file systems frozen, and the guest stopped where its TPM is read too. */
async function still(run: Run, note: (frozen: boolean) => void, moment: () => Promise<void>): Promise<TpmFile[]> {
  const { guest, tpmDir, progress } = run
  const wasRunning = guest.runState === 'running'
  const mark: FreezeMark = { set: () => note(true), clear: () => note(false) }
  progress.step('Holding the file systems still')
  const agent = guest.agent?.open === true && wasRunning ? guest.agent.path : null
  const { result } = await whileFrozen(agent, mark, async () => {
    const stops = tpmDir !== null && wasRunning
    if (stops) await guest.ask('stop')
    try {
      await moment()
      return tpmDir === null ? [] : await readTpm(tpmDir)
    } finally {
      if (stops) await guest.ask('cont')
    }
  })
  return result
}

async function clear({ context, guest, nodes, made }: Run): Promise<void> {
  if (!guest.signal.aborted)
    for (const node of nodes)
      await dropNode(guest, node).catch((error: unknown) =>
        context.warn(`The node ${node} could not be removed.`, error),
      )
  await dropLayers(context, made)
}

/** The guest goes on in new tops; what it wrote so far is frozen. */
export async function freezeLive(
  context: CloneContext,
  guest: GuestWork,
  source: LiveSource,
  tpmDir: string | null,
  progress: LiveProgress,
): Promise<LiveMoment> {
  const { volumes, store } = context
  const run: Run = { context, guest, source, progress, tpmDir, made: [], nodes: [] }
  const nodes = await topNodes(context, guest, source.disks)
  const tops = await makeTops(context, source.uid, source.disks)
  using pins = new DisposableStack()
  for (const { top } of tops) pins.defer(volumes.pin(top.id))
  const noted = tops.map(({ disk, head, top }) => ({ volumeId: disk.volume.id, headId: head.id, topId: top.id }))
  let isOver = false
  try {
    const nvram = await nvramTarget(run)
    const overlays: { node: string; overlay: string }[] = []
    for (const [index, { disk, top }] of tops.entries()) {
      const overlay = overlayNode(disk.device, top.id)
      await guest.ask('blockdev-add', overlayArguments(diskOf(source.spec, disk.device), overlay, volumes.pathOf(top)))
      run.nodes.push(overlay)
      overlays.push({ node: nodes[index] ?? '', overlay })
    }
    progress.signal.throwIfAborted()
    // From here on the tops may hold what the guest writes: never to be taken for half made.
    store.transaction(() => {
      atOnce(context, () => {
        for (const { top } of tops) volumes.changeLayer(top.id, { state: 'ready' })
      })
      progress.note({ frozen: false, tops: noted })
    })
    const tpm = await still(
      run,
      (frozen) => progress.note({ frozen, tops: noted }),
      async () => {
        await switchOver(guest, { overlays, nvram })
        isOver = true
        takeTops(context, tops)
      },
    )
    await openTops(context, tops, true)
    if (nvram !== null) {
      await seeThrough(guest, nvram.jobId, null)
      await dropNode(guest, nvram.target)
    }
    const disks = tops.map(({ disk, head }) => ({
      device: disk.device,
      layerId: head.id,
      poolId: head.poolId,
      sizeBytes: head.sizeBytes,
    }))
    return { disks, made: run.made, nvram: nvram?.layer ?? null, tpm }
  } catch (error) {
    if (isOver || guest.signal.aborted) await afterwards(context, tops)
    else {
      await clear({ ...run, made: [] })
      await dropTops(context, tops)
    }
    await dropLayers(context, run.made)
    throw jobFailure(WHAT, error)
  }
}

/** QEMU went over, or nobody knows: the tops are the heads. */
async function afterwards(context: CloneContext, tops: readonly NewTop[]): Promise<void> {
  const due = tops.filter(({ disk, head }) => context.volumes.get(disk.volume.id)?.head === head.id)
  if (due.length > 0) takeTops(context, due)
  await openTops(context, tops, true)
}

function diskOf(spec: VmSpec, device: string) {
  const disk = spec.disks.find((drive) => drive.id === device)
  if (disk?.device !== 'disk') throw new EngineError('conflict', `The running guest has no disk “${device}”.`)
  return disk
}

/** Copies of all disks as of one moment, while the guest writes on. */
export async function copyLive(
  context: CloneContext,
  guest: GuestWork,
  source: LiveSource,
  tpmDir: string | null,
  progress: LiveProgress,
): Promise<LiveMoment> {
  const { volumes } = context
  const run: Run = { context, guest, source, progress, tpmDir, made: [], nodes: [] }
  const signal = AbortSignal.any([progress.signal, guest.signal])
  try {
    const nodes = await topNodes(context, guest, source.disks)
    const jobs: { id: string; node: string; target: string; disk: DiskOf; layer: LayerDocument }[] = []
    for (const [index, disk] of source.disks.entries()) {
      const layer = await makeTarget(context, source.uid, disk.volume.poolId, disk.volume.sizeBytes)
      run.made.push(layer)
      const target = `${NODE}d${layer.id.slice(-8)}`
      await guest.ask('blockdev-add', fileNode(target, volumes.pathOf(layer)))
      run.nodes.push(target)
      jobs.push({ id: `${JOB}${layer.id}`, node: nodes[index] ?? '', target, disk, layer })
    }
    const nvram = await nvramTarget(run)
    const backups = [...jobs, ...(nvram === null ? [] : [{ id: nvram.jobId, node: nvram.node, target: nvram.target }])]
    progress.note({ frozen: false, tops: [] })
    const tpm = await still(
      run,
      (frozen) => progress.note({ frozen, tops: [] }),
      async () => {
        await guest.ask('transaction', {
          actions: backups.map(({ id, node, target }) => ({
            type: 'blockdev-backup',
            data: { 'job-id': id, device: node, target, sync: 'full', 'auto-dismiss': false },
          })),
        })
      },
    )
    progress.step('Copying the disks')
    const seen = new Map<string, readonly [number, number]>()
    const ended = await Promise.allSettled(
      backups.map(({ id }) =>
        seeThrough(guest, id, null, {
          signal,
          onProgress(done, total) {
            seen.set(id, [done, total])
            const sums = [...seen.values()].reduce((sum, one) => [sum[0] + one[0], sum[1] + one[1]] as const)
            progress.progress(sums[0], sums[1])
          },
        }),
      ),
    )
    for (const one of ended) if (one.status === 'rejected') throw one.reason
    // What they hold is flushed when QEMU closes them.
    for (const node of run.nodes) await dropNode(guest, node)
    for (const dir of new Set(run.made.map((layer) => dirname(volumes.pathOf(layer))))) await syncDir(dir)
    return {
      disks: jobs.map(({ disk, layer }) => ({
        device: disk.device,
        layerId: layer.id,
        poolId: layer.poolId,
        sizeBytes: layer.sizeBytes,
      })),
      made: run.made,
      nvram: nvram?.layer ?? null,
      tpm,
    }
  } catch (error) {
    if (!guest.signal.aborted)
      await endJobs(guest).catch((cause: unknown) => context.warn('Jobs could not be ended.', cause))
    await clear(run)
    progress.signal.throwIfAborted()
    if (guest.signal.aborted)
      throw new EngineError('wrong_state', `${WHAT} was broken off: the guest ended meanwhile.`, { cause: error })
    // QEMU wants to open a file anew that a linked clone has made everybody's since the guest's start.
    if (error instanceof QmpCommandError && /Permission denied/.test(error.desc))
      throw new EngineError(
        'wrong_state',
        'Since its start linked clones were made of this guest, and QEMU cannot copy such disks while it runs. Make a linked clone, or shut the guest down first.',
        { cause: error },
      )
    throw jobFailure(WHAT, error)
  }
}

/** Cancels and dismisses every job of ours. */
async function endJobs(guest: GuestWork): Promise<void> {
  for (const { id } of (await listJobs(guest)).filter((job) => job.id.startsWith(JOB))) {
    await guest.ask('job-cancel', { id }).catch(() => null)
    // How it ended is of no interest any more.
    await seeThrough(guest, id, null).catch(() => {})
  }
}

/**
 * After a crash of the dashboard. @param guest null: the guest has ended as well
 * @returns sentences for the log
 */
export async function recoverLive(context: CloneContext, guest: GuestWork | null, about: unknown): Promise<string[]> {
  const { volumes } = context
  const parsed = Note.safeParse(about)
  if (!parsed.success) return []
  const { frozen, tops } = parsed.data
  if (guest !== null) {
    // First of all: a guest whose file systems stand still can do nothing.
    if (frozen && guest.agent !== null) await thaw(guest.agent.path)
    await endJobs(guest)
  }
  const nodes = guest === null ? [] : await listNodes(guest)
  const due = tops.filter(({ volumeId, headId }) => volumes.get(volumeId)?.head === headId)
  const notes: string[] = []
  // One transaction took all disks, so the first speaks for all.
  const [first] = due
  const head = first === undefined ? null : volumes.layer(first.headId)
  const node = head === null ? null : formatNodeOf(nodes, volumes.pathOf(head))
  // What stands below another is open for reading only.
  const wentOver = guest === null || nodes.find((one) => one['node-name'] === node)?.ro === true
  const whole = due.flatMap(({ volumeId, headId, topId }) => {
    const volume = volumes.get(volumeId)
    const head = volumes.layer(headId)
    const top = volumes.layer(topId)
    if (volume === null || head === null || top === null) return []
    return [{ disk: { device: volume.vm?.device ?? '', volume }, head, top }]
  })
  if (whole.length > 0 && wentOver) {
    // The names made for them may have been taken for left-overs.
    for (const { head } of whole) await nameShared(context, head)
    await syncDir(context.data.layersDir)
    takeTops(context, whole)
    notes.push('A guest goes on in the disk files made for a clone that was interrupted.')
  } else if (guest !== null) {
    for (const { disk, top } of whole) await dropNode(guest, overlayNode(disk.device, top.id))
    await dropTops(context, whole)
  }
  if (wentOver) {
    const made = tops.flatMap(({ volumeId, headId, topId }) => {
      const volume = volumes.get(volumeId)
      const head = volumes.layer(headId)
      const top = volumes.layer(topId)
      return volume === null || head === null || top === null ? [] : [{ disk: { device: '', volume }, head, top }]
    })
    await openTops(context, made, guest !== null)
  }
  if (guest !== null)
    for (const { 'node-name': node } of nodes) if (/^gdc[vd][0-9a-f]{8}$/.test(node)) await dropNode(guest, node)
  return notes
}
