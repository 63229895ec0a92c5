/**
 * Taking a snapshot.
 *
 *   memory, running   document ─▶ snapshot-save over all disks and UEFI variables ─▶ complete
 *   memory, off       document ─▶ qemu-img snapshot on each file                   ─▶ complete
 *   disk, running     document ─▶ a new layer over each disk ─▶ frozen: one transaction ─▶ heads change ─▶ complete
 *   disk, off         document ─▶ a new layer over each disk ─▶ heads change, complete
 *
 * The document is stored first (`creating`), so that whatever a crash leaves is known by its name (`recover.ts`). Its
 * layers are held from that moment on.
 */
import type { SnapshotConsistency, SnapshotKind } from '#lib/schema/snapshot.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { toolUser } from '#server/storage/tool-user.ts'
import { overlayArguments } from '#server/vm/block/overlay.ts'
import type { GuestWork } from '#server/vm/work.ts'
import {
  type DiskOf,
  disksWithVolumes,
  hasNvram,
  hasTpm,
  NVRAM_NODE,
  type Power,
  type Progress,
  powerOf,
  rememberPlan,
  type SnapshotContext,
  type SnapshotVm,
  topNodes,
} from './context.ts'
import { type SnapshotDocument, tagOf } from './documents.ts'
import { type FreezeOutcome, whileFrozen } from './freeze.ts'
import {
  deleteTag,
  dropNode,
  jobFailure,
  jobIdOf,
  listNodes,
  memoryBytesOf,
  overlayNode,
  readStatus,
  saveMemory,
  seeThrough,
  switchOver,
} from './live.ts'

export interface NewSnapshot {
  readonly id: string
  readonly kind: SnapshotKind
  readonly name: string
  readonly note: string
  readonly scheduleId: string | null
  readonly createdBy: string
  /** Picture of the screen, small; null: none. */
  readonly screen: Buffer | null
}

const WHAT = 'The snapshot'

/** @throws EngineError; then there is nothing of it, or it is marked as incomplete */
export async function createSnapshot(
  context: SnapshotContext,
  vm: SnapshotVm,
  request: NewSnapshot,
  progress: Progress,
): Promise<SnapshotDocument> {
  const { records, supervisor } = context
  const power = powerOf(context, vm.id)
  const runtime = supervisor.runtime(vm.id)
  const spec = power === 'live' ? (runtime.launchedSpec ?? vm.spec) : vm.spec
  const disks = disksWithVolumes(context, vm.id, spec)
  records.put({
    v: 1,
    id: request.id,
    vmId: vm.id,
    kind: request.kind,
    parent: records.place(vm.id).current,
    name: request.name,
    note: request.note,
    state: 'creating',
    detail: null,
    runState: power === 'off' ? 'off' : runtime.state === 'paused' ? 'paused' : 'running',
    consistency: power === 'off' ? 'off' : request.kind === 'memory' ? 'memory' : 'crash',
    memoryBytes: null,
    spec,
    disks: disks.map(({ disk, volume }) => ({
      device: disk.id,
      volumeId: volume.id,
      volumeName: volume.name,
      layerId: volume.head,
      overlayId: null,
      sizeBytes: volume.sizeBytes,
    })),
    nvram: !hasNvram(spec) ? 'none' : request.kind === 'memory' ? 'inside' : 'copied',
    tpm: 'none',
    hasScreenshot: false,
    scheduleId: request.scheduleId,
    createdAt: context.now().toISOString(),
    createdBy: request.createdBy,
  })
  const task: Task = { context, vm, spec, id: request.id, disks, progress }
  try {
    await make(task, request, power)
  } catch (error) {
    // Nobody is making it any more, whatever went wrong.
    if (records.get(request.id)?.document.state === 'creating') markIncomplete(context, request.id)
    throw error
  }
  return must(context, request.id)
}

async function make(task: Task, request: NewSnapshot, power: Power): Promise<void> {
  const { context, vm } = task
  const { records, supervisor, files } = context
  if (request.screen !== null) {
    await files.keepScreen(vm.id, request.id, request.screen)
    records.change(request.id, { hasScreenshot: true })
  }
  if (request.kind === 'memory') {
    if (power === 'live') await supervisor.work(vm.id, (guest) => saveWithMemory(task, guest))
    else await keepInside(task)
  } else {
    await makeOverlays(task)
    if (power === 'live') await supervisor.work(vm.id, (guest) => switchLive(task, guest))
    else await switchOff(task)
  }
}

interface Task {
  readonly context: SnapshotContext
  readonly vm: SnapshotVm
  readonly spec: VmSpec
  readonly id: string
  readonly disks: readonly DiskOf[]
  readonly progress: Progress
}

const must = ({ records }: SnapshotContext, id: string): SnapshotDocument => {
  const stored = records.get(id)
  if (stored === null) throw new EngineError('not_found', 'There is no such snapshot.')
  return stored.document
}

