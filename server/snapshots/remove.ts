/**
 * Deleting a snapshot. Nothing of any other snapshot, nor of the present, is lost.
 *
 * `memory`: the tag goes out of each file. `disk`: a layer that only one other stands on takes that one's data in
 * (merge), and takes its place; one that several stand on stays as it is, without a name; one that nobody stands on goes.
 *
 *   L0 ◀─ C ◀─ …    merge C into L0: while it lasts, whoever reads through C reads the same as before; L0 alone does not,
 *                   which is why the snapshot is marked first (`deleting`). It can be interrupted anywhere and repeated.
 */
import { stat } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'
import { renameAbove } from '#server/storage/chain-headers.ts'
import { toolUser } from '#server/storage/tool-user.ts'
import type { LayerDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { allocatedBytes } from '#server/storage/volumes.ts'
import { formatNodeOf } from '#server/vm/block/find-node.ts'
import type { GuestWork } from '#server/vm/work.ts'
import {
  hasNvram,
  NVRAM_NODE,
  type Progress,
  powerOf,
  rememberPlan,
  type SnapshotContext,
  type SnapshotVm,
} from './context.ts'
import { insideFiles } from './create.ts'
import { type SnapshotDocument, tagOf } from './documents.ts'
import { deleteTag, jobFailure, jobIdOf, listNodes, mergeLive } from './live.ts'

const WHAT = 'Deleting the snapshot'
const LOOK_MS = 500

/** @throws EngineError; the snapshot is then shown as `deleting`, and deleting it again goes on */
export async function removeSnapshot(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  progress: Progress,
): Promise<void> {
  const { records, supervisor, files, volumes } = context
  const power = powerOf(context, vm.id)
  records.change(document.id, { state: 'deleting', detail: null })
  try {
    if (document.kind === 'memory') {
      progress.settle()
      if (power === 'live') await supervisor.work(vm.id, (guest) => deleteInside(context, vm, document, guest))
      else await deleteInside(context, vm, document, null)
    } else {
      if (power === 'live')
        await supervisor.work(vm.id, async (guest) => {
          await mergeLayers(context, vm, document, guest, progress)
          await rememberPlan(context, vm.id, guest)
        })
      else await mergeLayers(context, vm, document, null, progress)
    }
  } catch (error) {
    const detail = 'Deleting it was interrupted. Nothing else is affected; delete it again to finish.'
    if (records.get(document.id) !== null) records.change(document.id, { detail })
    throw jobFailure(WHAT, error)
  }
  forget(context, vm.id, document.id)
  await files.remove(vm.id, document.id)
  await volumes.collect()
}

/** Its children hang below its parent, and so does the present. */
export function forget({ records, store }: SnapshotContext, vmId: string, id: string): void {
  store.transaction(() => {
    const gone = records.get(id)?.document
    if (gone === undefined) return
    for (const { document } of records.ofVm(vmId))
      if (document.parent === id) records.change(document.id, { parent: gone.parent })
    if (records.place(vmId).current === id) records.setPlace(vmId, { current: gone.parent })
    records.remove(id)
  })
}

async function deleteInside(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  guest: GuestWork | null,
): Promise<void> {
  const { qemuImg } = context
  const tag = tagOf(document.id)
  const open = guest === null ? [] : await listNodes(guest)
  const nodes: string[] = []
  for (const { path, user } of insideFiles(context, vm, document)) {
    const node =
      path === context.data.nvram(vm.id) && guest !== null && hasNvram(document.spec)
        ? NVRAM_NODE
        : formatNodeOf(open, path)
    if (node !== null) nodes.push(node)
    // A file that went with its disk has nothing to delete.
    else if (await isThere(path)) {
      if ((await qemuImg.tags(path, { user })).includes(tag)) await qemuImg.snapshot('delete', path, tag, { user })
    }
  }
  if (guest !== null) await deleteTag(guest, jobIdOf('delete', document.id), tag, nodes)
}

const isThere = async (path: string) => (await allocatedBytes(path)) > 0

/** Who stands on a layer, seen from a snapshot that lets go of it. */
export function soleChild(context: SnapshotContext, snapshotId: string, layerId: string): LayerDocument | null {
  const { volumes, records } = context
  const isHeld = [...records.all()].some(
    ({ document }) => document.id !== snapshotId && document.disks.some((disk) => disk.layerId === layerId),
  )
  if (isHeld || volumes.volumeOfHead(layerId) !== null) return null
  const children = volumes.childrenOf(layerId)
  return children.length === 1 ? (children[0] ?? null) : null
}

/** Whether a disk that is not this VM's stands on the layer, however far above. */
function isReadByOthers(volumes: Volumes, layerId: string, vmId: string): boolean {
  const volume = volumes.volumeOfHead(layerId)
  if (volume !== null && volume.vm?.id !== vmId) return true
  return volumes.childrenOf(layerId).some(({ id }) => isReadByOthers(volumes, id, vmId))
}

/** @param uid null: we are not root, and all files are ours */
const isOwnedBy = async (path: string, uid: number | null) => uid === null || (await stat(path)).uid === uid

async function mergeLayers(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  guest: GuestWork | null,
  progress: Progress,
): Promise<void> {
  const { volumes } = context
  // One that was never finished may name layers that nobody uses.
  const left = document.disks.filter(({ layerId }) => volumes.layer(layerId) !== null)
  let doneBefore = 0
  for (const { device, layerId } of left) {
    progress.signal.throwIfAborted()
    const base = volumes.layer(layerId)
    const child = soleChild(context, document.id, layerId)
    if (base === null || child === null) continue
    // A clone's disk of another VM: its user may not write into ours.
    if (child.uid !== base.uid) continue
    // Clones that run have it open to read, and those that are gone left it to be read by all: it cannot be written, and
    // stays without a name, as what several stand on does.
    if (isReadByOthers(volumes, base.id, vm.id)) continue
    if (guest !== null && base.uid === null && !(await isOwnedBy(volumes.pathOf(base), vm.uid))) continue
    progress.step(`Merging “${device}”`)
    const size = Math.max(1, await allocatedBytes(volumes.pathOf(child)))
    const report = (done: number, total: number) =>
      progress.progress(doneBefore + Math.round((done / Math.max(total, 1)) * size), doneBefore + size)
    const merge = { context, base, child }
    const isLive =
      guest !== null && (await mergeInGuest(merge, vm, guest, document.id, device, report, progress.signal))
    if (!isLive) await mergeFiles(merge, report, progress.signal)
    doneBefore += size
  }
}

export interface LayerMerge {
  readonly context: SnapshotContext
  /** Takes the data in. */
  readonly base: LayerDocument
  /** Goes. */
  readonly child: LayerDocument
}

/** Everything that named the layer that goes names the one that took its data in. */
export function replaceLayer({ context, base, child }: LayerMerge): void {
  const { store, volumes, records } = context
  store.transaction(() => {
    const volume = volumes.volumeOfHead(child.id)
    for (const above of volumes.childrenOf(child.id)) volumes.changeLayer(above.id, { parent: { layer: base.id } })
    for (const { document } of records.all()) {
      if (!document.disks.some(({ layerId }) => layerId === child.id)) continue
      records.change(document.id, {
        disks: document.disks.map((disk) => (disk.layerId === child.id ? { ...disk, layerId: base.id } : disk)),
      })
    }
    volumes.changeLayer(base.id, { sizeBytes: child.sizeBytes })
    if (volume !== null) volumes.change(volume.id, { head: base.id })
  })
}

/** False when the guest has not both files open: then nobody has. */
async function mergeInGuest(
  merge: LayerMerge,
  vm: SnapshotVm,
  guest: GuestWork,
  snapshotId: string,
  device: string,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const { context, base, child } = merge
  const { volumes } = context
  const nodes = await listNodes(guest)
  const into = formatNodeOf(nodes, volumes.pathOf(base))
  const from = formatNodeOf(nodes, volumes.pathOf(child))
  const head = volumes.find(vm.id, device)?.head ?? null
  const layer = head === null ? null : volumes.layer(head)
  const top = layer === null ? null : formatNodeOf(nodes, volumes.pathOf(layer))
  if (into === null && from !== null)
    throw new EngineError('conflict', `The running guest has one file of “${device}” open and not the other.`)
  if (into === null) return false
  if (from === null) {
    // It was merged while the dashboard was away: the guest reads through the one that took the data in.
    replaceLayer(merge)
    await volumes.collect()
    return true
  }
  if (top === null) throw new EngineError('conflict', `The running guest does not have “${device}” open as on record.`)
  await mergeLive(
    guest,
    { jobId: jobIdOf('merge', snapshotId, `-${device}`), top, from, into, backingFile: volumes.pathOf(base) },
    () => replaceLayer(merge),
    (stopped) => context.records.setPlace(vm.id, { stopped }),
    { onProgress, signal },
  )
  await tellAbove(
    merge,
    nodes.map(({ file }) => file),
  )
  await volumes.collect()
  return true
}

async function mergeFiles(
  merge: LayerMerge,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const { context, base, child } = merge
  const { volumes, qemuImg } = context
  const user = toolUser(context, child.uid)
  const total = await allocatedBytes(volumes.pathOf(child))
  const before = await allocatedBytes(volumes.pathOf(base))
  // qemu-img says nothing on the way that could be read here; the file that grows does.
  const timer = setInterval(() => {
    allocatedBytes(volumes.pathOf(base)).then(
      (now) => onProgress(Math.min(Math.max(0, now - before), total), total),
      () => {},
    )
  }, LOOK_MS)
  try {
    await qemuImg.commit(volumes.chain(child.id), { user, signal })
  } finally {
    clearInterval(timer)
  }
  replaceLayer(merge)
  await tellAbove(merge)
  await volumes.collect()
}

const tellAbove = ({ context, base }: LayerMerge, open?: readonly string[]) =>
  renameAbove(context, base, (layer) => toolUser(context, layer.uid), open)
