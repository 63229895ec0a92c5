/**
 * The files of seed CDs, beside the disks of their VM. They hold secrets: 0600 from their first byte, the VM's own, and
 * whole or absent whatever happens.
 */
import { constants, existsSync } from 'node:fs'
import { open, readdir, rename, rm } from 'node:fs/promises'
import { SeedId } from '#lib/schema/ids.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestFile } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import { syncDir } from './dirs.ts'

export interface SeedFiles {
  /** The file is on disk for good, name and all, when this resolves. */
  write(vmId: string, uid: number | null, seedId: string, image: Uint8Array): Promise<void>
  /** Removes one, finished or not. Idempotent. */
  remove(vmId: string, seedId: string): Promise<void>
  /** Ids of those there are, half-written ones too. */
  list(vmId: string): Promise<string[]>
}

const NAME = /^seed-([0-9a-f-]{36})\.iso(\.new)?$/

export function createSeedFiles(data: DataPaths): SeedFiles {
  return {
    async write(vmId, uid, seedId, image) {
      const path = data.seed(vmId, seedId)
      const fresh = `${path}.new`
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
      try {
        const handle = await open(fresh, flags, 0o600)
        try {
          await handle.writeFile(image)
        } finally {
          await handle.close()
        }
        await rootActs().own({ path: fresh, as: guestFile(uid), sync: true })
        await rename(fresh, path)
        await syncDir(data.vmDir(vmId))
      } catch (error) {
        await rm(fresh, { force: true })
        await rm(path, { force: true })
        throw error
      }
    },
    async remove(vmId, seedId) {
      const path = data.seed(vmId, seedId)
      await rm(path, { force: true })
      await rm(`${path}.new`, { force: true })
      if (existsSync(data.vmDir(vmId))) await syncDir(data.vmDir(vmId))
    },
    async list(vmId) {
      const names = await readdir(data.vmDir(vmId)).catch(() => [])
      const ids = names.flatMap((name) => NAME.exec(name)?.[1] ?? []).filter((id) => SeedId.safeParse(id).success)
      return [...new Set(ids)]
    },
  }
}
