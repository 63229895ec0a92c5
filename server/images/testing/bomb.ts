/** For tests: a qcow2 whose L1 entries all lead to one L2 table, whose entries all lead to one compressed cluster. */
import { readFileSync, writeFileSync } from 'node:fs'
import { qemuImg, rawDisk } from './forge.ts'

const CLUSTER = 65_536
const ENTRIES = CLUSTER / 8
const GiB = 2 ** 30

/** @param seed scratch file @param gib what it unpacks to */
export function forgeL2Bomb(path: string, seed: string, gib: number): void {
  writeFileSync(seed, rawDisk(2 * CLUSTER).fill('bomb ', 1024))
  qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', seed, path)
  const image = readFileSync(path)
  const l1 = Number(image.readBigUInt64BE(40))
  const first = image.readBigUInt64BE(l1)
  const l2 = Number(first & 0x00ff_ffff_ffff_fe00n)
  const cluster = image.readBigUInt64BE(l2 + 8)
  for (let index = 0; index < ENTRIES; index++) image.writeBigUInt64BE(cluster, l2 + index * 8)
  const l1Entries = (gib * GiB) / (CLUSTER * ENTRIES)
  for (let index = 0; index < l1Entries; index++) image.writeBigUInt64BE(first, l1 + index * 8)
  image.writeBigUInt64BE(BigInt(gib * GiB), 24)
  image.writeUInt32BE(l1Entries, 36)
  writeFileSync(path, image)
}