/** Whole, and the place the VM is at. */
function complete({ context, vm, id }: Task, change: Partial<SnapshotDocument> = {}): void {
  context.store.transaction(() => {
    context.records.change(id, { ...change, state: 'complete' })
    context.records.setPlace(vm.id, { current: id })
  })
}

/** Nothing of it is left, or it is shown as what it is. Never throws. */
async function giveUp(task: Task, undo: () => Promise<void>): Promise<void> {
  const { context, vm, id } = task
  try {
    await undo()
    context.records.remove(id)
    await context.files.remove(vm.id, id)
    await context.volumes.collect()
  } catch (error) {
    context.warn(`The half-made snapshot ${id} could not be cleared away.`, error)
    markIncomplete(context, id)
  }
}

export function markIncomplete({ records, warn }: SnapshotContext, id: string): void {
  try {
    if (records.get(id) !== null)
      records.change(id, { state: 'incomplete', detail: 'It was interrupted while it was being made; delete it.' })
  } catch (error) {
    warn(`That the snapshot ${id} is incomplete could not be stored.`, error)
  }
}

async function saveWithMemory(task: Task, guest: GuestWork): Promise<void> {
  const { context, id, spec, progress } = task
  const document = must(context, id)
  const tops = await topNodes(context, guest, document.disks)
  const nodes = [...tops, ...(hasNvram(spec) ? [NVRAM_NODE] : [])]
  const target = { tag: tagOf(id), vmstate: tops[0] ?? '', nodes }
  progress.step('Writing the memory; the guest stands still meanwhile')
  try {
    await saveMemory(guest, jobIdOf('save', id), target, {
      onProgress: progress.progress,
      async onDone() {
        const memoryBytes = memoryBytesOf(await listNodes(guest).catch(() => []), target.tag) ?? 0
        complete(task, { memoryBytes, tpm: hasTpm(spec) ? 'inside' : 'none' })
      },
    })
  } catch (error) {
    if (must(context, id).state === 'complete') throw jobFailure(WHAT, error)
    if (guest.signal.aborted) {
      // The files may list it all the same, unfinished.
      markIncomplete(context, id)
      throw new EngineError('wrong_state', `${WHAT} was broken off: the guest ended meanwhile.`, { cause: error })
    }
    await giveUp(task, () => deleteTag(guest, jobIdOf('delete', id), target.tag, nodes))
    throw jobFailure(WHAT, error)
  }
}

/** Files that hold a snapshot inside, with the user who may open them. */
export function insideFiles(context: SnapshotContext, vm: SnapshotVm, document: SnapshotDocument) {
  const user = toolUser(context, vm.uid)
  const disks = document.disks.flatMap(({ layerId }) => {
    const layer = context.volumes.layer(layerId)
    return layer === null ? [] : [{ path: context.volumes.pathOf(layer), user: toolUser(context, layer.uid) }]
  })
  return [...disks, ...(document.nvram === 'inside' ? [{ path: context.data.nvram(vm.id), user }] : [])]
}

async function keepInside(task: Task): Promise<void> {
  const { context, vm, id, spec, progress } = task
  const { qemuImg, files } = context
  const tag = tagOf(id)
  const done: { path: string; user: ReturnType<typeof toolUser> }[] = []
  progress.settle()
  try {
    for (const file of insideFiles(context, vm, must(context, id))) {
      done.push(file)
      await qemuImg.snapshot('create', file.path, tag, { user: file.user })
    }
    const hasKept = hasTpm(spec) && (await files.keepTpm(vm.id, id))
    complete(task, { tpm: hasKept ? 'copied' : 'none' })
  } catch (error) {
    await giveUp(task, async () => {
      for (const { path, user } of done)
        if ((await qemuImg.tags(path, { user })).includes(tag)) await qemuImg.snapshot('delete', path, tag, { user })
    })
    throw error
  }
}

async function makeOverlays(task: Task): Promise<void> {
  const { context, vm, id, disks, progress } = task
  progress.step('Making a new layer for each disk')
  try {
    for (const { disk, volume } of disks) {
      progress.signal.throwIfAborted()
      await context.volumes.makeLayer(
        {
          poolId: volume.poolId,
          format: 'qcow2',
          sizeBytes: volume.sizeBytes,
          parent: { layer: volume.head },
          uid: vm.uid,
        },
        (layer) => {
          const document = must(context, id)
          context.records.change(id, {
            disks: document.disks.map((one) => (one.device === disk.id ? { ...one, overlayId: layer.id } : one)),
          })
        },
      )
    }
  } catch (error) {
    await giveUp(task, async () => {})
    throw error
  }
}

