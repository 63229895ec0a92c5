/**
 * Files in file systems that have no reader of ours, on the whole engine: libguestfs's small system under software
 * emulation, on disks that its own tools made.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createReadStream, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DiskFiles } from '#lib/schema/disk-files.ts'
import { FileQuery, FilesQuery } from '#lib/schema/disk-files.ts'
import { scratch } from '#server/filesystems/testing/forge.ts'
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

/** Each byte of a word for guestfish as a number: nothing in it means anything. */
const word = (text: string | Buffer) =>
  `"${[...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}"`

let dir: string
let xfs: string
let disk: string

beforeAll(async () => {
  if (LACK !== null || tools === null) return
  const { readersGid } = guestIdentity(isRoot)
  const sandbox = await createToolSandbox()
  const systems = createSmallSystems({ data, sandbox, readersGid, space: createSpaceLedger(data.root) })
  const appliance = await systems.ready(tools, AbortSignal.timeout(600_000))
  dir = scratch()
  xfs = join(dir, 'xfs.raw')
  disk = join(dir, 'disk.qcow2')
  writeFileSync(xfs, '')
  truncateSync(xfs, 320 * 2 ** 20)
  execFileSync(findProgram('mkfs.xfs') ?? '', ['-q', '-L', 'rooty', xfs])
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '600M'])
  writeFileSync(join(dir, 'big'), big)
  const script = [
    'run',
    'part-init /dev/sda gpt',
    ...['2048 309247', '309248 411647', '411648 616447', '616448 718847'].map((area) => `part-add /dev/sda p ${area}`),
    'mkfs btrfs /dev/sda1 label:tree',
    'mkfs ntfs /dev/sda2 label:WIN',
    ...['pvcreate /dev/sda3', 'vgcreate vg0 /dev/sda3', 'lvcreate root vg0 64', 'lvcreate swap vg0 16'],
    ...['mkfs ext4 /dev/vg0/root', 'mkswap /dev/vg0/swap'],
    // A volume group half of which is on no disk that is seen.
    ...['pvcreate /dev/sda4'],
    'mount /dev/sdb /',
    'mkdir /names',
    ...NAMES.map((name, index) => `write ${word(Buffer.concat([Buffer.from('/names/'), name]))} "content ${index}"`),
    ...[
      'mkdir-p /secret/deep',
      'write /secret/deep/x "deep"',
      'ln-s /secret /link',
      'ln-s ../../../etc/passwd /passwd',
    ],
    ...['mknod-c 0600 1 3 /null', 'touch /empty', 'chmod 04711 /empty', 'mkdir /many', 'fill-dir /many 620'],
    `upload ${word(join(dir, 'big'))} /big.bin`,
    'umount /',
    'mount /dev/sda1 /',
    ...['btrfs-subvolume-create /@', 'btrfs-subvolume-create /@/home', 'write /@/home/b "in a subvolume"'],
    // What a distribution does: its own subvolume is the one that is opened unless another is asked for.
    'btrfs-subvolume-set-default 256 /',
    'umount /',
    'mount /dev/sda2 /',
    `mkdir ${word('/Grüße')}`,
    `write ${word('/Grüße/n.txt')} "windows"`,
    'umount /',
    'mount /dev/vg0/root /',
    'write /l "in a logical volume"',
    'umount-all',
    'shutdown',
  ]
  const places = { LIBGUESTFS_PATH: appliance, LIBGUESTFS_CACHEDIR: dir, LIBGUESTFS_TMPDIR: dir }
  execFileSync('guestfish', ['--format=qcow2', '-a', disk, '--format=raw', '-a', xfs], {
    input: script.join('\n'),
    env: { ...process.env, ...places, LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' },
  })
}, 900_000)
afterAll(() => {
  // Each disk was closed with its engine.
  if (LACK === null) expect(readdirSync(diskReadersDir(runDir))).toEqual([])
})

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
  `files of XFS come through libguestfs whole, whatever their names, and links lead nowhere${left}`,
  async () => {
    const image = await add(xfs, 'xfs.img')
    const source = { kind: 'image', id: image.id } as const
    const first = await ask(source)
    expect(first).toMatchObject({ part: 0, entries: [], preparing: { step: 'starting' } })
    expect(first.parts).toMatchObject([{ number: 0, fileSystem: 'XFS', isHelped: true, problem: null }])
    expect(helpers()).toBeGreaterThan(0)
    // Nobody asks again: it is given up.
    await expect.poll(helpers, { timeout: 60_000 }).toBe(0)

    const root = await list(source)
    expect(root).toMatchObject({ part: 0, total: 8, preparing: null })
    const find = (name: string) => root.entries.find((entry) => entry.name === name)
    expect(find('big.bin')).toMatchObject({ type: 'file', sizeBytes: big.length, path: '/big.bin', problem: null })
    expect(find('empty')).toMatchObject({ type: 'file', sizeBytes: 0, mode: '-rws--x--x' })
    expect(find('link')).toMatchObject({ type: 'symlink', target: '/secret' })
    expect(find('passwd')).toMatchObject({ type: 'symlink', target: '../../../etc/passwd' })
    expect(find('null')).toMatchObject({ type: 'other' })
    expect((await read(source, { path: '/big.bin' })).equals(big)).toBe(true)
    expect((await read(source, { path: '/secret/deep/x' })).toString()).toBe('deep')
    expect((await read(source, { path: '/empty' })).length).toBe(0)
    for (const path of ['/link/deep/x', '/../big.bin', '/secret/../big.bin', '/nothing', '/big.bin/x', '/%00'])
      await expect(read(source, { path }), path).rejects.toMatchObject({ code: 'not_found' })
    for (const path of ['/passwd', '/link', '/secret', '/null'])
      await expect(read(source, { path }), path).rejects.toMatchObject({ code: 'unreadable' })

    const named = await list(source, { path: '/names' })
    expect(named.total).toBe(NAMES.length)
    const contents = await Promise.all(named.entries.map(async ({ path }) => (await read(source, { path })).toString()))
    const sorted = NAMES.map((name, index) => ({ name, index })).sort((a, b) => a.name.compare(b.name))
    expect(contents).toEqual(sorted.map(({ index }) => `content ${index}`))
    for (const { name } of named.entries) expect(name).not.toMatch(/\p{Cc}/u)

    const page = await list(source, { path: '/many', offset: 500 })
    expect(page).toMatchObject({ total: 620, isCut: false, steps: [{ name: 'many', path: '/many' }] })
    expect(page.entries.map(({ name }) => name)[0]).toBe('00000500')
  },
  600_000,
)

