/**
 * Single-use console tickets. The secret leaves this module once and is kept only as its SHA-256, so that neither
 * a memory dump of the table nor the time a lookup takes says anything about a live ticket.
 */
import { createHash, randomBytes } from 'node:crypto'
import { EngineError } from '#server/engine/errors.ts'
import type { ConsoleKind, TicketGrant, Tickets } from './types.ts'

const TICKET_LIFETIME_MS = 30_000
const TICKET_BYTES = 32
const TICKET_TEXT = /^[A-Za-z0-9_-]{43}$/

export interface TicketOptions {
  /** Milliseconds that never jump: a change of the wall clock neither ends nor prolongs a ticket. */
  readonly monotonicMs?: () => number
  /** Only for `expiresAt`, which is shown, never checked. */
  readonly wallClockMs?: () => number
  readonly lifetimeMs?: number
  readonly maxOutstanding?: number
  readonly maxOutstandingPerUser?: number
}

interface Entry {
  readonly grant: TicketGrant
  readonly deadlineMs: number
}

const hashOf = (ticket: string) => createHash('sha256').update(ticket).digest('base64')

/**
 * @returns a table whose `issue` throws EngineError `rate_limited` when the user holds too many unused tickets and
 * `busy` when everybody together does.
 */
export function createTickets(options: TicketOptions = {}): Tickets & { readonly outstanding: number } {
  const now = options.monotonicMs ?? (() => performance.now())
  const wallClock = options.wallClockMs ?? Date.now
  const lifetimeMs = Math.min(options.lifetimeMs ?? TICKET_LIFETIME_MS, TICKET_LIFETIME_MS)
  const maxOutstanding = options.maxOutstanding ?? 400
  const maxPerUser = options.maxOutstandingPerUser ?? 64
  // Insertion order is expiry order, as every ticket lives equally long.
  const entries = new Map<string, Entry>()

  const sweep = (atMs: number) => {
    for (const [hash, entry] of entries) {
      if (entry.deadlineMs > atMs) break
      entries.delete(hash)
    }
  }

  return {
    get outstanding() {
      sweep(now())
      return entries.size
    },

    issue(grant) {
      const atMs = now()
      sweep(atMs)
      if (entries.size >= maxOutstanding) {
        throw new EngineError('busy', 'Too many consoles are being opened at once. Try again in half a minute.')
      }
      let own = 0
      for (const entry of entries.values()) if (entry.grant.userId === grant.userId) own++
      if (own >= maxPerUser) {
        throw new EngineError(
          'rate_limited',
          `You have ${own} console tickets that were never used. Use them or wait half a minute until they lapse.`,
        )
      }
      const ticket = randomBytes(TICKET_BYTES).toString('base64url')
      entries.set(hashOf(ticket), { grant: { ...grant }, deadlineMs: atMs + lifetimeMs })
      return { ticket, expiresAt: new Date(wallClock() + lifetimeMs) }
    },

    redeem(ticket: string, vmId: string, kind: ConsoleKind) {
      if (!TICKET_TEXT.test(ticket)) return null
      // A map keyed by the hash: how far a comparison gets depends on bytes the caller cannot choose.
      const hash = hashOf(ticket)
      const entry = entries.get(hash)
      if (entry === undefined) return null
      entries.delete(hash)
      if (entry.deadlineMs <= now()) return null
      return entry.grant.vmId === vmId && entry.grant.kind === kind ? entry.grant : null
    },
  }
}
