/**
 * Where a file is in a running QEMU's block graph. Node names are fixed at launch, but overlays put on top since then
 * have names of their own, so nodes are found by what is asked of QEMU, never by what they were called.
 * QEMU: qapi/block-core.json (query-named-block-nodes, query-block).
 */
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import type { GuestWork } from '../work.ts'

const Nodes = z.array(
  z.object({
    'node-name': z.string(),
    drv: z.string(),
    file: z.string(),
    ro: z.boolean(),
    image: z.object({ 'virtual-size': z.coerce.number() }).optional(),
    'dirty-bitmaps': z
      .array(
        z.object({
          name: z.string().optional(),
          count: z.coerce.number(),
          granularity: z.coerce.number(),
          recording: z.boolean(),
          busy: z.boolean(),
          persistent: z.boolean(),
          inconsistent: z.boolean().optional(),
        }),
      )
      .optional(),
  }),
)
export type BlockNode = z.output<typeof Nodes>[number]

const Blocks = z.array(
  z.object({
    device: z.string(),
    qdev: z.string().optional(),
    'io-status': z.string().optional(),
    inserted: z
      .object({
        'node-name': z.string().optional(),
        file: z.string(),
        image: z.object({ filename: z.string() }).optional(),
      })
      .optional(),
  }),
)

/** Every node, flat: without `flat` the answer repeats the whole chain for each node. @throws QmpError */
export async function listNodes(work: GuestWork): Promise<BlockNode[]> {
  return Nodes.parse(await work.ask('query-named-block-nodes', { flat: true }))
}

/**
 * The node that gives a file its format. Every file node is called after it, with an `f` behind (`spec/ids.ts`,
 * `overlayNode` of snapshots); its name in QEMU's list is the only one that is surely a plain path.
 */
export function formatNodeOf(
  nodes: readonly Pick<BlockNode, 'node-name' | 'drv' | 'file'>[],
  path: string,
): string | null {
  const file = nodes.find((node) => node.file === path && ['file', 'host_device'].includes(node.drv))
  if (file === undefined || !/\.?f$/.test(file['node-name'])) return null
  const name = file['node-name'].replace(/\.?f$/, '')
  return nodes.some((node) => node['node-name'] === name && node.drv !== 'file') ? name : null
}

/** The format node that has the file open directly; null when none has. Pure. */
function nodeOfFile(nodes: readonly BlockNode[], path: string): BlockNode | null {
  const name = formatNodeOf(nodes, path)
  return nodes.find((node) => node['node-name'] === name) ?? null
}

/** @throws EngineError conflict when QEMU does not have the file open; QmpError */
export async function findNode(work: GuestWork, path: string, name: string): Promise<BlockNode> {
  const node = nodeOfFile(await listNodes(work), path)
  if (node === null)
    throw new EngineError('conflict', `The running guest does not have the file of “${name}” open that is on record.`)
  return node
}

/** The node a guest's device reads and writes, filters included; null when the device has none. @throws QmpError */
export async function rootNodeOf(work: GuestWork, deviceId: string): Promise<string | null> {
  const blocks = Blocks.parse(await work.ask('query-block'))
  const found = blocks.find(
    ({ qdev }) =>
      qdev === deviceId ||
      qdev === `/machine/peripheral/${deviceId}` ||
      qdev?.startsWith(`/machine/peripheral/${deviceId}/`) === true,
  )
  return found?.inserted?.['node-name'] ?? null
}

/** QOM path QEMU knows a device's drive by, as `block_set_io_throttle` and others want it; null: none. @throws QmpError */
export async function driveOf(work: GuestWork, deviceId: string): Promise<string | null> {
  const blocks = Blocks.parse(await work.ask('query-block'))
  return (
    blocks.find(({ qdev }) => qdev === deviceId || qdev?.includes(`/${deviceId}/`) || qdev?.endsWith(`/${deviceId}`))
      ?.qdev ?? null
  )
}

/**
 * Whether the guest's device reads and writes this file, through whatever filters: of a filter QEMU tells the files below
 * as one `json:` name. @throws QmpError
 */
export async function isReadBy(work: GuestWork, deviceId: string, path: string): Promise<boolean> {
  const blocks = Blocks.parse(await work.ask('query-block'))
  const inserted = blocks.find(
    ({ qdev }) => qdev === deviceId || qdev?.split('/').includes(deviceId) === true,
  )?.inserted
  return [inserted?.file, inserted?.image?.filename].some((name) => name !== undefined && filesIn(name).includes(path))
}

/** Every file that a name of QEMU's block layer holds. Pure. */
export function filesIn(name: string): string[] {
  if (!name.startsWith('json:')) return [name]
  const found: string[] = []
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'filename' && typeof inner === 'string') found.push(inner)
      else look(inner)
    }
  }
  try {
    look(JSON.parse(name.slice('json:'.length)))
  } catch {
    // Cut off by QEMU at 4,096 characters.
  }
  return found
}
