/** Operations: who is at a console, and guest links to it. */
import * as z from 'zod'
import { ConsoleKind, ConsoleViewer, ViewerId } from '../../schema/console.ts'
import {
  GuestLink,
  GuestLinkCreated,
  GuestLinkId,
  GuestLinkInput,
  GuestTicket,
  GuestTicketInput,
} from '../../schema/guest-link.ts'
import { VmId } from '../../schema/ids.ts'
import { Items, type Operation, op } from '../operation.ts'

const vmId = z.strictObject({ id: VmId })
const viewer = z.strictObject({ id: VmId, viewer: ViewerId })
const guestLink = z.strictObject({ id: VmId, link: GuestLinkId })

export const consolesOperations = {
  vmViewerList: op({
    method: 'GET',
    path: '/vms/:id/viewers',
    summary: 'Who is at the consoles of a VM now, longest first',
    privilege: 'vm.console.view',
    params: vmId,
    response: Items(ConsoleViewer),
  }),
  vmViewerEnd: op({
    method: 'POST',
    path: '/vms/:id/viewers/:viewer/end',
    summary: 'End one connection to a console; other than one’s own needs vm.console.manage',
    privilege: 'vm.console.view',
    params: viewer,
    body: z.strictObject({
      reason: z
        .string()
        .trim()
        .max(100)
        .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, 'must be one line')
        .optional(),
    }),
    errors: ['forbidden'],
  }),
  vmViewerControl: op({
    method: 'POST',
    path: '/vms/:id/viewers/:viewer/control',
    summary: 'Hand sole control of a console to one of its viewers, whoever has it now',
    privilege: 'vm.console.manage',
    params: viewer,
    errors: ['wrong_state'],
  }),
  vmControlRelease: op({
    method: 'POST',
    path: '/vms/:id/console-control/release',
    summary: 'Take sole control back from whoever has it: all who may control the console can again',
    privilege: 'vm.console.manage',
    params: vmId,
    body: z.strictObject({ kind: ConsoleKind }),
  }),
  guestLinkList: op({
    method: 'GET',
    path: '/vms/:id/guest-links',
    summary: 'Guest links to the consoles of a VM that are still good, newest first',
    privilege: 'vm.console.share',
    params: vmId,
    response: Items(GuestLink),
  }),
  guestLinkCreate: op({
    method: 'POST',
    path: '/vms/:id/guest-links',
    summary: 'A link that opens one console without an account; mode `control` needs vm.console.control',
    privilege: 'vm.console.share',
    params: vmId,
    body: GuestLinkInput,
    response: GuestLinkCreated,
    status: 201,
    errors: ['conflict', 'forbidden'],
  }),
  guestLinkRevoke: op({
    method: 'DELETE',
    path: '/vms/:id/guest-links/:link',
    summary: 'Revoke a guest link; who came by it is disconnected within two seconds',
    privilege: 'vm.console.share',
    params: guestLink,
  }),
  guestTicketCreate: op({
    method: 'POST',
    path: '/guest/tickets',
    summary: 'Exchange the secret of a guest link for a single-use ticket of its console',
    privilege: 'public',
    body: GuestTicketInput,
    response: GuestTicket,
    status: 201,
    errors: ['not_found', 'wrong_state', 'rate_limited', 'busy'],
  }),
} as const satisfies Record<string, Operation>
