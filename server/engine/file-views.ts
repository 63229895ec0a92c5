/** How parts of a disk and what lies on them are shown. Pure, but for asking a node for what it knows. */
import { type DiskFile, type DiskPart, VOLUMES_FROM } from '#lib/schema/disk-files.ts'
import { nameToStep, shownText } from '#server/filesystems/names.ts'
import type { Part } from '#server/filesystems/parts.ts'
import type { FsName } from '#server/filesystems/recognise.ts'
import { type FsEntry, type FsNode, type NodeType, Unreadable } from '#server/filesystems/types.ts'
import type { FoundVolume } from '#server/small-system/files/reader.ts'

const MAX_SHOWN_TARGET = 4096

const NAMES: Readonly<Record<FsName, string>> = {
  ext: 'ext',
  fat: 'FAT',
  iso9660: 'ISO 9660',
  xfs: 'XFS',
  btrfs: 'Btrfs',
  ntfs: 'NTFS',
  exfat: 'exFAT',
  lvm: 'LVM',
  luks: 'LUKS',
  swap: 'swap',
  squashfs: 'SquashFS',
  ufs: 'UFS',
  f2fs: 'F2FS',
  bitlocker: 'BitLocker',
}

/** What libguestfs's small system opens, with what its kernel is told. */
const HELPED: ReadonlySet<FsName> = new Set(['xfs', 'btrfs', 'ntfs', 'exfat', 'f2fs', 'squashfs', 'lvm'])

export interface ShownPart {
  readonly view: DiskPart
  /** With a reader of our own. */
  readonly root: FsNode | null
  /** Where the small system finds it; null: it does not read it. */
  readonly helped: { readonly device: string; readonly type: string } | null
  /** It holds logical volumes, and no files itself. */
  readonly isLvm: boolean
}

/** @param obstacle why libguestfs cannot be used here; null: it can */
export function shownPart(part: Part, obstacle: string | null): ShownPart {
  const { number, name, fs } = part
  const kind = fs === null || fs.kind === 'fat' || fs.kind === 'iso9660' ? name : null
  const canHelp = fs === null && part.problem === null && name !== null && HELPED.has(name)
  const isHelped = canHelp && obstacle === null
  return {
    view: {
      number,
      fileSystem: kind === null ? (fs?.kind ?? null) : NAMES[kind],
      label: fs?.label == null ? null : shownText(fs.label, 64),
      sizeBytes: part.bytes.sizeBytes,
      isHelped,
      problem: isHelped ? null : problemOf(part, canHelp ? obstacle : null),
    },
    root: fs?.root ?? null,
    // The disk is the only one there; it counts partitions as the table does.
    helped: isHelped ? { device: `/dev/sda${number === 0 ? '' : number}`, type: name } : null,
    isLvm: isHelped && name === 'lvm',
  }
}

/** Why the files of a part cannot be shown, and what to do. */
function problemOf({ fs, name, problem }: Part, obstacle: string | null): string | null {
  if (fs !== null) return null
  if (problem !== null) return problem
  if (name === null) return 'Nothing on it is a file system that is known here.'
  if (obstacle !== null)
    return `${NAMES[name]} is not read here without libguestfs. ${obstacle} Or start the guest, or attach the disk to another VM, to read it.`
  return (
    hopeless(name) ?? `${NAMES[name]} is not read here. Start the guest, or attach the disk to another VM, to read it.`
  )
}

function hopeless(name: FsName): string | null {
  if (name === 'swap') return 'Swap holds no files.'
  return name === 'luks' || name === 'bitlocker' ? 'It is encrypted. Start the guest to read it.' : null
}

/** As libguestfs calls what it finds in a logical volume; of others only the name is shown. */
const FOUND: ReadonlyMap<string, { readonly name: string; readonly problem: string | null }> = new Map([
  ...['ext2', 'ext3', 'ext4'].map((kind) => [kind, { name: kind, problem: null }] as const),
  ['vfat', { name: NAMES.fat, problem: null }],
  ...(['xfs', 'btrfs', 'ntfs', 'exfat', 'f2fs', 'squashfs', 'iso9660'] as const).map(
    (kind) => [kind, { name: NAMES[kind], problem: null }] as const,
  ),
  ['swap', { name: NAMES.swap, problem: hopeless('swap') }],
  ['crypto_LUKS', { name: NAMES.luks, problem: hopeless('luks') }],
  ['BitLocker', { name: NAMES.bitlocker, problem: hopeless('bitlocker') }],
])

/** @param index among the logical volumes, from 0 */
export function shownVolume({ device, type, label, sizeBytes }: FoundVolume, index: number): ShownPart {
  const known = FOUND.get(type)
  const problem = known === undefined ? 'Nothing on it is a file system that is known here.' : known.problem
  return {
    view: {
      number: VOLUMES_FROM + 1 + index,
      fileSystem: known?.name ?? null,
      label: shownText([device.replace(/^\/dev\//, ''), label].filter((text) => text !== '').join(' · '), 160),
      sizeBytes,
      ...{ isHelped: true, problem },
    },
    root: null,
    helped: problem === null ? { device, type } : null,
    isLvm: false,
  }
}

export async function viewEntry(entry: FsEntry, parent: string): Promise<DiskFile> {
  const shown = { name: shownText(entry.name), path: `${parent === '/' ? '' : parent}/${nameToStep(entry.name)}` }
  try {
    const node = await entry.open()
    const target = node.type === 'symlink' ? shownText(await node.target(), MAX_SHOWN_TARGET) : null
    return {
      ...shown,
      type: node.type,
      sizeBytes: node.type === 'file' ? node.sizeBytes : null,
      modifiedAt: instantOf(node.modifiedMs),
      mode: node.mode === null ? null : modeText(node.mode, node.type),
      target,
      problem: null,
    }
  } catch (error) {
    if (!(error instanceof Unreadable || error instanceof RangeError)) throw error
    const problem = error instanceof Unreadable ? error.message : 'It is damaged.'
    return { ...shown, type: 'other', sizeBytes: null, modifiedAt: null, mode: null, target: null, problem }
  }
}

const MAX_MS = 8.64e15
const instantOf = (ms: number | null): string | null =>
  ms === null || Math.abs(ms) > MAX_MS || ms < 0 ? null : new Date(ms).toISOString()

/** `rwxr-sr-x`, as `ls` writes it. */
function modeText(mode: number, type: NodeType): string {
  const bit = (mask: number, letter: string) => ((mode & mask) !== 0 ? letter : '-')
  const run = (mask: number, special: number, letter: string) =>
    (mode & special) !== 0 ? ((mode & mask) !== 0 ? letter : letter.toUpperCase()) : bit(mask, 'x')
  const kind = { file: '-', directory: 'd', symlink: 'l', other: '?' }[type]
  return [
    ...[kind, bit(0o400, 'r'), bit(0o200, 'w'), run(0o100, 0o4000, 's')],
    ...[bit(0o40, 'r'), bit(0o20, 'w'), run(0o10, 0o2000, 's')],
    ...[bit(0o4, 'r'), bit(0o2, 'w'), run(0o1, 0o1000, 't')],
  ].join('')
}
