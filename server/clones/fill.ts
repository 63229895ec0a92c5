/**
 * The files of one clone. Everything made is registered with `undo` at once; `store` of what `fill…` returns is run in the
 * transaction that stores the VM, so that the clone is there whole or not at all.
 */
import { randomUUIDv7 } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, mkdir, open, readdir, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir, guestFile } from '#server/launcher/shapes.ts'
import type { ChainFile } from '#server/storage/chain-node.ts'
import { syncDir } from '#server/storage/dirs.ts'
import { MAX_CHAIN } from '#server/storage/layer-graph.ts'
import { readNvramOrigin, writeNvramOrigin } from '#server/storage/nvram.ts'
import { LOCAL_POOL_ID } from '#server/storage/pools.ts'
import { writeEmptyQcow2 } from '#server/storage/qcow2-write.ts'
import type { LayerDocument } from '#server/storage/volume-documents.ts'
import { allocatedBytes } from '#server/storage/volumes.ts'
import { atOnce, type Base, type BaseDisk, type CloneContext, dropLayers, type TpmFile } from './context.ts'

export interface CloneTarget {
  readonly id: string
  readonly ownerId: string
  readonly uid: number | null
  readonly name: string
}

export interface FillProgress {
  readonly signal: AbortSignal
  /** Bytes of this clone copied so far. */
  progress(doneBytes: number): void
}

/** Larger files in a TPM's directory are not the TPM's. */
const TPM_FILE_MAX = 16 * 2 ** 20

export interface Filled {
  /** Of the disks, in the order of the base; written by nobody else yet. */
  readonly layers: readonly LayerDocument[]
  /** To be called in the transaction that stores the VM. */
  store(): void
}

/** Empty files over the base's layers. */
export async function fillLinked(
  context: CloneContext,
  base: Base,
  target: CloneTarget,
  undo: AsyncDisposableStack,
): Promise<Filled> {
  const { data, pools, volumes } = context
  const announce = () =>
    base.disks.map((disk) => {
      if (volumes.chain(disk.layerId).length >= MAX_CHAIN)
        throw new EngineError('conflict', `“${disk.device}” stands on ${MAX_CHAIN} files; make a full clone.`)
      const isLocal = disk.poolId === LOCAL_POOL_ID
      const file = relative(pools.rootOf(pools.require(disk.poolId)), data.disk(target.id, disk.device))
      const layer = volumes.announceLayer({
        poolId: disk.poolId,
        format: 'qcow2',
        sizeBytes: disk.sizeBytes,
        parent: { layer: disk.layerId },
        uid: target.uid,
        ...(isLocal && { file }),
      })
      return { disk, layer }
    })
  // What lies in the VM's own directory goes with it where a power cut takes the word of it.
  const made = atOnce(context, announce, { relaxed: base.disks.every(({ poolId }) => poolId === LOCAL_POOL_ID) })
  undo.defer(() =>
    dropLayers(
      context,
      made.map(({ layer }) => layer),
    ),
  )
  for (const { disk, layer } of made) {
    const below = volumes.layer(disk.layerId)
    if (below === null) throw new EngineError('volume_missing', `The base of “${disk.device}” has gone.`)
    const backing = { path: volumes.pathOf(below), format: below.format }
    await writeEmptyQcow2(volumes.pathOf(layer), layer.sizeBytes, backing, target.uid)
    // The VM's own directory is synchronised with the VM.
    if (disk.poolId !== LOCAL_POOL_ID) await syncDir(dirname(volumes.pathOf(layer)))
  }
  return filled(
    context,
    target,
    made.map(({ disk: { device }, layer }) => ({ device, layer })),
  )
}

