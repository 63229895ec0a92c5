/** New files with the content of a disk that nobody writes meanwhile. */
import type { JobContext } from '#server/jobs/registry.ts'
import type { ChainFile } from '#server/storage/chain-node.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import type { Pools } from '#server/storage/pools.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { ToolUser } from '#server/storage/sandbox.ts'
import type { SpaceReservation } from '#server/storage/space.ts'
import { toolUser } from '#server/storage/tool-user.ts'
import type { Usage } from '#server/storage/usage.ts'
import type { LayerDocument, VolumeDocument } from '#server/storage/volume-documents.ts'
import { worstCaseOfFile } from '#server/storage/volume-sums.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { EngineError } from './errors.ts'

interface VolumeFillDeps {
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly usage: Usage
  readonly qemuImg: QemuImg
  readonly readersGid: number | null
}

export interface NewFile {
  readonly poolId: string
  readonly format: 'qcow2' | 'raw'
  /** Keeps what lies below the head; else the new file has it all. */
  readonly keepBase: boolean
  /** Takes along what tells the next backup what changed. */
  readonly keepBitmaps?: boolean
  readonly limitMiBps?: number | null
}

export interface VolumeFill {
  /** @throws EngineError volume_missing */
  layerOf(volume: VolumeDocument): LayerDocument
  toolUser(uid: number | null): ToolUser | null
  /** @throws EngineError volume_missing, image_missing, pool_unavailable */
  assertReadable(volume: VolumeDocument): Promise<void>
  /** Room for a copy of a volume in a pool, by what its files take now. @throws EngineError no_space, pool_unavailable */
  reserve(volume: VolumeDocument, poolId: string, keepBase: boolean): Promise<RoomForCopy>
  /** Fills a new file. @param use takes it before anybody could collect it @throws EngineError; the signal's reason */
  fillNew(
    volume: VolumeDocument,
    file: NewFile,
    context: JobContext,
    uid: number | null,
    use: (layer: LayerDocument) => void,
  ): Promise<void>
}

export interface RoomForCopy {
  /** Bytes the copy takes at most. */
  readonly bytes: number
  /** Bytes of it that lie on disk now. */
  reached(done: number): void
  release(): void
}

export function createVolumeFill(deps: VolumeFillDeps): VolumeFill {
  const { pools, volumes, health, usage, qemuImg, readersGid } = deps

  const layerOf = (volume: VolumeDocument): LayerDocument => {
    const layer = volumes.layer(volume.head)
    if (layer === null) throw new EngineError('volume_missing', 'The file of this disk is no longer known.')
    return layer
  }
  const asGuest = (uid: number | null) => toolUser({ volumes, readersGid }, uid)
  const poolsOf = (volume: VolumeDocument): Set<string> => {
    const found = new Set<string>()
    for (const { layerId } of volumes.chain(volume.head)) {
      const layer = layerId === null ? null : volumes.layer(layerId)
      if (layer !== null) found.add(layer.poolId)
    }
    return found
  }
  /** @throws EngineError volume_missing, image_missing, pool_unavailable */
  const assertReadable = async (volume: VolumeDocument): Promise<void> => {
    for (const poolId of poolsOf(volume)) await health.assertUsable(poolId, 'read')
  }
  /** What the copy of a volume takes at most, from what its files take now. */
  const needOf = async (volume: VolumeDocument, keepBase: boolean): Promise<number> => {
    const chain = volumes.chain(volume.head)
    let bytes = 0
    for (const poolId of poolsOf(volume)) await usage.refresh(poolId)
    for (const [depth, { layerId, path, format }] of chain.entries()) {
      if (depth > 0 && keepBase) break
      const seen = layerId === null ? null : (usage.of(layerId)?.size?.allocatedBytes ?? null)
      bytes += seen ?? (await qemuImg.info(path, format).catch(() => null))?.actualSizeBytes ?? 0
    }
    return Math.min(bytes + 2 ** 20, worstCaseOfFile(volume.sizeBytes, 'qcow2'))
  }

  const reserve: VolumeFill['reserve'] = async (volume, poolId, keepBase) => {
    const bytes = await needOf(volume, keepBase)
    await health.assertUsable(poolId, 'write')
    const room: SpaceReservation = await pools.space(poolId).reserve(bytes, 'The copy')
    let before = 0
    return {
      bytes,
      reached(done) {
        room.consume(done - before)
        before = done
      },
      release: () => room.release(),
    }
  }

  const fillNew: VolumeFill['fillNew'] = async (volume, file, context, uid, use) => {
    const head = layerOf(volume)
    const chain: ChainFile[] = volumes.chain(volume.head).map(({ path, format }) => ({ path, format }))
    const base = file.keepBase ? chain.slice(1) : []
    const room = await reserve(volume, file.poolId, file.keepBase)
    // What is read must not be collected meanwhile.
    const releases = volumes
      .chain(volume.head)
      .flatMap(({ layerId }) => (layerId === null ? [] : [volumes.pin(layerId)]))
    try {
      await volumes.makeLayer(
        {
          poolId: file.poolId,
          format: file.format,
          sizeBytes: volume.sizeBytes,
          parent: file.keepBase ? head.parent : null,
          uid,
          fill: {
            as: head.uid,
            async write(layer, behind) {
              await qemuImg.copyChain(
                chain,
                { path: volumes.pathOf(layer), format: layer.format, base },
                {
                  user: asGuest(head.uid),
                  signal: context.signal,
                  keepBitmaps: file.keepBitmaps === true && head.format === 'qcow2' && layer.format === 'qcow2',
                  limitMiBps: file.limitMiBps ?? null,
                  onProgress(part) {
                    const done = Math.round(part * room.bytes)
                    context.progress(done, room.bytes)
                    room.reached(done)
                    behind.reached(done)
                  },
                },
              )
              context.settle()
            },
          },
        },
        use,
      )
    } finally {
      room.release()
      for (const release of releases) release()
    }
  }

  return { layerOf, toolUser: asGuest, assertReadable, reserve, fillNew }
}
