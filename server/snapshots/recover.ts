/**
 * What a dashboard that was killed, or a host that lost power, left in the middle. Called when guests have been adopted
 * and before anybody may ask for anything. Afterwards every snapshot is whole, absent or marked.
 *
 * QEMU outlives the dashboard: a job it was given goes on and is found here by its name (`jobIdOf`), seen through and
 * dismissed. What it has open counts, whatever is on record.
 */

import { formatNodeOf } from '#server/vm/block/find-node.ts'
import type { GuestWork } from '#server/vm/work.ts'
import { hasNvram, NVRAM_NODE, rememberPlan, type SnapshotContext, type SnapshotVm } from './context.ts'
import { markIncomplete, takeOverlays } from './create.ts'
import { type SnapshotDocument, tagOf } from './documents.ts'
import { thaw } from './freeze.ts'
import {
  afterFailedLoad,
  deleteTag,
  dropNode,
  jobIdOf,
  listJobs,
  listNodes,
  memoryBytesOf,
  overlayNode,
  QemuJobError,
  readStatus,
  seeThrough,
} from './live.ts'
import { replaceLayer, soleChild } from './remove.ts'
import { applyOffline, noteLoaded } from './revert.ts'

const isLive = ({ supervisor }: SnapshotContext, vmId: string): boolean => {
  const { state } = supervisor.runtime(vmId)
  return state !== 'off' && state !== 'crashed' && state !== 'unmanageable'
}

/** Never throws: one VM's trouble keeps no other from being looked after. */
export async function recoverVm(context: SnapshotContext, vm: SnapshotVm): Promise<void> {
  const { records, supervisor, warn } = context
  const left = records.ofVm(vm.id).filter(({ document }) => document.state === 'creating')
  const place = records.place(vm.id)
  try {
    if (isLive(context, vm.id)) {
      await supervisor.work(vm.id, async (guest) => {
        // First of all: a guest whose file systems stand still can do nothing.
        if (place.frozen && (guest.agent === null || (await thaw(guest.agent.path))))
          records.setPlace(vm.id, { frozen: false })
        for (const { document } of left) await recoverLive(context, vm, document, guest)
        await recoverLoad(context, vm, guest)
        await noteMerges(context, vm, guest)
        await clearJobs(guest)
        if (!records.place(vm.id).stopped) return
        if ((await readStatus(guest)) === 'paused') await guest.ask('cont')
        records.setPlace(vm.id, { stopped: false })
      })
      return
    }
    if (place.frozen || place.stopped) records.setPlace(vm.id, { frozen: false, stopped: false })
    for (const { document } of left) recoverOff(context, document)
    if (place.reverting !== null) {
      const document = records.get(place.reverting)?.document
      if (document === undefined) records.setPlace(vm.id, { reverting: null })
      else await applyOffline(context, vm, document, place.definition)
    }
  } catch (error) {
    warn(`Snapshots of ${vm.spec.name} that were interrupted could not be cleared up.`, error)
    for (const { document } of left)
      if (records.get(document.id)?.document.state === 'creating') markIncomplete(context, document.id)
  }
}

/**
 * A merge whose dashboard was killed. One that still copies is stopped: the chain is as good as before, and deleting
 * again goes on. One that was over is noted now; of the topmost layer the guest stands still until it is (`mergeLive`).
 * A merge that was noted has no job any more, or needs nothing but that it is dismissed.
 */
