/**
 * Reads a qcow2 header without QEMU and refuses what could reach outside the file or exhaust whoever opens it.
 * Source: QEMU docs/interop/qcow2.txt. Big-endian throughout.
 */
import { type BoundedReader, checkVirtualSize, refuseImage } from './reader.ts'

export const QCOW2_MAGIC = 0x514649fb

/** QCOW_MAX_L1_SIZE in QEMU's block/qcow2.h is 32 MiB. */
const MAX_L1_BYTES = 32 * 2 ** 20
/** QCOW_MAX_REFTABLE_SIZE in QEMU's block/qcow2.h. */
const MAX_REFTABLE_BYTES = 8 * 2 ** 20
/** QCOW_MAX_SNAPSHOTS is 65536; nobody needs a library image with more than these. */
const MAX_SNAPSHOTS = 256
const MAX_EXTENSIONS = 32

/** Bits of incompatible_features. */
const FEATURE_DIRTY = 1n << 0n
const FEATURE_CORRUPT = 1n << 1n
const FEATURE_DATA_FILE = 1n << 2n
const FEATURE_COMPRESSION = 1n << 3n
const FEATURE_EXTENDED_L2 = 1n << 4n
const KNOWN_FEATURES = FEATURE_DIRTY | FEATURE_CORRUPT | FEATURE_DATA_FILE | FEATURE_COMPRESSION | FEATURE_EXTENDED_L2

const EXT_END = 0
const EXT_BACKING_FORMAT = 0xe2792aca
const EXT_CRYPTO = 0x0537be77
const EXT_DATA_FILE = 0x44415441

export interface Qcow2Header {
  readonly version: 2 | 3
  readonly virtualSizeBytes: number
  readonly clusterBits: number
  readonly snapshots: number
}

/**
 * @param reader positioned on a file that begins with QCOW2_MAGIC
 * @throws EngineError image_refused naming what is wrong and how to mend it
 */
export async function inspectQcow2(reader: BoundedReader): Promise<Qcow2Header> {
  const header = await reader.read(0, 4096)
  if (header.length < 72) refuseImage('This qcow2 file is cut off: its header is incomplete.')
  const version = header.readUInt32BE(4)
  if (version === 1)
    refuseImage(
      'This is a qcow version 1 image, a format QEMU no longer supports safely. Convert it to qcow2 first.',
      'unsupported_format',
    )
  if (version !== 2 && version !== 3) refuseImage(`This qcow2 image says version ${version}; only 2 and 3 exist.`)

  const backingOffset = header.readBigUInt64BE(8)
  const backingLength = header.readUInt32BE(16)
  if (backingOffset !== 0n || backingLength !== 0) {
    refuseImage(
      'This qcow2 image is only a difference to another file (it has a backing file), so it cannot stand alone. Flatten it first: qemu-img convert -O qcow2 IN OUT.',
      'image_has_backing',
    )
  }

  const clusterBits = header.readUInt32BE(20)
  if (clusterBits < 9 || clusterBits > 21)
    refuseImage(`This qcow2 image has an impossible cluster size (2^${clusterBits}).`)
  const clusterBytes = 2 ** clusterBits
  const virtualSizeBytes = checkVirtualSize('This qcow2 image', header.readBigUInt64BE(24))

  if (header.readUInt32BE(32) !== 0) refuseImage('This qcow2 image is encrypted. Decrypt it first: qemu-img convert.')

  let features = 0n
  let headerLength = 72
  if (version === 3) {
    if (header.length < 104) refuseImage('This qcow2 file is cut off: its header is incomplete.')
    features = header.readBigUInt64BE(72)
    const refcountOrder = header.readUInt32BE(96)
    headerLength = header.readUInt32BE(100)
    if (refcountOrder > 6) refuseImage('This qcow2 image has an impossible reference-count width.')
    if (headerLength < 104 || headerLength > 4096 || headerLength % 8 !== 0) {
      refuseImage('This qcow2 image has an impossible header length.')
    }
  }
  if ((features & FEATURE_DATA_FILE) !== 0n) {
    refuseImage(
      'This qcow2 image keeps its data in another file (data-file), so it cannot stand alone. Flatten it first: qemu-img convert -O qcow2 IN OUT.',
      'image_has_backing',
    )
  }
  if ((features & FEATURE_CORRUPT) !== 0n)
    refuseImage('This qcow2 image is marked corrupt. Repair it first: qemu-img check -r all.')
  if ((features & FEATURE_DIRTY) !== 0n) {
    refuseImage('This qcow2 image was not closed properly. Repair it first: qemu-img check -r all.')
  }
  if ((features & ~KNOWN_FEATURES) !== 0n)
    refuseImage('This qcow2 image needs features that this release does not know.')

  // Byte 104 says how clusters are compressed, once the header is long enough to hold it: 0 deflate, 1 zstd.
  const compression = version === 3 && headerLength > 104 ? (header[104] ?? 0) : 0
  if (compression > 1) refuseImage('This qcow2 image is compressed in a way that this release does not know.')

  checkTables(reader, header, { clusterBits, virtualSizeBytes, extendedL2: (features & FEATURE_EXTENDED_L2) !== 0n })
  const snapshots = header.readUInt32BE(60)
  if (snapshots > MAX_SNAPSHOTS)
    refuseImage(`This qcow2 image has ${snapshots} internal snapshots; at most ${MAX_SNAPSHOTS} are accepted.`)
  if (snapshots > 0) {
    const offset = header.readBigUInt64BE(64)
    if (offset % BigInt(clusterBytes) !== 0n || offset >= BigInt(reader.sizeBytes) || offset === 0n) {
      refuseImage('This qcow2 image has a snapshot table outside the file.')
    }
  }

  await checkExtensions(reader, headerLength, clusterBytes)
  return { version, virtualSizeBytes, clusterBits, snapshots }
}

