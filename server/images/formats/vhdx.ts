/**
 * Reads the headers, the region table and the metadata of a VHDX (Hyper-V) disk. Fixed and dynamic disks are taken;
 * one with a parent, or with changes still in its log, is not.
 * Source: Microsoft's MS-VHDX and QEMU's block/vhdx.c. Little-endian throughout.
 */
import { type BoundedReader, checkVirtualSize, liesInside, refuseImage } from '../reader.ts'
import { crc32c } from './crc32c.ts'

export const VHDX_MAGIC = Buffer.from('vhdxfile', 'latin1')

const KiB = 1024
const MiB = 2 ** 20
const HEADERS_AT = [64 * KiB, 128 * KiB] as const
const HEADER_BYTES = 4 * KiB
const REGIONS_AT = [192 * KiB, 256 * KiB] as const
const REGIONS_BYTES = 64 * KiB
const METADATA_TABLE_BYTES = 64 * KiB
const MAX_REGIONS = 16
const MAX_ITEMS = 64
const MAX_BLOCK_TABLE_BYTES = 64 * MiB

const guid = (text: string): string => {
  const [a, b, c, d, e] = text.split('-').map((part) => Buffer.from(part, 'hex'))
  if (!a || !b || !c || !d || !e) throw new Error('A GUID has five parts')
  return Buffer.concat([a.reverse(), b.reverse(), c.reverse(), d, e]).toString('hex')
}
const BLOCK_TABLE = guid('2DC27766-F623-4200-9D64-115E9BFD4A08')
const METADATA = guid('8B7CA206-4790-4B9A-B8FE-575F050F886E')
const FILE_PARAMETERS = guid('CAA16737-FA36-4D43-B3B6-33F0AA44E76B')
const DISK_SIZE = guid('2FA54224-CD1B-4876-B211-5DBED83BF4B8')
const DISK_ID = guid('BECA12AB-B2E6-4523-93EF-C309E000C746')
const LOGICAL_SECTOR = guid('8141BF1D-A96F-4709-BA47-F233A8FAAB5F')
const PHYSICAL_SECTOR = guid('CDA348C7-445D-4471-9CC9-E9885251C556')
const PARENT_LOCATOR = guid('A8D35F2D-B30B-454D-ABF7-D3D84834AB0C')
const KNOWN_ITEMS = new Set([FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR])

/** @throws EngineError image_refused, image_has_backing */
export async function inspectVhdx(reader: BoundedReader): Promise<{ virtualSizeBytes: number }> {
  const header = await activeHeader(reader)
  if (header.subarray(48, 64).some((byte) => byte !== 0)) {
    refuseImage(
      'This VHDX image was not closed properly: changes wait in its log. Attach it once in Hyper-V and detach it again.',
    )
  }
  if (header.readUInt16LE(66) !== 1) refuseImage('This VHDX image has a version that is not known; only 1 is.')
  const regions = await readRegions(reader)
  const metadata = await readMetadata(reader, regions.metadata)
  const blocks = Math.ceil(metadata.virtualSizeBytes / metadata.blockBytes)
  // Between the blocks the table has entries for sector bitmaps, one for each so many of them.
  const perBitmap = Math.floor((2 ** 23 * metadata.sectorBytes) / metadata.blockBytes)
  const tableBytes = (blocks + Math.floor((blocks - 1) / perBitmap)) * 8
  if (tableBytes > MAX_BLOCK_TABLE_BYTES) refuseImage('This VHDX image has an absurdly large block table.')
  if (regions.blockTable.length < tableBytes) refuseImage('This VHDX image has a block table too small for its size.')
  return { virtualSizeBytes: metadata.virtualSizeBytes }
}

/** True when the checksum at byte 4 is that of the rest. */
function isIntact(block: Buffer): boolean {
  const copy = Buffer.from(block)
  copy.writeUInt32LE(0, 4)
  return crc32c(copy) === block.readUInt32LE(4)
}

async function activeHeader(reader: BoundedReader): Promise<Buffer> {
  let active: Buffer | null = null
  for (const offset of HEADERS_AT) {
    const header = await reader.read(offset, HEADER_BYTES)
    if (header.length < HEADER_BYTES || header.toString('latin1', 0, 4) !== 'head' || !isIntact(header)) continue
    if (active === null || header.readBigUInt64LE(8) > active.readBigUInt64LE(8)) active = header
  }
  return active ?? refuseImage('This VHDX image has no intact header: the file is cut off or damaged.')
}

