/**
 * ext2, ext3 and ext4, read-only. Source: the kernel's Documentation/filesystems/ext4 (on-disk layout). Little-endian.
 * What the journal has not yet written back is not seen; nothing is repaired.
 */
import {
  type Bytes,
  type FileSystem,
  type FsEntry,
  type FsNode,
  type Listing,
  MAX_ENTRIES,
  type NodeType,
  notA,
  readAll,
  safeNumber,
  unreadable,
} from './types.ts'

const SUPERBLOCK_AT = 1024
const MAGIC = 0xef53
const ROOT_INODE = 2
/** Incompatible features. */
const COMPRESSION = 0x1
const JOURNAL_DEVICE = 0x8
const META_BG = 0x10
const EXTENTS = 0x40
const WIDE = 0x80
const KNOWN =
  0x2 | 0x4 | META_BG | EXTENTS | WIDE | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
const HAS_JOURNAL = 0x4
const SPARSE_SUPER = 0x1
/** Flags of an inode. */
const ENCRYPTED = 0x800
const BY_EXTENTS = 0x80000
const INLINE = 0x10000000
const EXTENT_MAGIC = 0xf30a
/** EXT4_MAX_EXTENT_DEPTH */
const MAX_TREE = 5
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20
const MAX_LINK_BYTES = 4096

interface Layout {
  readonly blockBytes: number
  readonly blocks: number
  readonly firstBlock: number
  readonly blocksPerGroup: number
  readonly inodesPerGroup: number
  readonly inodes: number
  readonly inodeBytes: number
  readonly descriptorBytes: number
  readonly firstMetaGroup: number
  readonly hasMetaGroups: boolean
  readonly isSparse: boolean
}

interface Inode {
  readonly mode: number
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly flags: number
  /** The 60 bytes that hold the map of blocks, or the beginning of the content itself. */
  readonly map: Buffer
  /** Small content that lies here, past the map, goes on in an attribute. */
  readonly tail: Buffer
}

/** Blocks of the file that follow each other on the disk; `physical` null: a hole. */
interface Run {
  readonly physical: number | null
  readonly count: number
}

/** @returns null when this is none of them @throws Unreadable */
export async function openExt(bytes: Bytes): Promise<FileSystem | null> {
  const block = await bytes.read(SUPERBLOCK_AT, 1024)
  if (block.length < 1024 || block.readUInt16LE(56) !== MAGIC) return null
  const incompatible = block.readUInt32LE(96)
  const compatible = block.readUInt32LE(92)
  if ((incompatible & JOURNAL_DEVICE) !== 0) unreadable('This is the journal of another ext file system.')
  if ((incompatible & COMPRESSION) !== 0 || (incompatible & ~KNOWN) !== 0)
    unreadable('This ext file system uses features that are not known here.')
  const layout = layoutOf(block, incompatible)
  const label = block.toString('utf8', 120, 136).replace(/\0.*$/s, '')
  const kind = (incompatible & (EXTENTS | WIDE)) !== 0 ? 'ext4' : (compatible & HAS_JOURNAL) !== 0 ? 'ext3' : 'ext2'
  return { kind, label: label === '' ? null : label, root: await openInode(bytes, layout, ROOT_INODE, 'directory') }
}

function layoutOf(block: Buffer, incompatible: number): Layout {
  const shift = block.readUInt32LE(24)
  if (shift > 6) unreadable('This ext file system has an impossible block size.')
  const blockBytes = 1024 << shift
  const isWide = (incompatible & WIDE) !== 0
  const revision = block.readUInt32LE(76)
  const inodeBytes = revision === 0 ? 128 : block.readUInt16LE(88)
  const descriptorBytes = isWide ? block.readUInt16LE(254) : 32
  const blocksPerGroup = block.readUInt32LE(32)
  const inodesPerGroup = block.readUInt32LE(40)
  const isPower = (value: number) => value > 0 && (value & (value - 1)) === 0
  if (!isPower(inodeBytes) || inodeBytes < 128 || inodeBytes > blockBytes)
    unreadable('This ext file system has an impossible inode size.')
  if (!isPower(descriptorBytes) || descriptorBytes < 32 || descriptorBytes > blockBytes)
    unreadable('This ext file system has impossible group descriptors.')
  if (blocksPerGroup === 0 || inodesPerGroup === 0) unreadable('This ext file system has empty block groups.')
  return {
    blockBytes,
    blocks: block.readUInt32LE(4) + (isWide ? block.readUInt32LE(336) * 2 ** 32 : 0),
    firstBlock: block.readUInt32LE(20),
    blocksPerGroup,
    inodesPerGroup,
    inodes: block.readUInt32LE(0),
    inodeBytes,
    descriptorBytes,
    firstMetaGroup: block.readUInt32LE(260),
    hasMetaGroups: (incompatible & META_BG) !== 0,
    isSparse: (block.readUInt32LE(100) & SPARSE_SUPER) !== 0,
  }
}