test.skipIf(LACK !== null)(
  `subvolumes, NTFS and logical volumes of a VM’s disk are read as its own user until it starts${left}`,
  async () => {
    const image = await add(disk, 'disk.qcow2')
    const vm = await create(ANN, {
      ...{ name: 'helped', memoryMiB: 64, networks: [], display: 'none' },
      disks: [{ device: 'disk', image: image.id }],
    })
    const [volume] = (await now.engine.volumes.list(ANN)).items
    if (volume === undefined) throw new Error('no volume')
    const source = { kind: 'volume', id: volume.id } as const
    const parts = await ask(source)
    expect(parts).toMatchObject({ part: null, preparing: null })
    expect(parts.parts.map(({ fileSystem }) => fileSystem)).toEqual(['Btrfs', 'NTFS', 'LVM', 'LVM'])
    expect(helpers()).toBe(0)
    // Who wants a file waits for it.
    expect((await read(source, { part: 1, path: '/@/home/b' })).toString()).toBe('in a subvolume')
    expect((await list(source, { part: 1 })).entries).toMatchObject([{ name: '@', type: 'directory' }])
    const windows = await list(source, { part: 2 })
    expect(windows.entries.map(({ name, mode }) => [name, mode])).toContainEqual(['Grüße', null])
    expect((await read(source, { part: 2, path: '/Grüße/n.txt' })).toString()).toBe('windows')

    const lvm = await list(source, { part: 3 })
    expect(lvm).toMatchObject({ part: 201 })
    expect(lvm.parts.slice(4)).toMatchObject([
      { number: 201, fileSystem: 'ext4', label: 'vg0/root', problem: null },
      { number: 202, fileSystem: 'swap', label: 'vg0/swap', problem: 'Swap holds no files.' },
    ])
    expect((await read(source, { part: 201, path: '/l' })).toString()).toBe('in a logical volume')
    await expect(ask(source, { part: 202 })).rejects.toMatchObject({ code: 'unreadable', message: /Swap/ })
    await expect(ask(source, { part: 203 })).rejects.toMatchObject({ code: 'not_found' })
    if (isRoot)
      expect(execFileSync('ps', ['-eo', 'user:20,args'], { encoding: 'utf8' })).not.toMatch(/^root .*guestfs.*nbd/m)

    // Nothing of it was written.
    await now.engine.vms.start(ANN, vm.id)
    await expect(ask(source, { part: 1 })).rejects.toMatchObject({ code: 'wrong_state', message: /runs and writes/ })
    await expect.poll(helpers, { timeout: 30_000 }).toBe(0)
    await now.engine.vms.poweroff(ANN, vm.id)
    await until(
      async () => (await now.engine.vms.view(ANN, vm.id)).state,
      (state) => state === 'off',
    )
  },
  600_000,
)
