/** How a VM's UEFI variables were made: beside them, because nothing in them says so in a way that is quick to read. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import * as z from 'zod'
import type { DataPaths } from '#server/paths.ts'
import type { DiskFormat } from './chain-node.ts'

const NvramOrigin = z.object({ secureBoot: z.boolean() })
export type NvramOrigin = z.output<typeof NvramOrigin>

/** The pristine variables that a VM gets a copy of. */
export interface NvramTemplate extends NvramOrigin {
  readonly path: string
  readonly format: DiskFormat
}

/** Null when unknown: made by an older release, or not made at all. */
export function readNvramOrigin(data: Pick<DataPaths, 'nvramOrigin'>, vmId: string): NvramOrigin | null {
  try {
    return NvramOrigin.parse(JSON.parse(readFileSync(data.nvramOrigin(vmId), 'utf8')))
  } catch {
    return null
  }
}

export async function writeNvramOrigin(data: Pick<DataPaths, 'nvramOrigin'>, vmId: string, origin: NvramOrigin) {
  await writeFile(data.nvramOrigin(vmId), JSON.stringify(origin), { mode: 0o600 })
}
