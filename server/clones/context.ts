/** What the work on clones is given, and what all of it shares. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { DataPaths } from '#server/paths.ts'
import type { Pools } from '#server/storage/pools.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { ToolUser } from '#server/storage/sandbox.ts'
import type { LayerDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'

export interface CloneContext {
  readonly data: DataPaths
  readonly store: Store
  readonly pools: Pools
  readonly volumes: Volumes
  readonly qemuImg: QemuImg
  /** Group of all guests; null: they share the dashboard's user. */
  readonly readersGid: number | null
  readonly warn: (message: string, error?: unknown) => void
}

export interface CloneVm {
  readonly id: string
  readonly uid: number | null
  readonly spec: VmSpec
}

/** What one disk of a clone is made of: a layer that is written no more. */
export interface BaseDisk {
  readonly device: string
  readonly layerId: string
  readonly poolId: string
  readonly sizeBytes: number
}

export interface TpmFile {
  readonly name: string
  readonly content: Buffer
}

/** A moment of the source, as it is kept for its clones. */
export interface Base {
  readonly spec: VmSpec
  readonly disks: readonly BaseDisk[]
  /** Snapshot inside the files of the disks and of the variables instead of their present content. */
  readonly tag: string | null
  /** UEFI variables to copy; null: none. */
  readonly nvram: string | null
  /** What the TPM knows; null: none is taken over. */
  readonly tpm: readonly TpmFile[] | null
  /** Who may read the source's own files. */
  readonly user: ToolUser | null
  /** Copies made for a single clone, which takes them over instead of copying them again. */
  readonly isForOne: boolean
}

/** A change of several layers and volumes, whole or not at all, in memory and in the store. */
export const atOnce = <T>(
  { store, volumes }: CloneContext,
  work: () => T,
  options?: { readonly relaxed: boolean },
): T => volumes.together(() => store.transaction(work, options))

/** Removes layers that did not come to anything. Never throws. */
export async function dropLayers({ volumes, warn }: CloneContext, layers: readonly LayerDocument[]): Promise<void> {
  for (const { id } of layers)
    await volumes.dropLayer(id).catch((error: unknown) => warn('A half-made disk file could not be removed.', error))
}
