/**
 * What belongs to a snapshot besides the disks: UEFI variables, what the TPM knows, a picture of the screen. They lie in
 * `vms/<id>/snapshots/`, which the guest's group may pass, because QEMU itself writes the copy of the variables.
 */
import { constants } from 'node:fs'
import { copyFile, cp, lstat, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir, guestFile, guestPassage } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import { syncDir } from '#server/storage/dirs.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { ToolUser } from '#server/storage/sandbox.ts'

export interface SideFiles {
  /** An empty file of the variables' size that QEMU may write. @returns its path */
  makeNvramTarget(vmId: string, snapshotId: string, user: ToolUser | null): Promise<string>
  /** Copies the variables of a VM that is off. */
  keepNvram(vmId: string, snapshotId: string): Promise<void>
  /** Puts them back, all at once. Only while the VM is off. */
  restoreNvram(vmId: string, snapshotId: string, uid: number | null): Promise<void>
  /** Copies what the TPM knows; while the guest stands still or is off. False: there is nothing yet. */
  keepTpm(vmId: string, snapshotId: string): Promise<boolean>
  /** Puts it back. Only while the VM is off. */
  restoreTpm(vmId: string, snapshotId: string, uid: number | null): Promise<void>
  keepScreen(vmId: string, snapshotId: string, png: Buffer): Promise<void>
  /** Null: there is none. */
  screen(vmId: string, snapshotId: string): Promise<Buffer | null>
  /** Bytes they take. */
  bytes(vmId: string, snapshotId: string): Promise<number>
  /** Idempotent. */
  remove(vmId: string, snapshotId: string): Promise<void>
  /** Removes files of snapshots that are not known. */
  sweep(vmId: string, known: ReadonlySet<string>): Promise<void>
}

const TPM_FILE_MAX = 16 * 2 ** 20

export function createSideFiles(data: DataPaths, qemuImg: QemuImg): SideFiles {
  const dir = async (vmId: string): Promise<string> => {
    const path = data.snapshotsDir(vmId)
    await mkdir(path, { recursive: true, mode: 0o700 })
    // Who may pass the VM's own directory may pass this one.
    const { gid, mode } = await stat(data.vmDir(vmId))
    await rootActs().own({ path, as: guestPassage((mode & 0o010) === 0 ? null : gid), sync: false })
    return path
  }
  const own = (path: string, uid: number | null): Promise<void> =>
    rootActs().own({ path, as: guestFile(uid), sync: true })
  /** Plain files only: the directory is the guest's, and a link in it could lead anywhere. */
  const copyPlain = async (from: string, to: string, uid: number | null): Promise<void> => {
    await mkdir(to, { mode: 0o700 })
    for (const name of await readdir(from)) {
      const facts = await lstat(join(from, name))
      // Its lock is not part of what it knows.
      if (!facts.isFile() || facts.size > TPM_FILE_MAX || name.startsWith('.')) continue
      await copyFile(join(from, name), join(to, name), constants.COPYFILE_EXCL)
      await own(join(to, name), uid)
    }
    await rootActs().own({ path: to, as: guestDir(uid), sync: false })
    await syncDir(to)
  }

  return {
    async makeNvramTarget(vmId, snapshotId, user) {
      await dir(vmId)
      const path = data.snapshotNvram(vmId, snapshotId)
      const { virtualSizeBytes } = await qemuImg.info(data.nvram(vmId), 'qcow2', { user })
      await qemuImg.createBlank(path, virtualSizeBytes)
      await own(path, user?.uid ?? null)
      return path
    },
    async keepNvram(vmId, snapshotId) {
      await dir(vmId)
      const path = data.snapshotNvram(vmId, snapshotId)
      await cp(data.nvram(vmId), path, { errorOnExist: true, dereference: false })
      await own(path, null)
      await syncDir(dirname(path))
    },
    async restoreNvram(vmId, snapshotId, uid) {
      const fresh = `${data.nvram(vmId)}.new`
      await rm(fresh, { force: true })
      await copyFile(data.snapshotNvram(vmId, snapshotId), fresh, constants.COPYFILE_EXCL)
      await own(fresh, uid)
      await rename(fresh, data.nvram(vmId))
      await syncDir(data.vmDir(vmId))
    },
    async keepTpm(vmId, snapshotId) {
      const there = await stat(data.tpmDir(vmId)).catch(() => null)
      if (!there?.isDirectory()) return false
      await dir(vmId)
      const path = data.snapshotTpm(vmId, snapshotId)
      await rm(path, { recursive: true, force: true })
      await copyPlain(data.tpmDir(vmId), path, null)
      await syncDir(dirname(path))
      return true
    },
    async restoreTpm(vmId, snapshotId, uid) {
      const fresh = `${data.tpmDir(vmId)}.new`
      await rm(fresh, { recursive: true, force: true })
      await copyPlain(data.snapshotTpm(vmId, snapshotId), fresh, uid)
      await rm(data.tpmDir(vmId), { recursive: true, force: true })
      await rename(fresh, data.tpmDir(vmId))
      await syncDir(data.vmDir(vmId))
    },
    async keepScreen(vmId, snapshotId, png) {
      await dir(vmId)
      const path = data.snapshotScreen(vmId, snapshotId)
      const handle = await open(path, 'w', 0o600)
      try {
        await handle.writeFile(png)
        await handle.sync()
      } finally {
        await handle.close()
      }
    },
    screen: (vmId, snapshotId) => readFile(data.snapshotScreen(vmId, snapshotId)).catch(() => null),
    async bytes(vmId, snapshotId) {
      let bytes = 0
      for (const path of [data.snapshotNvram(vmId, snapshotId), data.snapshotScreen(vmId, snapshotId)])
        bytes += ((await stat(path).catch(() => null))?.blocks ?? 0) * 512
      return bytes
    },
    async remove(vmId, snapshotId) {
      await rm(data.snapshotNvram(vmId, snapshotId), { force: true })
      await rm(data.snapshotScreen(vmId, snapshotId), { force: true })
      await rm(data.snapshotTpm(vmId, snapshotId), { recursive: true, force: true })
    },
    async sweep(vmId, known) {
      const path = data.snapshotsDir(vmId)
      for (const name of await readdir(path).catch(() => [])) {
        const [id = ''] = basename(name).split('.')
        if (!known.has(id)) await rm(join(path, name), { recursive: true, force: true })
      }
    },
  }
}
