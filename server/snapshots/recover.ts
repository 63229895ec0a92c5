/**
 * What a dashboard that was killed, or a host that lost power, left in the middle. Called when guests have been adopted
 * and before anybody may ask for anything. Afterwards every snapshot is whole, absent or marked.
 *
 * QEMU outlives the dashboard: a job it was given goes on and is found here by its name (`jobIdOf`), seen through and
 * dismissed. What it has open counts, whatever is on record.
 */
import { EngineError } from '#server/engine/errors.ts'
import type { GuestWork } from '#server/vm/work.ts'
import { hasNvram, NVRAM_NODE, rememberPlan, type SnapshotContext, type SnapshotVm } from './context.ts'
import { markIncomplete, takeOverlays } from './create.ts'
import { type SnapshotDocument, tagOf } from './documents.ts'
import { thaw } from './freeze.ts'
import {
  deleteTag,
  dropNode,
  formatNodeOf,
  jobIdOf,
  listJobs,
  listNodes,
  memoryBytesOf,
  overlayNode,
  QemuJobError,
  readStatus,
  seeThrough,
} from './live.ts'
import { applyOffline } from './revert.ts'

const isLive = ({ supervisor }: SnapshotContext, vmId: string): boolean => {
  const { state } = supervisor.runtime(vmId)
  return state !== 'off' && state !== 'crashed' && state !== 'unmanageable'
}

/** Never throws: one VM's trouble keeps no other from being looked after. */
export async function recoverVm(context: SnapshotContext, vm: SnapshotVm): Promise<void> {
  const { records, supervisor, warn } = context
  const left = records.ofVm(vm.id).filter(({ document }) => document.state === 'creating')
  const place = records.place(vm.id)
  if (left.length === 0 && place.reverting === null && !place.frozen) {
    await settleJobs(context, vm)
    return
  }
  try {
    if (isLive(context, vm.id)) {
      await supervisor.work(vm.id, async (guest) => {
        // First of all: a guest whose file systems stand still can do nothing.
        if (place.frozen && guest.agent !== null) await thaw(guest.agent.path)
        records.setPlace(vm.id, { frozen: false })
        for (const { document } of left) await recoverLive(context, vm, document, guest)
        if (place.reverting !== null) await recoverLoad(context, vm, place.reverting, guest)
        await clearJobs(guest)
      })
      return
    }
    records.setPlace(vm.id, { frozen: false })
    for (const { document } of left) recoverOff(context, document)
    if (place.reverting !== null) {
      const document = records.get(place.reverting)?.document
      if (document === undefined) records.setPlace(vm.id, { reverting: null })
      else await applyOffline(context, vm, document, 'restore')
    }
  } catch (error) {
    warn(`Snapshots of ${vm.spec.name} that were interrupted could not be cleared up.`, error)
    for (const { document } of left)
      if (records.get(document.id)?.document.state === 'creating') markIncomplete(context, document.id)
  }
}

/** Jobs of ours that nobody waits for any more: merges, whose snapshot is shown as being deleted. */
async function settleJobs(context: SnapshotContext, vm: SnapshotVm): Promise<void> {
  if (!isLive(context, vm.id) || context.records.ofVm(vm.id).length === 0) return
  await context.supervisor
    .work(vm.id, async (guest) => {
      await noteMerges(context, vm, guest)
      await clearJobs(guest)
    })
    .catch((error: unknown) => context.warn(`Jobs left in ${vm.spec.name} could not be looked at.`, error))
}

/**
 * A merge whose dashboard was killed. One that still copies is stopped: the chain is as good as before, and deleting
 * again goes on. One that had gone over stands still, both files alike, until it is noted (`mergeLive`).
 */
async function noteMerges(context: SnapshotContext, vm: SnapshotVm, guest: GuestWork): Promise<void> {
  const { volumes, store, records } = context
  for (const { document } of records.ofVm(vm.id)) {
    if (document.state !== 'deleting' || document.kind !== 'disk') continue
    for (const { device } of document.disks) {
      const id = jobIdOf('merge', document.id, `-${device}`)
      const job = (await listJobs(guest)).find((one) => one.id === id)
      if (job !== undefined && job.status !== 'concluded') {
        await guest.ask('job-cancel', { id }).catch(() => null)
        await seeThrough(guest, id, null).catch(() => {})
      }
      const volume = volumes.find(vm.id, device)
      const head = volume === null ? null : volumes.layer(volume.head)
      if (volume === null || head === null) continue
      const parent = head.parent !== null && 'layer' in head.parent ? volumes.layer(head.parent.layer) : null
      const nodes = await listNodes(guest)
      const from = formatNodeOf(nodes, volumes.pathOf(head))
      const into =
        parent === null ? null : nodes.find(({ file, drv }) => file === volumes.pathOf(parent) && drv === 'file')
      // The parent is written: it is what the disk reads now.
      if (parent !== null && into !== undefined && into !== null && !into.ro && job?.error === undefined) {
        store.transaction(() => {
          volumes.change(volume.id, { head: parent.id })
          volumes.changeLayer(parent.id, { sizeBytes: head.sizeBytes })
        })
        if (from !== null) await dropNode(guest, from)
        await rememberPlan(context, vm.id, guest)
      }
      if ((await readStatus(guest)) === 'paused' && job !== undefined) await guest.ask('cont')
    }
  }
}

