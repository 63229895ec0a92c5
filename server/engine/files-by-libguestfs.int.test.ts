/**
 * Files in file systems that have no reader of ours, on the whole engine: libguestfs's small system under software
 * emulation, on disks that its own tools made.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, createReadStream, statSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { beforeAll, expect, test } from 'vitest'
import type { DiskFiles } from '#lib/schema/disk-files.ts'
import { FileQuery, FilesQuery } from '#lib/schema/disk-files.ts'
import { LINUX, makeGptDisk, putFiles, scratch } from '#server/filesystems/testing/forge.ts'
import { diskReadersDir } from '#server/paths.ts'
import { createSmallSystems } from '#server/small-system/build.ts'
import { findFileTools } from '#server/small-system/tools.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { createToolSandbox, findProgram } from '#server/storage/sandbox.ts'
import { createSpaceLedger } from '#server/storage/space.ts'
import { ADMIN, ANN, create, data, isRoot, now, options, runDir, until } from './test-rig.ts'
import type { FileSourceName } from './types.ts'

options.fileHelpers = { giveUpMs: 5_000 }

const { tools, problem } = findFileTools()
const LACK =
  problem ??
  (findProgram('guestfish') === null ? 'guestfish is not installed.' : null) ??
  (findProgram('mkfs.xfs') === null ? 'mkfs.xfs (xfsprogs) is not installed.' : null)

/** Whatever a shell, guestfish or a terminal would take for something else. */
const NAMES = [
  ...['-rf', '--help', '--', ' two  spaces ', '"double"', "it's", 'two\nlines', 'tab\there', 'back\\slash', '\\x41'],
  ...[
    '<!id',
    '| id',
    'a | cat',
    '; id',
    '$(id)',
    '`id`',
    '*',
    '~',
    '~root',
    'win:x',
    '%00',
    '%2e',
    '#',
    '\x1b[31m',
    '…ü',
  ],
].map((name) => Buffer.from(name))
NAMES.push(Buffer.from('fffe80', 'hex'))
const big = randomBytes(2 * 2 ** 20 + 7)

let disk: string
/** With the smallest of them alone. */
let other: string

beforeAll(async () => {
  if (LACK !== null || tools === null) return
  const { readersGid } = guestIdentity(isRoot)
  const sandbox = await createToolSandbox()
  const systems = createSmallSystems({ data, sandbox, readersGid, space: createSpaceLedger(data.root) })
  const appliance = await systems.ready(tools, AbortSignal.timeout(600_000))
  const dir = scratch()
  const at = (name: string) => join(dir, name)
  const run = (program: string, ...args: string[]) =>
    execFileSync(findProgram(program) ?? program, args, { stdio: 'pipe', env: { ...process.env, LC_ALL: 'C.UTF-8' } })
  const sized = (name: string, mib: number) => {
    writeFileSync(at(name), '')
    truncateSync(at(name), mib * 2 ** 20)
    return at(name)
  }

  putFiles(at('tree'), { 'big.bin': big, 'secret/deep/x': 'deep', empty: '', 'names/x': '' })
  for (let n = 0; n < 620; n++) putFiles(at('tree'), { [`many/${String(n).padStart(4, '0')}`]: '' })
  for (const [index, name] of NAMES.entries())
    writeFileSync(Buffer.concat([Buffer.from(`${at('tree/names')}/`), name]), `content ${index}`)
  unlinkSync(at('tree/names/x'))
  chmodSync(at('tree/empty'), 0o4711)
  symlinkSync('/secret', at('tree/link'))
  symlinkSync('../../../etc/passwd', at('tree/passwd'))
  run('mkfifo', at('tree/pipe'))
  run('mkfs.btrfs', '-q', '-L', 'tree', '--rootdir', at('tree'), sized('btrfs', 128))

  writeFileSync(at('file'), 'windows')
  run('mkntfs', '-q', '-F', '-L', 'WIN', sized('ntfs', 8))
  run('ntfscp', '-q', at('ntfs'), at('file'), 'Grüße.txt')

  writeFileSync(at('proto'), `/none\n0 0\nd--755 0 0\nfile ---640 0 0 ${at('file')}\nlink l--777 0 0 /file\n$\n`)
  run('mkfs.xfs', '-q', '-L', 'rooty', '-p', at('proto'), sized('xfs', 300))

  // Nobody but a kernel makes logical volumes, and subvolumes in a file system that is there already.
  const script = [
    ...['run', 'pvcreate /dev/sda', 'vgcreate vg0 /dev/sda', 'lvcreate root vg0 16', 'lvcreate swap vg0 4'],
    ...['mkfs ext4 /dev/vg0/root', 'mkswap /dev/vg0/swap', 'mount /dev/vg0/root /', 'write /l "in a logical volume"'],
    ...['umount-all', 'mount /dev/sdb /', 'btrfs-subvolume-create /sub', 'write /sub/inside "in a subvolume"'],
    ...['umount-all', 'shutdown'],
  ]
  const places = { LIBGUESTFS_PATH: appliance, LIBGUESTFS_CACHEDIR: dir, LIBGUESTFS_TMPDIR: dir }
  execFileSync('guestfish', ['--format=raw', '-a', sized('lvm', 32), '-a', at('btrfs')], {
    input: script.join('\n'),
    env: { ...process.env, ...places, LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' },
  })

  const raw = makeGptDisk(
    at('raw'),
    ['btrfs', 'ntfs', 'lvm', 'xfs'].map((name) => ({ type: LINUX, file: at(name) })),
  )
  other = makeGptDisk(at('other'), [{ type: LINUX, file: at('ntfs') }])
  disk = at('disk.qcow2')
  run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, disk)
}, 900_000)

