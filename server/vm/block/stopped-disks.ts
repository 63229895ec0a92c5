/**
 * Which disks stopped a guest (`werror=stop`): those that events told of since it last went on. When the events were
 * missed, QEMU can be asked: but it keeps with a device that it failed once for as long as it runs, where the device has
 * its node by name (`cont` resets those alone that `-drive` made).
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

/**
 * @param causes by node, as the events told since it last ran; `known` what was on record when it was found stopped
 * @throws QmpError
 */
export async function stoppedDisks(
  work: GuestWork,
  causes: ReadonlyMap<string, StopCause>,
  known: ReadonlyMap<string, StopCause>,
): Promise<{ readonly device: string; readonly cause: StopCause }[]> {
  const blocks = Blocks.parse(await work.ask('query-block'))
  const ids = new Set(work.spec?.disks.map(({ id }) => id))
  return blocks.flatMap(({ qdev = '', inserted, 'io-status': status = 'ok' }) => {
    const device = qdev.split('/').find((part) => ids.has(part)) ?? qdev.split('/').at(-1) ?? ''
    const told = causes.get(inserted?.['node-name'] ?? '')
    if (causes.size > 0) return told === undefined ? [] : [{ device, cause: told }]
    if (status === 'ok' || (known.size > 0 && !known.has(device))) return []
    return [{ device, cause: known.get(device) ?? (status === 'nospace' ? 'room' : 'other') }]
  })
}
