/**
 * Why a console's WebSocket ended. Sent by the proxies, read by the page: the one place that knows the numbers.
 * 1000 to 1011 have their meaning from RFC 6455; 4000 to 4999 are ours, chosen after the HTTP status they resemble.
 */
export const CLOSE = {
  /** Either side was done. */
  normal: 1000,
  /** The dashboard is being stopped or restarted. The guest runs on. */
  goingAway: 1001,
  /** A frame of a kind a console does not take (text instead of bytes). */
  unsupported: 1003,
  /** The client broke the protocol: unknown RFB message, flood of control frames, no handshake in time. */
  policy: 1008,
  /** A frame larger than a console takes. */
  tooBig: 1009,
  internal: 1011,
  /** The session or token the ticket was issued under has ended. */
  revoked: 4401,
  /** Somebody ended this viewer (or all viewers of the VM). */
  disconnected: 4403,
  /** One side took no bytes for too long; memory for waiting bytes is bounded. */
  stalled: 4408,
  /** The guest has no such console now: it is off. */
  off: 4409,
  /** The guest's side of the console ended: power off, crash, or QEMU closed it. */
  ended: 4410,
  /** Too many viewers of this VM, or of this dashboard. */
  tooMany: 4429,
} as const

export type CloseName = keyof typeof CLOSE

const NAMES = new Map<number, CloseName>(Object.entries(CLOSE).map(([name, code]) => [code, name as CloseName]))

/** The name of a close code; null for codes no console sends (1006 and 1005 included: the connection just broke). */
export function closeName(code: number): CloseName | null {
  return NAMES.get(code) ?? null
}

/**
 * Whether a page should connect again by itself, and how. `soon`: with growing pauses. `when-running`: once the
 * guest runs. `never`: a person decides, because trying again by itself would only repeat the refusal.
 */
export function retryAfterClose(code: number): 'soon' | 'when-running' | 'never' {
  switch (closeName(code)) {
    case 'off':
    case 'ended':
      return 'when-running'
    case 'revoked':
    case 'disconnected':
    case 'tooMany':
    case 'policy':
    case 'unsupported':
      return 'never'
    default:
      return 'soon'
  }
}