function checkTables(
  reader: BoundedReader,
  header: Buffer,
  facts: { clusterBits: number; virtualSizeBytes: number; extendedL2: boolean },
): void {
  const clusterBytes = 2 ** facts.clusterBits
  const l1Entries = header.readUInt32BE(36)
  const l1Offset = header.readBigUInt64BE(40)
  const refTableOffset = header.readBigUInt64BE(48)
  const refTableClusters = header.readUInt32BE(56)
  const l2Entries = clusterBytes / (facts.extendedL2 ? 16 : 8)
  const l1Needed = Math.ceil(facts.virtualSizeBytes / (clusterBytes * l2Entries))
  if (l1Entries * 8 > MAX_L1_BYTES) refuseImage('This qcow2 image has an absurdly large L1 table.')
  if (l1Entries < l1Needed) refuseImage('This qcow2 image has an L1 table too small for its size.')
  if (refTableClusters === 0 || refTableClusters * clusterBytes > MAX_REFTABLE_BYTES) {
    refuseImage('This qcow2 image has an impossible reference-count table.')
  }
  const aligned = (offset: bigint) => offset % BigInt(clusterBytes) === 0n
  const inside = (offset: bigint, bytes: number) =>
    offset >= BigInt(clusterBytes) && offset + BigInt(bytes) <= BigInt(reader.sizeBytes)
  if (l1Entries > 0 && (!aligned(l1Offset) || !inside(l1Offset, l1Entries * 8))) {
    refuseImage('This qcow2 image has an L1 table outside the file: the file is cut off or damaged.')
  }
  if (!aligned(refTableOffset) || !inside(refTableOffset, refTableClusters * clusterBytes)) {
    refuseImage('This qcow2 image has a reference-count table outside the file: the file is cut off or damaged.')
  }
}

async function checkExtensions(reader: BoundedReader, start: number, clusterBytes: number): Promise<void> {
  let offset = start
  // Version 2 images with no extension area have zeros or the L1 table's padding here, which reads as the end mark.
  for (let count = 0; count < MAX_EXTENSIONS; count++) {
    if (offset + 8 > clusterBytes) return
    const head = await reader.read(offset, 8)
    if (head.length < 8) return
    const type = head.readUInt32BE(0)
    const length = head.readUInt32BE(4)
    if (type === EXT_END) return
    if (offset + 8 + length > clusterBytes)
      refuseImage('This qcow2 image has a header extension that runs past its header.')
    if (type === EXT_BACKING_FORMAT)
      refuseImage(
        'This qcow2 image names a backing format, so it is a difference to another file. Flatten it first.',
        'image_has_backing',
      )
    if (type === EXT_DATA_FILE)
      refuseImage('This qcow2 image keeps its data in another file (data-file). Flatten it first.', 'image_has_backing')
    if (type === EXT_CRYPTO) refuseImage('This qcow2 image is encrypted. Decrypt it first.')
    offset += 8 + Math.ceil(length / 8) * 8
  }
  refuseImage('This qcow2 image has too many header extensions.')
}
