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
import { renameAbove } from './chain-headers.ts'
import type { DiskFormat } from './chain-node.ts'
import { directFiles, type LayerFiles } from './layer-files.ts'
import { createLayerGraph, MAX_CHAIN } from './layer-graph.ts'
import { LOCAL_POOL_ID } from './pools.ts'
import { readersOf, toolUser } from './tool-user.ts'
import { LayerDocument, VolumeDocument } from './volume-documents.ts'
import type { LayerHolder, LayerParent, NewLayer, NewVolume, Volumes, VolumesDeps } from './volume-types.ts'

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
  const setLayer = (next: LayerDocument): LayerDocument => {
    // What belongs to one guest has no readers.
    const document = next.uid === null || next.gid == null ? next : { ...next, gid: null }
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

  const readerGids = () => [...new Set([...layers.values()].flatMap(({ gid }) => gid ?? []))]
  const graph = createLayerGraph({ volumes, layers, holders, image: deps.image, requireLayer, pathOf })
  const { childrenOf, volumeOfHead, heldBy, needs, chain, imagesBelow } = graph

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

  const tellAbove = (layer: LayerDocument) =>
    renameAbove({ volumes: { pathOf, childrenOf }, qemuImg, warn: deps.warn }, layer, ({ uid }) =>
      toolUser({ volumes: { readerGids }, readersGid }, uid),
    )

  /** Gives a layer's file a name among the layers, a new owner, and takes the old name away. */
  const settle = async (layer: LayerDocument, uid: number | null): Promise<void> => {
    const pool = pools.require(layer.poolId)
    const files = filesOf(layer.poolId)
    const path = pathOf(layer)
    const target = join(pools.layersDirOf(pool), `${layer.id}.${layer.format}`)
    await files.link(path, target)
    await files.own(target, uid)
    const settled = setLayer({ ...layer, file: relative(pools.rootOf(pool), target), uid })
    if (path === target) return
    await tellAbove(settled)
    await files.remove(path)
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
        await using behind = await filesOf(layer.poolId).behind(pathOf(layer))
        await request.fill.write(layer, behind)
        await behind.settled()
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
    change(id, change) {
      const next = { ...requireVolume(id), ...change }
      // It lies where what is written lies.
      return setVolume({ ...next, poolId: layers.get(next.head)?.poolId ?? next.poolId })
    },
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
      await files.open(target, readersOf(layer, readersGid))
      const shared = setLayer({ ...layer, file: relative(pools.rootOf(pool), target), uid: null })
      if (path !== target) await tellAbove(shared)
      return shared
    },
    async setReaders(layerId, gid) {
      const layer = requireLayer(layerId)
      if (layer.uid !== null || layer.state !== 'ready')
        throw new EngineError('conflict', 'This file of a disk is not for several to read.')
      await filesOf(layer.poolId).open(pathOf(layer), gid ?? readersGid)
      return setLayer({ ...requireLayer(layerId), gid })
    },
    readerGids,
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
