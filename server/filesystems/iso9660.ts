/**
 * ISO 9660 with Rock Ridge or Joliet names, read-only. Sources: ECMA-119; IEEE P1281 (SUSP) and P1282 (Rock Ridge);
 * the Joliet specification.
 */
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

export const SECTOR = 2048
const DESCRIPTORS_AT = 16
const MAX_DESCRIPTORS = 32
const MAX_DIRECTORY_BYTES = 16 * 2 ** 20
/** Areas an entry's system-use fields may continue in. */
const MAX_CONTINUATIONS = 8
const MAX_LINK_BYTES = 4096

type Names = 'plain' | 'joliet' | 'rock-ridge'
interface Disc {
  readonly bytes: Bytes
  readonly names: Names
  /** Bytes before the first system-use field of each entry. */
  readonly skip: number
}

interface Extent {
  readonly at: number
  readonly sizeBytes: number
}

/** @returns null when this is none @throws Unreadable */
export async function openIso(bytes: Bytes): Promise<FileSystem | null> {
  let primary: Buffer | null = null
  let joliet: Buffer | null = null
  for (let index = 0; index < MAX_DESCRIPTORS; index++) {
    const sector = await bytes.read((DESCRIPTORS_AT + index) * SECTOR, SECTOR)
    if (sector.length < SECTOR || sector.toString('latin1', 1, 6) !== 'CD001' || sector[0] === 255) break
    if (sector[0] === 1) primary ??= Buffer.from(sector)
    if (sector[0] === 2 && /^%\/[@CE]$/.test(sector.toString('latin1', 88, 91))) joliet ??= Buffer.from(sector)
  }
  if (primary === null) return null
  if (primary.readUInt16LE(128) !== SECTOR) unreadable('This disc has a block size that is not known here.')
  const label = primary
    .toString('latin1', 40, 72)
    .replace(/[^\x20-\x7e]/g, ' ')
    .trim()
  const root = extentOf(primary.subarray(156, 190))
  const skip = await rockRidgeSkip(bytes, root)
  const disc: Disc =
    skip !== null
      ? { bytes, names: 'rock-ridge', skip }
      : { bytes, names: joliet === null ? 'plain' : 'joliet', skip: 0 }
  const start = skip === null && joliet !== null ? extentOf(joliet.subarray(156, 190)) : root
  return {
    kind: 'iso9660',
    label: label === '' ? null : label,
    root: directory(disc, start, null, null),
  }
}

const extentOf = (record: Buffer): Extent => ({
  at: record.readUInt32LE(2) * SECTOR,
  sizeBytes: record.readUInt32LE(10),
})

/** Rock Ridge announces itself in the root's own entry. @returns how much other data precedes its fields; null: none */
async function rockRidgeSkip(bytes: Bytes, root: Extent): Promise<number | null> {
  const sector = await bytes.read(root.at, SECTOR)
  const length = sector[0] ?? 0
  if (length < 34 || sector.length < length) return null
  const area = sector.subarray(34, length)
  if (area.length < 7 || area.toString('latin1', 0, 2) !== 'SP' || area[4] !== 0xbe || area[5] !== 0xef) return null
  return area.readUInt8(6)
}

function directory(disc: Disc, extent: Extent, modifiedMs: number | null, mode: number | null): FsNode {
  return {
    type: 'directory',
    sizeBytes: 0,
    modifiedMs,
    mode,
    list: () => listDirectory(disc, extent),
    read: notA('file'),
    target: notA('symlink'),
  }
}

async function listDirectory(disc: Disc, { at, sizeBytes }: Extent): Promise<Listing> {
  if (sizeBytes > MAX_DIRECTORY_BYTES) unreadable('This directory is larger than 16 MiB.')
  const entries: FsEntry[] = []
  /** Pieces of a file that goes on in the next record. */
  let pieces: Extent[] = []
  let index = 0
  for (let sectorAt = 0; sectorAt < sizeBytes; sectorAt += SECTOR) {
    const sector = await readAll(disc.bytes, at + sectorAt, SECTOR)
    // A record never crosses a sector; a length of zero ends one.
    for (let offset = 0; offset < SECTOR; ) {
      const length = sector.readUInt8(offset)
      if (length === 0) break
      if (length < 34 || offset + length > SECTOR) unreadable('This directory is damaged.')
      const record = Buffer.from(sector.subarray(offset, offset + length))
      offset += length
      const nameLength = record.readUInt8(32)
      if (33 + nameLength > length) unreadable('This directory is damaged.')
      // The first two are the directory itself and the one above.
      if (index++ < 2) continue
      pieces.push(extentOf(record))
      if (pieces.length > MAX_ENTRIES) unreadable('A file of this disc is in too many pieces.')
      if ((record.readUInt8(25) & 0x80) !== 0) continue
      const extents = pieces
      pieces = []
      if (entries.length >= MAX_ENTRIES) return { entries, isCut: true }
      const fields = disc.names === 'rock-ridge' ? await systemUse(disc, record, nameLength) : null
      const name = fields?.name ?? nameOf(disc, record.subarray(33, 33 + nameLength))
      if (isUsable(name)) entries.push({ name, open: async () => openRecord(disc, record, extents, fields) })
    }
  }
  return { entries, isCut: false }
}

