/**
 * Which disks stopped a guest (`werror=stop`). QEMU keeps that with each device until it is let go on, so it can be
 * asked after the events of it were missed; why a write failed only the event says.
 * QEMU: qapi/block-core.json (BlockDeviceIoStatus, BLOCK_IO_ERROR); only ENOSPC counts as `nospace`, block/block-backend.c.
 */
import * as z from 'zod'
import type { QmpEvent } from '#server/qmp/types.ts'
import type { GuestWork } from '../work.ts'

const Blocks = z.array(
  z.object({
    qdev: z.string().optional(),
    'io-status': z.enum(['ok', 'failed', 'nospace']).optional(),
    inserted: z.object({ 'node-name': z.string().optional() }).optional(),
  }),
)

const IoError = z.object({
  'node-name': z.string().optional(),
  nospace: z.boolean().optional(),
  reason: z.string().optional(),
  action: z.string(),
})

/** `room`: no space left. `limit`: a quota, or the largest size a file may have. `other`: the device itself failed. */
export type StopCause = 'room' | 'limit' | 'other'

/** An event that stopped the guest: the node and the cause; null for any other. */
export function stopOf({ event, data }: QmpEvent): { readonly node: string; readonly cause: StopCause } | null {
  if (event !== 'BLOCK_IO_ERROR') return null
  const parsed = IoError.safeParse(data)
  if (!parsed.success || parsed.data.action !== 'stop') return null
  const { nospace, reason = '', 'node-name': node = '' } = parsed.data
  // QEMU hands the words of strerror(3) on, always in English here: guests run with LANG=C.UTF-8.
  const isLimit = /quota exceeded|file too large/i.test(reason)
  return { node, cause: nospace === true ? 'room' : isLimit ? 'limit' : 'other' }
}

/** @param causes by node, as the events told; `known` what is on record of earlier ones, by device @throws QmpError */
export async function stoppedDisks(
  work: GuestWork,
  causes: ReadonlyMap<string, StopCause>,
  known: ReadonlyMap<string, StopCause>,
): Promise<{ readonly device: string; readonly cause: StopCause }[]> {
  const blocks = Blocks.parse(await work.ask('query-block'))
  const ids = new Set(work.spec?.disks.map(({ id }) => id))
  return blocks.flatMap(({ qdev = '', inserted, 'io-status': status = 'ok' }) => {
    if (status === 'ok') return []
    const device = qdev.split('/').find((part) => ids.has(part)) ?? qdev.split('/').at(-1) ?? ''
    const told = causes.get(inserted?.['node-name'] ?? '')
    return [{ device, cause: status === 'nospace' ? 'room' : (told ?? known.get(device) ?? 'other') }]
  })
}