/** Where the descriptor of a group lies, in bytes. */
function descriptorAt(layout: Layout, group: number): number {
  const { blockBytes, descriptorBytes, firstBlock, blocksPerGroup } = layout
  const perBlock = blockBytes / descriptorBytes
  const block = Math.floor(group / perBlock)
  const within = (group % perBlock) * descriptorBytes
  if (!layout.hasMetaGroups || block < layout.firstMetaGroup) return (firstBlock + 1 + block) * blockBytes + within
  const first = block * perBlock
  const start = firstBlock + first * blocksPerGroup + (holdsSuperblock(layout, first) ? 1 : 0)
  return start * blockBytes + within
}

function holdsSuperblock({ isSparse }: Layout, group: number): boolean {
  if (!isSparse || group <= 1) return true
  return [3, 5, 7].some((base) => {
    let power = base
    while (power < group) power *= base
    return power === group
  })
}

async function readInode(bytes: Bytes, layout: Layout, number: number): Promise<Inode> {
  if (number < 1 || number > layout.inodes) unreadable('A directory names an inode that does not exist.')
  const group = Math.floor((number - 1) / layout.inodesPerGroup)
  const descriptor = await readAll(bytes, descriptorAt(layout, group), 32)
  const high =
    layout.descriptorBytes >= 64 ? (await readAll(bytes, descriptorAt(layout, group) + 40, 4)).readUInt32LE(0) : 0
  const table = descriptor.readUInt32LE(8) + high * 2 ** 32
  if (table === 0 || table >= layout.blocks) unreadable('A table of inodes lies outside the file system.')
  const at = table * layout.blockBytes + ((number - 1) % layout.inodesPerGroup) * layout.inodeBytes
  // An inode is never larger than a block, which `layoutOf` has checked.
  const raw = await readAll(bytes, at, layout.inodeBytes)
  return {
    mode: raw.readUInt16LE(0),
    sizeBytes: safeNumber(BigInt(raw.readUInt32LE(4)) + (BigInt(raw.readUInt32LE(108)) << 32n)),
    modifiedMs: raw.readInt32LE(16) * 1000,
    flags: raw.readUInt32LE(32),
    map: Buffer.from(raw.subarray(40, 100)),
    tail: inlineTail(raw),
  }
}

const ATTRIBUTES_MAGIC = 0xea020000
/** Of attribute names: `system.` */
const SYSTEM = 7

/** The attribute `system.data` among those that lie in the inode; empty when there is none. */
function inlineTail(raw: Buffer): Buffer {
  const start = raw.length > 130 ? 128 + raw.readUInt16LE(128) : raw.length
  if (start + 4 > raw.length || raw.readUInt32LE(start) !== ATTRIBUTES_MAGIC) return Buffer.alloc(0)
  const base = start + 4
  for (let at = base; at + 16 <= raw.length && raw.readUInt32LE(at) !== 0; ) {
    const nameLength = raw.readUInt8(at)
    const from = base + raw.readUInt16LE(at + 2)
    const size = raw.readUInt32LE(at + 8)
    const isData = raw.readUInt8(at + 1) === SYSTEM && raw.toString('latin1', at + 16, at + 16 + nameLength) === 'data'
    if (isData) return Buffer.from(raw.subarray(from, Math.min(raw.length, from + size)))
    at += 16 + Math.ceil(nameLength / 4) * 4
  }
  return Buffer.alloc(0)
}

const TYPES: Readonly<Record<number, NodeType>> = { 32768: 'file', 16384: 'directory', 40960: 'symlink' }

