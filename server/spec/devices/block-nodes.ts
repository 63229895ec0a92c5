/**
 * Block nodes: the files of a drive as QEMU opens them.
 * QEMU: docs/system/qemu-block-drivers.rst.inc, qapi/block-core.json (BlockdevOptions), block.c (bdrv_open_inherit).
 */
import type { Drive } from '#lib/schema/vm-spec.ts'
import { fileNode, formatNode } from '../ids.ts'
import type { Json } from '../option.ts'
import type { ResolvedDrive } from '../types.ts'

type Disk = Extract<Drive, { device: 'disk' }>
type Node = Readonly<Record<string, Json>>

interface NodeOptions {
  /** Of the topmost format node only. */
  readonly top: Node
  /** Of every format node and every file below. */
  readonly everywhere: Node
  /** Of every file. */
  readonly files: Node
  /** What a file that may be written does with freed space. */
  readonly discard: Disk['discard']
  readonly readOnly: boolean
}

/**
 * The whole chain as nested nodes, each with its format named and the last one's backing file switched off:
 * QEMU never guesses a format and never follows a name written inside an image, which the guest may have forged.
 */
function chainNode(deviceId: string, chain: ResolvedDrive['chain'], depth: number, options: NodeOptions): Node {
  const layer = chain[depth]
  if (layer === undefined) throw new Error(`drive ${deviceId} has no layer ${depth}`)
  const readOnly = layer.readOnly || options.readOnly
  const below = depth + 1 < chain.length ? chainNode(deviceId, chain, depth + 1, { ...options, top: {} }) : null
  return {
    driver: layer.format,
    'node-name': formatNode(deviceId, depth),
    'read-only': readOnly,
    ...options.top,
    ...options.everywhere,
    ...(layer.format === 'qcow2' ? { backing: below } : {}),
    file: {
      driver: 'file',
      'node-name': fileNode(deviceId, depth),
      filename: layer.path,
      // Left to follow its format node where that may be opened for writing some day, when a snapshot is merged into it:
      // what is said of the file itself stands for ever (block.c, bdrv_reopen_queue_child).
      ...(readOnly && layer.canMerge === true && !options.readOnly ? {} : { 'read-only': readOnly }),
      locking: 'on',
      ...(readOnly ? {} : { discard: options.discard }),
      ...options.everywhere,
      ...options.files,
    },
  }
}

export interface CacheMode {
  /** Bypass the host's page cache (O_DIRECT). */
  readonly direct: boolean
  /** Drop the guest's flushes. */
  readonly noFlush: boolean
  /** Whether the guest is told that the disk has a write cache, so that it flushes. */
  readonly writeCache: boolean
}

/** QEMU's names for combinations of three switches: qemu-options.hx, `-drive cache=`. */
export const CACHE_MODES: Readonly<Record<Disk['cache'], CacheMode>> = {
  writeback: { direct: false, noFlush: false, writeCache: true },
  none: { direct: true, noFlush: false, writeCache: true },
  writethrough: { direct: false, noFlush: false, writeCache: false },
  directsync: { direct: true, noFlush: false, writeCache: false },
  unsafe: { direct: false, noFlush: true, writeCache: true },
}

/** Value of the `-blockdev` that opens a disk's chain; its node is `formatNode(id, 0)`. */
export function diskNode(disk: Disk, drive: ResolvedDrive): Node {
  const { direct, noFlush } = CACHE_MODES[disk.cache]
  return chainNode(disk.id, drive.chain, 0, {
    top: { discard: disk.discard, 'detect-zeroes': disk.detectZeroes },
    // QEMU's own values are not spelled out.
    everywhere: direct || noFlush ? { cache: { direct, 'no-flush': noFlush } } : {},
    files: disk.aio === 'threads' ? {} : { aio: disk.aio },
    discard: disk.discard,
    readOnly: disk.readOnly,
  })
}

/** Value of the `-blockdev` that opens the medium of a CD drive. */
export function mediumNode(cdromId: string, drive: ResolvedDrive): Node {
  return chainNode(cdromId, drive.chain, 0, { top: {}, everywhere: {}, files: {}, discard: 'unmap', readOnly: true })
}
