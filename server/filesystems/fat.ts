/** FAT12, FAT16 and FAT32 with long names, read-only. Source: Microsoft's FAT specification, 1.03. Little-endian. */
import { isUsable } from './ext.ts'
import {
  type Bytes,
  type FileSystem,
  type FsEntry,
  type FsNode,
  type Listing,
  MAX_ENTRIES,
  notA,
  readAll,
  unreadable,
} from './types.ts'

/** A directory holds at most so many bytes, says the specification. */
const MAX_DIRECTORY_BYTES = 65536 * 32
const ENTRY_BYTES = 32

interface Layout {
  readonly width: 12 | 16 | 32
  readonly clusterBytes: number
  readonly clusters: number
  readonly fatAt: number
  readonly dataAt: number
}

/** @returns null when this is none @throws Unreadable */
export async function openFat(bytes: Bytes): Promise<FileSystem | null> {
  const boot = await bytes.read(0, 512)
  if (boot.length < 512 || !looksLikeFat(boot)) return null
  const sectorBytes = boot.readUInt16LE(11)
  const clusterSectors = boot.readUInt8(13)
  const reserved = boot.readUInt16LE(14)
  const fats = boot.readUInt8(16)
  const rootEntries = boot.readUInt16LE(17)
  const sectors = boot.readUInt16LE(19) || boot.readUInt32LE(32)
  const fatSectors = boot.readUInt16LE(22) || boot.readUInt32LE(36)
  const rootSectors = Math.ceil((rootEntries * ENTRY_BYTES) / sectorBytes)
  const dataSector = reserved + fats * fatSectors + rootSectors
  if (fatSectors === 0 || sectors <= dataSector) unreadable('This FAT file system has no room for data: it is damaged.')
  const clusters = Math.floor((sectors - dataSector) / clusterSectors)
  const layout: Layout = {
    width: clusters < 4085 ? 12 : clusters < 65525 ? 16 : 32,
    clusterBytes: clusterSectors * sectorBytes,
    clusters,
    fatAt: reserved * sectorBytes,
    dataAt: dataSector * sectorBytes,
  }
  const root: () => Promise<Buffer> =
    layout.width === 32
      ? () => readDirectory(bytes, layout, boot.readUInt32LE(44))
      : () => readAll(bytes, (reserved + fats * fatSectors) * sectorBytes, rootEntries * ENTRY_BYTES)
  const label = boot
    .toString('latin1', layout.width === 32 ? 71 : 43, layout.width === 32 ? 82 : 54)
    .replace(/[^\x21-\x7e ]/g, ' ')
    .trim()
  return {
    kind: 'fat',
    label: label === '' || label === 'NO NAME' ? null : label,
    root: directory(bytes, layout, root, null),
  }
}

export function looksLikeFat(boot: Buffer): boolean {
  const sectorBytes = boot.readUInt16LE(11)
  const clusterSectors = boot.readUInt8(13)
  return (
    boot.readUInt16LE(510) === 0xaa55 &&
    (boot[0] === 0xeb || boot[0] === 0xe9) &&
    [512, 1024, 2048, 4096].includes(sectorBytes) &&
    clusterSectors > 0 &&
    (clusterSectors & (clusterSectors - 1)) === 0 &&
    boot.readUInt16LE(14) > 0 &&
    (boot[16] === 1 || boot[16] === 2) &&
    boot.readUInt8(21) >= 0xf0 &&
    (boot.toString('latin1', 54, 57) === 'FAT' ||
      boot.toString('latin1', 82, 85) === 'FAT' ||
      boot.readUInt16LE(22) > 0)
  )
}

/** The cluster after this one; null: it was the last. @throws Unreadable */
async function nextCluster(bytes: Bytes, layout: Layout, cluster: number): Promise<number | null> {
  const at = layout.fatAt + (layout.width === 12 ? Math.floor(cluster * 1.5) : (cluster * layout.width) / 8)
  const raw = await readAll(bytes, at, layout.width === 32 ? 4 : 2)
  const value =
    layout.width === 32
      ? raw.readUInt32LE(0) & 0x0fffffff
      : layout.width === 16
        ? raw.readUInt16LE(0)
        : cluster % 2 === 0
          ? raw.readUInt16LE(0) & 0xfff
          : raw.readUInt16LE(0) >> 4
  const last = layout.width === 32 ? 0x0ffffff8 : layout.width === 16 ? 0xfff8 : 0xff8
  if (value >= last) return null
  checkCluster(layout, value)
  return value
}

function checkCluster({ clusters }: Layout, cluster: number): void {
  if (cluster < 2 || cluster >= clusters + 2) unreadable('A file’s chain leaves the file system: it is damaged.')
}

const clusterAt = ({ dataAt, clusterBytes }: Layout, cluster: number) => dataAt + (cluster - 2) * clusterBytes

