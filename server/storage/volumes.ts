/**
 * Volumes and their layers. A volume is a disk; a layer is one file of it. Layers form a forest: each may read what it
 * has not written from a parent, which is another layer or a library image. A layer stays as long as something needs
 * it: a volume whose head it is, a layer above it, or a holder (snapshots, backups) that has registered here.
 *
 *   volume ──head──▶ layer ──parent──▶ layer ──parent──▶ image
 *                                 ▲
 *   snapshot ─────────────────────┘ (a holder)
 *
 * Everything is read from memory; the store is written first. A file is announced in the store before it is made
 * (`making`) and before it is removed (`leaving`), so that a crash at any point leaves whole files, or files known to
 * be half made, which `open` removes.
 */
import { randomUUIDv7 } from 'node:crypto'
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { GIB } from '#lib/units.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { DataPaths } from '#server/paths.ts'
import type { Store } from '#server/store/types.ts'
import { directFiles, type LayerFiles } from './layer-files.ts'
import { LOCAL_POOL_ID, type Pools } from './pools.ts'
import type { DiskFormat, QemuImg } from './qemu-img.ts'
import { LayerDocument, VolumeDocument } from './volume-documents.ts'

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
  readonly fill?: { readonly as: number | null; write(layer: LayerDocument): Promise<void> }
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
  /** Changes a volume. To be called inside `store.transaction` when more belongs to it. @throws EngineError not_found */
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

/** Deeper chains than this are refused: each layer costs a file descriptor and a look-up. */
export const MAX_CHAIN = 64