async function noteMerges(context: SnapshotContext, vm: SnapshotVm, guest: GuestWork): Promise<void> {
  const { volumes, records } = context
  for (const { document } of records.ofVm(vm.id)) {
    if (document.state !== 'deleting' || document.kind !== 'disk') continue
    for (const { device, layerId } of document.disks) {
      const id = jobIdOf('merge', document.id, `-${device}`)
      const job = (await listJobs(guest)).find((one) => one.id === id)
      if (job === undefined) continue
      if (job.status !== 'concluded') await guest.ask('job-cancel', { id }).catch(() => null)
      const base = volumes.layer(layerId)
      const child = soleChild(context, document.id, layerId)
      const nodes = await listNodes(guest)
      const from = child === null ? null : formatNodeOf(nodes, volumes.pathOf(child))
      const note = () => {
        if (base !== null && child !== null) replaceLayer({ context, base, child })
      }
      try {
        await seeThrough(guest, id, null, { onDone: note })
      } catch (error) {
        if (!(error instanceof QemuJobError)) throw error
        continue
      }
      if (from !== null) await dropNode(guest, from)
      await rememberPlan(context, vm.id, guest)
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
    const node = base === null ? null : formatNodeOf(nodes, volumes.pathOf(base))
    // The transaction makes what was the top read-only; its file stays open as it was.
    const isBelow = nodes.some((one) => one['node-name'] === node && one.ro)
    return layer !== null && formatNodeOf(nodes, volumes.pathOf(layer)) !== null && isBelow
  }
  const overlaid = document.disks.filter(({ device, overlayId }) => isTop(device, overlayId))
  const isNoted = !isUnbegun(context, document) && document.disks.every(({ overlayId }) => overlayId === null)
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

/** The disks are written where they were, whatever was made to take their place. */
const isUnbegun = ({ volumes }: SnapshotContext, { disks }: SnapshotDocument): boolean =>
  disks.every(({ volumeId, layerId }) => volumes.get(volumeId)?.head === layerId)

/** The guest is off, so nobody has its files open. */
function recoverOff(context: SnapshotContext, document: SnapshotDocument): void {
  const { store, records } = context
  // Of a VM that was off everything becomes so at once; of one that ran nothing was made yet.
  const isEmpty = document.runState === 'off' || document.disks.every(({ overlayId }) => overlayId === null)
  if (document.kind === 'disk' && isEmpty && isUnbegun(context, document)) {
    records.remove(document.id)
    return
  }
  const hasOverlays = document.disks.some(({ overlayId }) => overlayId !== null)
  // A guest that ran may have gone over to its new layers. They are right either way: an unused one is empty.
  if (document.kind === 'disk' && hasOverlays && document.runState !== 'off')
    store.transaction(() => takeOverlays(context, document.id))
  markIncomplete(context, document.id)
}

/**
 * Memory was being loaded, into the guest as it ran or into one that was started for it. QEMU stands still with it until
 * it is told to go on. What is noted before the job is dismissed (`noteLoaded`) is known even when the job is not.
 */
async function recoverLoad(context: SnapshotContext, vm: SnapshotVm, guest: GuestWork): Promise<void> {
  const { records } = context
  const { reverting, current } = records.place(vm.id)
  const document = records.get(reverting ?? current ?? '')?.document
  const jobId = document === undefined ? null : jobIdOf('load', document.id)
  const isKnown = jobId !== null && (await listJobs(guest)).some((job) => job.id === jobId)
  let isLoaded = reverting === null
  if (document !== undefined && isKnown)
    try {
      await seeThrough(guest, jobId, null, { onDone: () => noteLoaded(context, vm, document) })
      isLoaded = true
    } catch (error) {
      if (!(error instanceof QemuJobError)) throw error
      const hasDisksBack = await afterFailedLoad(guest, error.words, document.runState === 'running')
      records.setPlace(vm.id, { reverting: null, ...(hasDisksBack && { current: document.id }) })
      await guest.readRunState()
      return
    }
  if ((await readStatus(guest)) === 'restore-vm') {
    // Of a load that failed nobody knows how far it came: only a start from the disks as they are fits them.
    if (!isLoaded) await guest.ask('system_reset')
    if (!isLoaded || document?.runState === 'running') await guest.ask('cont')
    else await guest.ask('stop')
    await guest.readRunState()
  }
  if (reverting !== null && !isLoaded) records.setPlace(vm.id, { reverting: null })
}
