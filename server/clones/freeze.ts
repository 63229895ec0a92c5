/**
 * Makes the files of a VM's disks into what clones stand on.
 *
 *   before:  source ─▶ head                     after:  source ─▶ new top ─┐
 *                                                                          ├▶ head, frozen, for all guests to read
 *                                                       clone ──▶ its own ─┘
 *
 * The frozen file gets a second name in the pool's directory of layers before the store is changed, and its owner after:
 * the source may be started at any moment in between. A crash between leaves a name too many or an owner that is put
 * right at the next start (`repairLayers`).
 */
import { existsSync } from 'node:fs'
import { link, lstat, mkdir, readdir, rm, stat } from 'node:fs/promises'
import { basename, dirname, extname, join, relative } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestFile, readersFile } from '#server/launcher/shapes.ts'
import { ownUid } from '#server/platform/privileges.ts'
import { renameAbove } from '#server/storage/chain-headers.ts'
import { syncDir } from '#server/storage/dirs.ts'
import { MAX_CHAIN } from '#server/storage/layer-graph.ts'
import { LOCAL_POOL_ID } from '#server/storage/pools.ts'
import { emptyQcow2Bytes, writeEmptyQcow2 } from '#server/storage/qcow2-write.ts'
import { readersOf, toolUser } from '#server/storage/tool-user.ts'
import type { LayerDocument, VolumeDocument } from '#server/storage/volume-documents.ts'
import { atOnce, type BaseDisk, type CloneContext, dropLayers } from './context.ts'

export interface DiskOf {
  readonly device: string
  readonly volume: VolumeDocument
}

const baseOf = (device: string, layer: LayerDocument): BaseDisk => ({
  device,
  layerId: layer.id,
  poolId: layer.poolId,
  sizeBytes: layer.sizeBytes,
})

const mustLayer = ({ volumes }: CloneContext, id: string): LayerDocument => {
  const layer = volumes.layer(id)
  if (layer === null) throw new EngineError('volume_missing', 'A file of this disk is no longer known.')
  return layer
}

/** Where a layer lies that other guests read. */
export function sharedPath({ pools }: CloneContext, layer: LayerDocument): { path: string; file: string } {
  const pool = pools.require(layer.poolId)
  const path = join(pools.layersDirOf(pool), `${layer.id}.${layer.format}`)
  return { path, file: relative(pools.rootOf(pool), path) }
}

/** Gives the file the name it will have. The one it has stays: a running QEMU knows it by that. */
export async function nameShared(context: CloneContext, layer: LayerDocument): Promise<void> {
  const { path } = sharedPath(context, layer)
  const present = context.volumes.pathOf(layer)
  if (present === path || existsSync(path)) return
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await link(present, path)
}

/**
 * Lets every guest read it and none write it; or gives it back to the one.
 * @param holder user of a running guest that had it as its own: QEMU opens it anew, as it did at first, whenever the
 * files above change, and is refused when it may not. `settleOwners` puts that right when the guest has ended.
 */
export async function ownLayer(
  context: CloneContext,
  layer: LayerDocument,
  holder: number | null = null,
): Promise<void> {
  const { readersGid, volumes } = context
  if (readersGid === null) return
  const as = layer.uid === null ? readersFile(readersOf(layer, readersGid), holder) : guestFile(layer.uid)
  await rootActs().own({ path: volumes.pathOf(layer), as, sync: true })
}

/** Changes to be made with the store's: the layer is known by its shared name and belongs to nobody. */
const frozen = (context: CloneContext, layer: LayerDocument) => ({ file: sharedPath(context, layer).file, uid: null })

/** A layer and all it stands on: who reads the one reads them all. */
function* downFrom(context: CloneContext, id: string): Generator<LayerDocument> {
  for (let layer = mustLayer(context, id); ; layer = mustLayer(context, layer.parent.layer)) {
    yield layer
    if (layer.parent === null || !('layer' in layer.parent)) return
  }
}

/**
 * Makes layers, and those below, readable for all guests. None of them is written any more: they are those of a
 * template, of a snapshot, or below the disks of a VM.
 * @param isRunning a guest may have them open
 */
