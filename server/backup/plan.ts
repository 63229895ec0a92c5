/** Which disks are copied whole and which by what changed. Pure. */
import type { BlockNode } from './block-jobs.ts'
import { backupOfBitmap, bitmapOf } from './layout.ts'
import type { Manifest } from './manifest.ts'

export interface DiskFacts {
  readonly device: string
  readonly node: Pick<BlockNode, 'virtualSizeBytes' | 'bitmaps'>
  readonly canKeepBitmap: boolean
}

/** A backup that a new one could stand on, newest first. */
export interface Candidate {
  readonly manifest: Pick<Manifest, 'id' | 'disks'>
  /** Backups from it down to its full one, itself included. */
  readonly chainLength: number
}

export interface DiskPlan {
  readonly device: string
  readonly kind: 'full' | 'incremental'
  /** What will be copied at most; for incremental ones what changed. */
  readonly changedBytes: number | null
}

export interface BackupPlan {
  readonly parent: string | null
  readonly disks: readonly DiskPlan[]
  /** Why it is a full one though there are earlier ones; null: it is not, or that was asked for. */
  readonly why: string | null
}

export function planBackup(
  disks: readonly DiskFacts[],
  candidates: readonly Candidate[],
  options: { readonly mode: 'auto' | 'full'; readonly fullEvery: number },
): BackupPlan {
  const full = (why: string | null): BackupPlan => ({
    parent: null,
    disks: disks.map(({ device }) => ({ device, kind: 'full', changedBytes: null })),
    why,
  })
  if (options.mode === 'full' || candidates.length === 0) return full(null)
  const usable = (disk: DiskFacts, candidate: Candidate) => {
    const bitmap = disk.node.bitmaps.find(({ name }) => name === bitmapOf(candidate.manifest.id))
    if (bitmap === undefined || !bitmap.usable || bitmap.busy || !disk.canKeepBitmap) return null
    const before = candidate.manifest.disks.find(({ device }) => device === disk.device)
    // One that has shrunk cannot be told as a difference.
    return before === undefined || before.virtualSizeBytes > disk.node.virtualSizeBytes ? null : bitmap
  }
  const parent = candidates.find((candidate) => disks.some((disk) => usable(disk, candidate) !== null))
  if (parent === undefined) return full(reasonOf(disks))
  if (parent.chainLength > options.fullEvery)
    return full(`${parent.chainLength - 1} incremental backups stand on the last full one, so a full one is made.`)
  return {
    parent: parent.manifest.id,
    disks: disks.map((disk) => {
      const bitmap = usable(disk, parent)
      return bitmap === null
        ? { device: disk.device, kind: 'full', changedBytes: null }
        : { device: disk.device, kind: 'incremental', changedBytes: bitmap.count }
    }),
    why: null,
  }
}

function reasonOf(disks: readonly DiskFacts[]): string {
  const bitmaps = disks.flatMap(({ node }) => node.bitmaps).filter(({ name }) => backupOfBitmap(name) !== null)
  if (bitmaps.some(({ usable }) => !usable))
    return 'QEMU ended without closing the disks, so what changed since the last backup is not known for certain: a full one is made.'
  if (disks.every(({ canKeepBitmap }) => !canKeepBitmap))
    return 'Raw disks cannot remember what changed: a full one is made.'
  return 'The disks do not remember what changed since an earlier backup here (a snapshot, a restore or a move came between): a full one is made.'
}

/** Bitmaps that no backup needs any more once `done` is there. @param isNeeded whether a backup of that id may yet be stood on */
export function staleBitmaps(
  node: Pick<BlockNode, 'bitmaps'>,
  done: string,
  isNeeded: (backupId: string) => boolean,
): string[] {
  return node.bitmaps
    .filter(({ name, busy }) => {
      const backup = backupOfBitmap(name)
      return backup !== null && backup !== done && !busy && !isNeeded(backup)
    })
    .map(({ name }) => name)
}
