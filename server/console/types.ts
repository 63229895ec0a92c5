/** What the console rooms need from the rest, and give to it. */
export type ConsoleKind = 'vnc' | 'serial'
export type ConsoleMode = 'control' | 'view'

export interface TicketGrant {
  readonly userId: string
  readonly userName: string
  readonly vmId: string
  readonly kind: ConsoleKind
  readonly mode: ConsoleMode
  /** Session or token the ticket was issued under: when that ends, so does the console (close code 4401). */
  readonly credentialId: string
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

export interface ViewerCounts {
  viewers(vmId: string): { vnc: number; serial: number }
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
