/** Volumes and layers as the rest of the dashboard sees them; `volumes.ts` makes them. */
import type { DataPaths } from '#server/paths.ts'
import type { WriteBehind } from '#server/platform/write-behind.ts'
import type { Store } from '#server/store/types.ts'
import type { DiskFormat } from './chain-node.ts'
import type { LayerFiles } from './layer-files.ts'
import type { Pools } from './pools.ts'
import type { QemuImg } from './qemu-img.ts'
import type { LayerDocument, VolumeDocument } from './volume-documents.ts'

export type LayerParent = NonNullable<LayerDocument['parent']>

/** One file of a chain, as it is opened. */
export interface ChainLink {
  readonly path: string
  readonly format: DiskFormat
  /** Null for a library image. */
  readonly layerId: string | null
  readonly imageId: string | null
}

/** What the library knows of an image a layer stands on; null: not there. */
export type ImageFile = (imageId: string) => { readonly path: string; readonly format: DiskFormat } | null

/** Something besides volumes and layers that needs layers: snapshots, backups in progress. */
export interface LayerHolder {
  /** What it is called in messages: `the snapshot “before”`. Null: it does not hold this layer. */
  holds(layerId: string): string | null
}

export interface NewVolume {
  readonly name: string
  readonly ownerId: string
  readonly sizeBytes: number
  /** Null: blank. */
  readonly parent: LayerParent | null
  /** Left out: the built-in pool. */
  readonly poolId?: string
  readonly vm: { readonly id: string; readonly device: string } | null
  /** User of the guest that will write it; null: the dashboard's. */
  readonly uid: number | null
  readonly format?: DiskFormat
  readonly fill?: NewLayer['fill']
}

export interface NewLayer {
  readonly poolId: string
  readonly format: DiskFormat
  readonly sizeBytes: number
  readonly parent: LayerParent | null
  readonly uid: number | null
  /** Name of the file relative to the pool's root; left out: one of its own in the pool's directory of layers. */
  readonly file?: string
  /** Writes its content before it becomes ready; the file belongs to `as` meanwhile. A crash removes it. */
  readonly fill?: { readonly as: number | null; write(layer: LayerDocument, behind: WriteBehind): Promise<void> }
}

export interface Volumes {
  /** Loads, removes what a crash left half made. `vmDisks`: disks of definitions older than volumes get one. */
  open(vmDisks: Iterable<LegacyDisk>): Promise<string[]>
  all(): readonly VolumeDocument[]
  get(id: string): VolumeDocument | null
  /** The volume of a VM's disk. */
  find(vmId: string, device: string): VolumeDocument | null
  ofVm(vmId: string): VolumeDocument[]
  layer(id: string): LayerDocument | null
  layers(): readonly LayerDocument[]
  pathOf(layer: LayerDocument): string
  /** Files from this layer down, top first. @throws EngineError image_missing, volume_missing */
  chain(layerId: string): ChainLink[]
  /** The chain of a VM's disk; null when it has no volume. @throws EngineError image_missing, volume_missing */
  chainOf(vmId: string, device: string): ChainLink[] | null
  childrenOf(layerId: string): LayerDocument[]
  volumeOfHead(layerId: string): VolumeDocument | null
  /** Snapshots, backups and their like that need a layer, in words. */
  heldBy(layerId: string): string[]
  /** Who else needs a layer, in words; empty when only a volume's head or nobody. */
  needs(layerId: string): string[]
  /** Whether it may never be written again. */
  isFrozen(layerId: string): boolean
  /** Images that a volume's chain stands on. */
  imagesOf(volume: VolumeDocument): string[]
  /** Volumes whose chain, or whose held layers, stand on an image. */
  standingOn(imageId: string): VolumeDocument[]
  registerHolder(holder: LayerHolder): () => void
  /**
   * Makes the file of a new layer: blank, or over its parent. It belongs to nobody yet and goes with the next `collect`
   * unless it becomes a head or is held.
   * @param use called once it is ready, before anybody could collect it: the place to make it somebody's
   * @throws EngineError no_space, conflict, internal
   */
  makeLayer(request: NewLayer, use?: (layer: LayerDocument) => void): Promise<LayerDocument>
  /** Announces a layer whose file somebody else writes; call `finishLayer` when it is whole, `dropLayer` when not. */
  announceLayer(request: NewLayer): LayerDocument
  /** Owner, mode, fsync, `ready`. */
  finishLayer(id: string): Promise<LayerDocument>
  /** Removes a layer that nothing needs, with its file. @throws EngineError in_use */
  dropLayer(id: string): Promise<void>
  /** A volume with its first layer. @throws EngineError no_space, conflict */
  create(request: NewVolume): Promise<VolumeDocument>
  /** Changes a volume; its pool is that of its head. To be called inside `store.transaction` when more belongs to it. @throws EngineError not_found */
  change(id: string, change: Partial<Omit<VolumeDocument, 'v' | 'id'>>): VolumeDocument
  /** Changes a layer's record (size after growth, parent after a merge). */
  changeLayer(id: string, change: Partial<Omit<LayerDocument, 'v' | 'id'>>): LayerDocument
  /** A volume over a layer that exists: a clone's disk, a restored one. */
  put(document: VolumeDocument): void
  /**
   * Changes that belong together, done inside `work`: when it throws, what is in memory is as before, as the store's
   * transaction in it is. Listeners hear of them afterwards.
   */
  together<T>(work: () => T): T
  /** A free volume over a layer that was just made. Call inside `use` of `makeLayer`. @returns its id */
  adopt(request: { name: string; ownerId: string; sizeBytes: number; layer: LayerDocument }): string
  /** Lets other guests read a layer: their group may read the file, and it lies where they can reach it. */
  share(layerId: string): Promise<LayerDocument>
  /**
   * Lets the members of one group read a layer that is nobody's own, and nobody else; null: all guests.
   * @throws EngineError conflict when it is a guest's own, or not ready
   */
  setReaders(layerId: string, gid: number | null): Promise<LayerDocument>
  /** Groups of those who read one layer, of all layers. */
  readerGids(): number[]
  /**
   * Hands the head to another user and takes every file of the chain out of a VM's directory, so that the volume outlives
   * the VM and no later user of the same number finds it. Only while nobody has it open.
   */
  handOver(id: string, uid: number | null): Promise<VolumeDocument>
  /** Whether a file of the volume lies in a VM's own directory, which goes with the VM. */
  liesWithVm(id: string): boolean
  /** Removes the volume and every layer only it needed. Idempotent. */
  remove(id: string): Promise<void>
  /** Removes layers nobody needs. @returns sentences for the log */
  collect(): Promise<string[]>
  /** Keeps a layer from being collected while something is made of it. */
  pin(layerId: string): () => void
  /** Called after every change: the volume, or null when it has gone. */
  onChange(listener: (id: string, volume: VolumeDocument | null) => void): () => void
}

/** A disk that was made before there were volumes. */
export interface LegacyDisk {
  readonly vmId: string
  readonly vmName: string
  readonly ownerId: string
  readonly uid: number | null
  readonly device: string
  readonly sizeGiB: number
  readonly image: string | null
  readonly createdAt: string
}

export interface VolumesDeps {
  readonly data: DataPaths
  readonly store: Store
  readonly pools: Pools
  readonly qemuImg: QemuImg
  readonly image: ImageFile
  /** Group of all guests; null: they share the dashboard's user. */
  readonly readersGid: number | null
  readonly warn: (message: string, error?: unknown) => void
  /** How the files of a pool are reached; left out: directly. */
  readonly files?: (poolId: string) => LayerFiles
  readonly now?: () => Date
}
