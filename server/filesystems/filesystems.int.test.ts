/** Our readers of ext2/3/4, FAT and ISO 9660 against file systems made by the tools everybody uses. */

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { bufferReader } from '#server/images/reader.ts'
import { detect } from './detect.ts'
import { walk } from './names.ts'
import { readPartitions } from './partitions.ts'
import { openFileSystem, recognise } from './recognise.ts'
import {
  BIOS_BOOT,
  ESP,
  elfHead,
  LINUX,
  makeExt,
  makeFat,
  makeGptDisk,
  makeIso,
  OS_RELEASE,
  putFiles,
  scratch,
} from './testing/forge.ts'
import { type Bytes, cached, type FileSystem, type FsNode, Unreadable, within } from './types.ts'

const LONG = 'a name that is longer than eight letters, with a dot.and more.text'
const big = randomBytes(3 * 2 ** 20 + 123)

let dir: string
let tree: string

beforeAll(() => {
  dir = scratch()
  tree = join(dir, 'tree')
  putFiles(tree, {
    'usr/lib/os-release': OS_RELEASE,
    'usr/bin/env': elfHead(62),
    'etc/cloud/cloud.cfg': 'users: []',
    'big.bin': big,
    [LONG]: 'long',
    Grüße: 'umlauts',
    empty: '',
  })
  for (let index = 0; index < 600; index++) writeFileSync(join(tree, 'etc', `entry-${index}`), String(index))
  const sparse = Buffer.alloc(2 ** 20)
  sparse.write('end', sparse.length - 3)
  writeFileSync(join(tree, 'sparse'), sparse)
})

/** Every byte and every size that is read from the file is the caller's. */
const open = async (path: string): Promise<FileSystem> => {
  const bytes = cached(bufferReader(readFileSync(path)))
  const fs = await openFileSystem(bytes, await recognise(bytes))
  if (fs === null) throw new Error('not recognised')
  return fs
}
const at = async (root: FsNode, path: string): Promise<FsNode> => {
  const node = await walk(
    root,
    path.split('/').map((step) => Buffer.from(step)),
  )
  if (node === null) throw new Error(`${path} is not there`)
  return node
}
const names = async (node: FsNode) => (await node.list()).entries.map(({ name }) => name.toString()).sort()
const content = async (node: FsNode): Promise<Buffer> => {
  const pieces: Buffer[] = []
  for (let done = 0; done < node.sizeBytes; done += 100_000) pieces.push(await node.read(done, 100_000))
  return Buffer.concat(pieces)
}

describe.each([
  { kind: 'ext4', sizeMiB: 16, extra: [] },
  { kind: 'ext4', sizeMiB: 16, extra: ['-O', 'inline_data,64bit,metadata_csum', '-I', '256'] },
  { kind: 'ext4', sizeMiB: 24, extra: ['-b', '1024', '-O', 'meta_bg,^resize_inode'] },
  { kind: 'ext3', sizeMiB: 16, extra: [] },
  { kind: 'ext2', sizeMiB: 16, extra: ['-b', '1024'] },
])('$kind $extra', ({ kind, sizeMiB, extra }) => {
  test('every file, directory and link reads as it was written', async () => {
    const target = join(dir, 'links')
    mkdirSync(target, { recursive: true })
    execFileSync('cp', ['-a', `${tree}/.`, target])
    execFileSync('ln', ['-sfn', '/etc/shadow', join(target, 'outside')])
    execFileSync('ln', ['-sfn', `${'x/'.repeat(60)}long`, join(target, 'far')])
    const fs = await open(makeExt(join(dir, 'fs.img'), target, kind, sizeMiB, extra))
    expect(fs).toMatchObject({ kind, label: 'roots' })
    expect(await names(fs.root)).toEqual(
      [LONG, 'Grüße', 'big.bin', 'empty', 'etc', 'far', 'lost+found', 'outside', 'sparse', 'usr'].sort(),
    )
    expect((await content(await at(fs.root, 'big.bin'))).equals(big)).toBe(true)
    expect((await content(await at(fs.root, 'usr/lib/os-release'))).toString()).toBe(OS_RELEASE)
    const sparse = await content(await at(fs.root, 'sparse'))
    expect([sparse.length, sparse.toString('latin1', sparse.length - 3)]).toEqual([2 ** 20, 'end'])
    expect((await at(fs.root, 'empty')).sizeBytes).toBe(0)
    expect((await (await at(fs.root, 'etc')).list()).entries).toHaveLength(601)
    const link = await at(fs.root, 'outside')
    expect([link.type, (await link.target()).toString()]).toEqual(['symlink', '/etc/shadow'])
    expect((await (await at(fs.root, 'far')).target()).toString()).toBe(`${'x/'.repeat(60)}long`)
    await expect(link.read(0, 10)).rejects.toThrow(Unreadable)
    expect(await walk(fs.root, [Buffer.from('outside'), Buffer.from('x')])).toBeNull()
  })
})