export async function shareLayers(context: CloneContext, ids: readonly string[], isRunning: boolean): Promise<void> {
  const all = new Map(ids.flatMap((id) => [...downFrom(context, id)].map((layer) => [layer.id, layer])))
  const due = [...all.values()].filter((layer) => layer.uid !== null || isPrivate(context, layer))
  if (due.length === 0) return
  for (const layer of due) await nameShared(context, layer)
  await syncAll(due.map((layer) => sharedPath(context, layer).path))
  atOnce(context, () => {
    for (const layer of due) context.volumes.changeLayer(layer.id, frozen(context, layer))
  })
  for (const { id, uid } of due) {
    const layer = mustLayer(context, id)
    await ownLayer(context, layer, isRunning ? uid : null)
    await tellAbove(context, layer)
  }
}

/** A guest that has them open is told of when it has ended (`forgetOldNames`). */
const tellAbove = (context: CloneContext, layer: LayerDocument) =>
  renameAbove(context, layer, (above) => toolUser(context, above.uid))

const isPrivate = (context: CloneContext, layer: LayerDocument) => layer.file !== sharedPath(context, layer).file

const syncAll = async (paths: readonly string[]): Promise<void> => {
  for (const dir of new Set(paths.map(dirname))) await syncDir(dir)
}

/** A top over a shared layer that the guest has written nothing to: what lies below is the present content. */
async function untouchedOver(context: CloneContext, { volume }: DiskOf): Promise<LayerDocument | null> {
  const { volumes } = context
  const head = mustLayer(context, volume.head)
  if (head.format !== 'qcow2' || head.parent === null || !('layer' in head.parent)) return null
  const below = mustLayer(context, head.parent.layer)
  if (below.uid !== null || isPrivate(context, below) || below.sizeBytes !== head.sizeBytes) return null
  if (volumes.isFrozen(head.id)) return null
  const { size } = await stat(volumes.pathOf(head))
  return size === emptyQcow2Bytes(head.sizeBytes) ? below : null
}

export interface NewTop {
  readonly disk: DiskOf
  readonly head: LayerDocument
  readonly top: LayerDocument
}

/** New, empty files over the heads; their names are on disk, and the store knows them as being made. */
export async function makeTops(context: CloneContext, uid: number | null, disks: readonly DiskOf[]): Promise<NewTop[]> {
  const { volumes } = context
  for (const { volume } of disks)
    if (volumes.chain(volume.head).length >= MAX_CHAIN)
      throw new EngineError('conflict', `The disk “${volume.name}” stands on ${MAX_CHAIN} files; make a full clone.`)
  const tops = atOnce(context, () =>
    disks.map((disk) => ({
      disk,
      head: mustLayer(context, disk.volume.head),
      top: volumes.announceLayer({
        poolId: disk.volume.poolId,
        format: 'qcow2',
        sizeBytes: disk.volume.sizeBytes,
        parent: { layer: disk.volume.head },
        uid,
      }),
    })),
  )
  try {
    for (const { head, top } of tops) {
      await nameShared(context, head)
      const backing = { path: sharedPath(context, head).path, format: head.format }
      await writeEmptyQcow2(volumes.pathOf(top), top.sizeBytes, backing, uid)
    }
    await syncAll(tops.map(({ top }) => volumes.pathOf(top)))
    return tops
  } catch (error) {
    await dropTops(context, tops)
    throw error
  }
}

/** Never throws. */
export async function dropTops(context: CloneContext, tops: readonly NewTop[]): Promise<void> {
  await dropLayers(
    context,
    tops.map(({ top }) => top),
  )
  for (const { head } of tops) {
    const { path } = sharedPath(context, head)
    if (path !== context.volumes.pathOf(head)) await rm(path, { force: true }).catch(() => {})
  }
}

/** The source goes over to its new tops. @param also stored in the same transaction */
export function takeTops(context: CloneContext, tops: readonly NewTop[], also: () => void = () => {}): void {
  const { volumes } = context
  atOnce(context, () => {
    for (const { disk, head, top } of tops) {
      volumes.changeLayer(top.id, { state: 'ready' })
      volumes.changeLayer(head.id, frozen(context, head))
      volumes.change(disk.volume.id, { head: top.id })
    }
    also()
  })
}

/** After `takeTops`: the frozen files for all to read, and their old names gone unless a running QEMU knows them. */
export async function openTops(context: CloneContext, tops: readonly NewTop[], isRunning: boolean): Promise<void> {
  for (const { head, top } of tops) {
    await ownLayer(context, mustLayer(context, head.id), isRunning ? top.uid : null)
    const old = context.volumes.pathOf(head)
    if (!isRunning && old !== sharedPath(context, head).path) await rm(old, { force: true })
  }
}

