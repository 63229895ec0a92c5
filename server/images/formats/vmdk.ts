/**
 * Reads the header and the embedded descriptor of a VMDK that is one file: `monolithicSparse` or `streamOptimized`.
 * Everything else names further files by path (flat, split in 2 GB parts, VMFS, raw devices) or has a parent, and a
 * path in an image is never followed.
 *
 * Source: QEMU's block/vmdk.c and VMware's "Virtual Disk Format 5.0". Little-endian throughout.
 */
import { type BoundedReader, checkVirtualSize, liesInside, refuseImage } from '../reader.ts'

const SECTOR = 512
export const VMDK_MAGIC = Buffer.from('KDMV', 'latin1')

const FLAG_COMPRESSED = 1 << 16
/** Grain directory offset that says: look at the footer. */
const AT_END = 2n ** 64n - 1n
/** QEMU looks for the descriptor at this place and in this length, whatever the header says. */
const DESCRIPTOR_AT = SECTOR
const DESCRIPTOR_BYTES = 20 * SECTOR
const MAX_DESCRIPTOR_BYTES = 128 * 1024
const MAX_GRAIN_DIRECTORY_BYTES = 32 * 2 ** 20
const MAX_DESCRIPTOR_LINES = 2000

export interface VmdkHeader {
  readonly virtualSizeBytes: number
  readonly createType: 'monolithicSparse' | 'streamOptimized'
}

/** @throws EngineError image_refused, image_has_backing, unsupported_format */
export async function inspectVmdk(reader: BoundedReader): Promise<VmdkHeader> {
  const header = await reader.read(0, SECTOR)
  if (header.length < SECTOR) refuseImage('This VMDK file is cut off: its header is incomplete.')
  const version = header.readUInt32LE(4)
  if (version < 1 || version > 3) refuseImage(`This VMDK image says version ${version}; only 1 to 3 are known.`)
  const capacity = header.readBigUInt64LE(12)
  if (capacity === 0n) {
    refuseImage(
      'This VMDK file holds a descriptor in place of data: the data are in other files, which are not read. Export the disk as one file (streamOptimized).',
      'image_has_backing',
    )
  }
  const virtualSizeBytes = checkVirtualSize('This VMDK image', capacity * BigInt(SECTOR))
  const descriptorOffset = header.readBigUInt64LE(28)
  const descriptorSectors = header.readBigUInt64LE(36)
  if (descriptorOffset !== BigInt(DESCRIPTOR_AT / SECTOR) || descriptorSectors === 0n) {
    refuseImage(
      'This VMDK file has no descriptor of its own: it is one part of a disk that was split. Export the disk as one file (streamOptimized).',
      'image_has_backing',
    )
  }
  if (descriptorSectors * BigInt(SECTOR) > BigInt(MAX_DESCRIPTOR_BYTES)) {
    refuseImage('This VMDK image has an absurdly large descriptor.')
  }
  await checkTables(reader, header, virtualSizeBytes)
  const length = Math.max(Number(descriptorSectors) * SECTOR, DESCRIPTOR_BYTES)
  const createType = checkDescriptor(await reader.read(DESCRIPTOR_AT, length), Number(descriptorSectors) * SECTOR)
  return { virtualSizeBytes, createType }
}

