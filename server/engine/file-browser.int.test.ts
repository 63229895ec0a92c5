/** Files of images, disks, snapshots and backups, on the whole engine with QEMU's real tools. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { BackupOptions } from '#lib/schema/backup.ts'
import { FileQuery, FilesQuery } from '#lib/schema/disk-files.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput } from '#lib/schema/snapshot.ts'
import {
  ESP,
  LINUX,
  makeExt,
  makeFat,
  makeGptDisk,
  makeIso,
  OS_RELEASE,
  putFiles,
  scratch,
} from '#server/filesystems/testing/forge.ts'
import { findFileTools } from '#server/small-system/tools.ts'
import { ADMIN, ANN, BEN, create, data, now, options, until, upload } from './test-rig.ts'
import type { FileSourceName } from './types.ts'

// As on a host without it; with it: `files-by-libguestfs.int.test.ts`.
options.fileHelpers = { find: () => findFileTools({ root: '/nothing' }) }

const MARK = 'this is what the file held at first'
const big = randomBytes(2 * 2 ** 20 + 7)
const EVIL = 'a\u202egnp.exe\n<img src=x>'

/** A disk with an EFI partition and an ext4 one with everything that could go wrong in it. */
function makeDisk(): Buffer {
  const dir = scratch()
  const [esp, root] = [join(dir, 'esp'), join(dir, 'root')]
  mkdirSync(esp)
  putFiles(esp, { 'EFI/BOOT/BOOTX64.EFI': 'MZ' })
  putFiles(root, {
    'usr/lib/os-release': OS_RELEASE,
    'big.bin': big,
    'secret/notes.txt': MARK.padEnd(4096, '.'),
    [EVIL]: 'x',
  })
  for (let n = 0; n < 620; n++) putFiles(root, { [`many/file-${String(n).padStart(4, '0')}`]: '' })
  symlinkSync('/etc', join(root, 'host-etc'))
  symlinkSync('../../../../etc/passwd', join(root, 'passwd'))
  const disk = makeGptDisk(join(dir, 'disk.raw'), [
    { type: ESP, file: makeFat(join(dir, 'esp.img'), esp, 2) },
    { type: LINUX, file: makeExt(join(dir, 'root.img'), root, 'ext4', 12) },
  ])
  return readFileSync(disk)
}

const list = (who: typeof ADMIN, source: FileSourceName, query: object = {}) =>
  now.engine.files.list(who, source, FilesQuery.parse(query))
const open = (who: typeof ADMIN, source: FileSourceName, query: object, withBody = true) =>
  now.engine.files.content(who, source, FileQuery.parse(query), withBody)
const read = async (source: FileSourceName, query: object) => {
  const { body } = await open(ADMIN, source, query)
  if (body === null) throw new Error('no body')
  return buffer(body)
}
async function done(job: Job): Promise<string> {
  const ended = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
  expect(ended).toMatchObject({ state: 'done' })
  return ended.result ?? ''
}