async function clearJobs(guest: GuestWork): Promise<void> {
  for (const job of await listJobs(guest)) {
    if (!job.id.startsWith('gd-')) continue
    if (/^gd-(save|load|delete|nvram|merge)-/.test(job.id)) await seeThrough(guest, job.id, null).catch(() => {})
  }
}

async function recoverLive(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  guest: GuestWork,
): Promise<void> {
  const { records, store, volumes, files } = context
  const { id } = document
  const done = (change: Partial<SnapshotDocument>) =>
    store.transaction(() => {
      records.change(id, { ...change, state: 'complete' })
      records.setPlace(vm.id, { current: id })
    })
  const undone = async () => {
    records.remove(id)
    await files.remove(vm.id, id)
    await volumes.collect()
  }
  if (document.kind === 'memory') {
    const jobId = jobIdOf('save', id)
    const nodes = await listNodes(guest)
    const tops = document.disks.flatMap(({ layerId }) => {
      const layer = volumes.layer(layerId)
      const node = layer === null ? null : formatNodeOf(nodes, volumes.pathOf(layer))
      return node === null ? [] : [node]
    })
    const isKnown = (await listJobs(guest)).some((job) => job.id === jobId)
    try {
      if (isKnown) await seeThrough(guest, jobId, null)
    } catch (error) {
      if (!(error instanceof QemuJobError)) throw error
    }
    const bytes = memoryBytesOf(await listNodes(guest), tagOf(id))
    if (isKnown && bytes !== null)
      return done({ memoryBytes: bytes, tpm: document.spec.tpm === 'none' ? 'none' : 'inside' })
    await deleteTag(guest, jobIdOf('delete', id), tagOf(id), [
      ...tops,
      ...(hasNvram(document.spec) ? [NVRAM_NODE] : []),
    ])
    return await undone()
  }
  const nodes = await listNodes(guest)
  const isTop = (device: string, overlayId: string | null) => {
    const layer = overlayId === null ? null : volumes.layer(overlayId)
    const below = document.disks.find((disk) => disk.device === device)?.layerId
    const base = below === undefined ? null : volumes.layer(below)
    const file =
      base === null ? undefined : nodes.find(({ drv, file: path }) => drv === 'file' && path === volumes.pathOf(base))
    // The transaction makes what was the top read-only.
    return layer !== null && formatNodeOf(nodes, volumes.pathOf(layer)) !== null && file?.ro === true
  }
  const overlaid = document.disks.filter(({ device, overlayId }) => isTop(device, overlayId))
  const isNoted = document.disks.length > 0 && document.disks.every(({ overlayId }) => overlayId === null)
  if (overlaid.length === 0 && !isNoted) {
    for (const { device, overlayId } of document.disks)
      if (overlayId !== null) await dropNode(guest, overlayNode(device, overlayId))
    await dropNode(guest, overlayNode('nvram', id))
    return await undone()
  }
  if (!isNoted) store.transaction(() => takeOverlays(context, id))
  await rememberPlan(context, vm.id, guest)
  if ((await readStatus(guest)) === 'paused' && document.runState === 'running' && document.spec.tpm !== 'none')
    await guest.ask('cont')
  const nvramJob = jobIdOf('nvram', id)
  if (hasNvram(document.spec)) {
    const isKnown = (await listJobs(guest)).some((job) => job.id === nvramJob)
    const isCopied =
      isKnown &&
      (await seeThrough(guest, nvramJob, null).then(
        () => true,
        () => false,
      ))
    await dropNode(guest, overlayNode('nvram', id))
    if (!isCopied) return markIncomplete(context, id)
  }
  // What the TPM knew at that moment was not copied.
  if (document.spec.tpm !== 'none') return markIncomplete(context, id)
  done({ detail: 'The dashboard ended while this was being made; the disks are complete.' })
}

/** The guest is off, so nobody has its files open. */
function recoverOff(context: SnapshotContext, document: SnapshotDocument): void {
  const { store } = context
  const hasOverlays = document.disks.some(({ overlayId }) => overlayId !== null)
  // A guest that ran may have gone over to its new layers. They are right either way: an unused one is empty.
  if (document.kind === 'disk' && hasOverlays && document.runState !== 'off')
    store.transaction(() => takeOverlays(context, document.id))
  markIncomplete(context, document.id)
}

/** Memory was being loaded. */
async function recoverLoad(
  context: SnapshotContext,
  vm: SnapshotVm,
  snapshotId: string,
  guest: GuestWork,
): Promise<void> {
  const { records } = context
  const document = records.get(snapshotId)?.document
  const jobId = jobIdOf('load', snapshotId)
  const isKnown = (await listJobs(guest)).some((job) => job.id === jobId)
  if (document === undefined || !isKnown) {
    // The guest runs, so it was not begun, or it was over and only the note of it is missing.
    records.setPlace(vm.id, { reverting: null })
    return
  }
  try {
    await seeThrough(guest, jobId, null)
    if (document.runState === 'running') await guest.ask('cont')
    records.setPlace(vm.id, { current: snapshotId, reverting: null })
  } catch (error) {
    if (!(error instanceof QemuJobError)) throw error
    records.setPlace(vm.id, { reverting: null })
    throw new EngineError('conflict', 'Going back failed while the dashboard was away.', { cause: error })
  }
}