async function checkTables(reader: BoundedReader, start: Buffer, virtualSizeBytes: number): Promise<void> {
  let header = start
  if (header.readBigUInt64LE(56) === AT_END) {
    // Footer marker, the header again with the right offset, end-of-stream marker.
    if (reader.sizeBytes < 4 * SECTOR) refuseImage('This VMDK file is cut off: its footer is missing.')
    const footer = await reader.read(reader.sizeBytes - 3 * SECTOR, 2 * SECTOR)
    header = footer.subarray(SECTOR)
    if (header.length < SECTOR || !header.subarray(0, 4).equals(VMDK_MAGIC)) {
      refuseImage('This VMDK file is cut off: its footer is missing.')
    }
    if (header.readBigUInt64LE(12) !== start.readBigUInt64LE(12)) {
      refuseImage('This VMDK image says two different sizes, in its header and in its footer.')
    }
  }
  const grainSectors = header.readBigUInt64LE(20)
  const entries = header.readUInt32LE(44)
  const powerOfTwo = (value: bigint) => value > 0n && (value & (value - 1n)) === 0n
  if (!powerOfTwo(grainSectors) || grainSectors < 1n || grainSectors > 4096n) {
    refuseImage('This VMDK image has an impossible grain size.')
  }
  if (entries === 0 || entries > 512) refuseImage('This VMDK image has grain tables of an impossible size.')
  const coveredBytes = Number(grainSectors) * SECTOR * entries
  const directoryBytes = Math.ceil(virtualSizeBytes / coveredBytes) * 4
  if (directoryBytes > MAX_GRAIN_DIRECTORY_BYTES) refuseImage('This VMDK image has an absurdly large grain directory.')
  const directory = header.readBigUInt64LE(56)
  if (!liesInside(reader, directory * BigInt(SECTOR), directoryBytes) || directory === 0n) {
    refuseImage('This VMDK image has its grain directory outside the file: the file is cut off or damaged.')
  }
  const compressed = (header.readUInt32LE(8) & FLAG_COMPRESSED) !== 0
  const algorithm = header.readUInt16LE(77)
  if (algorithm > 1 || (compressed && algorithm !== 1)) {
    refuseImage('This VMDK image is compressed in a way that this release does not know.')
  }
}

const CREATE_TYPE = /^createType\s*=\s*"([A-Za-z0-9_]{1,40})"\s*$/i
const PARENT_CID = /^parentCID\s*=\s*([0-9a-f]{1,8})\s*$/i
const EXTENT = /^(RW|RDONLY|NOACCESS)\s+([0-9]{1,20})\s+([A-Z0-9_]{1,20})(?:\s+"([^"]{0,1024})")?(?:\s+\S+)*\s*$/

/** @param area everything QEMU may look at @param ownBytes how much of it the header calls descriptor */
function checkDescriptor(area: Buffer, ownBytes: number): VmdkHeader['createType'] {
  // QEMU searches the text without regard to lines, so any mention counts.
  if (/parentFileNameHint/i.test(area.toString('latin1'))) {
    refuseImage(
      'This VMDK image is only a difference to another one (it names a parent), so it cannot stand alone. Export the whole disk.',
      'image_has_backing',
    )
  }
  const own = area.subarray(0, ownBytes)
  const end = own.indexOf(0)
  const lines = (end === -1 ? own : own.subarray(0, end)).toString('latin1').split('\n')
  if (lines.length > MAX_DESCRIPTOR_LINES) refuseImage('This VMDK image has an absurdly large descriptor.')
  if (!lines[0]?.startsWith('# Disk DescriptorFile')) refuseImage('This VMDK image has no readable descriptor.')
  let createType: string | null = null
  const extents: { type: string; name: string }[] = []
  for (const raw of lines) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const type = CREATE_TYPE.exec(line)?.[1]
    if (type !== undefined) {
      if (createType !== null) refuseImage('This VMDK image says twice of what type it is.')
      createType = type
    }
    const parent = PARENT_CID.exec(line)?.[1]
    if (parent !== undefined && Number.parseInt(parent, 16) !== 0xffffffff) {
      refuseImage('This VMDK image is only a difference to another one (it has a parent).', 'image_has_backing')
    }
    if (!/^(RW|RDONLY|NOACCESS)\b/.test(line)) continue
    const extent = EXTENT.exec(line)
    if (extent === null) refuseImage('This VMDK image has an extent that cannot be read.')
    extents.push({ type: extent[3] ?? '', name: extent[4] ?? '' })
  }
  if (createType !== 'monolithicSparse' && createType !== 'streamOptimized') {
    refuseImage(
      `This VMDK image is of the type ${createType ?? 'unknown'}, whose data lie in other files. Export it as one file (monolithicSparse or streamOptimized).`,
      'unsupported_format',
    )
  }
  const [extent] = extents
  if (extents.length !== 1 || extent?.type !== 'SPARSE' || /[/\\:]/.test(extent.name)) {
    refuseImage(
      'This VMDK image names data outside of itself, and a path in an image is never followed. Export it as one file (streamOptimized).',
      'image_has_backing',
    )
  }
  return createType
}