test('a file of ext2 with single, double and triple maps reads the same with holes between', async () => {
  const from = join(dir, 'holes')
  mkdirSync(from)
  // Blocks of 1 KiB: 12 direct, 256 single, 65,536 double; beyond them triple.
  const script =
    'for s in 0 20 300 70000; do printf "at-$s" | dd of="$1" bs=1024 seek=$s conv=notrunc status=none; done'
  execFileSync('sh', ['-c', script, 'sh', join(from, 'f')])
  const fs = await open(makeExt(join(dir, 'holes.img'), from, 'ext2', 16, ['-b', '1024']))
  const file = await at(fs.root, 'f')
  for (const block of [0, 20, 300, 70000])
    expect((await file.read(block * 1024, 20)).toString().replace(/\0+$/, '')).toBe(`at-${block}`)
  expect((await file.read(20 * 1024 + 100, 270 * 1024)).every((byte) => byte === 0)).toBe(true)
})

test.each([
  { width: 12, sizeMiB: 2, extra: [] },
  { width: 16, sizeMiB: 24, extra: [] },
  { width: 32, sizeMiB: 40, extra: ['-F', '-c', '1'] },
])('FAT$width reads with long names, whole files and a label', async ({ sizeMiB, extra }) => {
  const from = join(dir, `fat-${sizeMiB}`)
  putFiles(from, {
    [LONG]: 'long',
    'sub/Grüße.txt': 'umlauts',
    'SHORT.TXT': 'short',
    'big.bin': big.subarray(0, 900_001),
  })
  for (let index = 0; index < 200; index++) putFiles(from, { [`sub/entry number ${index}`]: String(index) })
  const fs = await open(makeFat(join(dir, 'fat.img'), from, sizeMiB, extra))
  expect(fs).toMatchObject({ kind: 'fat' })
  expect(await names(fs.root)).toEqual([LONG, 'SHORT.TXT', 'big.bin', 'sub'].sort())
  expect((await content(await at(fs.root, 'big.bin'))).equals(big.subarray(0, 900_001))).toBe(true)
  expect((await content(await at(fs.root, 'sub/Grüße.txt'))).toString()).toBe('umlauts')
  expect((await content(await at(fs.root, 'sub/entry number 199'))).toString()).toBe('199')
  // Backwards, which starts the chain again.
  const file = await at(fs.root, 'big.bin')
  await file.read(800_000, 10)
  expect((await file.read(5, 10)).equals(big.subarray(5, 15))).toBe(true)
})

test.each([
  { names: 'Rock Ridge', options: ['-R'], long: LONG, link: '/etc/shadow' },
  { names: 'Joliet', options: ['-J', '-joliet-long'], long: LONG, link: null },
])('ISO 9660 with $names names reads whole; its links are shown and not followed', async ({ options, long, link }) => {
  const from = join(dir, `iso-${options[0]}`)
  putFiles(from, { [LONG]: 'long', 'sub/deep/file.txt': 'deep', 'big.bin': big })
  if (link !== null) symlinkSync(link, join(from, 'outside'))
  const fs = await open(makeIso(join(dir, 'disc.iso'), from, ['-V', 'LABEL_1', ...options]))
  expect(fs).toMatchObject({ kind: 'iso9660', label: 'LABEL_1' })
  expect(await names(fs.root)).toContain(long)
  expect((await content(await at(fs.root, 'big.bin'))).equals(big)).toBe(true)
  expect((await content(await at(fs.root, 'sub/deep/file.txt'))).toString()).toBe('deep')
  if (link !== null) expect((await (await at(fs.root, 'outside')).target()).toString()).toBe(link)
})

