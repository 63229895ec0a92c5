/**
 * Bells on disk files: QEMU tells of the first write past an offset (BLOCK_WRITE_THRESHOLD), then forgets it.
 * QEMU: qapi/block-core.json (block-set-write-threshold), block/write-threshold.c: it looks at writes to the node it was
 * asked about, so of a qcow2 file the protocol node has to be named, whose offsets grow as clusters are taken.
 */
import * as z from 'zod'
import type { GuestWork } from '../work.ts'

export const THRESHOLD_EVENT = 'BLOCK_WRITE_THRESHOLD'

const Nodes = z.array(
  z.object({
    'node-name': z.string(),
    drv: z.string(),
    file: z.string(),
    write_threshold: z.coerce.number(),
    image: z.object({ 'virtual-size': z.coerce.number(), 'actual-size': z.coerce.number().default(0) }),
  }),
)

/** A file as QEMU has it open. */
export interface OpenFile {
  readonly node: string
  readonly path: string
  readonly lengthBytes: number
  readonly allocatedBytes: number
  /** 0: none. */
  readonly threshold: number
}

/** Files that QEMU has open, by path. @throws QmpError */
export async function openFiles(work: GuestWork): Promise<Map<string, OpenFile>> {
  const nodes = Nodes.parse(await work.ask('query-named-block-nodes', { flat: true }))
  return new Map(
    nodes
      .filter(({ drv }) => drv === 'file')
      .map((node) => [
        node.file,
        {
          node: node['node-name'],
          path: node.file,
          lengthBytes: node.image['virtual-size'],
          allocatedBytes: node.image['actual-size'],
          threshold: node.write_threshold,
        },
      ]),
  )
}

/** @param bytes 0 takes it away @throws QmpError */
export async function setThreshold(work: GuestWork, node: string, bytes: number): Promise<void> {
  await work.ask('block-set-write-threshold', { 'node-name': node, 'write-threshold': bytes })
}