test('an image shows its parts and directories; files come whole; links are shown and lead nowhere', async () => {
  const image = await upload(ANN, makeDisk(), 'disk.img')
  const source = { kind: 'image', id: image.id } as const
  const parts = await list(ANN, source)
  expect(parts).toMatchObject({ title: 'disk.img', part: null, entries: [], devices: [] })
  expect(parts.parts).toMatchObject([
    { number: 1, fileSystem: 'FAT', label: 'ESP', problem: null },
    { number: 2, fileSystem: 'ext4', label: 'roots', problem: null },
  ])
  const root = await list(ANN, source, { part: 2 })
  const find = (name: string) => root.entries.find((entry) => entry.name === name)
  expect(find('big.bin')).toMatchObject({ type: 'file', sizeBytes: big.length, path: '/big.bin', problem: null })
  expect(find('secret')).toMatchObject({ type: 'directory', sizeBytes: null, mode: expect.stringMatching(/^drwx/) })
  expect(find('host-etc')).toMatchObject({ type: 'symlink', target: '/etc' })
  const evil = root.entries.find(({ name }) => name.includes('img src'))
  expect(evil?.name).toBe(`a\ufffdgnp.exe\ufffd<img src=x>`)
  expect((await read(source, { part: 2, path: evil?.path })).toString()).toBe('x')
  expect((await read(source, { part: 2, path: '/big.bin' })).equals(big)).toBe(true)
  expect(await open(ADMIN, source, { part: 2, path: '/big.bin' }, false)).toMatchObject({
    ...{ name: 'big.bin', sizeBytes: big.length, body: null },
  })
  for (const path of ['/host-etc/passwd', '/../../etc/passwd', '/secret/../big.bin', '/nothing', '/big.bin/x'])
    await expect(open(ADMIN, source, { part: 2, path })).rejects.toMatchObject({ code: 'not_found' })
  for (const path of ['/passwd', '/host-etc', '/secret'])
    await expect(open(ADMIN, source, { part: 2, path })).rejects.toMatchObject({ code: 'unreadable' })
  await expect(list(ADMIN, source, { part: 7 })).rejects.toMatchObject({ code: 'not_found' })

  // Long directories come in pages, in order.
  const first = await list(ANN, source, { part: 2, path: '/many' })
  const second = await list(ANN, source, { part: 2, path: '/many', offset: 500 })
  expect([first.entries.length, second.entries.length, second.total, second.isCut]).toEqual([500, 120, 620, false])
  expect([first.entries[0]?.name, second.entries[0]?.name]).toEqual(['file-0000', 'file-0500'])
  expect(second.steps).toEqual([{ name: 'many', path: '/many' }])
  const taken = (await now.engine.activity(ADMIN, { limit: 50 })).items.filter(
    ({ what }) => what === 'imageFileContent',
  )
  expect(taken[0]?.text).toMatch(/took the file .* from disk\.img\.$/)
})

test('an ISO image is one part whose files are read by their long names', async () => {
  const dir = scratch()
  putFiles(join(dir, 'tree'), { 'A long name.txt': 'disc', '.disk/info': 'Debian GNU/Linux 12.5.0 "Bookworm" amd64\n' })
  const iso = makeIso(join(dir, 'x.iso'), join(dir, 'tree'), ['-R', '-V', 'DISC'])
  const image = await upload(ANN, readFileSync(iso), 'x.iso')
  expect(image).toMatchObject({ os: { id: 'debian', version: '12.5.0', architecture: 'x86_64' }, guest: 'linux' })
  const source = { kind: 'image', id: image.id } as const
  const found = await list(ANN, source)
  expect(found).toMatchObject({ part: 0, parts: [{ number: 0, fileSystem: 'ISO 9660', label: 'DISC' }] })
  expect((await read(source, { path: '/A long name.txt' })).toString()).toBe('disc')
})

