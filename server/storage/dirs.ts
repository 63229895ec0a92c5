/**
 * The directories of the data tree, who may enter them, and durable changes to them.
 *
 * With a user per guest, QEMU must reach two things below the data directory: its own VM directory (0700, its own)
 * and library images (0640, group of image readers). Their parents are 0710 with that group: enter, not list.
 */
import { constants } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { rootActs } from '#server/launcher/acts.ts'
import { readersPassage } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'

/** Makes a rename, creation or removal in `dir` survive power loss. */
export async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function ensureDir(dir: string, readersGid: number | null): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await rootActs().own({ path: dir, as: readersPassage(readersGid), sync: false })
}

/**
 * Creates the tree or repairs its owners and modes.
 * @returns sentences worth logging, for example that a parent directory was opened for the guests' group
 * @throws ConfigError naming the directory that guests cannot enter and how to mend it
 */
export async function prepareDataDirs(data: DataPaths, readersGid: number | null): Promise<string[]> {
  await mkdir(data.root, { recursive: true, mode: readersGid === null ? 0o700 : 0o711 })
  const notes = await rootActs().openPath({ dir: data.root, readersGid })
  await ensureDir(data.imagesDir, readersGid)
  await ensureDir(data.vmsDir, readersGid)
  await ensureDir(data.sharedDir, readersGid)
  await ensureDir(data.layersDir, readersGid)
  await ensureDir(data.uploadsDir, null)
  return notes
}
