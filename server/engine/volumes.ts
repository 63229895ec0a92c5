/** Volumes as the API knows them. The long work on them is in `volume-work.ts`. */
import type { Volume } from '#lib/schema/storage.ts'
import type { VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { ceilGiB, GIB } from '#lib/units.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import type { Pools } from '#server/storage/pools.ts'
import type { Usage } from '#server/storage/usage.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import { canSeeVolume, type StorageViews } from './storage-views.ts'
import type { Caller, VolumeEngine } from './types.ts'
import type { VmRecord } from './vm-records.ts'
import type { VolumeLocks } from './volume-locks.ts'
import type { VolumeWork } from './volume-work.ts'

export interface VolumeEngineDeps {
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly usage: Usage
  readonly views: StorageViews
  readonly work: VolumeWork
  readonly locks: VolumeLocks
  readonly journal: Journal
  /** A VM the caller may see. @throws EngineError not_found */
  readonly requireVm: (caller: Caller, id: string) => VmRecord
  /** Changes a VM as the caller. @throws EngineError */
  readonly changeVm: (caller: Caller, id: string, patch: VmSpecPatch) => Promise<unknown>
  /** When the VM gives this volume back, it becomes free instead of going to the trash. @returns what takes that back */
  readonly keepWhenReleased: (volumeId: string) => () => void
  /** Whether disks of this VM hold snapshots inside their files, which no copy of the content carries over. */
  readonly holdsSnapshots: (vmId: string) => boolean
  readonly now?: () => Date
}

/** Look-ups of sizes older than this are repeated before an answer; storage that is slow is not waited for longer. */
const PATIENCE_MS = 500
/** A new file takes a few hundred KiB. */
const NEW_FILE_BYTES = 2 ** 20

export function createVolumeEngine(deps: VolumeEngineDeps): VolumeEngine {
  const { pools, volumes, health, usage, views, work, locks, journal } = deps

  const requireVolume = (caller: Caller, id: string): VolumeDocument => {
    const volume = volumes.get(id)
    if (volume === null || !canSeeVolume(caller, volume)) throw new EngineError('not_found', 'There is no such disk.')
    return volume
  }
  /** @throws EngineError conflict */
  const assertRewritable = ({ vm }: VolumeDocument): void => {
    if (vm === null || !deps.holdsSnapshots(vm.id)) return
    throw new EngineError(
      'conflict',
      'This disk holds snapshots with memory inside its file, and a new file would not have them. Delete those snapshots first.',
    )
  }
  const note = (what: string, caller: Caller, volume: VolumeDocument, text: string): void =>
    journal.write({
      ...{ what, text, caller, result: 'ok', topic: 'volume', durable: true },
      ...{ objectId: volume.id, objectName: volume.name, ownerId: volume.ownerId },
    })
  const refresh = async (poolIds: Iterable<string>): Promise<void> => {
    const all = Promise.all([...new Set(poolIds)].map((id) => usage.refresh(id)))
    let timer: NodeJS.Timeout | undefined
    await Promise.race([all, new Promise((resolve) => (timer = setTimeout(resolve, PATIENCE_MS)))])
    clearTimeout(timer)
  }
  const viewOf = async (id: string): Promise<Volume> => {
    const volume = volumes.get(id)
    if (volume === null) throw new EngineError('not_found', 'There is no such disk.')
    await refresh([volume.poolId])
    return views.volume(volume)
  }
  /** @throws EngineError wrong_state */
  const assertAlive = (volume: VolumeDocument): void => {
    if (volume.trashedAt !== null) throw new EngineError('wrong_state', 'This disk is in the trash; restore it first.')
  }

  return {
    async list(caller) {
      await refresh(pools.all().map(({ id }) => id))
      return { items: views.volumes(caller) }
    },
    async view(caller, id) {
      const volume = requireVolume(caller, id)
      await refresh(
        volumes
          .layers()
          .filter(({ id: layer }) => layer === volume.head)
          .map(({ poolId }) => poolId),
      )
      return views.detail(volume)
    },
    async create(caller, input) {
      const poolId = input.poolId ?? pools.defaultId()
      work.assertPoolForDisks(poolId)
      work.assertNameFree(caller.userId, input.name, null)
      await health.assertUsable(poolId, 'write')
      const reservation = await pools.space(poolId).reserve(NEW_FILE_BYTES, 'The disk')
      try {
        const made = await volumes.create({
          name: input.name,
          ownerId: caller.userId,
          sizeBytes: input.sizeGiB * GIB,
          parent: null,
          poolId,
          vm: null,
          uid: null,
          format: input.format,
        })
        note('volumeCreate', caller, made, `${caller.name} created the disk ${made.name}.`)
        return await viewOf(made.id)
      } finally {
        reservation.release()
      }
    },
    async rename(caller, id, name) {
      const volume = requireVolume(caller, id)
      assertAlive(volume)
      work.assertNameFree(volume.ownerId, name, id)
      volumes.change(id, { name })
      note('volumeUpdate', caller, volume, `${caller.name} renamed the disk ${volume.name} to ${name}.`)
      return viewOf(id)
    },
    async grow(caller, id, sizeGiB) {
      const volume = requireVolume(caller, id)
      assertAlive(volume)
      work.assertGrowth(volume, sizeGiB * GIB, 'sizeGiB')
      if (volume.vm === null) {
        const done = locks.take(id, 'made larger')
        try {
          await work.growOffline(volume, sizeGiB * GIB)
        } finally {
          done()
        }
      } else {
        const { id: vmId, device } = volume.vm
        const { spec } = deps.requireVm(caller, vmId)
        await deps.changeVm(caller, vmId, {
          disks: spec.disks.map((drive) => (drive.id === device ? { ...drive, sizeGiB } : drive)),
        } as VmSpecPatch)
      }
      note('volumeGrow', caller, volume, `${caller.name} made the disk ${volume.name} ${sizeGiB} GiB large.`)
      return viewOf(id)
    },
    async attach(caller, id, vmId) {
      const volume = requireVolume(caller, id)
      const record = deps.requireVm(caller, vmId)
      work.assertAttachable(volume, record.ownerId, caller)
      const patch = {
        disks: [...record.spec.disks, { device: 'disk', volume: id, sizeGiB: ceilGiB(volume.sizeBytes) }],
      } as unknown as VmSpecPatch // A volume id is one of ours.
      await deps.changeVm(caller, vmId, patch)
      note('volumeAttach', caller, volume, `${caller.name} gave the disk ${volume.name} to ${record.spec.name}.`)
      return viewOf(id)
    },
    async detach(caller, id) {
      const volume = requireVolume(caller, id)
      if (volume.vm === null) throw new EngineError('wrong_state', 'This disk belongs to no VM.')
      const record = deps.requireVm(caller, volume.vm.id)
      const { device } = volume.vm
      const forget = deps.keepWhenReleased(id)
      try {
        await deps.changeVm(caller, record.id, {
          disks: record.spec.disks.filter((drive) => drive.id !== device),
        } as VmSpecPatch)
      } catch (error) {
        forget()
        throw error
      }
      note('volumeDetach', caller, volume, `${caller.name} took the disk ${volume.name} out of ${record.spec.name}.`)
      return viewOf(id)
    },
    async copy(caller, id, input) {
      const volume = requireVolume(caller, id)
      assertAlive(volume)
      return work.copy(caller, volume, input)
    },
    async convert(caller, id, format) {
      const volume = requireVolume(caller, id)
      assertAlive(volume)
      assertRewritable(volume)
      return work.convert(caller, volume, format)
    },
    async compact(caller, id) {
      const volume = requireVolume(caller, id)
      assertAlive(volume)
      assertRewritable(volume)
      return work.compact(caller, volume)
    },
    async move(caller, id, input) {
      const volume = requireVolume(caller, id)
      assertAlive(volume)
      assertRewritable(volume)
      return work.move(caller, volume, input)
    },
    async delete(caller, id) {
      const volume = requireVolume(caller, id)
      if (volume.vm !== null) throw new EngineError('in_use', 'This disk belongs to a VM. Take it out of the VM first.')
      const busy = locks.of(id)
      if (busy !== null) throw new EngineError('in_use', `This disk is being ${busy}; wait for it or cancel it.`)
      const [need] = volumes.needs(volume.head)
      if (need !== undefined) throw new EngineError('in_use', `This disk is needed by ${need}.`)
      if (volume.trashedAt === null) {
        await work.trash(volume, null)
        note('volumeTrash', caller, volume, `${caller.name} put the disk ${volume.name} in the trash.`)
        return
      }
      await health.assertUsable(volume.poolId, 'write')
      await volumes.remove(id)
      note('volumeDelete', caller, volume, `${caller.name} removed the disk ${volume.name} for good.`)
    },
    async restore(caller, id) {
      const volume = requireVolume(caller, id)
      if (volume.trashedAt === null) throw new EngineError('wrong_state', 'This disk is not in the trash.')
      const taken = volumes
        .all()
        .some(
          (other) =>
            other.id !== id &&
            other.trashedAt === null &&
            other.ownerId === volume.ownerId &&
            other.name === volume.name,
        )
      volumes.change(id, {
        trashedAt: null,
        trashedFrom: null,
        ...(taken && { name: `${volume.name.slice(0, 53)} (restored)` }),
      })
      note('volumeRestore', caller, volume, `${caller.name} took the disk ${volume.name} out of the trash.`)
      return viewOf(id)
    },
    async emptyTrash(caller) {
      let removed = 0
      let kept = 0
      for (const volume of volumes.all()) {
        if (volume.trashedAt === null) continue
        // An administrator empties everybody's; others their own.
        if (caller.role !== 'admin' && volume.ownerId !== caller.userId) continue
        try {
          if (locks.of(volume.id) !== null || volumes.needs(volume.head).length > 0) throw new Error('needed')
          await health.assertUsable(volume.poolId, 'write')
          await volumes.remove(volume.id)
          note('volumeDelete', caller, volume, `${caller.name} removed the disk ${volume.name} for good.`)
          removed += 1
        } catch {
          // Needed, or its storage is away: it stays, and is counted.
          kept += 1
        }
      }
      return { removed, kept }
    },
  }
}