describe('what an image is', () => {
  const whole = async (path: string, kind: 'iso' | 'disk') => detect(bufferReader(readFileSync(path)), kind)

  test('a disk with an EFI partition and a root tells system, version, machine, boot modes and cloud-init', async () => {
    const esp = join(dir, 'esp')
    putFiles(esp, { 'EFI/BOOT/BOOTX64.EFI': 'MZ', 'EFI/debian/grubx64.efi': 'MZ' })
    const disk = makeGptDisk(join(dir, 'gpt.img'), [
      { type: BIOS_BOOT, file: null },
      { type: ESP, file: makeFat(join(dir, 'esp.img'), esp) },
      { type: LINUX, file: makeExt(join(dir, 'root.img'), tree) },
    ])
    expect(await whole(disk, 'disk')).toEqual({
      os: { id: 'debian', name: 'Debian GNU/Linux', version: '12', architecture: 'x86_64' },
      bootModes: ['bios', 'uefi'],
      cloudInit: true,
    })
    const table = await readPartitions(bufferReader(readFileSync(disk)))
    expect(table).toMatchObject({ kind: 'gpt', hasBootCode: false })
    expect(table.partitions.map(({ number, type }) => [number, type])).toEqual([
      [1, BIOS_BOOT],
      [2, ESP],
      [3, LINUX],
    ])
  })

  test('where the root cannot be read, the folders of the EFI partition say which system it is', async () => {
    const esp = join(dir, 'esp-windows')
    putFiles(esp, { 'EFI/Microsoft/Boot/bootmgfw.efi': 'MZ', 'EFI/Boot/bootaa64.efi': 'MZ' })
    const disk = makeGptDisk(join(dir, 'windows.img'), [{ type: ESP, file: makeFat(join(dir, 'esp2.img'), esp) }])
    expect(await whole(disk, 'disk')).toEqual({
      os: { id: 'windows', name: 'Windows', version: null, architecture: 'aarch64' },
      bootModes: ['uefi'],
      cloudInit: null,
    })
  })

  test('a file system without a table is a disk that starts nothing', async () => {
    expect(await whole(makeExt(join(dir, 'bare.img'), tree), 'disk')).toMatchObject({
      os: { id: 'debian' },
      bootModes: [],
    })
  })

  test('an installer’s own files win over its volume id; El Torito says how it starts', async () => {
    const from = join(dir, 'installer')
    putFiles(from, {
      '.disk/info': 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27\n',
      'boot/bios.img': Buffer.alloc(2048),
      'boot/efi.img': Buffer.alloc(2048),
    })
    const boot = ['-b', 'boot/bios.img', '-no-emul-boot', '-eltorito-alt-boot', '-e', 'boot/efi.img', '-no-emul-boot']
    const iso = makeIso(join(dir, 'debian.iso'), from, ['-R', '-V', 'UBUNTU 99', ...boot])
    expect(await whole(iso, 'iso')).toEqual({
      os: { id: 'debian', name: 'Debian GNU/Linux', version: '12.5.0', architecture: 'x86_64' },
      bootModes: ['bios', 'uefi'],
      cloudInit: null,
    })
  })

  test('a disc with nothing to start from has no boot modes', async () => {
    const from = join(dir, 'plain')
    putFiles(from, { readme: 'x' })
    expect(await whole(makeIso(join(dir, 'plain.iso'), from, ['-V', 'STUFF']), 'iso')).toEqual({
      os: null,
      bootModes: [],
      cloudInit: null,
    })
  })
})

