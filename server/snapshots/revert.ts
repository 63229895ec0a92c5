/**
 * Going back to a snapshot.
 *
 *   with memory, same hardware, running   snapshot-load in the running QEMU
 *   with memory, else                     power cut ─▶ definition back ─▶ start, stopped ─▶ snapshot-load ─▶ on it goes
 *   without memory, `memory`              power cut ─▶ qemu-img snapshot on each file ─▶ definition back
 *   `disk`                                power cut ─▶ a new layer over each kept one ─▶ heads change, definition back
 *
 * Before the first file is touched the place says `reverting`. A crash from then on is finished, not undone
 * (`recover.ts`): every step can be done again, and what was there before is lost already.
 */
import { randomUUIDv7 } from 'node:crypto'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { same } from '#lib/vm/same.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import {
  hasNvram,
  hasTpm,
  NVRAM_NODE,
  type Progress,
  powerOf,
  type SnapshotContext,
  type SnapshotVm,
  topNodes,
} from './context.ts'
import { insideFiles } from './create.ts'
import { type SnapshotDocument, tagOf } from './documents.ts'
import { afterFailedLoad, jobFailure, jobIdOf, loadMemory, QemuJobError } from './live.ts'

export interface RevertRequest {
  readonly definition: 'restore' | 'keep'
  readonly start: boolean
  readonly by: string
}

const WHAT = 'Going back'

/** What a person calls the VM and wants of it stays; the machine is that of the snapshot. */
export function restoredSpec(now: VmSpec, then: VmSpec): VmSpec {
  const { name, description, tags, autostart } = now
  return { ...then, name, description, tags, autostart }
}

/** What a VM is defined as once it went back. Without its definition a disk of then would be nobody's. */
export const definitionAfter = (now: VmSpec, document: SnapshotDocument, definition: 'restore' | 'keep'): VmSpec =>
  definition === 'restore' ? restoredSpec(now, document.spec) : withDisksOf(now, document)

/** Whether the running machine is the one whose memory was saved. */
const isSameMachine = (running: VmSpec, saved: VmSpec) => same(restoredSpec(saved, running), restoredSpec(saved, saved))

/** The number that tells a guest that it went back is given to a QEMU when it starts, and stays. */
const loadsInPlace = (running: VmSpec | null, saved: VmSpec): boolean =>
  running !== null && !running.generationId && isSameMachine(running, saved)

/** @throws EngineError; nothing has changed then, or the VM is off and the work goes on at the next start */
export async function revertSnapshot(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  request: RevertRequest,
  progress: Progress,
): Promise<void> {
  const { supervisor } = context
  assertWhole(context, vm, document)
  const power = powerOf(context, vm.id)
  const { launchedSpec } = supervisor.runtime(vm.id)
  progress.settle()
  if (document.memoryBytes !== null) {
    if (power === 'live' && loadsInPlace(launchedSpec, document.spec))
      return await loadOrFinish(context, vm, document, progress)
    await turnOff(context, vm, request.by, progress)
    context.records.setPlace(vm.id, { reverting: document.id, definition: 'restore' })
    await applyOffline(context, vm, document, 'restore')
    progress.step('Starting with the memory of the snapshot')
    await context.start(vm.id, request.by, {
      tag: tagOf(document.id),
      jobId: jobIdOf('load', document.id),
      devices: document.disks.map(({ device }) => device),
      nvram: document.nvram === 'inside',
      goesOn: document.runState === 'running',
    })
    return
  }
  await turnOff(context, vm, request.by, progress)
  context.records.setPlace(vm.id, { reverting: document.id, definition: request.definition })
  progress.step('Putting the disks back')
  await applyOffline(context, vm, document, request.definition)
  if (request.start) {
    progress.step('Starting the guest')
    await context.start(vm.id, request.by, null)
  }
}

async function turnOff({ supervisor }: SnapshotContext, { id }: SnapshotVm, by: string, progress: Progress) {
  const { state } = supervisor.runtime(id)
  if (state === 'off' || state === 'crashed') return
  progress.step('Cutting the power of the guest')
  await supervisor.poweroff(id, by)
}

/** @throws EngineError when something it needs is gone or was moved */
function assertWhole(context: SnapshotContext, vm: SnapshotVm, document: SnapshotDocument): void {
  if (document.state !== 'complete')
    throw new EngineError('wrong_state', 'This snapshot is not complete; nothing can go back to it. Delete it.')
  for (const { device, layerId } of document.disks) {
    if (context.volumes.layer(layerId) === null)
      throw new EngineError('volume_missing', `The file of the disk “${device}” in this snapshot is gone.`)
    const volume = context.volumes.find(vm.id, device)
    if (document.kind === 'memory' && volume !== null && volume.head !== layerId)
      throw new EngineError(
        'conflict',
        `The disk “${device}” lies in another file than when this was taken (it was moved or cloned since), and the snapshot lies in the old one.`,
      )
  }
}