const add = async (path: string, name: string) =>
  now.engine.images.upload(ANN, { name }, createReadStream(path), statSync(path).size)
const ask = (source: FileSourceName, query: object = {}) => now.engine.files.list(ANN, source, FilesQuery.parse(query))
/** As the page does: again until it is there. */
const list = (source: FileSourceName, query: object = {}): Promise<DiskFiles> =>
  until(
    () => ask(source, query),
    ({ preparing }) => preparing === null,
    240_000,
  )
const read = async (source: FileSourceName, query: object) => {
  const { body } = await now.engine.files.content(ADMIN, source, FileQuery.parse(query), true)
  if (body === null) throw new Error('no body')
  return buffer(body)
}
const helpers = () =>
  execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(`${diskReadersDir(runDir)}/f`)).length

const left = LACK === null ? '' : `: left out: ${LACK}`

test.skipIf(LACK !== null)(
  `files come through libguestfs whole, whatever their names, and links lead nowhere${left}`,
  async () => {
    const image = await add(disk, 'disk.qcow2')
    const source = { kind: 'image', id: image.id } as const
    const parts = await ask(source)
    expect(parts).toMatchObject({ part: null, preparing: null })
    expect(parts.parts).toMatchObject([
      { number: 1, fileSystem: 'Btrfs', isHelped: true, problem: null },
      ...['NTFS', 'LVM', 'XFS'].map((fileSystem) => ({ fileSystem, isHelped: true, problem: null })),
    ])
    expect(helpers()).toBe(0)
    const others = await Promise.all(['second', 'third'].map((name) => add(other, `${name}.img`)))
    const [second, third] = others.map(({ id }) => ({ kind: 'image', id }) as const)
    if (second === undefined || third === undefined) throw new Error('no images')
    const first = await ask(source, { part: 1 })
    // Two at once, and whoever comes third is told.
    expect(await ask(second, { part: 1 })).toMatchObject({ preparing: { step: 'starting' } })
    await expect(ask(third, { part: 1 })).rejects.toMatchObject({ code: 'busy', message: /two at once/ })
    expect(first).toMatchObject({ part: 1, entries: [], preparing: { step: 'starting' } })
    expect(helpers()).toBeGreaterThan(0)
    // Nobody asks again: they are given up.
    await expect.poll(helpers, { timeout: 60_000 }).toBe(0)
    for (const { id } of others) await now.engine.images.delete(ADMIN, id)

    const root = await list(source, { part: 1 })
    expect(root).toMatchObject({ part: 1, total: 9, preparing: null })
    const find = (name: string) => root.entries.find((entry) => entry.name === name)
    expect(find('big.bin')).toMatchObject({ type: 'file', sizeBytes: big.length, path: '/big.bin', problem: null })
    expect(find('empty')).toMatchObject({ type: 'file', sizeBytes: 0, mode: '-rws--x--x' })
    expect(find('link')).toMatchObject({ type: 'symlink', target: '/secret' })
    expect(find('passwd')).toMatchObject({ type: 'symlink', target: '../../../etc/passwd' })
    expect(find('pipe')).toMatchObject({ type: 'other' })
    expect((await read(source, { part: 1, path: '/big.bin' })).equals(big)).toBe(true)
    expect((await read(source, { part: 1, path: '/secret/deep/x' })).toString()).toBe('deep')
    expect((await read(source, { part: 1, path: '/empty' })).length).toBe(0)
    expect((await read(source, { part: 1, path: '/sub/inside' })).toString()).toBe('in a subvolume')
    for (const path of ['/link/deep/x', '/../big.bin', '/secret/../big.bin', '/nothing', '/big.bin/x', '/%00'])
      await expect(read(source, { part: 1, path }), path).rejects.toMatchObject({ code: 'not_found' })
    for (const path of ['/passwd', '/link', '/secret', '/pipe'])
      await expect(read(source, { part: 1, path }), path).rejects.toMatchObject({ code: 'unreadable' })

    const named = await list(source, { part: 1, path: '/names' })
    expect(named.total).toBe(NAMES.length)
    const contents: string[] = []
    for (const { name, path } of named.entries) {
      expect(name).not.toMatch(/\p{Cc}/u)
      contents.push((await read(source, { part: 1, path })).toString())
    }
    const sorted = NAMES.map((name, index) => ({ name, index })).sort((a, b) => a.name.compare(b.name))
    expect(contents).toEqual(sorted.map(({ index }) => `content ${index}`))

    const page = await list(source, { part: 1, path: '/many', offset: 500 })
    expect(page).toMatchObject({ total: 620, isCut: false, steps: [{ name: 'many', path: '/many' }] })
    expect(page.entries.map(({ name }) => name)[0]).toBe('0500')

    // Whoever deletes it need not wait until nobody looks.
    await now.engine.images.delete(ADMIN, image.id)
    await expect.poll(helpers, { timeout: 60_000 }).toBe(0)
  },
  900_000,
)