describe('hostile file systems', () => {
  /** Reads everything a person could reach, as a bounded tour. */
  const tour = async (bytes: Bytes): Promise<void> => {
    const table = await readPartitions(bytes)
    expect(table.partitions.length).toBeLessThan(200)
    const fs = await openFileSystem(bytes, await recognise(bytes))
    if (fs === null) return
    const open: { node: FsNode; depth: number }[] = [{ node: fs.root, depth: 0 }]
    for (let seen = 0; open.length > 0 && seen < 60; seen++) {
      const next = open.pop()
      if (next === undefined) break
      const listing = await ignore(() => next.node.list())
      for (const entry of listing?.entries.slice(0, 30) ?? []) {
        const node = await ignore(() => entry.open())
        if (node === null) continue
        if (node.type === 'directory' && next.depth < 6) open.push({ node, depth: next.depth + 1 })
        if (node.type === 'file') {
          const piece = await ignore(() => node.read(Math.max(0, node.sizeBytes - 5000), 4096))
          expect(piece?.length ?? 0).toBeLessThanOrEqual(4096)
        }
        if (node.type === 'symlink') await ignore(() => node.target())
      }
    }
  }
  async function ignore<T>(read: () => Promise<T>): Promise<T | null> {
    try {
      return await read()
    } catch (error) {
      // Node says RangeError of a number in the disk that no buffer has room for.
      if (error instanceof Unreadable || error instanceof RangeError) return null
      throw error
    }
  }
  const guarded = (buffer: Buffer): Bytes => {
    const asked: Bytes = {
      sizeBytes: buffer.length,
      async read(offset, length) {
        // The point of all this: nobody asks for more because the disk says so.
        expect(length).toBeLessThanOrEqual(2 ** 22)
        return buffer.subarray(Math.max(0, offset), Math.max(0, offset + length))
      },
    }
    return within(cached(asked), { maxBytes: 2 ** 31, maxReads: 200_000 }, AbortSignal.timeout(100_000))
  }

  test('whatever bytes are changed, reading ends with an answer or a sentence, within bounds', async () => {
    const from = join(dir, 'small')
    putFiles(from, { 'usr/lib/os-release': OS_RELEASE, a: 'a', 'd/e/f/g': 'deep', 'big.bin': big.subarray(0, 200_000) })
    symlinkSync('a', join(from, 'link'))
    const originals = [
      makeExt(join(dir, 'fuzz4.img'), from, 'ext4', 2),
      makeExt(join(dir, 'fuzz2.img'), from, 'ext2', 2, ['-b', '1024']),
      makeIso(join(dir, 'fuzz.iso'), from, ['-R', '-J', '-V', 'FUZZ']),
      makeFat(join(dir, 'fuzz.fat'), join(dir, 'esp'), 2),
    ].map((path) => readFileSync(path))
    let seed = 20261127
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return Math.floor((seed / 2 ** 32) * below)
    }
    const values = [0, 1, 0xff, 0x7f, 0x80]
    for (const original of originals) {
      for (let round = 0; round < 120; round++) {
        const changed = Buffer.from(original)
        for (let change = 0; change < 12; change++) {
          // Mostly where the tables are.
          const where = random(2) === 0 ? random(Math.min(changed.length, 96 * 1024)) : random(changed.length)
          const width = [1, 2, 4][random(3)] ?? 1
          for (let index = 0; index < width && where + index < changed.length; index++)
            changed[where + index] = values[random(values.length)] ?? 0
        }
        const bytes = guarded(changed)
        await ignore(() => tour(bytes))
        await detect(bytes, 'disk')
        await detect(bytes, 'iso')
      }
    }
  })

  test('an extent tree that points at itself is a damaged file, not an endless one', async () => {
    const from = join(dir, 'loop')
    putFiles(from, { victim: 'x' })
    const image = readFileSync(makeExt(join(dir, 'loop.img'), from, 'ext4', 2))
    const fs = await open(join(dir, 'loop.img'))
    await at(fs.root, 'victim')
    // The root of the map becomes a level above a block that holds the same node.
    const header = Buffer.from('0af3010004000100', 'hex')
    for (let offset = 0; offset + 60 < image.length; offset += 4) {
      if (!image.subarray(offset, offset + 8).equals(Buffer.from('0af3010004000000', 'hex'))) continue
      header.copy(image, offset)
      image.writeUInt32LE(5, offset + 16)
      const node = Buffer.alloc(1024)
      header.copy(node)
      node.writeUInt32LE(5, 16)
      node.copy(image, 5 * 1024)
    }
    const broken = await openFileSystem(bufferReader(image), 'ext')
    await expect(broken?.root.list()).rejects.toThrow(Unreadable)
  })

  test('a FAT chain that bites its own tail ends', async () => {
    const image = readFileSync(makeFat(join(dir, 'tail.img'), join(dir, 'esp'), 2))
    // Every entry of the table points at cluster 2 (FAT12: 0x002 twice in three bytes).
    const fatAt = image.readUInt16LE(14) * 512
    for (let offset = fatAt + 3; offset < fatAt + image.readUInt16LE(22) * 1024; offset += 3)
      Buffer.from([0x02, 0x20, 0x00]).copy(image, offset)
    // Directories without an end mark: only the chain could end them.
    const dataAt = fatAt + image.readUInt16LE(22) * 1024 + image.readUInt16LE(17) * 32
    image.fill(0xe5, dataAt)
    const fs = await openFileSystem(bufferReader(image), 'fat')
    if (fs === null) throw new Error('not recognised')
    await expect((await at(fs.root, 'EFI')).list()).rejects.toThrow(/larger than FAT allows/)
  })

  test('a directory that holds itself, and takes for ever to walk, ends at the budget while others get their turn', async () => {
    const from = join(dir, 'self')
    putFiles(from, { 'd/x': '' })
    const image = readFileSync(makeExt(join(dir, 'self.img'), from, 'ext2', 2, ['-b', '1024']))
    // Every entry of `x` becomes one of the directory it is in.
    for (
      let at = image.indexOf(Buffer.from([1, 1, 0x78]));
      at !== -1;
      at = image.indexOf(Buffer.from([1, 1, 0x78]), at + 1)
    ) {
      const own = image.lastIndexOf(Buffer.from([1, 2, 0x2e, 0]), at)
      if (own > 6) image.copy(image, at - 6, own - 6, own - 2)
    }
    const bytes = within(
      cached(bufferReader(image)),
      { maxBytes: 2 ** 20, maxReads: 2000 },
      AbortSignal.timeout(60_000),
    )
    const fs = await openFileSystem(bytes, 'ext')
    if (fs === null) throw new Error('not recognised')
    let turns = 0
    const others = setInterval(() => turns++, 1)
    const steps = [Buffer.from('d'), ...Array.from({ length: 100_000 }, () => Buffer.from('x'))]
    await expect(walk(fs.root, steps)).rejects.toThrow(/more reading than is allowed/)
    clearInterval(others)
    expect(turns).toBeGreaterThan(0)
  })

  test('logical partitions in a circle are each read once', async () => {
    const disk = Buffer.alloc(2 ** 20)
    const table = (at: number, entries: [number, number, number][]) => {
      for (const [index, [type, start, sectors]] of entries.entries()) {
        disk.writeUInt8(type, at + 446 + index * 16 + 4)
        disk.writeUInt32LE(start, at + 446 + index * 16 + 8)
        disk.writeUInt32LE(sectors, at + 446 + index * 16 + 12)
      }
      disk.writeUInt16LE(0xaa55, at + 510)
    }
    table(0, [[0x05, 100, 1000]])
    table(100 * 512, [
      [0x83, 10, 10],
      [0x05, 200, 100],
    ])
    table(300 * 512, [
      [0x83, 10, 10],
      [0x05, 200, 100],
    ])
    const { partitions } = await readPartitions(bufferReader(disk))
    expect(partitions.map(({ number, offset }) => [number, offset / 512])).toEqual([
      [5, 110],
      [6, 310],
    ])
  })

  test('a sparse extent of terabytes is read as zeros, piece by piece, without memory for all of it', async () => {
    const from = join(dir, 'huge')
    mkdirSync(from)
    execFileSync('truncate', ['-s', '4T', join(from, 'huge')])
    const fs = await open(makeExt(join(dir, 'huge.img'), from, 'ext4', 4))
    const file = await at(fs.root, 'huge')
    expect(file.sizeBytes).toBe(4 * 2 ** 40)
    const piece = await file.read(3 * 2 ** 40, 65536)
    expect([piece.length, piece.every((byte) => byte === 0)]).toEqual([65536, true])
  })
})