export function createVolumes(deps: VolumesDeps): Volumes {
  const { data, store, pools, qemuImg, readersGid } = deps
  const direct = directFiles()
  const filesOf = (poolId: string): LayerFiles => (poolId === LOCAL_POOL_ID ? direct : (deps.files?.(poolId) ?? direct))
  const at = () => (deps.now ?? (() => new Date()))().toISOString()
  const volumes = new Map<string, VolumeDocument>()
  const layers = new Map<string, LayerDocument>()
  const pins = new Map<string, number>()
  const holders = new Set<LayerHolder>()
  const listeners = new Set<(id: string, volume: VolumeDocument | null) => void>()

  /** Changes that are not announced yet, because they may be taken back; null: none are. */
  let untold: Set<string> | null = null
  const tell = (id: string): void => {
    if (untold !== null) untold.add(id)
    else for (const listener of listeners) listener(id, volumes.get(id) ?? null)
  }
  const restore = <T>(map: Map<string, T>, before: ReadonlyMap<string, T>): void => {
    map.clear()
    for (const [id, document] of before) map.set(id, document)
  }
  const setVolume = (document: VolumeDocument): VolumeDocument => {
    store.put('volume', document.id, document)
    volumes.set(document.id, document)
    tell(document.id)
    return document
  }
  const setLayer = (document: LayerDocument): LayerDocument => {
    store.put('layer', document.id, document)
    layers.set(document.id, document)
    return document
  }
  const forgetLayer = (id: string): void => {
    store.delete('layer', id)
    layers.delete(id)
  }
  const requireVolume = (id: string): VolumeDocument => {
    const volume = volumes.get(id)
    if (volume === undefined) throw new EngineError('not_found', 'There is no such volume.')
    return volume
  }
  const requireLayer = (id: string): LayerDocument => {
    const layer = layers.get(id)
    if (layer === undefined) throw new EngineError('volume_missing', 'A file of this disk is no longer known.')
    return layer
  }
  const pathOf = (layer: LayerDocument): string => {
    const pool = pools.get(layer.poolId)
    if (pool === null) throw new EngineError('volume_missing', 'The storage pool of this disk has been removed.')
    return join(pools.rootOf(pool), layer.file)
  }

  const childrenOf = (layerId: string) =>
    [...layers.values()].filter(({ parent }) => parent !== null && 'layer' in parent && parent.layer === layerId)
  const volumeOfHead = (layerId: string) => [...volumes.values()].find(({ head }) => head === layerId) ?? null
  const heldBy = (layerId: string): string[] =>
    [...holders].flatMap((holder) => {
      const name = holder.holds(layerId)
      return name === null ? [] : [name]
    })
  const needs = (layerId: string): string[] => [
    ...heldBy(layerId),
    ...childrenOf(layerId).map((child) => {
      const volume = volumeOfHead(child.id)
      return volume === null ? 'another layer' : `the disk “${volume.name}”`
    }),
  ]

  const chain = (layerId: string): ChainLink[] => {
    const links: ChainLink[] = []
    for (let id: string | null = layerId; id !== null; ) {
      if (links.length >= MAX_CHAIN)
        throw new EngineError('conflict', `This disk stands on more than ${MAX_CHAIN} layers; merge some first.`)
      const layer = requireLayer(id)
      links.push({ path: pathOf(layer), format: layer.format, layerId: layer.id, imageId: null })
      id = null
      if (layer.parent !== null && 'layer' in layer.parent) id = layer.parent.layer
      else if (layer.parent !== null) {
        const file = deps.image(layer.parent.image)
        if (file === null)
          throw new EngineError('image_missing', 'The image this disk stands on is no longer in the library.')
        links.push({ ...file, layerId: null, imageId: layer.parent.image })
      }
    }
    return links
  }
  /** Ids of the images below a layer; never throws. */
  const imagesBelow = (layerId: string): string[] => {
    for (let id = layerId, depth = 0; depth < MAX_CHAIN; depth += 1) {
      const parent = layers.get(id)?.parent ?? null
      if (parent === null) return []
      if ('image' in parent) return [parent.image]
      id = parent.layer
    }
    return []
  }

  const announceLayer = (request: NewLayer): LayerDocument => {
    const pool = pools.require(request.poolId)
    const id = randomUUIDv7()
    const suffix = request.format === 'raw' ? 'raw' : 'qcow2'
    return setLayer({
      v: 1,
      id,
      poolId: pool.id,
      file: request.file ?? relative(pools.rootOf(pool), join(pools.layersDirOf(pool), `${id}.${suffix}`)),
      format: request.format,
      sizeBytes: request.sizeBytes,
      parent: request.parent,
      uid: request.uid,
      state: 'making',
      createdAt: at(),
    })
  }

  const finishLayer = async (id: string): Promise<LayerDocument> => {
    const layer = requireLayer(id)
    await filesOf(layer.poolId).own(pathOf(layer), layer.uid)
    return setLayer({ ...layer, state: 'ready' })
  }

  const removeFile = async (layer: LayerDocument): Promise<void> => {
    // A pool that was removed took its files out of our hands.
    if (pools.get(layer.poolId) !== null) await filesOf(layer.poolId).remove(pathOf(layer))
  }

  /** Gives a layer's file a name among the layers, a new owner, and takes the old name away. */
  const settle = async (layer: LayerDocument, uid: number | null): Promise<void> => {
    const pool = pools.require(layer.poolId)
    const files = filesOf(layer.poolId)
    const path = pathOf(layer)
    const target = join(pools.layersDirOf(pool), `${layer.id}.${layer.format}`)
    await files.link(path, target)
    await files.own(target, uid)
    setLayer({ ...layer, file: relative(pools.rootOf(pool), target), uid })
    if (path !== target) await files.remove(path)
  }

  const dropLayer = async (id: string): Promise<void> => {
    const layer = layers.get(id)
    if (layer === undefined) return
    const why = needs(id)[0] ?? (volumeOfHead(id) === null ? undefined : `the disk “${volumeOfHead(id)?.name}”`)
    if (why !== undefined) throw new EngineError('in_use', `This file is needed by ${why}.`)
    setLayer({ ...layer, state: 'leaving' })
    await removeFile(layer)
    forgetLayer(id)
  }

  const parentFile = (parent: LayerParent): { path: string; format: DiskFormat } => {
    if ('image' in parent) {
      const file = deps.image(parent.image)
      if (file === null) throw new EngineError('image_missing', 'This image is no longer in the library.')
      return file
    }
    const layer = requireLayer(parent.layer)
    return { path: pathOf(layer), format: layer.format }
  }

  const makeFile = async (layer: LayerDocument): Promise<void> => {
    const path = pathOf(layer)
    if (layer.format === 'raw') {
      if (layer.parent !== null) throw new EngineError('bad_input', 'A raw disk cannot stand on another file.')
      await filesOf(layer.poolId).createRaw(path, layer.sizeBytes)
    } else if (layer.parent === null) await qemuImg.createBlank(path, layer.sizeBytes)
    else await qemuImg.createOverlay(path, parentFile(layer.parent), layer.sizeBytes)
  }

  /** @param use called once the layer is ready, before anybody could collect it */
  const makeLayer = async (
    request: NewLayer,
    use: (layer: LayerDocument) => void = () => {},
  ): Promise<LayerDocument> => {
    const layer = announceLayer(request)
    const release = pin(layer.id)
    try {
      await makeFile(layer)
      if (request.fill !== undefined) {
        await filesOf(layer.poolId).own(pathOf(layer), request.fill.as)
        await request.fill.write(layer)
      }
      const ready = await finishLayer(layer.id)
      use(ready)
      return ready
    } catch (error) {
      await removeFile(layer).catch((cause: unknown) => deps.warn('A half-made disk file could not be removed.', cause))
      forgetLayer(layer.id)
      throw error
    } finally {
      release()
    }
  }

  const pin = (layerId: string): (() => void) => {
    pins.set(layerId, (pins.get(layerId) ?? 0) + 1)
    let held = true
    return () => {
      if (!held) return
      held = false
      const left = (pins.get(layerId) ?? 1) - 1
      if (left === 0) pins.delete(layerId)
      else pins.set(layerId, left)
    }
  }

  /** The file name a VM's disk has had since the first release, unless a layer that is still needed has it. */
  const firstFile = (request: NewVolume): string | undefined => {
    if (request.vm === null || (request.poolId ?? LOCAL_POOL_ID) !== LOCAL_POOL_ID || request.format === 'raw') return
    const path = data.disk(request.vm.id, request.vm.device)
    const file = relative(data.root, path)
    if ([...layers.values()].some((layer) => layer.poolId === LOCAL_POOL_ID && layer.file === file)) return
    // qemu-img would overwrite it. Cannot happen unless somebody put a file there.
    if (existsSync(path))
      throw new EngineError('conflict', `There is already a file for a disk called “${request.vm.device}”.`)
    return file
  }

  const collect = async (): Promise<string[]> => {
    const notes: string[] = []
    for (let found = true; found; ) {
      found = false
      for (const layer of [...layers.values()]) {
        if (layer.state === 'making' || pins.has(layer.id)) continue
        if (volumeOfHead(layer.id) !== null || needs(layer.id).length > 0) continue
        try {
          await dropLayer(layer.id)
          found = true
        } catch (error) {
          deps.warn(`The disk file ${layer.file} could not be removed.`, error)
        }
      }
    }
    return notes
  }

  return {
    async open(vmDisks) {
      const notes: string[] = []
      for (const { key, value } of store.list('layer')) {
        const parsed = LayerDocument.safeParse(value)
        if (parsed.success) layers.set(key, parsed.data)
        else
          deps.warn(`The stored disk file ${key} is unreadable and is left out; the file itself stays.`, parsed.error)
      }
      for (const { key, value } of store.list('volume')) {
        const parsed = VolumeDocument.safeParse(value)
        if (parsed.success) volumes.set(key, parsed.data)
        else deps.warn(`The stored volume ${key} is unreadable and is left out; its files stay.`, parsed.error)
      }
      for (const layer of [...layers.values()]) {
        if (layer.state === 'ready') continue
        // Nothing can need a file that was never finished; what was leaving was needed by nobody.
        try {
          await removeFile(layer)
        } catch (error) {
          // Its storage is away: `collect` tries again.
          deps.warn(`${layer.file} could not be removed.`, error)
          setLayer({ ...layer, state: 'leaving' })
          continue
        }
        forgetLayer(layer.id)
        notes.push(`Removed the half-${layer.state === 'making' ? 'made' : 'removed'} disk file ${layer.file}.`)
      }
      for (const disk of vmDisks) {
        if ([...volumes.values()].some(({ vm }) => vm?.id === disk.vmId && vm.device === disk.device)) continue
        const layer: LayerDocument = {
          v: 1,
          id: randomUUIDv7(),
          poolId: LOCAL_POOL_ID,
          file: relative(data.root, data.disk(disk.vmId, disk.device)),
          format: 'qcow2',
          sizeBytes: disk.sizeGiB * GIB,
          parent: disk.image === null ? null : { image: disk.image },
          uid: disk.uid,
          state: 'ready',
          createdAt: disk.createdAt,
        }
        store.transaction(() => {
          setLayer(layer)
          setVolume({
            v: 1,
            id: randomUUIDv7(),
            name: `${disk.vmName} ${disk.device}`,
            poolId: LOCAL_POOL_ID,
            ownerId: disk.ownerId,
            vm: { id: disk.vmId, device: disk.device },
            head: layer.id,
            sizeBytes: layer.sizeBytes,
            createdAt: disk.createdAt,
            trashedAt: null,
          })
        })
      }
      return notes
    },
    all: () => [...volumes.values()],
    get: (id) => volumes.get(id) ?? null,
    find: (vmId, device) =>
      [...volumes.values()].find(({ vm }) => vm !== null && vm.id === vmId && vm.device === device) ?? null,
    ofVm: (vmId) => [...volumes.values()].filter(({ vm }) => vm?.id === vmId),
    layer: (id) => layers.get(id) ?? null,
    layers: () => [...layers.values()],
    pathOf,
    chain,
    chainOf(vmId, device) {
      const volume = this.find(vmId, device)
      return volume === null ? null : chain(volume.head)
    },
    childrenOf,
    volumeOfHead,
    heldBy,
    needs,
    isFrozen: (layerId) => heldBy(layerId).length > 0 || childrenOf(layerId).length > 0,
    imagesOf: (volume) => imagesBelow(volume.head),
    standingOn(imageId) {
      const found = new Set<VolumeDocument>()
      for (const volume of volumes.values()) if (imagesBelow(volume.head).includes(imageId)) found.add(volume)
      return [...found]
    },
    registerHolder(holder) {
      holders.add(holder)
      return () => holders.delete(holder)
    },
    makeLayer,
    announceLayer,
    finishLayer,
    dropLayer,
    async create(request) {
      const file = firstFile(request)
      const id = randomUUIDv7()
      await makeLayer(
        {
          poolId: request.poolId ?? LOCAL_POOL_ID,
          format: request.format ?? 'qcow2',
          sizeBytes: request.sizeBytes,
          parent: request.parent,
          uid: request.uid,
          ...(file !== undefined && { file }),
          ...(request.fill !== undefined && { fill: request.fill }),
        },
        (layer) =>
          setVolume({
            v: 1,
            id,
            name: request.name,
            poolId: layer.poolId,
            ownerId: request.ownerId,
            vm: request.vm,
            head: layer.id,
            sizeBytes: request.sizeBytes,
            createdAt: at(),
            trashedAt: null,
          }),
      )
      return requireVolume(id)
    },
    change: (id, change) => setVolume({ ...requireVolume(id), ...change }),
    changeLayer: (id, change) => setLayer({ ...requireLayer(id), ...change }),
    put: (document) => void setVolume(document),
    together(work) {
      if (untold !== null) return work()
      const before = { volumes: new Map(volumes), layers: new Map(layers) }
      const told = new Set<string>()
      untold = told
      try {
        return work()
      } catch (error) {
        restore(volumes, before.volumes)
        restore(layers, before.layers)
        told.clear()
        throw error
      } finally {
        untold = null
        for (const id of told) tell(id)
      }
    },
    adopt({ name, ownerId, sizeBytes, layer }) {
      const id = randomUUIDv7()
      setVolume({
        ...{ v: 1, id, name, poolId: layer.poolId, ownerId, vm: null, head: layer.id, sizeBytes },
        ...{ createdAt: at(), trashedAt: null },
      })
      return id
    },
    async share(layerId) {
      const layer = requireLayer(layerId)
      const pool = pools.require(layer.poolId)
      const dir = pools.layersDirOf(pool)
      const path = pathOf(layer)
      const target = join(dir, `${layer.id}.${layer.format}`)
      // A second name: a running QEMU may still know the first one. That goes with the VM's directory, or with `remove`.
      const files = filesOf(layer.poolId)
      await files.link(path, target)
      await files.open(target, readersGid)
      return setLayer({ ...layer, file: relative(pools.rootOf(pool), target), uid: null })
    },
    async handOver(id, uid) {
      const volume = requireVolume(id)
      for (const { layerId } of chain(volume.head)) {
        if (layerId === null) continue
        const layer = requireLayer(layerId)
        if (layerId !== volume.head && uid !== null && layer.uid !== null) await this.share(layerId)
        else if (layerId === volume.head || layer.uid !== null)
          await settle(layer, layerId === volume.head ? uid : null)
      }
      return requireVolume(id)
    },
    liesWithVm(id) {
      const start = `${relative(data.root, data.vmsDir)}/`
      for (
        let next: string | null = volumes.get(id)?.head ?? null, depth = 0;
        next !== null && depth < MAX_CHAIN;
        depth += 1
      ) {
        const layer = layers.get(next)
        if (layer === undefined) return false
        if (layer.poolId === LOCAL_POOL_ID && layer.file.startsWith(start)) return true
        next = layer.parent !== null && 'layer' in layer.parent ? layer.parent.layer : null
      }
      return false
    },
    async remove(id) {
      const volume = volumes.get(id)
      if (volume === undefined) return
      store.delete('volume', id)
      volumes.delete(id)
      tell(id)
      await collect()
    },
    collect,
    pin,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** Bytes a file takes on disk; 0 when it is not there. */
export async function allocatedBytes(path: string): Promise<number> {
  return ((await stat(path).catch(() => null))?.blocks ?? 0) * 512
}