test.skipIf(LACK !== null)(
  `XFS, NTFS and logical volumes of a VM’s disk are read as its own user until it starts${left}`,
  async () => {
    const image = await add(disk, 'disk.qcow2')
    const vm = await create(ANN, {
      ...{ name: 'helped', memoryMiB: 64, networks: [], display: 'none' },
      disks: [{ device: 'disk', image: image.id }],
    })
    const [volume] = (await now.engine.volumes.list(ANN)).items
    if (volume === undefined) throw new Error('no volume')
    const source = { kind: 'volume', id: volume.id } as const
    // Who wants a file waits for it.
    expect((await read(source, { part: 4, path: '/file' })).toString()).toBe('windows')
    if (isRoot) {
      const users = execFileSync('ps', ['-eo', 'uid,args'], { encoding: 'utf8' }).split('\n')
      const own = users.filter((line) => /qemu-system.*guestfs/.test(line) && line.includes('nbd'))
      expect(own.filter((line) => /^ *0 /.test(line))).toEqual([])
    }
    const named = async (part: number) =>
      (await list(source, { part })).entries.map(({ name, type, mode }) => [name, type, mode])
    expect(await named(4)).toEqual([
      ['file', 'file', '-rw-r-----'],
      ['link', 'symlink', 'lrwxrwxrwx'],
    ])
    expect(await named(2)).toContainEqual(['Grüße.txt', 'file', null])
    expect((await read(source, { part: 2, path: '/Grüße.txt' })).toString()).toBe('windows')

    const lvm = await list(source, { part: 3 })
    expect(lvm).toMatchObject({ part: 201 })
    expect(lvm.parts.slice(4)).toMatchObject([
      { number: 201, fileSystem: 'ext4', label: 'vg0/root', problem: null },
      { number: 202, fileSystem: 'swap', label: 'vg0/swap', problem: 'Swap holds no files.' },
    ])
    expect((await read(source, { part: 201, path: '/l' })).toString()).toBe('in a logical volume')
    await expect(ask(source, { part: 202 })).rejects.toMatchObject({ code: 'unreadable', message: /Swap/ })
    await expect(ask(source, { part: 203 })).rejects.toMatchObject({ code: 'not_found' })

    await now.engine.vms.start(ANN, vm.id)
    await expect(ask(source, { part: 4 })).rejects.toMatchObject({ code: 'wrong_state', message: /runs and writes/ })
    await expect.poll(helpers, { timeout: 30_000 }).toBe(0)
    await now.engine.vms.poweroff(ANN, vm.id)
    await until(
      async () => (await now.engine.vms.view(ANN, vm.id)).state,
      (state) => state === 'off',
    )
  },
  900_000,
)
