/**
 * Disks that several VMs of one owner write to at once: raw files of their own in `shared/`, named by owner and serial
 * number. Raw, because a qcow2 file has tables that one QEMU at a time may change. Owner and guests' group may read and
 * write, so that the QEMU of each VM, a user of its own, can open it.
 */
import { constants } from 'node:fs'
import { open, rm, stat } from 'node:fs/promises'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { GIB } from '#lib/units.ts'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { readersShared } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import { syncDir } from './dirs.ts'

type Disk = Extract<VmSpec['disks'][number], { device: 'disk' }>
type SharedDisk = Disk & { readonly serial: string }

/** The shared disks of a definition; the checks see to it that each has a serial number. */
export function sharedDisksOf(spec: Pick<VmSpec, 'disks'>): SharedDisk[] {
  return spec.disks.filter(
    (drive): drive is SharedDisk => drive.device === 'disk' && drive.shared && drive.serial !== null,
  )
}

export interface SharedDisks {
  /**
   * Makes the file, empty, unless it is there.
   * @returns whether it was made now
   * @throws EngineError conflict when it is there with another size, no_space
   */
  ensure(ownerId: string, disk: SharedDisk): Promise<boolean>
  /** The file and all that is on it. Idempotent. */
  remove(ownerId: string, serial: string): Promise<void>
}

/** @param readersGid group of all guests; null when they share the dashboard's user */
export function createSharedDisks(data: DataPaths, readersGid: number | null): SharedDisks {
  return {
    async ensure(ownerId, disk) {
      const path = data.sharedDisk(ownerId, disk.serial)
      const sizeBytes = disk.sizeGiB * GIB
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
      const handle = await open(path, flags, 0o600).catch((error: unknown) => {
        const code = error instanceof Error && 'code' in error ? error.code : null
        if (code === 'EEXIST') return null
        if (code === 'ENOSPC' || code === 'EDQUOT')
          throw new EngineError('no_space', 'There is no space left for the shared disk.', { cause: error })
        throw error
      })
      if (handle === null) {
        const { size } = await stat(path)
        if (size === sizeBytes) return false
        throw new EngineError(
          'conflict',
          `The shared disk ${disk.serial} is there already, with ${size / GIB} GiB; give the same size or another serial number.`,
        )
      }
      try {
        await handle.truncate(sizeBytes)
        await rootActs().own({ path, as: readersShared(readersGid), sync: true })
      } catch (error) {
        await rm(path, { force: true })
        throw error
      } finally {
        await handle.close()
      }
      await syncDir(data.sharedDir)
      return true
    },
    async remove(ownerId, serial) {
      await rm(data.sharedDisk(ownerId, serial), { force: true })
    },
  }
}
