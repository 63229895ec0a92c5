/**
 * The directory of one VM, `vms/<id>/`, and its UEFI variables. Its disks are volumes (`volumes.ts`).
 *
 * The directory is root's (or ours) and the VM's group may only enter it, so that a QEMU that was taken over can
 * neither add nor swap files; the files themselves are the VM's own, 0600.
 *
 * `.unfinished` in the directory says that it is half created or half deleted. The sweep at start looks at the store:
 * with a document the mark is old and goes, without one the directory goes. Directories without the mark are never
 * removed on a guess: they may be all that is left after an old database was restored.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { VmId } from '#lib/schema/ids.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestFile, guestPassage } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import { syncDir } from './dirs.ts'
import { type NvramTemplate, writeNvramOrigin } from './nvram.ts'
import type { QemuImg } from './qemu-img.ts'

export interface VmFiles {
  /** Creates the empty, marked directory. */
  createDir(vmId: string, uid: number | null): Promise<void>
  /** Makes the files' names survive power loss; call before the document is stored. */
  settle(vmId: string): Promise<void>
  /** The VM is complete and stored. */
  finish(vmId: string): Promise<void>
  /** Call before the document goes; then `remove`. */
  markUnfinished(vmId: string): Promise<void>
  /** Removes everything. Idempotent. */
  remove(vmId: string): Promise<void>
  /** True when it was made now, false when it was there. */
  createNvram(vmId: string, uid: number | null, template: NvramTemplate): Promise<boolean>
  /** Puts fresh variables in the place of those there are, all at once. Only while the VM is off. */
  resetNvram(vmId: string, uid: number | null, template: NvramTemplate): Promise<void>
  removeNvram(vmId: string): Promise<void>
  /** @returns sentences for the log */
  sweep(isStored: (vmId: string) => boolean, leaveAlone: ReadonlySet<string>): Promise<string[]>
}

export function createVmFiles(data: DataPaths, qemuImg: QemuImg): VmFiles {
  const mark = data.unfinished

  /** All at once: a crash leaves the variables of before or the new ones, never half of them. */
  const writeNvram = async (vmId: string, uid: number | null, template: NvramTemplate): Promise<void> => {
    const path = data.nvram(vmId)
    const fresh = `${path}.new`
    try {
      await rm(fresh, { force: true })
      await qemuImg.convertToQcow2(template.path, template.format, fresh)
      await rootActs().own({ path: fresh, as: guestFile(uid), sync: true })
      await writeNvramOrigin(data, vmId, { secureBoot: template.secureBoot })
      await rename(fresh, path)
      await syncDir(data.vmDir(vmId))
    } catch (error) {
      await rm(fresh, { force: true })
      throw error
    }
  }

  return {
    async createDir(vmId, uid) {
      const dir = data.vmDir(vmId)
      await mkdir(dir, { mode: 0o700 })
      await writeFile(mark(vmId), '', { flag: 'wx', mode: 0o600 })
      await rootActs().own({ path: dir, as: guestPassage(uid), sync: false })
    },
    async settle(vmId) {
      await Promise.all([syncDir(data.vmDir(vmId)), syncDir(data.vmsDir)])
    },
    async finish(vmId) {
      await unlink(mark(vmId)).catch(unlessGone)
    },
    async markUnfinished(vmId) {
      if (!existsSync(data.vmDir(vmId))) return
      // On a full disk deleting must work all the same; then only a crash in the next moment would leave files behind.
      await writeFile(mark(vmId), '', { mode: 0o600 }).catch(unlessFull)
      await syncDir(data.vmDir(vmId))
    },
    async remove(vmId) {
      await rm(data.vmDir(vmId), { recursive: true, force: true })
      await syncDir(data.vmsDir)
    },
    async createNvram(vmId, uid, template) {
      if (existsSync(data.nvram(vmId))) return false
      await writeNvram(vmId, uid, template)
      return true
    },
    resetNvram: writeNvram,
    async removeNvram(vmId) {
      await rm(data.nvram(vmId), { force: true })
      await rm(data.nvramOrigin(vmId), { force: true })
    },
    async sweep(isStored, leaveAlone) {
      const notes: string[] = []
      for (const name of await readdir(data.vmsDir)) {
        if (!VmId.safeParse(name).success || leaveAlone.has(name)) continue
        if (existsSync(mark(name))) {
          if (isStored(name)) {
            await rm(mark(name), { force: true })
          } else {
            await rm(data.vmDir(name), { recursive: true, force: true })
            notes.push(`Removed the half-made VM directory ${name}.`)
          }
        } else if (!isStored(name)) {
          notes.push(`The VM directory ${name} belongs to no known VM. It is left alone.`)
        }
      }
      return notes
    },
  }
}

const codeOf = (error: unknown) => (error instanceof Error && 'code' in error ? error.code : null)

function unlessFull(error: unknown): void {
  const code = codeOf(error)
  if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
}

function unlessGone(error: unknown): void {
  if (codeOf(error) !== 'ENOENT') throw error
}