interface Region {
  readonly offset: bigint
  readonly length: number
}

async function readRegions(reader: BoundedReader): Promise<{ blockTable: Region; metadata: Region }> {
  for (const at of REGIONS_AT) {
    const table = await reader.read(at, REGIONS_BYTES)
    if (table.length < REGIONS_BYTES || table.toString('latin1', 0, 4) !== 'regi' || !isIntact(table)) continue
    const count = table.readUInt32LE(8)
    if (count > MAX_REGIONS) refuseImage('This VHDX image has too many regions.')
    const found = new Map<string, Region>()
    for (let index = 0; index < count; index++) {
      const entry = table.subarray(16 + index * 32, 48 + index * 32)
      const id = entry.toString('hex', 0, 16)
      const region = { offset: entry.readBigUInt64LE(16), length: entry.readUInt32LE(24) }
      if (id !== BLOCK_TABLE && id !== METADATA) {
        if ((entry.readUInt32LE(28) & 1) === 1) {
          refuseImage('This VHDX image needs features that this release does not know.')
        }
        continue
      }
      if (region.offset < BigInt(MiB) || !liesInside(reader, region.offset, region.length) || found.has(id)) {
        refuseImage('This VHDX image has a region outside the file: the file is cut off or damaged.')
      }
      found.set(id, region)
    }
    const blockTable = found.get(BLOCK_TABLE)
    const metadata = found.get(METADATA)
    if (blockTable === undefined || metadata === undefined) {
      return refuseImage('This VHDX image lacks its block table or its metadata.')
    }
    return { blockTable, metadata }
  }
  return refuseImage('This VHDX image has no intact region table: the file is cut off or damaged.')
}

interface Metadata {
  readonly virtualSizeBytes: number
  readonly blockBytes: number
  readonly sectorBytes: number
}

async function readMetadata(reader: BoundedReader, region: Region): Promise<Metadata> {
  const table = await reader.read(Number(region.offset), METADATA_TABLE_BYTES)
  if (table.length < METADATA_TABLE_BYTES || table.toString('latin1', 0, 8) !== 'metadata') {
    refuseImage('This VHDX image has no readable metadata.')
  }
  const count = table.readUInt16LE(10)
  if (count > MAX_ITEMS) refuseImage('This VHDX image has too many metadata items.')
  const items = new Map<string, Buffer>()
  for (let index = 0; index < count; index++) {
    const entry = table.subarray(32 + index * 32, 64 + index * 32)
    const id = entry.toString('hex', 0, 16)
    if (!KNOWN_ITEMS.has(id)) {
      if ((entry.readUInt32LE(24) & 4) !== 0) refuseImage('This VHDX image needs metadata that are not known.')
      continue
    }
    const offset = entry.readUInt32LE(16)
    if (offset < METADATA_TABLE_BYTES || offset + 8 > region.length) {
      refuseImage('This VHDX image has metadata outside their region: the file is damaged.')
    }
    if (items.has(id)) refuseImage('This VHDX image says the same thing twice in its metadata.')
    items.set(id, await reader.read(Number(region.offset) + offset, 8))
  }
  const item = (id: string): Buffer => {
    const value = items.get(id)
    if (value === undefined || value.length < 8) return refuseImage('This VHDX image lacks needed metadata.')
    return value
  }
  const parameters = item(FILE_PARAMETERS)
  if (items.has(PARENT_LOCATOR) || (parameters.readUInt32LE(4) & 2) !== 0) {
    refuseImage(
      'This VHDX image is only a difference to another one, so it cannot stand alone. Merge it first (Merge-VHD).',
      'image_has_backing',
    )
  }
  const blockBytes = parameters.readUInt32LE(0)
  if (blockBytes < MiB || blockBytes > 256 * MiB || (blockBytes & (blockBytes - 1)) !== 0) {
    refuseImage('This VHDX image has an impossible block size.')
  }
  const sectorBytes = item(LOGICAL_SECTOR).readUInt32LE(0)
  if (sectorBytes !== 512 && sectorBytes !== 4096) refuseImage('This VHDX image has an impossible sector size.')
  return {
    virtualSizeBytes: checkVirtualSize('This VHDX image', item(DISK_SIZE).readBigUInt64LE(0)),
    blockBytes,
    sectorBytes,
  }
}
