/**
 * Reads the footer of a VHD (Virtual PC) disk: fixed and dynamic ones; a differencing one names a parent by path.
 * Source: QEMU's block/vpc.c and Microsoft's "Virtual Hard Disk Image Format Specification". Big-endian throughout.
 */
import { type BoundedReader, checkVirtualSize, liesInside, refuseImage } from '../reader.ts'

const FOOTER_BYTES = 512
export const VHD_MAGIC = Buffer.from('conectix', 'latin1')
const SPARSE_MAGIC = Buffer.from('cxsparse', 'latin1')
const TYPE_FIXED = 2
const TYPE_DYNAMIC = 3
const TYPE_DIFFERENCE = 4
/** The format ends here: QEMU's VPC_MAX_SECTORS. */
const MAX_BYTES = 2040 * 2 ** 30

/** @throws EngineError image_refused, image_has_backing */
export async function inspectVhd(reader: BoundedReader): Promise<{ virtualSizeBytes: number }> {
  if (reader.sizeBytes < FOOTER_BYTES) refuseImage('This VHD file is cut off: its footer is incomplete.')
  const start = await reader.read(0, FOOTER_BYTES)
  const end = await reader.read(reader.sizeBytes - FOOTER_BYTES, FOOTER_BYTES)
  const isFooter = (candidate: Buffer) =>
    candidate.length === FOOTER_BYTES && candidate.subarray(0, VHD_MAGIC.length).equals(VHD_MAGIC)
  if (!isFooter(end)) refuseImage('This VHD file is cut off: its footer is missing.')
  const type = end.readUInt32BE(60)
  if (type === TYPE_DIFFERENCE) {
    refuseImage(
      'This VHD image is only a difference to another one, so it cannot stand alone. Merge it first (Merge-VHD).',
      'image_has_backing',
    )
  }
  if (end.readUInt32BE(12) >>> 16 !== 1) refuseImage('This VHD image has a version that is not known; only 1.x is.')
  const size = end.readBigUInt64BE(48)
  if (size > BigInt(MAX_BYTES)) refuseImage('This VHD image claims to be larger than 2040 GiB, the format’s limit.')
  const virtualSizeBytes = checkVirtualSize('This VHD image', size)
  if (type === TYPE_FIXED) {
    if (virtualSizeBytes > reader.sizeBytes - FOOTER_BYTES) {
      refuseImage('This VHD file is shorter than the disk it claims to hold: it is cut off.')
    }
    return { virtualSizeBytes }
  }
  if (type !== TYPE_DYNAMIC) refuseImage('This VHD image is of an unknown kind.')
  // QEMU reads the copy at the start: both must say the same.
  if (!isFooter(start) || start.readUInt32BE(60) !== type || start.readBigUInt64BE(48) !== size) {
    refuseImage('This VHD image says different things at its start and at its end: it is damaged.')
  }
  const at = start.readBigUInt64BE(16)
  if (at < BigInt(FOOTER_BYTES) || !liesInside(reader, at, 1024)) {
    refuseImage('This VHD image has its header outside the file: the file is cut off or damaged.')
  }
  const header = await reader.read(Number(at), 1024)
  if (header.length < 1024 || !header.subarray(0, SPARSE_MAGIC.length).equals(SPARSE_MAGIC)) {
    refuseImage('This VHD image has no readable header.')
  }
  const entries = header.readUInt32BE(28)
  const blockBytes = header.readUInt32BE(32)
  if (blockBytes < 4096 || blockBytes > 256 * 2 ** 20 || (blockBytes & (blockBytes - 1)) !== 0) {
    refuseImage('This VHD image has an impossible block size.')
  }
  if (entries < Math.ceil(virtualSizeBytes / blockBytes)) {
    refuseImage('This VHD image has a block table too small for its size.')
  }
  if (!liesInside(reader, header.readBigUInt64BE(16), entries * 4)) {
    refuseImage('This VHD image has its block table outside the file: the file is cut off or damaged.')
  }
  return { virtualSizeBytes }
}
