/** What the console rooms need from the rest, and give to it. */
import type { ConsoleKind, ConsoleMode, ConsoleViewer, RecordingMark } from '#lib/schema/console.ts'

export type { ConsoleKind, ConsoleMode } from '#lib/schema/console.ts'

export interface TicketGrant {
  readonly userId: string
  readonly userName: string
  readonly vmId: string
  readonly kind: ConsoleKind
  readonly mode: ConsoleMode
  /** Session or token the ticket was issued under: when that ends, so does the console (close code 4401). */
  readonly credentialId: string
  /** Id the viewer will have. */
  readonly viewerId: string
  /** It wants to know who else is there: text messages beside the bytes, both ways. */
  readonly presence: boolean
  /** May take control back and hand it to others. */
  readonly manages: boolean
  /** Came by a guest link; null: a person with an account. */
  readonly guest: GuestGrant | null
}

interface GuestGrant {
  readonly linkId: string
  readonly maxViewers: number
  /** Who made the link. */
  readonly byUserId: string
}

export interface Tickets {
  /** Single use, 30 s by a monotonic clock, at most a few hundred outstanding. */
  issue(grant: TicketGrant): { ticket: string; expiresAt: Date }
  /** Takes the ticket whatever comes of it; null when unknown, used, expired, or for another VM or kind. */
  redeem(ticket: string, vmId: string, kind: ConsoleKind): TicketGrant | null
}

/** Where a VM's sockets are, from the supervisor; null while off. */
export interface ConsoleSources {
  vncSocket(vmId: string): string | null
  serialHub(vmId: string): SerialHubHandle | null
}

/** One per running VM with a serial port; owned by the supervisor's attachment, always draining QEMU's socket. */
export interface SerialHubHandle {
  /** First 64 KiB and latest 1 MiB of output, with a mark where something was dropped. */
  history(): { head: Uint8Array; tail: Uint8Array; droppedBytes: number }
  /** Output from now on. A listener must never block; slow viewers are the proxy's business. */
  subscribe(listener: (chunk: Uint8Array) => void): () => void
  /** Input to the guest; false when the guest's side is full and the bytes were not taken. */
  write(bytes: Uint8Array): boolean
  /** Called once when the guest's side is gone for good; at once when it already is. Returns the unsubscribe. */
  onClose(listener: () => void): () => void
  /** Listeners subscribed now. */
  readonly viewers: number
  close(): void
}

/** Who is at the consoles of a VM. The same object until something changes. */
export interface VmPresence {
  /** Longest first. */
  readonly viewers: readonly ConsoleViewer[]
  readonly recordings: readonly RecordingMark[]
}

export const NOBODY: VmPresence = { viewers: [], recordings: [] }

export interface ViewerCounts {
  viewers(vmId: string): { vnc: number; serial: number }
}

/** What the engine may ask of the consoles. */
export interface ConsoleRooms extends ViewerCounts {
  presence(vmId: string): VmPresence
  /** Everybody who watches the VM now, longest first. */
  watching(vmId: string): ConsoleSession[]
  /** Connected by a guest link now. */
  guests(linkId: string): number
  /** Ends one viewer and tells it who and why. False when it has left. */
  end(vmId: string, viewerId: string, reason: string): boolean
  /** Hands sole control to a viewer, or with null to all who may. @returns why not, or null */
  give(
    vmId: string,
    kind: ConsoleKind,
    viewerId: string | null,
    by: { readonly id: string; readonly name: string },
  ): string | null
  setRecordings(vmId: string, marks: readonly RecordingMark[]): void
}

/** What was done about control, for the record. */
export interface ControlChange {
  readonly vmId: string
  readonly kind: ConsoleKind
  readonly what: 'hold' | 'take' | 'give' | 'release' | 'ask' | 'decline'
  readonly by: { readonly name: string; readonly userId: string; readonly from: string }
  /** To whom, for `give` and `decline`. */
  readonly to: string | null
}

/** Whether a viewer's input reaches the guest just now. */
export interface ControlGate {
  readonly isOpen: boolean
  onChange(listener: (isOpen: boolean) => void): void
}

/** One viewer, as the audit log and "who is watching" know it. */
export interface ConsoleSession {
  readonly id: string
  readonly grant: TicketGrant
  /** Remote address as text. */
  readonly from: string
  readonly openedAt: Date
}

export interface ConsoleEnd {
  readonly code: number
  readonly reason: string
  readonly durationMs: number
  readonly bytesToViewer: number
  readonly bytesFromViewer: number
}