/** The layers made for it become what the disks are. To be called inside a transaction. */
export function takeOverlays(context: SnapshotContext, id: string): void {
  const document = must(context, id)
  for (const { volumeId, overlayId } of document.disks)
    if (overlayId !== null && context.volumes.get(volumeId) !== null)
      context.volumes.change(volumeId, { head: overlayId })
  context.records.change(id, { disks: document.disks.map((disk) => ({ ...disk, overlayId: null })) })
}

async function switchOff(task: Task): Promise<void> {
  const { context, vm, id, spec, progress } = task
  try {
    progress.settle()
    if (hasNvram(spec)) await context.files.keepNvram(vm.id, id)
    const hasKept = hasTpm(spec) && (await context.files.keepTpm(vm.id, id))
    context.store.transaction(() => {
      takeOverlays(context, id)
      complete(task, { tpm: hasKept ? 'copied' : 'none' })
    })
  } catch (error) {
    await giveUp(task, async () => {})
    throw error
  }
}

async function switchLive(task: Task, guest: GuestWork): Promise<void> {
  const { context, vm, id, spec, disks, progress } = task
  const { volumes, files, records } = context
  const document = must(context, id)
  const added: string[] = []
  const nvramNode = overlayNode('nvram', id)
  const nvramJob = jobIdOf('nvram', id)
  let isOver = false
  try {
    const tops = await topNodes(context, guest, document.disks)
    const overlays: { node: string; overlay: string }[] = []
    for (const [index, { device, overlayId }] of document.disks.entries()) {
      const layer = overlayId === null ? null : volumes.layer(overlayId)
      const disk = disks.find((one) => one.disk.id === device)?.disk
      const node = tops[index]
      if (layer === null || disk === undefined || node === undefined)
        throw new EngineError('internal', 'A layer is gone.')
      const overlay = overlayNode(device, layer.id)
      await guest.ask('blockdev-add', overlayArguments(disk, overlay, volumes.pathOf(layer)))
      added.push(overlay)
      overlays.push({ node, overlay })
    }
    if (hasNvram(spec)) {
      const filename = await files.makeNvramTarget(vm.id, id, toolUser(context, vm.uid))
      await guest.ask('blockdev-add', {
        driver: 'qcow2',
        'node-name': nvramNode,
        backing: null,
        file: { driver: 'file', 'node-name': `${nvramNode}f`, filename },
      })
      added.push(nvramNode)
    }
    progress.settle()
    progress.step('Holding the file systems still')
    const nvram = hasNvram(spec) ? { node: NVRAM_NODE, target: nvramNode, jobId: nvramJob } : null
    const mark = {
      set: () => records.setPlace(vm.id, { frozen: true }),
      clear: () => records.setPlace(vm.id, { frozen: false }),
    }
    const agent = guest.agent?.open === true && document.runState === 'running' ? guest.agent.path : null
    const { result: hasKept, outcome } = await whileFrozen(agent, mark, () =>
      standingStill(guest, hasTpm(spec), async () => {
        await switchOver(guest, { overlays, nvram })
        isOver = true
        // Should storing it fail, the guest runs on the new layers: the next start of the dashboard finds that.
        context.store.transaction(() => takeOverlays(context, id))
        return hasTpm(spec) && (await files.keepTpm(vm.id, id))
      }),
    )
    if (nvram !== null) {
      progress.step('Copying the UEFI variables')
      await seeThrough(guest, nvramJob, null)
      await dropNode(guest, nvramNode)
    }
    complete(task, {
      tpm: hasKept ? 'copied' : 'none',
      consistency: consistencyOf(document, outcome),
      detail: document.runState === 'running' && outcome.kind === 'not' ? outcome.why : null,
    })
  } catch (error) {
    if (isOver || guest.signal.aborted) {
      // Whether QEMU still went over before it ended, nobody knows. The new layers are right either way: an unused one
      // is empty.
      if (!isOver) context.store.transaction(() => takeOverlays(context, id))
      markIncomplete(context, id)
    } else {
      await giveUp(task, async () => {
        for (const node of added) await dropNode(guest, node)
      })
    }
    throw jobFailure(WHAT, error)
  }
  await rememberPlan(context, vm.id, guest)
}

/** A paused guest asks nothing of its disks, and its agent cannot answer. */
const consistencyOf = ({ runState }: SnapshotDocument, outcome: FreezeOutcome): SnapshotConsistency =>
  runState === 'running' && outcome.kind === 'frozen' ? 'frozen' : 'crash'

/** With a TPM, whose state is copied from outside, no instruction may run between the disks and it. */
async function standingStill<T>(guest: GuestWork, isNeeded: boolean, moment: () => Promise<T>): Promise<T> {
  const stops = isNeeded && (await readStatus(guest)) === 'running'
  if (stops) await guest.ask('stop')
  try {
    return await moment()
  } finally {
    if (stops) await guest.ask('cont')
  }
}
