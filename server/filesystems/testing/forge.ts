/** For tests: file systems made by the tools everybody uses, and disks put together from them. */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll } from 'vitest'

const SECTOR = 512
export const ESP = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b'
export const BIOS_BOOT = '21686148-6449-6e6f-744e-656564454649'
export const LINUX = '0fc63daf-8483-4772-8e79-3d69d8477de4'

const made: string[] = []
afterAll(() => {
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true, force: true })
})

/** A directory that goes away with the tests of the file. */
export function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'gd-fs-'))
  made.push(dir)
  return dir
}

export function putFiles(dir: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(dir, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }
}

/** @param kind as mke2fs calls it @param extra options of mke2fs */
export function makeExt(
  path: string,
  from: string,
  kind = 'ext4',
  sizeMiB = 16,
  extra: readonly string[] = [],
): string {
  execFileSync('/sbin/mke2fs', ['-q', '-F', '-t', kind, '-L', 'roots', ...extra, '-d', from, path, `${sizeMiB}M`])
  return path
}

// It takes names for what the locale says they are, and a locale is not set everywhere.
const MTOOLS = { ...process.env, MTOOLS_SKIP_CHECK: '1', LC_ALL: 'C.UTF-8' }

export function makeFat(path: string, from: string, sizeMiB = 8, extra: readonly string[] = []): string {
  writeFileSync(path, '')
  truncateSync(path, sizeMiB * 2 ** 20)
  execFileSync('mformat', ['-i', path, '-v', 'ESP', ...extra, '::'], { env: MTOOLS })
  execFileSync('sh', ['-c', 'cd "$1" && mcopy -s -Q -i "$2" ./* ::', 'sh', from, path], { env: MTOOLS })
  return path
}

/** @param options of xorriso's `-as mkisofs` */
export function makeIso(path: string, from: string, options: readonly string[]): string {
  execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', ...options, '-o', path, from], { stdio: 'pipe' })
  return path
}

const guid = (text: string): Buffer => {
  const [a = '', b = '', c = '', d = '', e = ''] = text.split('-')
  const swapped = [a, b, c].map((group) => Buffer.from(group, 'hex').reverse())
  return Buffer.concat([...swapped, Buffer.from(d + e, 'hex')])
}

const ZEROES = Buffer.alloc(2 ** 20)

function writeSparse(file: number, content: Buffer, at: number): void {
  for (let done = 0; done < content.length; done += ZEROES.length) {
    const piece = content.subarray(done, done + ZEROES.length)
    if (!piece.equals(ZEROES.subarray(0, piece.length))) writeSync(file, piece, 0, piece.length, at + done)
  }
}

/** A disk with a GPT and these partitions, 1 MiB apart. */
export function makeGptDisk(path: string, parts: readonly { type: string; file: string | null }[]): string {
  const contents = parts.map(({ file }) => (file === null ? Buffer.alloc(2 ** 20) : readFileSync(file)))
  const table = Buffer.alloc(128 * 128)
  let next = 2048
  const places = contents.map((content, index) => {
    const first = next
    const last = first + Math.ceil(content.length / SECTOR) - 1
    next = Math.ceil((last + 1) / 2048) * 2048
    const at = index * 128
    guid(parts[index]?.type ?? '').copy(table, at)
    Buffer.from(`00000000000000000000000000000${index + 100}`, 'hex').copy(table, at + 16)
    table.writeBigUInt64LE(BigInt(first), at + 32)
    table.writeBigUInt64LE(BigInt(last), at + 40)
    return first
  })
  const header = Buffer.alloc(SECTOR)
  header.write('EFI PART', 'latin1')
  header.writeUInt32LE(0x10000, 8)
  header.writeUInt32LE(92, 12)
  header.writeBigUInt64LE(2n, 72)
  header.writeUInt32LE(128, 80)
  header.writeUInt32LE(128, 84)
  // What a kernel asks for, and our own reader does not.
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(34n, 40)
  header.writeBigUInt64LE(BigInt(next), 48)
  header.writeUInt32LE(crc32(table), 88)
  header.writeUInt32LE(crc32(header.subarray(0, 92)), 16)
  const mbr = Buffer.alloc(SECTOR)
  mbr.writeUInt8(0xee, 450)
  mbr.writeUInt32LE(1, 454)
  mbr.writeUInt32LE(0xffffffff, 458)
  mbr.writeUInt16LE(0xaa55, 510)
  const disk = openSync(path, 'w')
  try {
    writeSync(disk, mbr, 0, SECTOR, 0)
    writeSync(disk, header, 0, SECTOR, SECTOR)
    writeSync(disk, table, 0, table.length, 2 * SECTOR)
    for (const [index, content] of contents.entries()) writeSparse(disk, content, (places[index] ?? 0) * SECTOR)
  } finally {
    closeSync(disk)
  }
  truncateSync(path, (next + 2048) * SECTOR)
  return path
}

/** The head of a program for this machine: enough for who asks what it runs on. */
export function elfHead(machine: number): Buffer {
  const head = Buffer.alloc(64)
  head.write('\x7fELF', 'latin1')
  head.writeUInt8(2, 4)
  head.writeUInt8(1, 5)
  head.writeUInt16LE(machine, 18)
  return head
}

export const OS_RELEASE = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
ID=debian
`
