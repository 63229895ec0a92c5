/** Links that open one console to somebody without an account. */
import * as z from 'zod'
import { ConsoleKind, ConsoleMode, RecordingMark } from './console.ts'
import { Instant, UserId, VmId } from './ids.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
export const GuestLinkId = z.string().regex(UUID).brand('GuestLinkId').meta({ id: 'GuestLinkId' })
export type GuestLinkId = z.output<typeof GuestLinkId>

export const GUEST_LINK_MAX_MINUTES = 30 * 24 * 60
/** As many as a console takes. */
export const GUEST_LINK_MAX_VIEWERS = 8

export const GuestLink = z
  .strictObject({
    id: GuestLinkId,
    vmId: VmId,
    label: z.string(),
    kind: ConsoleKind,
    mode: ConsoleMode,
    maxViewers: z.int(),
    /** Connected by it now. */
    viewers: z.int(),
    createdBy: z.strictObject({ id: UserId, name: z.string() }),
    createdAt: Instant,
    expiresAt: Instant,
    lastUsedAt: Instant.nullable(),
    lastUsedFrom: z.string().nullable(),
    /** How often a console was opened by it. */
    uses: z.int(),
  })
  .meta({ id: 'GuestLink' })
export type GuestLink = z.output<typeof GuestLink>

export const GuestLinkInput = z
  .strictObject({
    /** Shown to everybody at the console as "guest: LABEL". */
    label: z
      .string()
      .trim()
      .min(1)
      .max(40)
      .regex(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u, 'must be one line of plain text'),
    kind: ConsoleKind,
    mode: ConsoleMode,
    expiresInMinutes: z.int().min(1).max(GUEST_LINK_MAX_MINUTES),
    maxViewers: z.int().min(1).max(GUEST_LINK_MAX_VIEWERS).default(1),
  })
  .meta({ id: 'GuestLinkInput' })
export type GuestLinkInput = z.output<typeof GuestLinkInput>

export const GuestLinkCreated = z
  .strictObject({
    link: GuestLink,
    /** To be joined to the dashboard's address. The secret stands behind the `#`; it is told once and kept as a digest. */
    path: z.string(),
  })
  .meta({ id: 'GuestLinkCreated' })
export type GuestLinkCreated = z.output<typeof GuestLinkCreated>

/** The secret of a link, for a ticket. */
export const GuestTicketInput = z
  .strictObject({ secret: z.string().min(1).max(100), presence: z.boolean().default(false) })
  .meta({ id: 'GuestTicketInput' })
export const GuestTicket = z
  .strictObject({
    ticket: z.string(),
    path: z.string(),
    viewer: z.string(),
    kind: ConsoleKind,
    mode: ConsoleMode,
    /** Of the VM, which is all a guest learns about it. */
    name: z.string(),
    label: z.string(),
    /** Recordings of the VM's consoles under way: told before anybody joins. */
    recordings: z.array(RecordingMark),
    expiresAt: Instant,
  })
  .meta({ id: 'GuestTicket' })
export type GuestTicket = z.output<typeof GuestTicket>
