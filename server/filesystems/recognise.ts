/** Which file system begins here, by its marks alone, and one of our readers for those that have one. */
import { openExt } from './ext.ts'
import { looksLikeFat, openFat } from './fat.ts'
import { openIso } from './iso9660.ts'
import type { Bytes, FileSystem } from './types.ts'

/** What is told apart. Those that have no reader of ours are named, so that the page can say why they are not shown. */
export type FsName =
  | 'ext'
  | 'fat'
  | 'iso9660'
  | 'xfs'
  | 'btrfs'
  | 'ntfs'
  | 'exfat'
  | 'lvm'
  | 'luks'
  | 'swap'
  | 'squashfs'
  | 'ufs'
  | 'f2fs'
  | 'bitlocker'

const MARKS: readonly { name: FsName; at: number; mark: Buffer }[] = [
  { name: 'xfs', at: 0, mark: Buffer.from('XFSB') },
  { name: 'ntfs', at: 3, mark: Buffer.from('NTFS    ') },
  { name: 'exfat', at: 3, mark: Buffer.from('EXFAT   ') },
  { name: 'bitlocker', at: 3, mark: Buffer.from('-FVE-FS-') },
  { name: 'luks', at: 0, mark: Buffer.from('4c554b53babe', 'hex') },
  { name: 'squashfs', at: 0, mark: Buffer.from('hsqs') },
  { name: 'ext', at: 1080, mark: Buffer.from('53ef', 'hex') },
  { name: 'f2fs', at: 1024, mark: Buffer.from('1020f5f2', 'hex') },
  { name: 'swap', at: 4086, mark: Buffer.from('SWAPSPACE2') },
  { name: 'iso9660', at: 16 * 2048 + 1, mark: Buffer.from('CD001') },
  { name: 'btrfs', at: 65600, mark: Buffer.from('_BHRfS_M') },
  { name: 'ufs', at: 65536 + 1372, mark: Buffer.from('19015419', 'hex') },
]

/** @returns null: nothing that is known */
export async function recognise(bytes: Bytes): Promise<FsName | null> {
  for (const { name, at, mark } of MARKS) if ((await bytes.read(at, mark.length)).equals(mark)) return name
  const head = await bytes.read(0, 2048)
  // The label of a physical volume lies in one of the first four sectors.
  for (let at = 0; at + 8 <= head.length; at += 512)
    if (head.toString('latin1', at, at + 8) === 'LABELONE') return 'lvm'
  if (head.length >= 512 && looksLikeFat(head.subarray(0, 512))) return 'fat'
  return null
}

/** @returns null when there is no reader for what is there @throws Unreadable */
export async function openFileSystem(bytes: Bytes, name: FsName | null): Promise<FileSystem | null> {
  if (name === 'ext') return openExt(bytes)
  if (name === 'fat') return openFat(bytes)
  if (name === 'iso9660') return openIso(bytes)
  return null
}
