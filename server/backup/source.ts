/**
 * What a backup is made of: the disks of one VM as a QEMU has them open. A guest that runs has its own QEMU; for one
 * that is off the block tool opens them, with the rights of that guest.
 */
import type { ChildUser } from '#server/platform/child.ts'
import type { ChainLink } from '#server/storage/volume-types.ts'
import { type BlockMonitor, type BlockNode, nodesByFile, tell } from './block-jobs.ts'
import { withBlockTool } from './block-tool.ts'

/** One disk (or the UEFI variables) to be copied. */
export interface SourcePart {
  /** Device in the definition; null: the UEFI variables. */
  readonly device: string | null
  /** Top first; the first is what is written by the guest. */
  readonly chain: readonly Pick<ChainLink, 'path' | 'format'>[]
}

export interface OpenPart extends SourcePart {
  readonly node: BlockNode
  /** Only a qcow2 file can keep a dirty bitmap. */
  readonly canKeepBitmap: boolean
}

export interface OpenSource {
  readonly monitor: BlockMonitor
  /** User that writes the files of the backup; null: the dashboard's. */
  readonly writer: ChildUser | null
  readonly parts: readonly OpenPart[]
  readonly running: boolean
  /** Socket of the guest agent, where one is there. */
  readonly agent: string | null
}

/** The parts whose file the QEMU has open. Those it does not have are left out. */
export async function openParts(monitor: BlockMonitor, parts: readonly SourcePart[]): Promise<OpenPart[]> {
  const nodes = await nodesByFile(monitor)
  return parts.flatMap((part) => {
    const head = part.chain[0]
    const node = head === undefined ? undefined : nodes.get(head.path)
    return node === undefined || head === undefined
      ? []
      : [{ ...part, node, canKeepBitmap: head.format === 'qcow2' && part.device !== null }]
  })
}

/** Opens the disks of a guest that is off: the head for writing, as its dirty bitmaps lie in it. */
export async function withDisksOfOffGuest<T>(
  options: { binary: string; user: ChildUser | null; parts: readonly SourcePart[]; signal: AbortSignal },
  use: (source: OpenSource) => Promise<T>,
): Promise<T> {
  const { binary, user, parts, signal } = options
  return await withBlockTool({ binary, confinement: { kind: 'asGuest', user }, signal }, async (qmp) => {
    for (const [index, part] of parts.entries()) {
      await tell(qmp, 'Opening the disks', 'blockdev-add', headNode(`s${index}`, part.chain))
    }
    return await use({ monitor: qmp, writer: user, parts: await openParts(qmp, parts), running: false, agent: null })
  })
}

type Node = { [key: string]: string | boolean | null | Node }

function headNode(name: string, chain: SourcePart['chain']): Node {
  const build = (depth: number): Node => {
    const file = chain[depth]
    if (file === undefined) throw new Error('a disk without a file')
    return {
      driver: file.format,
      'node-name': depth === 0 ? name : `${name}-${depth}`,
      'read-only': depth > 0,
      ...(file.format === 'qcow2' && { backing: depth + 1 < chain.length ? build(depth + 1) : null }),
      file: { driver: 'file', filename: file.path, 'read-only': depth > 0, locking: 'on' },
    }
  }
  return build(0)
}
