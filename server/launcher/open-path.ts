/** Letting guests through to the directories that hold what is theirs. */
import { constants } from 'node:fs'
import { open, readFile, readlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { ConfigError } from '#server/config-error.ts'

/**
 * Guests run as users of their own, so `dir` and every directory above it must let them through. One that is root's or the
 * dashboard's and closed to everybody (as `mktemp -d` makes them) is opened for the guests' group alone; somebody's home is
 * not touched.
 * @param isStrict only directories that are what they are called: no link on the way to one that is opened
 * @returns what was changed, as sentences
 * @throws ConfigError naming the directory at fault
 */
export async function openPathForGuests(
  dir: string,
  readersGid: number | null,
  dashboardUid: number,
  isStrict = false,
): Promise<string[]> {
  if (readersGid === null) return []
  const notes: string[] = []
  const homes = await homeDirs()
  for (let parent = resolve(dir); ; parent = dirname(parent)) {
    await using directory = await open(parent, constants.O_RDONLY | constants.O_DIRECTORY)
    const facts = await directory.stat()
    const passable = (facts.mode & 0o001) !== 0 || (facts.gid === readersGid && (facts.mode & 0o010) !== 0)
    if (!passable) {
      const closedToAll = (facts.uid === 0 || facts.uid === dashboardUid) && (facts.mode & 0o077) === 0
      if (!closedToAll || homes.has(parent)) {
        throw new ConfigError(
          `Guests run as users of their own and cannot enter ${parent}, so they could not reach ${dir}. Choose another directory, or run: chmod o+x ${parent}`,
        )
      }
      // What was opened and looked at, not what the name leads to by now.
      if (isStrict && (await readlink(`/proc/self/fd/${directory.fd}`)) !== parent)
        throw new ConfigError(`${parent} leads elsewhere, so it is not opened to guests.`)
      await directory.chown(facts.uid, readersGid)
      await directory.chmod(0o710)
      notes.push(
        `${parent} was closed to everybody but its owner; it now lets the guests' group (${readersGid}) through.`,
      )
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
