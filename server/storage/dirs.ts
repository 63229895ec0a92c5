/**
 * The directories of the data tree, who may enter them, and durable changes to them.
 *
 * With a user per guest, QEMU must reach two things below the data directory: its own VM directory (0700, its own)
 * and library images (0640, group of image readers). Their parents are 0710 with that group: enter, not list.
 */
import { constants } from 'node:fs'
import { chmod, chown, mkdir, open, readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { ConfigError } from '#server/config.ts'
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
  if (readersGid === null) {
    await chmod(dir, 0o700)
  } else {
    await chown(dir, 0, readersGid)
    await chmod(dir, 0o710)
  }
}

/**
 * Creates the tree or repairs its owners and modes.
 * @returns sentences worth logging, for example that a parent directory was opened for the guests' group
 * @throws ConfigError naming the directory that guests cannot enter and how to mend it
 */
export async function prepareDataDirs(data: DataPaths, readersGid: number | null): Promise<string[]> {
  await mkdir(data.root, { recursive: true, mode: readersGid === null ? 0o700 : 0o711 })
  const notes = await openPathForGuests(data.root, readersGid)
  await ensureDir(data.imagesDir, readersGid)
  await ensureDir(data.vmsDir, readersGid)
  await ensureDir(data.sharedDir, readersGid)
  await ensureDir(data.layersDir, readersGid)
  await ensureDir(data.uploadsDir, null)
  return notes
}

/**
 * Guests run as users of their own, so `dir` and every directory above it must let them through. One that is root's and closed
 * to everybody (as `mktemp -d` makes them) is opened for the guests' group alone; somebody's home is not touched.
 * @returns what was changed, as sentences
 * @throws ConfigError naming the directory at fault
 */
export async function openPathForGuests(dir: string, readersGid: number | null): Promise<string[]> {
  if (readersGid === null) return []
  const notes: string[] = []
  const homes = await homeDirs()
  for (let parent = resolve(dir); ; parent = dirname(parent)) {
    const facts = await stat(parent)
    const passable = (facts.mode & 0o001) !== 0 || (facts.gid === readersGid && (facts.mode & 0o010) !== 0)
    if (!passable) {
      const closedToAll = facts.uid === 0 && (facts.mode & 0o077) === 0
      if (!closedToAll || homes.has(parent)) {
        throw new ConfigError(
          `Guests run as users of their own and cannot enter ${parent}, so they could not reach ${dir}. Choose another directory, or run: chmod o+x ${parent}`,
        )
      }
      await chown(parent, 0, readersGid)
      await chmod(parent, 0o710)
      notes.push(`${parent} was closed to everybody but root; it now lets the guests' group (${readersGid}) through.`)
    }
    if (parent === '/') return notes
  }
}

async function homeDirs(): Promise<ReadonlySet<string>> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '')
  return new Set(
    passwd
      .split('\n')
      .map((line) => line.split(':')[5] ?? '')
      .filter((home) => home !== ''),
  )
}
