/** The disks of VMs as volumes: made, taken over from free ones, made larger, given back. */
import type { VmSpec, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { ceilGiB, GIB } from '#lib/units.ts'
import type { LayerReaders } from '#server/storage/layer-readers.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import type { Pools } from '#server/storage/pools.ts'
import { emptyQcow2Bytes } from '#server/storage/qcow2-write.ts'
import type { Usage } from '#server/storage/usage.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'
import { LOOK_ONLY } from './access.ts'
import { EngineError } from './errors.ts'
import { canSeeVolume, mayChangeVolume } from './storage-views.ts'
import type { Caller } from './types.ts'
import type { VolumeLocks } from './volume-locks.ts'
import type { VolumeWork } from './volume-work.ts'

type Disk = Extract<VmSpec['disks'][number], { device: 'disk' }>
type Drives = { readonly disks?: VmSpecPatch['disks'] }

/** What a caller asked of new disks beyond their definition, by their place in the list. */
export type DiskWishes = ReadonlyMap<number, { readonly poolId: string | null; readonly volumeId: string | null }>

interface Owner {
  readonly id: string
  readonly ownerId: string
  readonly uid: number | null
}

/** What becomes of the disks of a VM that goes. */
export type DiskFate = 'trash' | 'delete' | 'keep'

export interface VmDisksDeps {
  readonly store: Store
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly usage: Usage
  readonly work: VolumeWork
  readonly locks: VolumeLocks
  readonly layerReaders: Pick<LayerReaders, 'letIn'>
  readonly trashDays: number
  readonly now?: () => Date
}

export interface VmDisks {
  /**
   * What was asked of pools and volumes, checked; and the input with what a volume decides filled in.
   * @throws EngineError not_found, in_use, conflict at the field
   */
  resolve<T extends Drives>(caller: Caller, ownerId: string, input: T): { input: T; wishes: DiskWishes }
  /** Makes or takes over the file of a new disk; `undo` gives it back. @throws EngineError */
  make(
    vm: Owner,
    spec: VmSpec,
    disk: Disk,
    wishes: DiskWishes,
    undo: AsyncDisposableStack,
    isHeld: () => boolean,
  ): Promise<void>
  /** Room and state of the pools that new disks need. @throws EngineError no_space, pool_unavailable */
  reserve(fresh: readonly Disk[], spec: VmSpec, wishes: DiskWishes, bytesEach: number): Promise<Disposable>
  /** @throws EngineError bad_input, conflict at the field */
  assertSizes(vmId: string, before: VmSpec, after: VmSpec): void
  /** Makes every volume that no guest has open as large as the definition says. @throws EngineError */
  growClosed(vmId: string, spec: VmSpec, isOpen: (device: string) => boolean): Promise<void>
  /** Records sizes that a running guest's disks have been given. */
  noteGrown(vmId: string, spec: VmSpec, isOpen: (device: string) => boolean): void
  /** A volume that neither the definition nor the guest has any more. */
  release(volume: VolumeDocument, vmName: string): Promise<void>
  /** From now on this volume becomes free when it is released. @returns what takes that back */
  keepWhenReleased(volumeId: string): () => void
  /**
   * Runs `remove` and, when it says true, takes the VM's volumes from it, both in one write.
   * @returns what is left to do to their files; null when `remove` said false
   */
  leaveVm(vmId: string, vmName: string, fate: DiskFate, remove: () => boolean): (() => Promise<void>) | null
  /** Users that files still belong to. */
  uids(): Set<number>
  /** Before a start: work on a disk, or a pool that is away, is a reason not to. @throws EngineError vm_busy, volume_missing */
  assertStartable(vmId: string, spec: VmSpec): Promise<void>
}

export function createVmDisks(deps: VmDisksDeps): VmDisks {
  const { store, pools, volumes, health, usage, work, locks, layerReaders } = deps
  const now = () => (deps.now ?? (() => new Date()))().toISOString()
  const kept = new Set<string>()

  const isDisk = (drive: VmSpec['disks'][number]): drive is Disk => drive.device === 'disk' && !drive.shared
  const poolOf = (wishes: DiskWishes, index: number): string => wishes.get(index)?.poolId ?? pools.defaultId()

  /**
   * Whether the guest has never written to it: then there is nothing to keep. The length of the file tells, which the first
   * write makes longer; what it takes on disk does not, where the file system compresses. Of a raw file nothing tells.
   */
  const isUntouched = async (volume: VolumeDocument): Promise<boolean> => {
    const layer = volumes.layer(volume.head)
    if (layer?.format !== 'qcow2' || (layer.parent !== null && 'layer' in layer.parent)) return false
    if (volumes.needs(layer.id).length > 0) return false
    await usage.refresh(layer.poolId)
    const size = usage.of(layer.id)?.size
    return size != null && size.bytes <= emptyQcow2Bytes(layer.sizeBytes)
  }

  return {
    resolve(caller, ownerId, input) {
      const wishes = new Map<number, { poolId: string | null; volumeId: string | null }>()
      if (input.disks === undefined) return { input, wishes }
      const disks = input.disks.map((drive, index) => {
        if (drive.device !== 'disk' || (drive.pool === undefined && drive.volume === undefined)) return drive
        const { pool, volume: volumeId, ...rest } = drive
        wishes.set(index, { poolId: pool ?? null, volumeId: volumeId ?? null })
        if (pool !== undefined) {
          try {
            work.assertPoolForDisks(pool)
          } catch (error) {
            throw atField(error, `disks.${index}.pool`)
          }
        }
        if (volumeId === undefined) return rest
        const volume = volumes.get(volumeId)
        if (volume === null || !canSeeVolume(caller, volume))
          throw new EngineError('not_found', 'There is no such disk.', { field: `disks.${index}.volume` })
        // In a project whose disk it was does not decide: taking it is a change.
        if (!mayChangeVolume(caller, volume))
          throw new EngineError('forbidden', LOOK_ONLY, { field: `disks.${index}.volume` })
        if (rest.image != null || rest.shared === true)
          throw new EngineError('bad_input', 'A disk that exists is not made from an image, nor shared.', {
            field: `disks.${index}.volume`,
          })
        if ([...wishes].some(([other, wish]) => other !== index && wish.volumeId === volumeId))
          throw new EngineError('in_use', 'This disk is named twice.', { field: `disks.${index}.volume` })
        try {
          work.assertAttachable(volume, ownerId, caller)
        } catch (error) {
          throw atField(error, `disks.${index}.volume`)
        }
        return { ...rest, image: null, sizeGiB: Math.max(rest.sizeGiB ?? 1, ceilGiB(volume.sizeBytes)) }
      })
      return { input: { ...input, disks }, wishes }
    },

    async reserve(fresh, spec, wishes, bytesEach) {
      const needed = new Map<string, number>()
      for (const disk of fresh) {
        if (!isDisk(disk)) continue
        const index = spec.disks.indexOf(disk)
        const volumeId = wishes.get(index)?.volumeId ?? null
        const poolId = volumeId === null ? poolOf(wishes, index) : (volumes.get(volumeId)?.poolId ?? pools.defaultId())
        needed.set(poolId, (needed.get(poolId) ?? 0) + bytesEach)
      }
      const held = new DisposableStack()
      try {
        for (const [poolId, bytes] of needed) {
          await health.assertUsable(poolId, 'write')
          const reservation = await pools.space(poolId).reserve(bytes, 'The VM')
          held.defer(() => reservation.release())
        }
        return held
      } catch (error) {
        held.dispose()
        throw error
      }
    },

    async make(vm, spec, disk, wishes, undo, isHeld) {
      const index = spec.disks.indexOf(disk)
      const volumeId = wishes.get(index)?.volumeId ?? null
      if (volumeId === null) {
        const made = await volumes.create({
          name: `${spec.name} ${disk.id}`,
          ownerId: vm.ownerId,
          sizeBytes: disk.sizeGiB * GIB,
          parent: disk.image === null ? null : { image: disk.image },
          poolId: poolOf(wishes, index),
          vm: { id: vm.id, device: disk.id },
          uid: vm.uid,
        })
        // One that a guest did not give back goes when it does.
        undo.defer(async () => {
          if (!isHeld()) await volumes.remove(made.id)
        })
        return
      }
      const done = locks.take(volumeId, 'given to a VM')
      try {
        const volume = volumes.get(volumeId)
        if (volume === null || volume.vm !== null || volume.trashedAt !== null)
          throw new EngineError('in_use', 'This disk has been given to another VM meanwhile.', {
            field: `disks.${index}.volume`,
          })
        volumes.change(volumeId, { vm: { id: vm.id, device: disk.id } })
        undo.defer(async () => {
          if (isHeld()) kept.add(volumeId)
          else await work.setFree(volume)
        })
        await volumes.handOver(volumeId, vm.uid)
        await layerReaders.letIn(vm.id, volumeId)
        if (disk.sizeGiB * GIB > volume.sizeBytes) {
          const current = volumes.get(volumeId)
          if (current !== null) await work.growFile(current, disk.sizeGiB * GIB)
        }
      } finally {
        done()
      }
    },

    assertSizes(vmId, before, after) {
      after.disks.forEach((drive, index) => {
        const old = before.disks.find((candidate) => candidate.id === drive.id)
        if (drive.device !== 'disk' || old?.device !== 'disk' || drive.sizeGiB === old.sizeGiB) return
        const field = `disks.${index}.sizeGiB`
        if (drive.shared)
          throw new EngineError('bad_input', 'A shared disk keeps its size: other VMs may be writing to it.', { field })
        const volume = volumes.find(vmId, drive.id)
        if (volume === null) return
        work.assertGrowth(volume, drive.sizeGiB * GIB, field)
        const busy = locks.of(volume.id)
        if (busy !== null)
          throw new EngineError('vm_busy', `This disk is being ${busy}; wait for it or cancel it, then try again.`, {
            field,
          })
      })
    },

    async growClosed(vmId, spec, isOpen) {
      for (const drive of spec.disks) {
        if (!isDisk(drive) || isOpen(drive.id)) continue
        const volume = volumes.find(vmId, drive.id)
        if (volume !== null && volume.sizeBytes < drive.sizeGiB * GIB) await work.growFile(volume, drive.sizeGiB * GIB)
      }
    },

    noteGrown(vmId, spec, isOpen) {
      for (const drive of spec.disks) {
        if (!isDisk(drive) || !isOpen(drive.id)) continue
        const volume = volumes.find(vmId, drive.id)
        const sizeBytes = drive.sizeGiB * GIB
        if (volume === null || volume.sizeBytes >= sizeBytes) continue
        volumes.changeLayer(volume.head, { sizeBytes })
        volumes.change(volume.id, { sizeBytes })
      }
    },

    async release(volume, vmName) {
      if (kept.delete(volume.id)) await work.setFree(volume)
      else if (await isUntouched(volume)) await volumes.remove(volume.id)
      else await work.trash(volume, vmName)
    },

    keepWhenReleased(volumeId) {
      kept.add(volumeId)
      return () => kept.delete(volumeId)
    },

    leaveVm(vmId, vmName, fate, remove) {
      const leaving = volumes.ofVm(vmId)
      const byTrash = fate === 'trash' && deps.trashDays > 0
      const gone = store.transaction(() => {
        if (!remove()) return false
        for (const { id } of leaving) {
          if (fate === 'keep') volumes.change(id, { vm: null })
          else if (byTrash) volumes.change(id, { vm: null, trashedAt: now(), trashedFrom: vmName })
        }
        return true
      })
      if (!gone) return null
      return async () => {
        for (const { id } of leaving) {
          const volume = volumes.get(id)
          if (volume === null) continue
          if (fate === 'keep') await work.setFree(volume)
          else if (!byTrash || (await isUntouched(volume))) await volumes.remove(id)
          else await work.setFree(volume)
        }
      }
    },

    uids() {
      return new Set(volumes.layers().flatMap(({ uid }) => (uid === null ? [] : [uid])))
    },

    async assertStartable(vmId, spec) {
      for (const [index, drive] of spec.disks.entries()) {
        if (!isDisk(drive)) continue
        const volume = volumes.find(vmId, drive.id)
        if (volume === null) continue
        const field = `disks.${index}`
        const busy = locks.of(volume.id)
        if (busy !== null)
          throw new EngineError('vm_busy', `The disk “${drive.id}” is being ${busy}; wait for it or cancel it.`, {
            field,
          })
        for (const { layerId } of volumes.chain(volume.head)) {
          const layer = layerId === null ? null : volumes.layer(layerId)
          if (layer === null) continue
          try {
            await health.assertUsable(layer.poolId, layerId === volume.head && !drive.readOnly ? 'write' : 'read')
          } catch (error) {
            if (!(error instanceof EngineError)) throw error
            throw new EngineError('volume_missing', `The disk “${drive.id}” cannot be reached: ${error.message}`, {
              field,
              cause: error,
            })
          }
        }
      }
    },
  }
}

function atField(error: unknown, field: string): unknown {
  return error instanceof EngineError ? new EngineError(error.code, error.message, { field, cause: error }) : error
}
