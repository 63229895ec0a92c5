/** What the work on snapshots is given, and what all of it shares. */
import type { SnapshotKind } from '#lib/schema/snapshot.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { snapshotDisks } from '#lib/snapshots/rules.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { DataPaths } from '#server/paths.ts'
import { QEMU_IDS } from '#server/spec/ids.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'
import { formatNodeOf } from '#server/vm/block/find-node.ts'
import type { MemoryLoad, Supervisor } from '#server/vm/types.ts'
import type { GuestWork } from '#server/vm/work.ts'
import type { SnapshotRecords } from './documents.ts'
import { listNodes } from './live.ts'
import type { SideFiles } from './side-files.ts'

export interface SnapshotVm {
  readonly id: string
  readonly ownerId: string
  readonly uid: number | null
  /** The stored definition. */
  readonly spec: VmSpec
}

export interface SnapshotContext {
  readonly data: DataPaths
  readonly store: Store
  readonly records: SnapshotRecords
  readonly volumes: Volumes
  readonly qemuImg: QemuImg
  readonly files: SideFiles
  readonly supervisor: Supervisor
  readonly readersGid: number | null
  readonly now: () => Date
  readonly warn: (message: string, error?: unknown) => void
  /** As it is stored now. @throws EngineError not_found */
  vm(vmId: string): SnapshotVm
  /** Stores another definition, inside a transaction of the store. @throws EngineError when it cannot be */
  replaceSpec(vmId: string, spec: VmSpec): void
  /** After the transaction: everybody is told. */
  specReplaced(vmId: string): void
  /** The plan that would start what runs. */
  planOf(vmId: string, spec: VmSpec): Promise<LaunchPlan>
  /** Makes what a definition needs and the VM has not: UEFI variables. */
  start(vmId: string, by: string, load: MemoryLoad | null): Promise<void>
}

/** What the job that does it shows. */
export interface Progress {
  readonly signal: AbortSignal
  step(sentence: string): void
  progress(done: number, total: number): void
  /** From here on it cannot be cancelled. @throws the signal's reason */
  settle(): void
}

type Disk = ReturnType<typeof snapshotDisks>[number]
export interface DiskOf {
  readonly disk: Disk
  readonly volume: VolumeDocument
}

export function disksWithVolumes({ volumes }: SnapshotContext, vmId: string, spec: VmSpec): DiskOf[] {
  return snapshotDisks(spec).map((disk) => {
    const volume = volumes.find(vmId, disk.id)
    if (volume === null)
      throw new EngineError('volume_missing', `The files of the disk “${disk.id}” are not known; it cannot be kept.`)
    return { disk, volume }
  })
}

export type Power = 'off' | 'live'

/** @throws EngineError wrong_state in a state where neither the files nor the guest hold still */
export function powerOf({ supervisor }: SnapshotContext, vmId: string): Power {
  const { state } = supervisor.runtime(vmId)
  if (state === 'off' || state === 'crashed') return 'off'
  if (state === 'running' || state === 'paused') return 'live'
  throw new EngineError('wrong_state', `The guest is just now ${STATES[state] ?? state}; try again when that is over.`)
}
const STATES: { readonly [state: string]: string } = {
  starting: 'starting',
  stopping: 'shutting down',
  saving: 'being saved',
  migrating: 'being moved',
  unmanageable: 'not answering',
}

export const hasNvram = (spec: VmSpec): boolean => spec.firmware === 'uefi'
export const hasTpm = (spec: VmSpec): boolean => spec.tpm !== 'none'
export const NVRAM_NODE = QEMU_IDS.firmwareVars

/** Nodes of the disks' topmost files, in their order. @throws EngineError conflict */
export async function topNodes(
  { volumes }: SnapshotContext,
  guest: Pick<GuestWork, 'ask'>,
  disks: readonly { readonly device: string; readonly layerId: string }[],
): Promise<string[]> {
  const nodes = await listNodes(guest)
  return disks.map(({ device, layerId }) => {
    const layer = volumes.layer(layerId)
    const node = layer === null ? null : formatNodeOf(nodes, volumes.pathOf(layer))
    if (node === null)
      throw new EngineError(
        'conflict',
        `The running guest does not have the file of “${device}” open that is on record.`,
      )
    return node
  })
}

/** Puts the record of what runs right, so that it says what a start would open. Never throws: it is for people. */
export async function rememberPlan(context: SnapshotContext, vmId: string, guest: GuestWork): Promise<void> {
  if (guest.spec === null) return
  try {
    guest.keepPlan(await context.planOf(vmId, guest.spec))
  } catch (error) {
    context.warn(`The command line of what ${vmId} runs could not be put right.`, error)
  }
}

/** The kind of the snapshots a VM has; null: none. */
export const kindOf = (records: SnapshotRecords, vmId: string): SnapshotKind | null =>
  records.ofVm(vmId)[0]?.document.kind ?? null