function nameOf({ names }: Disc, raw: Buffer): Buffer {
  if (names !== 'joliet')
    return Buffer.from(raw.toString('latin1').replace(/;\d+$/, '').replace(/\.$/, '').toLowerCase())
  const swapped = Buffer.from(raw.subarray(0, raw.length & ~1)).swap16()
  return Buffer.from(swapped.toString('utf16le').replace(/;\d+$/, ''))
}

interface Fields {
  readonly name: Buffer | null
  readonly mode: number | null
  readonly target: Buffer | null
}

async function systemUse(disc: Disc, record: Buffer, nameLength: number): Promise<Fields> {
  let area = record.subarray(33 + nameLength + (nameLength % 2 === 0 ? 1 : 0) + disc.skip)
  const name: Buffer[] = []
  const target: Buffer[] = []
  let mode: number | null = null
  for (let areas = 0; areas <= MAX_CONTINUATIONS; areas++) {
    let next: { block: number; offset: number; length: number } | null = null
    for (let at = 0; at + 4 <= area.length; ) {
      const kind = area.toString('latin1', at, at + 2)
      const length = area.readUInt8(at + 2)
      if (length < 4 || at + length > area.length || kind === 'ST') break
      const field = area.subarray(at, at + length)
      at += length
      if (kind === 'NM' && length > 5 && (field.readUInt8(4) & 6) === 0) name.push(field.subarray(5))
      if (kind === 'PX' && length >= 12) mode = field.readUInt32LE(4)
      if (kind === 'SL' && length > 5) target.push(...linkSteps(field.subarray(5)))
      if (kind === 'CE' && length >= 28)
        next = { block: field.readUInt32LE(4), offset: field.readUInt32LE(12), length: field.readUInt32LE(20) }
    }
    if (next === null) break
    if (next.offset >= SECTOR || next.length > SECTOR) unreadable('This directory is damaged.')
    area = await disc.bytes.read(next.block * SECTOR + next.offset, Math.min(next.length, SECTOR))
  }
  const whole = Buffer.concat(name)
  return {
    name: whole.length === 0 || whole.length > 1024 ? null : whole,
    mode,
    target: target.length === 0 ? null : joinSteps(target),
  }
}

const SLASH = Buffer.from('/')

/** Components of a link: names, `.`, `..` and the root. */
function linkSteps(field: Buffer): Buffer[] {
  const steps: Buffer[] = []
  for (let at = 0; at + 2 <= field.length; ) {
    const flags = field.readUInt8(at)
    const length = field.readUInt8(at + 1)
    const text = Buffer.from(field.subarray(at + 2, at + 2 + length))
    steps.push(
      (flags & 8) !== 0 ? SLASH : (flags & 4) !== 0 ? Buffer.from('..') : (flags & 2) !== 0 ? Buffer.from('.') : text,
    )
    at += 2 + length
  }
  return steps
}

function joinSteps(steps: readonly Buffer[]): Buffer {
  const joined = steps.reduce<Buffer>((path, step) => {
    if (path.length === 0) return step
    return Buffer.concat([path, ...(path.at(-1) === 0x2f ? [] : [SLASH]), step])
  }, Buffer.alloc(0))
  return joined.subarray(0, MAX_LINK_BYTES)
}

function openRecord(disc: Disc, record: Buffer, extents: readonly Extent[], fields: Fields | null): FsNode {
  const modifiedMs = timeOf(record.subarray(18, 25))
  const mode = fields?.mode ?? null
  const bits = mode === null ? null : mode & 0o7777
  const target = fields?.target ?? null
  if (target !== null && (mode === null || (mode & 0xf000) === 0xa000)) {
    return {
      ...{ type: 'symlink', sizeBytes: 0, modifiedMs, mode: bits },
      ...{ list: notA('directory'), read: notA('file'), target: async () => target },
    }
  }
  const [first] = extents
  if ((record.readUInt8(25) & 2) !== 0 && first !== undefined) return directory(disc, first, modifiedMs, bits)
  if (mode !== null && (mode & 0xf000) !== 0x8000) {
    return {
      ...{ type: 'other', sizeBytes: 0, modifiedMs, mode: bits },
      ...{ list: notA('directory'), read: notA('file'), target: notA('symlink') },
    }
  }
  const sizeBytes = extents.reduce((sum, extent) => sum + extent.sizeBytes, 0)
  const read = async (offset: number, length: number): Promise<Buffer> => {
    const end = Math.min(offset + length, sizeBytes)
    const pieces: Buffer[] = []
    let before = 0
    for (const extent of extents) {
      const from = Math.max(offset, before)
      const to = Math.min(end, before + extent.sizeBytes)
      if (from < to) pieces.push(await readAll(disc.bytes, extent.at + from - before, to - from))
      before += extent.sizeBytes
    }
    return Buffer.concat(pieces)
  }
  return { type: 'file', sizeBytes, modifiedMs, mode: bits, list: notA('directory'), read, target: notA('symlink') }
}

function timeOf(raw: Buffer): number | null {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = raw
  if (month < 1 || month > 12 || day < 1) return null
  return Date.UTC(1900 + year, month - 1, day, hour, minute, second) - raw.readInt8(6) * 15 * 60_000
}