/** Files of its own with everything copied. */
export async function fillFull(
  context: CloneContext,
  base: Base,
  target: CloneTarget,
  undo: AsyncDisposableStack,
  { signal, progress }: FillProgress,
): Promise<Filled> {
  const { volumes, qemuImg, pools } = context
  if (base.isForOne) {
    const taken = base.disks.map(({ device, layerId }) => ({ device, layer: mustLayer(context, layerId) }))
    for (const { layer } of taken) await giveTo(volumes.pathOf(layer), target.uid)
    return filled(context, target, taken)
  }
  const made: { device: string; layer: LayerDocument }[] = []
  undo.defer(() =>
    dropLayers(
      context,
      made.map(({ layer }) => layer),
    ),
  )
  let before = 0
  for (const disk of base.disks) {
    const chain = volumes.chain(disk.layerId)
    const bytes = await chainBytes(context, disk.layerId)
    const room = await pools.space(disk.poolId).reserve(bytes, 'The copy')
    try {
      const layer = volumes.announceLayer({
        poolId: disk.poolId,
        format: 'qcow2',
        sizeBytes: disk.sizeBytes,
        parent: null,
        uid: target.uid,
      })
      made.push({ device: disk.device, layer })
      const path = volumes.pathOf(layer)
      // Of the source's user while it is copied, who alone may read the source.
      await writeEmptyQcow2(path, layer.sizeBytes, null, base.user?.uid ?? null)
      const options = {
        ...{ signal, user: base.user },
        onProgress: (part: number) => progress(before + part * bytes),
      }
      if (base.tag === null) await qemuImg.flatten(chain, path, options)
      else await copyTagged(context, disk, base.tag, chain, path, options)
      await giveTo(path, target.uid)
      await syncDir(dirname(path))
    } finally {
      room.release()
    }
    before += bytes
  }
  return filled(context, target, made)
}

interface CopyOptions {
  readonly signal: AbortSignal
  readonly user: Base['user']
  readonly onProgress: (part: number) => void
}

/**
 * What a disk held when a snapshot was taken inside its file. qemu-img reads it by the tag, but takes the disk to be as
 * large as it is now; where it was not, the file is copied and the copy goes back to the snapshot first.
 */