async function openInode(bytes: Bytes, layout: Layout, number: number, expected?: NodeType): Promise<FsNode> {
  const inode = await readInode(bytes, layout, number)
  const type = TYPES[inode.mode & 0xf000] ?? 'other'
  if (expected !== undefined && type !== expected) unreadable(`The root of this file system is no ${expected}.`)
  const content = (offset: number, length: number) => readContent(bytes, layout, inode, offset, length)
  return {
    type,
    sizeBytes: type === 'file' ? inode.sizeBytes : 0,
    modifiedMs: inode.modifiedMs,
    mode: inode.mode & 0o7777,
    list: type === 'directory' ? () => listDirectory(bytes, layout, inode) : notA('directory'),
    read: type === 'file' ? content : notA('file'),
    target: type === 'symlink' ? () => linkTarget(bytes, layout, inode) : notA('symlink'),
  }
}

async function linkTarget(bytes: Bytes, layout: Layout, inode: Inode): Promise<Buffer> {
  if (inode.sizeBytes > MAX_LINK_BYTES) unreadable('This link is longer than a path can be.')
  if ((inode.flags & ENCRYPTED) !== 0) unreadable('This link is encrypted.')
  // Short ones lie in the inode itself.
  if (inode.sizeBytes < 60 && (inode.flags & BY_EXTENTS) === 0) return inode.map.subarray(0, inode.sizeBytes)
  return readContent(bytes, layout, inode, 0, inode.sizeBytes)
}

async function readContent(
  bytes: Bytes,
  layout: Layout,
  inode: Inode,
  offset: number,
  length: number,
): Promise<Buffer> {
  if ((inode.flags & ENCRYPTED) !== 0) unreadable('This file is encrypted; its key is not here.')
  const end = Math.min(offset + length, inode.sizeBytes)
  if (offset >= end) return Buffer.alloc(0)
  if ((inode.flags & INLINE) !== 0) {
    const whole = Buffer.concat([inode.map, inode.tail])
    if (inode.sizeBytes > whole.length) unreadable('A file’s content in its inode is damaged.')
    return whole.subarray(offset, end)
  }
  const pieces: Buffer[] = []
  for (let at = offset; at < end; ) {
    const logical = Math.floor(at / layout.blockBytes)
    const skip = at - logical * layout.blockBytes
    const run = await mapBlock(bytes, layout, inode, logical)
    const want = Math.min(end - at, run.count * layout.blockBytes - skip)
    if (run.physical === null) pieces.push(Buffer.alloc(want))
    else {
      if (run.physical === 0 || run.physical + Math.ceil((skip + want) / layout.blockBytes) > layout.blocks)
        unreadable('A file has blocks outside the file system: it is damaged.')
      pieces.push(await readAll(bytes, run.physical * layout.blockBytes + skip, want))
    }
    at += want
  }
  return Buffer.concat(pieces)
}

const mapBlock = (bytes: Bytes, layout: Layout, inode: Inode, logical: number): Promise<Run> =>
  (inode.flags & BY_EXTENTS) !== 0
    ? mapByExtents(bytes, layout, inode.map, logical)
    : mapByPointers(bytes, layout, inode.map, logical)

async function mapByExtents(bytes: Bytes, layout: Layout, map: Buffer, logical: number): Promise<Run> {
  let node = map
  for (let expected: number | null = null; ; ) {
    if (node.readUInt16LE(0) !== EXTENT_MAGIC) unreadable('A file’s map of extents is damaged.')
    const entries = node.readUInt16LE(2)
    const depth = node.readUInt16LE(6)
    // Each level is one less than the one above, so that no circle can be followed.
    if (depth > MAX_TREE || (expected !== null && depth !== expected) || 12 + entries * 12 > node.length)
      unreadable('A file’s map of extents is damaged.')
    const firstOf = (index: number) => node.readUInt32LE(12 + index * 12)
    let low = 0
    let high = entries
    while (low < high) {
      const middle = (low + high) >> 1
      if (firstOf(middle) <= logical) low = middle + 1
      else high = middle
    }
    const next = low < entries ? firstOf(low) : 2 ** 32
    const hole = { physical: null, count: Math.max(1, next - logical) }
    if (low === 0) return hole
    const entry = 12 + (low - 1) * 12
    if (depth === 0) {
      const stated = node.readUInt16LE(entry + 4)
      // Longer ones are reserved and not written yet.
      const length = stated > 32768 ? stated - 32768 : stated
      const into = logical - firstOf(low - 1)
      if (into >= length) return hole
      const start = node.readUInt16LE(entry + 6) * 2 ** 32 + node.readUInt32LE(entry + 8)
      return { physical: stated > 32768 ? null : start + into, count: length - into }
    }
    const child = node.readUInt16LE(entry + 8) * 2 ** 32 + node.readUInt32LE(entry + 4)
    node = await readBlock(bytes, layout, child)
    expected = depth - 1
  }
}

