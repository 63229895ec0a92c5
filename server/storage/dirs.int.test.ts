import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ConfigError } from '#server/config-error.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { openPathForGuests } from '#server/launcher/open-path.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDirs } from './dirs.ts'
import { guestIdentity } from './identity.ts'

const isRoot = process.getuid?.() === 0
const made: string[] = []
const fresh = () => {
  const dir = mkdtempSync(join(tmpdir(), 'gd-dirs-'))
  made.push(dir)
  return dir
}
afterEach(() => {
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true, force: true })
})
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

it('without users of their own for guests, everything is private', async () => {
  const data = dataPaths(join(fresh(), 'd'))
  expect(await prepareDataDirs(data, null)).toEqual([])
  for (const dir of [data.root, data.imagesDir, data.vmsDir, data.uploadsDir]) expect(modeOf(dir)).toBe('700')
})

describe.runIf(isRoot)('with users of their own', () => {
  const gid = guestIdentity(true).readersGid

  it('a directory of root’s that nobody may enter is opened for the guests’ group alone, and said', async () => {
    const parent = fresh()
    const data = dataPaths(join(parent, 'd'))
    const notes = await prepareDataDirs(data, gid)
    expect(notes).toEqual([expect.stringContaining(parent)])
    expect([modeOf(parent), statSync(parent).gid]).toEqual(['710', gid])
    expect([modeOf(data.imagesDir), modeOf(data.vmsDir), modeOf(data.uploadsDir)]).toEqual(['710', '710', '700'])
    expect(await prepareDataDirs(data, gid)).toEqual([])
  })

  it('somebody else’s closed directory is not touched: the start is refused with what to do', async () => {
    const parent = fresh()
    chownSync(parent, 65_534, 65_534)
    chmodSync(parent, 0o750)
    mkdirSync(join(parent, 'd'))
    chmodSync(join(parent, 'd'), 0o711)
    await expect(openPathForGuests(join(parent, 'd'), gid, 0)).rejects.toThrow(ConfigError)
    await expect(openPathForGuests(join(parent, 'd'), gid, 0)).rejects.toThrow(`chmod o+x ${parent}`)
    expect(modeOf(parent)).toBe('750')
  })

  it('whether guests can read a file is asked of the kernel', async () => {
    const canRead = (path: string) => rootActs().canGuestsRead({ path, readersGid: gid ?? 0 })
    expect(await canRead('/etc/passwd')).toBe(true)
    expect(await canRead('/etc/shadow')).toBe(false)
    expect(await canRead('/nowhere')).toBe(false)
  })
})