/** Should QEMU end while it loads, some disks may be those of the snapshot and others not: all of them become so. */
async function loadOrFinish(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  progress: Progress,
): Promise<void> {
  const { records, supervisor } = context
  try {
    await loadIntoRunning(context, vm, document, progress)
  } catch (error) {
    if (records.place(vm.id).reverting !== document.id) throw error
    const deadline = performance.now() + ENDS_MS
    while (!isOff(supervisor.runtime(vm.id).state)) {
      // It has not ended: the next start of the dashboard looks at it again.
      if (performance.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, ENDS_STEP_MS))
    }
    await applyOffline(context, vm, document, 'restore')
    throw new EngineError(
      'wrong_state',
      'QEMU ended while it was reading the memory. The disks and the definition are those of the snapshot, and the VM is off.',
      { cause: error },
    )
  }
}
/** The process's end may be known a moment after that of its monitor. Milliseconds. */
const ENDS_MS = 10_000
const ENDS_STEP_MS = 100
const isOff = (state: string) => state === 'off' || state === 'crashed'

/** The guest's memory and disks are those of the snapshot: stored with what belongs to it. */
export async function noteLoaded(context: SnapshotContext, vm: SnapshotVm, document: SnapshotDocument): Promise<void> {
  const freed = context.store.transaction(() => {
    const spec = restoredSpec(context.vm(vm.id).spec, document.spec)
    const others = setFree(context, vm.id, spec)
    context.replaceSpec(vm.id, spec)
    context.records.setPlace(vm.id, { current: document.id, reverting: null })
    return others
  })
  context.specReplaced(vm.id)
  for (const id of freed) await context.volumes.handOver(id, null)
}

async function loadIntoRunning(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  progress: Progress,
): Promise<void> {
  const { records, supervisor } = context
  await supervisor.work(vm.id, async (guest) => {
    const tops = await topNodes(context, guest, document.disks)
    const target = {
      tag: tagOf(document.id),
      vmstate: tops[0] ?? '',
      nodes: [...tops, ...(document.nvram === 'inside' ? [NVRAM_NODE] : [])],
    }
    const wasRunning = guest.runState === 'running'
    records.setPlace(vm.id, { reverting: document.id, definition: 'restore' })
    progress.step('Reading the memory; the guest stands still meanwhile')
    try {
      await loadMemory(guest, jobIdOf('load', document.id), target, {
        onProgress: progress.progress,
        onDone: () => noteLoaded(context, vm, document),
      })
    } catch (error) {
      if (error instanceof QemuJobError && !guest.signal.aborted) {
        const hasDisksBack = await afterFailedLoad(guest, error.words, wasRunning)
        records.setPlace(vm.id, { reverting: null, ...(hasDisksBack && { current: document.id }) })
        if (hasDisksBack)
          throw new EngineError(
            'conflict',
            'The disks are those of the snapshot, but QEMU could not load its memory. The guest was started afresh from these disks.',
            { cause: error },
          )
      }
      throw jobFailure(WHAT, error)
    }
    // A guest that was paused meanwhile takes up what the snapshot was: running, or not.
    if (document.runState === 'running') await guest.ask('cont')
    else await guest.ask('stop')
    await guest.readRunState()
  })
}

/**
 * Disks, UEFI variables, TPM and definition of a VM that is off. Can be repeated after a crash: the last step, which
 * stores that it is done, is one transaction.
 */
export async function applyOffline(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
  definition: 'restore' | 'keep',
): Promise<void> {
  const { files, qemuImg, records, volumes, store } = context
  const fresh = new Map<string, string>()
  const releases: (() => void)[] = []
  const freed: string[] = []
  try {
    await takeBack(context, vm, document)
    if (document.kind === 'memory') {
      for (const { path, user } of insideFiles(context, vm, document))
        await qemuImg.snapshot('apply', path, tagOf(document.id), { user })
    } else {
      for (const disk of document.disks) {
        const layer = volumes.layer(disk.layerId)
        if (layer === null) throw new EngineError('volume_missing', `The file of “${disk.device}” is gone.`)
        await volumes.makeLayer(
          {
            poolId: layer.poolId,
            format: 'qcow2',
            sizeBytes: disk.sizeBytes,
            parent: { layer: layer.id },
            uid: vm.uid,
          },
          (made) => {
            fresh.set(disk.device, made.id)
            releases.push(volumes.pin(made.id))
          },
        )
      }
    }
    if (document.nvram === 'copied') await files.restoreNvram(vm.id, document.id, vm.uid)
    if (document.tpm === 'copied') await files.restoreTpm(vm.id, document.id, vm.uid)
    store.transaction(() => {
      for (const disk of document.disks) {
        const head = fresh.get(disk.device) ?? disk.layerId
        const present = volumes.find(vm.id, disk.device)
        if (present !== null) volumes.change(present.id, { head, sizeBytes: disk.sizeBytes })
        else if (volumes.get(disk.volumeId)?.head === head)
          volumes.change(disk.volumeId, {
            vm: { id: vm.id, device: disk.device },
            sizeBytes: disk.sizeBytes,
            trashedAt: null,
          })
        else volumes.put(comeBack(context, vm, disk, head))
      }
      const spec = definitionAfter(context.vm(vm.id).spec, document, definition)
      if (definition === 'restore') freed.push(...setFree(context, vm.id, spec))
      context.replaceSpec(vm.id, spec)
      records.setPlace(vm.id, { current: document.id, reverting: null })
    })
  } finally {
    for (const release of releases) release()
  }
  context.specReplaced(vm.id)
  // Out of the VM's directory, and nobody's but ours.
  for (const id of freed) await volumes.handOver(id, null)
  await volumes.collect()
}

