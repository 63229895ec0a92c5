/**
 * An empty qcow2 file, blank or over another file, written without a program: a clone of ten disks would else wait for
 * ten times a sandbox. What it holds is the least that QEMU reads: header, one refcount block, an L1 table of holes.
 * Source: QEMU docs/interop/qcow2.txt. Big-endian throughout.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { rootActs } from '#server/launcher/acts.ts'
import { guestFile } from '#server/launcher/shapes.ts'
import type { DiskFormat } from './chain-node.ts'

const CLUSTER = 65_536
const HEADER_BYTES = 104
const EXT_BACKING_FORMAT = 0xe2792aca
/** Bytes of the disk that one entry of the L1 table stands for. */
const L1_ENTRY_COVERS = (CLUSTER / 8) * CLUSTER
/** The standard allows no longer name of the file below. */
const NAME_MAX = 1023

const l1Entries = (sizeBytes: number) => Math.max(1, Math.ceil(sizeBytes / L1_ENTRY_COVERS))
const clusters = (sizeBytes: number) => 3 + Math.ceil((l1Entries(sizeBytes) * 8) / CLUSTER)

/** Length of a file that nothing was ever written to; the first write makes it longer. */
export const emptyQcow2Bytes = (sizeBytes: number): number => clusters(sizeBytes) * CLUSTER

/** Header, extensions and the name of the file below. Pure. */
export function emptyQcow2Header(
  sizeBytes: number,
  backing: { readonly path: string; readonly format: DiskFormat } | null,
): Buffer {
  const name = Buffer.from(backing?.path ?? '', 'utf8')
  if (name.length > NAME_MAX) throw new Error('the name of the file below is too long for qcow2')
  const format = Buffer.from(backing?.format ?? '', 'latin1')
  const extension = backing === null ? 0 : 8 + Math.ceil(format.length / 8) * 8
  const nameAt = HEADER_BYTES + extension + 8
  const header = Buffer.alloc(nameAt + name.length)
  header.write('QFI\xfb', 0, 'latin1')
  header.writeUInt32BE(3, 4)
  header.writeBigUInt64BE(BigInt(backing === null ? 0 : nameAt), 8)
  header.writeUInt32BE(name.length, 16)
  header.writeUInt32BE(16, 20)
  header.writeBigUInt64BE(BigInt(sizeBytes), 24)
  header.writeUInt32BE(l1Entries(sizeBytes), 36)
  header.writeBigUInt64BE(BigInt(3 * CLUSTER), 40)
  header.writeBigUInt64BE(BigInt(CLUSTER), 48)
  header.writeUInt32BE(1, 56)
  // Refcounts of 2^4 bits.
  header.writeUInt32BE(4, 96)
  header.writeUInt32BE(HEADER_BYTES, 100)
  if (backing !== null) {
    header.writeUInt32BE(EXT_BACKING_FORMAT, HEADER_BYTES)
    header.writeUInt32BE(format.length, HEADER_BYTES + 4)
    format.copy(header, HEADER_BYTES + 8)
  }
  name.copy(header, nameAt)
  return header
}

/**
 * Makes the file; it must not be there. On disk for good when this returns, its name when its directory is synchronised.
 * @param uid owner; null: the dashboard's user
 */
export async function writeEmptyQcow2(
  path: string,
  sizeBytes: number,
  backing: { readonly path: string; readonly format: DiskFormat } | null,
  uid: number | null,
): Promise<void> {
  const used = clusters(sizeBytes)
  const counts = Buffer.alloc(used * 2)
  for (let n = 0; n < used; n += 1) counts.writeUInt16BE(1, n * 2)
  const table = Buffer.alloc(8)
  table.writeBigUInt64BE(BigInt(2 * CLUSTER))
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
  try {
    await Promise.all([
      handle.write(emptyQcow2Header(sizeBytes, backing), 0, undefined, 0),
      handle.write(table, 0, undefined, CLUSTER),
      handle.write(counts, 0, undefined, 2 * CLUSTER),
      // No shorter than what is written, so it does not matter which is first.
      handle.truncate(used * CLUSTER),
    ])
  } finally {
    await handle.close()
  }
  await rootActs().own({ path, as: guestFile(uid), sync: true })
}