/** Freezes the disks of a VM that is off, and gives it new tops. */
export async function freezeHeads(
  context: CloneContext,
  uid: number | null,
  disks: readonly DiskOf[],
): Promise<BaseDisk[]> {
  const bases = new Map<string, BaseDisk>()
  const due: DiskOf[] = []
  for (const disk of disks) {
    const below = await untouchedOver(context, disk)
    if (below === null) due.push(disk)
    else bases.set(disk.device, baseOf(disk.device, below))
  }
  if (due.length > 0) {
    const tops = await makeTops(context, uid, due)
    try {
      takeTops(context, tops)
    } catch (error) {
      await dropTops(context, tops)
      throw error
    }
    await openTops(context, tops, false)
    for (const { disk, head } of tops) bases.set(disk.device, baseOf(disk.device, head))
  }
  return disks.flatMap(({ device }) => bases.get(device) ?? [])
}

/** Layers as they are, for what reads them alone. */
export const basesOf = (context: CloneContext, disks: readonly DiskOf[]): BaseDisk[] =>
  disks.map(({ device, volume }) => baseOf(device, mustLayer(context, volume.head)))

/** Names that disk files of a VM that is off had before they became bases, which its QEMU still knew them by. */
export async function forgetOldNames(context: CloneContext, vmId: string): Promise<void> {
  const { data, volumes, pools } = context
  const known = new Map(
    volumes
      .layers()
      .flatMap((layer) => (pools.get(layer.poolId) === null ? [] : [[volumes.pathOf(layer), layer] as const])),
  )
  for (const name of await readdir(data.vmDir(vmId)).catch(() => [])) {
    const path = join(data.vmDir(vmId), name)
    if (extname(name) !== '.qcow2' || path === data.nvram(vmId) || known.has(path)) continue
    const facts = await lstat(path).catch(() => null)
    // The file itself has another name, so nothing is lost.
    if (!facts?.isFile() || facts.nlink < 2) continue
    for (const [present, layer] of known) {
      const same = layer.poolId === LOCAL_POOL_ID ? await stat(present).catch(() => null) : null
      if (same?.ino === facts.ino) await tellAbove(context, layer)
    }
    await rm(path, { force: true })
  }
}

/** Files of a guest that has ended which all others read: it may not write them any more either. */
export async function settleOwners(context: CloneContext, vmId: string, uid: number | null): Promise<void> {
  const { volumes, readersGid } = context
  if (readersGid === null || uid === null) return
  const pools = new Set([LOCAL_POOL_ID, ...volumes.ofVm(vmId).map(({ poolId }) => poolId)])
  for (const layer of volumes.layers()) {
    if (layer.uid !== null || layer.state !== 'ready' || !pools.has(layer.poolId) || isPrivate(context, layer)) continue
    const facts = await stat(volumes.pathOf(layer)).catch(() => null)
    if (facts?.uid === uid) await ownLayer(context, layer)
  }
}

/**
 * Puts right what a crash left: names of layers that were not taken, and owners that do not fit what is stored. Only in
 * the built-in pool; another may be out of reach when the dashboard starts.
 */
export async function repairLayers(context: CloneContext): Promise<string[]> {
  const { data, volumes, warn, readersGid } = context
  const notes: string[] = []
  for (const name of await readdir(data.layersDir)) {
    const layer = volumes.layer(basename(name, extname(name)))
    if (layer === null || volumes.pathOf(layer) === join(data.layersDir, name)) continue
    await rm(join(data.layersDir, name), { force: true })
    notes.push(`Removed the second name ${name} of a disk file that was to become the base of a clone.`)
  }
  if (readersGid === null) return notes
  for (const layer of volumes.layers()) {
    if (layer.poolId !== LOCAL_POOL_ID || layer.state !== 'ready') continue
    const facts = await stat(volumes.pathOf(layer)).catch(() => null)
    if (facts === null || facts.uid === (layer.uid ?? ownUid())) continue
    // A private file of the dashboard's own user is nobody's base.
    if (layer.uid === null && isPrivate(context, layer)) continue
    // Its old name is there for a guest that runs, whose user it keeps until then (`settleOwners`).
    if (layer.uid === null && facts.nlink > 1) continue
    try {
      await ownLayer(context, layer)
      notes.push(`The disk file ${layer.file} had another owner than is stored, and has its own again.`)
    } catch (error) {
      warn(`The owner of the disk file ${layer.file} could not be put right.`, error)
    }
  }
  return notes
}