async function readBlock(bytes: Bytes, layout: Layout, block: number): Promise<Buffer> {
  if (block === 0 || block >= layout.blocks) unreadable('A file’s map lies outside the file system: it is damaged.')
  return readAll(bytes, block * layout.blockBytes, layout.blockBytes)
}

async function mapByPointers(bytes: Bytes, layout: Layout, map: Buffer, logical: number): Promise<Run> {
  const perBlock = layout.blockBytes / 4
  if (logical < 12) return runOf(map.subarray(0, 48), logical)
  let rest = logical - 12
  for (let level = 1, span = perBlock; level <= 3; level++, span *= perBlock) {
    if (rest >= span) {
      rest -= span
      continue
    }
    let pointer = map.readUInt32LE(44 + level * 4)
    for (let width = span / perBlock; ; width /= perBlock) {
      const index = Math.floor(rest / width)
      rest %= width
      // Nothing below this pointer was ever written.
      if (pointer === 0) return { physical: null, count: Math.max(1, width * (perBlock - index) - rest) }
      const table = await readBlock(bytes, layout, pointer)
      if (width === 1) return runOf(table, index)
      pointer = table.readUInt32LE(index * 4)
      if (pointer === 0) return { physical: null, count: width - rest }
    }
  }
  return unreadable('A file is larger than its file system can hold.')
}

/** From one pointer of a table, as long as the next ones follow it on the disk. */
function runOf(table: Buffer, index: number): Run {
  const first = table.readUInt32LE(index * 4)
  let count = 1
  for (; (index + count + 1) * 4 <= table.length; count++)
    if (table.readUInt32LE((index + count) * 4) !== (first === 0 ? 0 : first + count)) break
  return { physical: first === 0 ? null : first, count }
}

async function listDirectory(bytes: Bytes, layout: Layout, inode: Inode): Promise<Listing> {
  if ((inode.flags & ENCRYPTED) !== 0) unreadable('This directory is encrypted; its key is not here.')
  if (inode.sizeBytes > MAX_DIRECTORY_BYTES) unreadable('This directory is larger than 64 MiB.')
  const entries: FsEntry[] = []
  const collect = (block: Buffer): boolean => {
    for (let at = 0; at + 8 <= block.length; ) {
      const number = block.readUInt32LE(at)
      const length = block.readUInt16LE(at + 4) || 65536
      const nameLength = block.readUInt8(at + 6)
      if (length < 8 || length % 4 !== 0 || at + length > block.length || 8 + nameLength > length)
        unreadable('This directory is damaged.')
      const name = block.subarray(at + 8, at + 8 + nameLength)
      at += length
      if (number === 0 || !isUsable(name)) continue
      if (entries.length >= MAX_ENTRIES) return false
      entries.push({ name: Buffer.from(name), open: () => openInode(bytes, layout, number) })
    }
    return true
  }
  if ((inode.flags & INLINE) !== 0) {
    const isWhole = collect(inode.map.subarray(4)) && collect(inode.tail)
    return { entries, isCut: !isWhole }
  }
  for (let at = 0; at < inode.sizeBytes; at += layout.blockBytes) {
    const block = await readContent(bytes, layout, inode, at, layout.blockBytes)
    if (!collect(block)) return { entries, isCut: true }
  }
  return { entries, isCut: false }
}

/** A name with a slash could stand for another place; one with a NUL the kernel would never show. */
export function isUsable(name: Buffer): boolean {
  if (name.length === 0 || name.includes(0x2f) || name.includes(0)) return false
  return !(name.equals(Buffer.from('.')) || name.equals(Buffer.from('..')))
}
