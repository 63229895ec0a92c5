/** Partition tables: MBR with its chain of logical partitions, and GPT. Sources: UEFI 2.10 chapter 5; PC practice. */
import { type Bytes, part, safeNumber } from './types.ts'

export interface Partition {
  /** As the table counts it, from 1. */
  readonly number: number
  readonly offset: number
  readonly sizeBytes: number
  /** GPT: a GUID in lower case. MBR: `mbr:` and two hex digits. */
  readonly type: string
  /** Only GPT has names. */
  readonly name: string | null
}

export interface PartitionTable {
  /** `none`: the disk has no table; it may hold one file system from its start. */
  readonly kind: 'none' | 'mbr' | 'gpt'
  readonly partitions: readonly Partition[]
  /** The first sector holds code to boot with. */
  readonly hasBootCode: boolean
}

export const ESP_TYPES: ReadonlySet<string> = new Set(['c12a7328-f81f-11d2-ba4b-00a0c93ec93b', 'mbr:ef'])
export const BIOS_BOOT_TYPE = '21686148-6449-6e6f-744e-656564454649'

const SECTOR = 512
const EXTENDED: ReadonlySet<number> = new Set([0x05, 0x0f, 0x85])
const MAX_LOGICAL = 60
/** Of a GPT; the usual count, and the least a table must have room for. */
const MAX_GPT_ENTRIES = 128
const MAX_GPT_ENTRY_BYTES = 4096

/** Damaged tables give what can be read of them; nothing is thrown for what they say. */
export async function readPartitions(bytes: Bytes): Promise<PartitionTable> {
  const first = await bytes.read(0, SECTOR)
  if (first.length < SECTOR) return { kind: 'none', partitions: [], hasBootCode: false }
  const hasBootCode = first.readUInt16LE(510) === 0xaa55 && first.subarray(0, 440).some((byte) => byte !== 0)
  for (const sectorBytes of [512, 4096]) {
    const header = await bytes.read(sectorBytes, 92)
    if (header.length < 92 || header.toString('latin1', 0, 8) !== 'EFI PART') continue
    return { kind: 'gpt', partitions: await readGpt(bytes, header, sectorBytes), hasBootCode }
  }
  if (first.readUInt16LE(510) !== 0xaa55) return { kind: 'none', partitions: [], hasBootCode }
  const partitions = await readMbr(bytes, first)
  return { kind: partitions.length === 0 ? 'none' : 'mbr', partitions, hasBootCode }
}

async function readGpt(bytes: Bytes, header: Buffer, sectorBytes: number): Promise<Partition[]> {
  const count = Math.min(MAX_GPT_ENTRIES, header.readUInt32LE(80))
  const entryBytes = header.readUInt32LE(84)
  const at = header.readBigUInt64LE(72) * BigInt(sectorBytes)
  if (entryBytes < 128 || entryBytes > MAX_GPT_ENTRY_BYTES || at >= BigInt(bytes.sizeBytes)) return []
  const table = await bytes.read(Number(at), count * entryBytes)
  const found: Partition[] = []
  for (let index = 0; (index + 1) * entryBytes <= table.length; index++) {
    const entry = table.subarray(index * entryBytes, index * entryBytes + 128)
    if (entry.subarray(0, 16).every((byte) => byte === 0)) continue
    const start = entry.readBigUInt64LE(32) * BigInt(sectorBytes)
    const end = (entry.readBigUInt64LE(40) + 1n) * BigInt(sectorBytes)
    if (start >= end || start >= BigInt(bytes.sizeBytes)) continue
    const name = entry.toString('utf16le', 56, 128).replace(/\0.*$/s, '')
    found.push({
      number: index + 1,
      offset: safeNumber(start),
      sizeBytes: Number(end < BigInt(bytes.sizeBytes) ? end - start : BigInt(bytes.sizeBytes) - start),
      type: guidOf(entry.subarray(0, 16)),
      name: name === '' ? null : name,
    })
  }
  return found
}

/** The first three groups are written little-endian. */
function guidOf(raw: Buffer): string {
  const hex = (from: number, to: number, isSwapped: boolean) => {
    const piece = Buffer.from(raw.subarray(from, to))
    return (isSwapped ? piece.reverse() : piece).toString('hex')
  }
  return [hex(0, 4, true), hex(4, 6, true), hex(6, 8, true), hex(8, 10, false), hex(10, 16, false)].join('-')
}

interface Slot {
  readonly type: number
  readonly start: number
  readonly sectors: number
  /** 0 or 0x80; anything else is no partition table. */
  readonly status: number
}

function slotsOf(sector: Buffer): Slot[] {
  return [446, 462, 478, 494].map((at) => ({
    status: sector.readUInt8(at),
    type: sector.readUInt8(at + 4),
    start: sector.readUInt32LE(at + 8),
    sectors: sector.readUInt32LE(at + 12),
  }))
}

async function readMbr(bytes: Bytes, first: Buffer): Promise<Partition[]> {
  const slots = slotsOf(first)
  // The first sector of a file system ends with the same two bytes, and has text or code where the table would be.
  if (slots.some(({ status }) => status !== 0 && status !== 0x80)) return []
  const found: Partition[] = []
  const add = (number: number, base: number, { type, start, sectors }: Slot): void => {
    const offset = (base + start) * SECTOR
    if (type === 0 || sectors === 0 || offset === 0 || offset >= bytes.sizeBytes) return
    const sizeBytes = Math.min(sectors * SECTOR, bytes.sizeBytes - offset)
    found.push({ number, offset, sizeBytes, type: `mbr:${type.toString(16).padStart(2, '0')}`, name: null })
  }
  for (const [index, slot] of slots.entries()) {
    if (!EXTENDED.has(slot.type)) {
      add(index + 1, 0, slot)
      continue
    }
    await readLogical(bytes, slot.start, (number, base, logical) => add(number, base, logical))
  }
  return found
}

/** A chain of tables, each naming one partition and the next table. It may run in a circle. */
async function readLogical(
  bytes: Bytes,
  extendedStart: number,
  add: (number: number, base: number, slot: Slot) => void,
): Promise<void> {
  const seen = new Set<number>()
  let at = extendedStart
  for (let number = 5; number < 5 + MAX_LOGICAL; number++) {
    if (seen.has(at)) return
    seen.add(at)
    const sector = await bytes.read(at * SECTOR, SECTOR)
    if (sector.length < SECTOR || sector.readUInt16LE(510) !== 0xaa55) return
    const [logical, next] = slotsOf(sector)
    if (logical !== undefined) add(number, at, logical)
    if (next === undefined || !EXTENDED.has(next.type) || next.start === 0) return
    at = extendedStart + next.start
  }
}

export const partitionBytes = (bytes: Bytes, { offset, sizeBytes }: Partition): Bytes => part(bytes, offset, sizeBytes)
