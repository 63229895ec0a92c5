/** The files of a VM in step with its definition: made before it is stored, gone once nothing names them. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { flashFor } from '#server/spec/devices/firmware.ts'
import type { NvramTemplate } from '#server/storage/nvram.ts'
import { sharedDisksOf } from '#server/storage/shared-disks.ts'
import { EngineError } from './errors.ts'
import { seedsIn } from './seed-drive.ts'
import type { DefineDeps } from './vm-define-types.ts'
import type { DiskWishes } from './vm-disks.ts'
import type { VmRecord } from './vm-records.ts'

/** A new qcow2 file takes a few hundred KiB; UEFI variables take less than one MiB. */
export const BYTES_PER_NEW_FILE = 2 ** 20

export function createVmDefineFiles(deps: DefineDeps) {
  const { records, supervisor, library, files, volumes, disks, shared, seeds, space } = deps

  const pinImages = (spec: VmSpec): (() => void) => {
    const releases = spec.disks.flatMap((drive) => (drive.image === null ? [] : [library.pin(drive.image)]))
    return () => {
      for (const release of releases) release()
    }
  }

  /** @throws EngineError bad_input when the host has no such firmware */
  const nvramTemplate = async (spec: VmSpec): Promise<NvramTemplate> => {
    const flash = flashFor(spec, await deps.capabilities.current())
    if (flash === null) {
      throw new EngineError('bad_input', 'UEFI firmware (OVMF) is not installed on the host.', {
        field: spec.secureBoot ? 'secureBoot' : 'firmware',
      })
    }
    return { path: flash.vars, format: flash.format, secureBoot: spec.secureBoot }
  }

  /** Creates what `spec` has and `before` had not. Every file made is registered with `undo` at once. */
  const createFiles = async (
    vm: { id: string; ownerId: string; uid: number | null },
    spec: VmSpec,
    before: VmSpec | null,
    undo: AsyncDisposableStack,
    wishes: DiskWishes,
    isHeld: (diskId: string) => boolean = () => false,
  ): Promise<void> => {
    const known = new Set(before?.disks.map((drive) => drive.id))
    const fresh = spec.disks.filter((drive) => drive.device === 'disk').filter((disk) => !known.has(disk.id))
    const needsNvram = spec.firmware === 'uefi' && before?.firmware !== 'uefi'
    // Nothing to write: a rename must work on a full disk too.
    if (fresh.length === 0 && !needsNvram) return
    using _room = await disks.reserve(fresh, spec, wishes, BYTES_PER_NEW_FILE)
    const ownFiles = sharedDisksOf({ disks: fresh }).length + (needsNvram ? 1 : 0)
    const reservation = ownFiles === 0 ? null : await space.reserve(ownFiles * BYTES_PER_NEW_FILE, 'The VM')
    try {
      for (const disk of sharedDisksOf({ disks: fresh })) {
        const made = await shared.ensure(vm.ownerId, disk)
        if (made) undo.defer(() => sweepShared(vm.ownerId, { disks: [disk] }, vm.id))
      }
      for (const disk of fresh) {
        if (disk.shared) continue
        await disks.make(vm, spec, disk, wishes, undo, () => isHeld(disk.id))
      }
      if (needsNvram) {
        const made = await files.createNvram(vm.id, vm.uid, await nvramTemplate(spec))
        if (made) undo.defer(() => files.removeNvram(vm.id))
      }
    } finally {
      reservation?.release()
    }
  }

  const isOff = (id: string): boolean => {
    const { state } = supervisor.runtime(id)
    return state === 'off' || state === 'crashed'
  }

  /** Whether QEMU may have the disk's file open. */
  const isInUse = (id: string, diskId: string): boolean =>
    supervisor.runtime(id).launchedSpec?.disks.some((drive) => drive.id === diskId) ?? false

  /** Disks that neither the definition nor the running guest has any more. */
  const sweep = async ({ id, spec }: VmRecord): Promise<void> => {
    const { launchedSpec } = supervisor.runtime(id)
    // A guest whose disks are not on record may have any of them.
    if (launchedSpec === null && !isOff(id)) return
    const wanted = new Set([...spec.disks, ...(launchedSpec?.disks ?? [])].map((drive) => drive.id))
    for (const volume of volumes.ofVm(id))
      if (volume.vm !== null && !wanted.has(volume.vm.device)) await disks.release(volume, spec.name)
    await seeds.sweep(id, [...seedsIn(spec), ...seedsIn(launchedSpec)])
  }

  /**
   * Removes the shared disks of `was` that no VM of the owner has, in its definition or its running machine.
   * @param failed VM whose change is being undone: only what is stored of it counts
   */
  const sweepShared = async (ownerId: string, was: Pick<VmSpec, 'disks'>, failed?: string): Promise<void> => {
    const left = new Set(sharedDisksOf(was).map((disk) => disk.serial))
    for (const claim of records.claims()) {
      if (claim.ownerId !== ownerId || left.size === 0) continue
      const stored = records.get(claim.id)
      const wanted = claim.id === failed ? stored?.spec : claim.spec
      // One that is being created runs nothing yet.
      const running = stored === null ? null : supervisor.runtime(claim.id).launchedSpec
      for (const spec of [wanted, running])
        for (const disk of sharedDisksOf(spec ?? { disks: [] })) left.delete(disk.serial)
    }
    for (const serial of left) await shared.remove(ownerId, serial)
  }

  return { pinImages, nvramTemplate, createFiles, isOff, isInUse, sweep, sweepShared }
}