/**
 * A disk that was taken out of the VM went to the trash, and its files became the dashboard's own. The guest reads them
 * again from here on, and writes the one that is its disk's.
 */
async function takeBack({ volumes }: SnapshotContext, vm: SnapshotVm, document: SnapshotDocument): Promise<void> {
  for (const { device, volumeId, layerId } of document.disks) {
    if (volumes.find(vm.id, device) !== null) continue
    if (document.kind === 'memory' && volumes.get(volumeId)?.head === layerId) await volumes.handOver(volumeId, vm.uid)
    else
      for (const link of volumes.chain(layerId))
        if (link.layerId !== null && volumes.layer(link.layerId)?.uid !== vm.uid) await volumes.share(link.layerId)
  }
}

/** A disk that was taken out of the VM since. */
function comeBack(
  { volumes, now }: SnapshotContext,
  vm: SnapshotVm,
  disk: SnapshotDocument['disks'][number],
  head: string,
): VolumeDocument {
  return {
    v: 1,
    id: volumes.get(disk.volumeId) === null ? disk.volumeId : randomUUIDv7(),
    name: disk.volumeName,
    poolId: volumes.layer(head)?.poolId ?? 'local',
    ownerId: vm.ownerId,
    vm: { id: vm.id, device: disk.device },
    head,
    sizeBytes: disk.sizeBytes,
    createdAt: now().toISOString(),
    trashedAt: null,
  }
}

/** Disks the definition of then does not know stay, as volumes of nobody. @returns their ids */
function setFree({ volumes }: SnapshotContext, vmId: string, spec: VmSpec): string[] {
  const named = new Set(spec.disks.map(({ id }) => id))
  const others = volumes.ofVm(vmId).filter(({ vm }) => vm !== null && !named.has(vm.device))
  for (const { id } of others) volumes.change(id, { vm: null })
  return others.map(({ id }) => id)
}

/** The definition of now with the disks of then, which were put back: those it lacks come with their old places. */
function withDisksOf(now: VmSpec, document: SnapshotDocument): VmSpec {
  const lost = document.spec.disks.filter(
    (disk) => document.disks.some(({ device }) => device === disk.id) && !now.disks.some(({ id }) => id === disk.id),
  )
  const sized = now.disks.map((disk) => {
    const then = document.spec.disks.find(({ id }) => id === disk.id)
    return disk.device === 'disk' && then?.device === 'disk' ? { ...disk, sizeGiB: then.sizeGiB } : disk
  })
  return { ...now, disks: [...sized, ...lost] }
}

/** What a person should know before: a sentence each. */
export function consequences(
  context: SnapshotContext,
  vm: SnapshotVm,
  document: SnapshotDocument,
): { loses: string[]; stays: string[] } {
  const { state, launchedSpec } = context.supervisor.runtime(vm.id)
  const isOff = state === 'off' || state === 'crashed'
  const inPlace = document.memoryBytes !== null && loadsInPlace(launchedSpec, document.spec) && !isOff
  const named = new Set(document.disks.map(({ device }) => device))
  const others = context.volumes.ofVm(vm.id).filter(({ vm: holder }) => holder !== null && !named.has(holder.device))
  const loses = [
    `Everything that was written to ${[...named].map((device) => `“${device}”`).join(', ')} since ${document.name} was taken.`,
    ...(isOff ? [] : ['What the guest has in memory now.']),
    ...(isOff || inPlace ? [] : ['The power of the guest is cut; its consoles close.']),
    ...(hasNvram(document.spec) ? ['UEFI settings made since.'] : []),
    ...(hasTpm(document.spec) && document.tpm !== 'none' ? ['What the TPM has learned since.'] : []),
  ]
  const stays = [
    'All snapshots.',
    ...others.map(
      ({ vm: holder }) => `“${holder?.device ?? ''}”, which the snapshot does not have, as a volume of its own.`,
    ),
    ...(document.spec.generationId
      ? ['The guest is told that it went back, so that it draws new random numbers.']
      : []),
    document.memoryBytes !== null
      ? document.runState === 'running'
        ? 'The guest runs on from where it was.'
        : 'The guest is paused, as it was.'
      : 'The guest is off afterwards, as with its power cut or shut down at that moment.',
  ]
  return { loses, stays }
}