async function copyTagged(
  context: CloneContext,
  disk: BaseDisk,
  tag: string,
  chain: readonly ChainFile[],
  target: string,
  options: CopyOptions,
): Promise<void> {
  const { volumes, qemuImg, pools } = context
  const { signal, user } = options
  const [top, ...below] = chain
  if (top === undefined) throw new EngineError('volume_missing', `The file of “${disk.device}” has gone.`)
  const { virtualSizeBytes } = await qemuImg.info(top.path, 'qcow2', { user, signal })
  if (virtualSizeBytes === disk.sizeBytes) {
    await qemuImg.flatten(chain, target, { ...options, tag })
    return
  }
  const room = await pools.space(disk.poolId).reserve(await allocatedBytes(top.path), 'A copy of the disk')
  try {
    const stage = volumes.announceLayer({
      ...{ poolId: disk.poolId, format: 'qcow2', sizeBytes: disk.sizeBytes, parent: null, uid: null },
    })
    try {
      const path = volumes.pathOf(stage)
      await copyFile(top.path, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
      signal.throwIfAborted()
      await giveTo(path, user?.uid ?? null)
      await qemuImg.snapshot('apply', path, tag, { user, signal })
      await qemuImg.flatten([{ path, format: 'qcow2' }, ...below], target, options)
    } finally {
      await dropLayers(context, [stage])
    }
  } finally {
    room.release()
  }
}

/** What a copy of a layer and all below it can come to. */
export async function chainBytes({ volumes }: CloneContext, layerId: string): Promise<number> {
  const files = volumes.chain(layerId)
  const bytes = await Promise.all(files.map(({ path }) => allocatedBytes(path)))
  return Math.min(
    bytes.reduce((sum, one) => sum + one, 0),
    (volumes.layer(layerId)?.sizeBytes ?? 0) * 1.01,
  )
}

/** UEFI variables and what the TPM knows. They lie in the VM's directory and go with it. */
export async function fillFirmware(context: CloneContext, base: Base, target: CloneTarget, sourceId: string) {
  const { data } = context
  if (base.nvram !== null) {
    const path = data.nvram(target.id)
    if (base.tag === null) await copyFile(base.nvram, path, constants.COPYFILE_EXCL)
    else await copyInside(context, base.nvram, base.tag, path, base.user)
    await giveTo(path, target.uid)
    const origin = readNvramOrigin(data, sourceId)
    if (origin !== null) await writeNvramOrigin(data, target.id, origin)
  }
  if (base.tpm !== null && base.tpm.length > 0) await writeTpm(base.tpm, data.tpmDir(target.id), target.uid)
}

/** Variables as they were in a snapshot inside their file. The copy is made where the source's user may write. */
async function copyInside(context: CloneContext, from: string, tag: string, to: string, user: Base['user']) {
  const { volumes, qemuImg } = context
  const { virtualSizeBytes } = await qemuImg.info(from, 'qcow2', { user })
  const stage = volumes.announceLayer({
    poolId: LOCAL_POOL_ID,
    format: 'qcow2',
    sizeBytes: virtualSizeBytes,
    parent: null,
    uid: null,
  })
  try {
    await writeEmptyQcow2(volumes.pathOf(stage), virtualSizeBytes, null, user?.uid ?? null)
    await qemuImg.flatten([{ path: from, format: 'qcow2' }], volumes.pathOf(stage), { tag, user, onProgress() {} })
    await copyFile(volumes.pathOf(stage), to, constants.COPYFILE_EXCL)
  } finally {
    await dropLayers(context, [stage])
  }
}

/** Plain files of a TPM's directory, its lock left out: it is the guest's, and a link in it could lead anywhere. */
export async function readTpm(dir: string): Promise<TpmFile[]> {
  const files: TpmFile[] = []
  for (const entry of await readdir(dir, { withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile() || entry.name.startsWith('.')) continue
    const handle = await open(join(dir, entry.name), constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      if ((await handle.stat()).size <= TPM_FILE_MAX) files.push({ name: entry.name, content: await handle.readFile() })
    } finally {
      await handle.close()
    }
  }
  return files
}

async function writeTpm(files: readonly TpmFile[], to: string, uid: number | null): Promise<void> {
  await mkdir(to, { mode: 0o700 })
  for (const { name, content } of files) {
    await writeFile(join(to, name), content, { flag: 'wx', mode: 0o600 })
    await giveTo(join(to, name), uid)
  }
  await rootActs().own({ path: to, as: guestDir(uid), sync: false })
  await syncDir(to)
}

/** Private to its guest, and on disk for good. */
export const giveTo = (path: string, uid: number | null): Promise<void> =>
  rootActs().own({ path, as: guestFile(uid), sync: true })

const filled = (
  context: CloneContext,
  target: CloneTarget,
  disks: readonly { readonly device: string; readonly layer: LayerDocument }[],
): Filled => ({
  layers: disks.map(({ layer }) => layer),
  store() {
    for (const { device, layer } of disks) takeDisk(context, target, device, layer)
  },
})

function takeDisk({ volumes }: CloneContext, target: CloneTarget, device: string, made: LayerDocument): void {
  const layer = volumes.changeLayer(made.id, { state: 'ready', uid: target.uid })
  volumes.put({
    v: 1,
    id: randomUUIDv7(),
    name: `${target.name} ${device}`,
    poolId: layer.poolId,
    ownerId: target.ownerId,
    vm: { id: target.id, device },
    head: layer.id,
    sizeBytes: layer.sizeBytes,
    createdAt: new Date().toISOString(),
    trashedAt: null,
  })
}

const mustLayer = ({ volumes }: CloneContext, id: string): LayerDocument => {
  const layer = volumes.layer(id)
  if (layer === null) throw new EngineError('volume_missing', 'A file of this disk is no longer known.')
  return layer
}
