/** Where a console gets its ticket from: the API by session, or a guest link. */
import { call } from '#lib/client/api-client.ts'
import type { VmId } from '#lib/schema/ids.ts'

/** @throws ApiError */
export type TicketSource = (signal: AbortSignal) => Promise<{ readonly ticket: string; readonly path: string }>

export const ticketOf =
  (vmId: VmId, kind: 'vnc' | 'serial', mode: 'control' | 'view'): TicketSource =>
  (signal) =>
    call('vmConsoleTicketCreate', { params: { id: vmId }, body: { kind, mode, presence: true } }, { signal })
