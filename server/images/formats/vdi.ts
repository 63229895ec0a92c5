/**
 * Reads the header of a VirtualBox disk. Only the two kinds that stand alone are taken: dynamic and static.
 * Source: QEMU's block/vdi.c. Little-endian throughout.
 */
import { type BoundedReader, checkVirtualSize, liesInside, refuseImage } from '../reader.ts'

const HEADER_BYTES = 512
const BLOCK_BYTES = 2 ** 20
const TYPE_DYNAMIC = 1
const TYPE_STATIC = 2
const TYPE_UNDO = 3
const TYPE_DIFFERENCE = 4

/** @throws EngineError image_refused, image_has_backing */
export async function inspectVdi(reader: BoundedReader): Promise<{ virtualSizeBytes: number }> {
  const header = await reader.read(0, HEADER_BYTES)
  if (header.length < HEADER_BYTES) refuseImage('This VDI file is cut off: its header is incomplete.')
  const version = header.readUInt32LE(68)
  if (version !== 0x00010001) refuseImage('This VDI image has a version that is not known; only 1.1 is.')
  const type = header.readUInt32LE(76)
  const isNull = (offset: number) => header.subarray(offset, offset + 16).every((byte) => byte === 0)
  // The identities of the image it differs from, and of that one's last state.
  if (type === TYPE_DIFFERENCE || type === TYPE_UNDO || !isNull(424) || !isNull(440)) {
    refuseImage(
      'This VDI image is only a difference to another one, so it cannot stand alone. Copy the whole disk in VirtualBox first (clonemedium).',
      'image_has_backing',
    )
  }
  if (type !== TYPE_DYNAMIC && type !== TYPE_STATIC) refuseImage('This VDI image is of an unknown kind.')
  if (header.readUInt32LE(360) !== 512) refuseImage('This VDI image has sectors that are not 512 bytes large.')
  const virtualSizeBytes = checkVirtualSize('This VDI image', header.readBigUInt64LE(368))
  if (header.readUInt32LE(376) !== BLOCK_BYTES || header.readUInt32LE(380) !== 0) {
    refuseImage('This VDI image has blocks that are not 1 MiB large, which QEMU cannot read.')
  }
  const blocks = header.readUInt32LE(384)
  if (blocks < Math.ceil(virtualSizeBytes / BLOCK_BYTES)) {
    refuseImage('This VDI image has a block map too small for its size.')
  }
  if (header.readUInt32LE(388) > blocks) refuseImage('This VDI image claims more blocks in use than it has.')
  const mapAt = BigInt(header.readUInt32LE(340))
  if (mapAt < BigInt(HEADER_BYTES) || mapAt % 512n !== 0n || !liesInside(reader, mapAt, blocks * 4)) {
    refuseImage('This VDI image has its block map outside the file: the file is cut off or damaged.')
  }
  if (!liesInside(reader, BigInt(header.readUInt32LE(344)), 0)) {
    refuseImage('This VDI image has its data outside the file: the file is cut off or damaged.')
  }
  return { virtualSizeBytes }
}