test('a disk, a snapshot and a backup each show their own time; a running guest’s disk is not shown', async () => {
  const disk = makeDisk()
  const image = await upload(ANN, disk, 'disk.img')
  const vm = await create(ANN, {
    ...{ name: 'browsed', memoryMiB: 64, networks: [], display: 'none' },
    disks: [{ device: 'disk', image: image.id }],
  })
  const [volume] = (await now.engine.volumes.list(ANN)).items
  if (volume === undefined) throw new Error('no volume')
  const source = { kind: 'volume', id: volume.id } as const
  const path = '/secret/notes.txt'
  const begins = async (one: FileSourceName, device?: string) =>
    (await read(one, { part: 2, path, ...(device && { device }) })).toString('latin1', 0, 6)
  // Another operator does not know of it (R05).
  await expect(list(BEN, source)).rejects.toMatchObject({ code: 'not_found' })

  const snapshotId = await done(
    await now.engine.snapshots.create(ANN, vm.id, SnapshotInput.parse({ name: 'before', kind: 'disk' })),
  )
  const backupId = await done(await now.engine.backups.create(ANN, vm.id, BackupOptions.parse({})))
  // What a guest would do: the block of the file is written anew, in the top file.
  const at = disk.indexOf(MARK)
  expect(at).toBeGreaterThan(0)
  const top = execFileSync('sh', ['-c', 'ls -t "$1"/*', 'sh', data.layersDir]).toString().split('\n')[0] ?? ''
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P 0x58 ${at} 512`, top], { stdio: 'pipe' })
  const snapshot = { kind: 'snapshot', vmId: vm.id, id: snapshotId } as const
  const backup = { kind: 'backup', id: backupId } as const
  expect(await begins(source)).toBe('XXXXXX')
  expect(await begins(snapshot)).toBe('this i')
  expect(await begins(backup)).toBe('this i')
  const device = volume.vm?.device ?? ''
  expect(await list(ANN, backup, { device })).toMatchObject({ devices: [device], device })
  expect(await list(ANN, snapshot)).toMatchObject({ title: 'before', devices: [device], device })
  await expect(list(ANN, backup, { device: 'nothing' })).rejects.toMatchObject({ code: 'not_found' })
  await expect(list(BEN, snapshot)).rejects.toMatchObject({ code: 'not_found' })
  await expect(list(BEN, backup)).rejects.toMatchObject({ code: 'not_found' })

  // Looking keeps nobody from starting it; what is on its way then breaks off rather than lie.
  const { body } = await open(ANN, source, { part: 2, path: '/big.bin' })
  await now.engine.vms.start(ANN, vm.id)
  await expect(body === null ? 'no body' : buffer(body)).rejects.toMatchObject({ code: 'wrong_state' })
  await expect(list(ANN, source)).rejects.toMatchObject({ code: 'wrong_state', message: /runs and writes/ })
  expect(await begins(snapshot)).toBe('this i')
  await now.engine.vms.poweroff(ANN, vm.id)
  await until(
    async () => (await now.engine.vms.view(ANN, vm.id)).state,
    (state) => state === 'off',
  )
  expect(await begins(source)).toBe('XXXXXX')
  await done(await now.engine.backups.delete(ADMIN, backupId, { dependents: 'refuse' }))
})

test('a part that cannot be read is called what it is, with the reason and a way out', async () => {
  const dir = scratch()
  const kinds: readonly (readonly [name: string, at: number, mark: string | Buffer, says: string])[] = [
    ['XFS', 0, 'XFSB', 'XFS is not read here without libguestfs. libguestfs is not installed'],
    ['Btrfs', 65_600, '_BHRfS_M', 'apt-get install guestfs-tools'],
    ['NTFS', 3, 'NTFS    ', 'NTFS is not read here'],
    ['LVM', 512, 'LABELONE', 'attach the disk to another VM'],
    ['LUKS', 0, Buffer.from('4c554b53babe0001', 'hex'), 'It is encrypted'],
    ['swap', 4086, 'SWAPSPACE2', 'Swap holds no files'],
    ['', 0, 'nothing', 'Nothing on it is a file system that is known here'],
  ]
  const parts = kinds.map(([, at, mark], n) => {
    const content = Buffer.alloc(2 ** 18)
    content.set(Buffer.from(mark), at)
    const file = join(dir, `part-${n}`)
    writeFileSync(file, content)
    return { type: LINUX, file }
  })
  const image = await upload(ANN, readFileSync(makeGptDisk(join(dir, 'disk.raw'), parts)), 'kinds.img')
  const source = { kind: 'image', id: image.id } as const
  const shown = await list(ANN, source)
  expect(shown).toMatchObject({ part: null, entries: [] })
  expect(shown.parts.map(({ fileSystem }) => fileSystem ?? '')).toEqual(kinds.map(([name]) => name))
  for (const [n, [name, , , says]] of kinds.entries()) {
    expect(shown.parts[n]?.problem, name).toContain(says)
    await expect(list(ANN, source, { part: n + 1 }), name).rejects.toMatchObject({
      code: 'unreadable',
      message: expect.stringContaining(says),
    })
  }
})
