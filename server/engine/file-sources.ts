/** What files can be looked at: who may, which chain of files that is, and for how long it holds still. */
import type { ImageLibrary } from '#server/images/library.ts'
import type { DiskSource } from '#server/storage/disk-reader.ts'
import type { ToolUser } from '#server/storage/sandbox.ts'
import { toolUser } from '#server/storage/tool-user.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { requireVm } from './access.ts'
import type { SnapshotSource } from './clone-moment.ts'
import { EngineError } from './errors.ts'
import { canSeeVolume } from './storage-views.ts'
import type { BackupEngine, Caller, FileSourceName } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecords } from './vm-records.ts'
import type { VolumeLocks } from './volume-locks.ts'

export interface FileSource {
  /** Same key, same bytes. */
  readonly key: string
  /** The VM whose runs and other work change these bytes; null: none does. */
  readonly vmId: string | null
  readonly title: string
  /** Whose it is; null: everybody's who may see images. */
  readonly ownerId: string | null
  readonly devices: readonly string[]
  readonly device: string | null
  readonly disk: DiskSource
  /** Whether what was read may be believed: nobody writes. @throws EngineError wrong_state, not_found */
  check(): void
}

export interface FileSourceDeps {
  readonly library: ImageLibrary
  readonly volumes: Volumes
  readonly records: VmRecords
  readonly supervisor: Supervisor
  readonly busy: VmBusy
  readonly locks: VolumeLocks
  readonly snapshots: SnapshotSource
  readonly backups: Pick<BackupEngine, 'filesOf'>
  readonly readersGid: number | null
}

export type FileSources = (caller: Caller, name: FileSourceName, device: string | undefined) => Promise<FileSource>

export function createFileSources(deps: FileSourceDeps): FileSources {
  const { library, volumes, records, supervisor, busy, locks } = deps

  const asGuest = (uid: number | null) => toolUser({ volumes, readersGid: deps.readersGid }, uid)
  /** @throws EngineError wrong_state */
  const assertOff = (vmId: string): void => {
    if (supervisor.runtime(vmId).state === 'off' || supervisor.runtime(vmId).state === 'crashed') return
    throw new EngineError(
      'wrong_state',
      'The VM runs and writes to this disk. Shut it down, or look into a snapshot or backup of it.',
    )
  }
  /** @throws EngineError wrong_state */
  const assertStill = (vmId: string): void => {
    const now = busy.get(vmId)
    if (now !== null) throw new EngineError('wrong_state', `${now.sentence}. Look again when that is done.`)
  }
  const chainOf = (layerId: string) => volumes.chain(layerId).map(({ path, format }) => ({ path, format }))

  const image = (id: string): FileSource => {
    const find = () => {
      const document = library.get(id)
      if (document === null) throw new EngineError('not_found', 'There is no such image.')
      return document
    }
    const document = find()
    const disk = { chain: [{ path: library.filePath(document), format: document.format }] }
    return {
      ...{ key: `image:${id}`, vmId: null, title: document.name, ownerId: null, devices: [], device: null, disk },
      check: () => void find(),
    }
  }

  const volume = (caller: Caller, id: string): FileSource => {
    const found = volumes.get(id)
    if (found === null || !canSeeVolume(caller, found)) throw new EngineError('not_found', 'There is no such disk.')
    const check = () => {
      const now = volumes.get(id)
      if (now === null || now.head !== found.head)
        throw new EngineError('wrong_state', 'The disk was changed meanwhile. Look again.')
      const under = locks.of(id)
      if (under !== null)
        throw new EngineError('wrong_state', `This disk is being ${under}. Look again when that is done.`)
      if (now.vm === null) return
      assertOff(now.vm.id)
      assertStill(now.vm.id)
    }
    check()
    const disk = { chain: chainOf(found.head), user: asGuest(volumes.layer(found.head)?.uid ?? null) }
    return {
      key: `volume:${id}:${found.head}`,
      vmId: found.vm?.id ?? null,
      title: found.name,
      ownerId: found.ownerId,
      devices: [],
      device: null,
      disk,
      check,
    }
  }

  const snapshot = (caller: Caller, vmId: string, id: string, device: string | undefined): FileSource => {
    const { ownerId } = requireVm(records, caller, vmId)
    const read = () => deps.snapshots.baseOf(vmId, id)
    const base = read()
    const chosen = choose(base.disks, device)
    const check = () => {
      read()
      assertStill(vmId)
      // Snapshots with memory lie inside the file that the guest writes to.
      if (base.tag !== null) assertOff(vmId)
    }
    check()
    const disk = {
      chain: chainOf(chosen.layerId),
      user: asGuest(volumes.layer(chosen.layerId)?.uid ?? null),
      ...(base.tag !== null && { tag: base.tag }),
    }
    return {
      key: `snapshot:${id}:${chosen.layerId}`,
      vmId,
      title: base.name,
      ownerId,
      devices: base.disks.map((one) => one.device),
      device: chosen.device,
      disk,
      check,
    }
  }

  const backup = async (caller: Caller, id: string, device: string | undefined): Promise<FileSource> => {
    const { title, ownerId, disks, check } = await deps.backups.filesOf(caller, id)
    const chosen = choose(disks, device)
    return {
      key: `backup:${id}:${chosen.device}`,
      vmId: null,
      title,
      ownerId,
      devices: disks.map((one) => one.device),
      device: chosen.device,
      disk: { chain: chosen.files },
      check,
    }
  }

  return async (caller, name, device) => {
    switch (name.kind) {
      case 'image': {
        const document = library.get(name.id)
        if (document !== null && !(await library.checkPresent(document)))
          throw new EngineError('image_missing', `The file of ${document.name} has gone or changed since it was added.`)
        return image(name.id)
      }
      case 'volume':
        return volume(caller, name.id)
      case 'snapshot':
        return snapshot(caller, name.vmId, name.id, device)
      case 'backup':
        return backup(caller, name.id, device)
    }
  }
}

function choose<T extends { readonly device: string }>(disks: readonly T[], device: string | undefined): T {
  const found = device === undefined ? disks[0] : disks.find((one) => one.device === device)
  if (found === undefined)
    throw new EngineError('not_found', device === undefined ? 'There is no disk in it.' : 'It has no such disk.')
  return found
}