async function readDirectory(bytes: Bytes, layout: Layout, first: number): Promise<Buffer> {
  checkCluster(layout, first)
  const pieces: Buffer[] = []
  let total = 0
  for (let cluster: number | null = first; cluster !== null; ) {
    // Also the end of a chain that bites its own tail.
    if (total + layout.clusterBytes > MAX_DIRECTORY_BYTES) unreadable('A directory is larger than FAT allows.')
    const piece = await readAll(bytes, clusterAt(layout, cluster), layout.clusterBytes)
    pieces.push(piece)
    total += piece.length
    if (hasEnd(piece)) break
    cluster = await nextCluster(bytes, layout, cluster)
  }
  return Buffer.concat(pieces)
}

function hasEnd(piece: Buffer): boolean {
  for (let at = 0; at < piece.length; at += ENTRY_BYTES) if (piece[at] === 0) return true
  return false
}

function directory(bytes: Bytes, layout: Layout, content: () => Promise<Buffer>, modifiedMs: number | null): FsNode {
  return {
    type: 'directory',
    sizeBytes: 0,
    modifiedMs,
    mode: null,
    list: async () => listEntries(bytes, layout, await content()),
    read: notA('file'),
    target: notA('symlink'),
  }
}

function listEntries(bytes: Bytes, layout: Layout, raw: Buffer): Listing {
  const entries: FsEntry[] = []
  let long: string[] = []
  for (let at = 0; at + ENTRY_BYTES <= raw.length; at += ENTRY_BYTES) {
    const entry = raw.subarray(at, at + ENTRY_BYTES)
    if (entry[0] === 0) break
    const attributes = entry.readUInt8(11)
    if (entry[0] === 0xe5) {
      long = []
      continue
    }
    if ((attributes & 0x3f) === 0x0f) {
      // The last piece comes first.
      if ((entry.readUInt8(0) & 0x40) !== 0) long = []
      if (long.length < 20) long.unshift(longPiece(entry))
      continue
    }
    const name = long.length > 0 ? long.join('').replace(/[\0\uffff].*$/s, '') : shortName(entry)
    long = []
    // The volume's label stands among the entries.
    if ((attributes & 0x08) !== 0) continue
    const coded = Buffer.from(name, 'utf8')
    if (!isUsable(coded)) continue
    if (entries.length >= MAX_ENTRIES) return { entries, isCut: true }
    const copy = Buffer.from(entry)
    entries.push({ name: coded, open: async () => openEntry(bytes, layout, copy) })
  }
  return { entries, isCut: false }
}

function longPiece(entry: Buffer): string {
  return entry.toString('utf16le', 1, 11) + entry.toString('utf16le', 14, 26) + entry.toString('utf16le', 28, 32)
}

/** Eight and three letters; lower case where a bit of Windows NT says so. */
function shortName(entry: Buffer): string {
  const flags = entry.readUInt8(12)
  const piece = (from: number, to: number, isLower: boolean) => {
    const text = entry.toString('latin1', from, to).trimEnd()
    return isLower ? text.toLowerCase() : text
  }
  const base = piece(0, 8, (flags & 0x08) !== 0).replace(/^\x05/, '\xe5')
  const extension = piece(8, 11, (flags & 0x10) !== 0)
  return extension === '' ? base : `${base}.${extension}`
}

function openEntry(bytes: Bytes, layout: Layout, entry: Buffer): FsNode {
  const high = layout.width === 32 ? entry.readUInt16LE(20) : 0
  const first = high * 65536 + entry.readUInt16LE(26)
  const modifiedMs = timeOf(entry.readUInt16LE(24), entry.readUInt16LE(22))
  if ((entry.readUInt8(11) & 0x10) !== 0)
    return directory(bytes, layout, () => readDirectory(bytes, layout, first), modifiedMs)
  const sizeBytes = entry.readUInt32LE(28)
  /** Where the last read ended: files are read from front to back. */
  let known = { index: 0, cluster: first }
  const read = async (offset: number, length: number): Promise<Buffer> => {
    const end = Math.min(offset + length, sizeBytes)
    const pieces: Buffer[] = []
    let at = offset
    let { index, cluster } = offset >= known.index * layout.clusterBytes ? known : { index: 0, cluster: first }
    while (at < end) {
      checkCluster(layout, cluster)
      const wanted = Math.floor(at / layout.clusterBytes)
      if (index < wanted) {
        const next = await nextCluster(bytes, layout, cluster)
        if (next === null) unreadable('A file is shorter than its directory says: the file system is damaged.')
        index += 1
        cluster = next
        continue
      }
      const skip = at - index * layout.clusterBytes
      const want = Math.min(end - at, layout.clusterBytes - skip)
      pieces.push(await readAll(bytes, clusterAt(layout, cluster) + skip, want))
      at += want
      known = { index, cluster }
    }
    return Buffer.concat(pieces)
  }
  return { type: 'file', sizeBytes, modifiedMs, mode: null, list: notA('directory'), read, target: notA('symlink') }
}

/** Local time of wherever it was written; taken as UTC. Null: none, or no such day. */
function timeOf(date: number, time: number): number | null {
  const [year, month, day] = [1980 + (date >> 9), (date >> 5) & 15, date & 31]
  if (month < 1 || month > 12 || day < 1) return null
  return Date.UTC(year, month - 1, day, time >> 11, (time >> 5) & 63, (time & 31) * 2)
}
