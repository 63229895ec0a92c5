import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { createTickets } from './tickets.ts'
import type { TicketGrant } from './types.ts'

const grant: TicketGrant = {
  userId: 'u1',
  userName: 'ada',
  vmId: 'vm1',
  kind: 'vnc',
  mode: 'view',
  credentialId: 's1',
  viewerId: 'v1',
  presence: false,
  manages: false,
  guest: null,
}

function table(options = {}) {
  const clock = { ms: 1000 }
  return { clock, tickets: createTickets({ monotonicMs: () => clock.ms, ...options }) }
}

describe('console tickets', () => {
  test('a ticket works once and gives back what it was issued for', () => {
    const { tickets } = table()
    const { ticket } = tickets.issue(grant)
    expect(tickets.redeem(ticket, 'vm1', 'vnc')).toEqual(grant)
    expect(tickets.redeem(ticket, 'vm1', 'vnc')).toBeNull()
  })

  test('a ticket carries 256 bits as a valid WebSocket subprotocol', () => {
    const { tickets } = table()
    const { ticket } = tickets.issue(grant)
    expect(ticket).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(Buffer.from(ticket, 'base64url')).toHaveLength(32)
    expect(tickets.issue(grant).ticket).not.toBe(ticket)
  })

  test.each([
    ['another VM', 'vm2', 'vnc'],
    ['another kind', 'vm1', 'serial'],
  ] as const)('a ticket shown for %s is refused and spent', (_, vmId, kind) => {
    const { tickets } = table()
    const { ticket } = tickets.issue(grant)
    expect(tickets.redeem(ticket, vmId, kind)).toBeNull()
    expect(tickets.redeem(ticket, 'vm1', 'vnc')).toBeNull()
  })

  test('a ticket lapses after 30 seconds of monotonic time, whatever the wall clock does', () => {
    const wall = { ms: Date.UTC(2030, 0, 1) }
    const { tickets, clock } = table({ wallClockMs: () => wall.ms })
    const early = tickets.issue(grant)
    const late = tickets.issue(grant)
    expect(early.expiresAt.getTime()).toBe(wall.ms + 30_000)
    wall.ms += 86_400_000
    clock.ms += 29_999
    expect(tickets.redeem(early.ticket, 'vm1', 'vnc')).toEqual(grant)
    wall.ms -= 2 * 86_400_000
    clock.ms += 1
    expect(tickets.redeem(late.ticket, 'vm1', 'vnc')).toBeNull()
  })

  test('a lifetime above 30 seconds cannot be configured', () => {
    const { tickets, clock } = table({ lifetimeMs: 3_600_000 })
    const { ticket } = tickets.issue(grant)
    clock.ms += 30_000
    expect(tickets.redeem(ticket, 'vm1', 'vnc')).toBeNull()
  })

  test('unused tickets are bounded per user and in all, and lapse', () => {
    const { tickets, clock } = table({ maxOutstanding: 5, maxOutstandingPerUser: 3 })
    for (let i = 0; i < 3; i++) tickets.issue(grant)
    const code = (act: () => unknown) => {
      try {
        act()
      } catch (error) {
        return error instanceof EngineError ? error.code : 'other'
      }
      return null
    }
    expect(code(() => tickets.issue(grant))).toBe('rate_limited')
    tickets.issue({ ...grant, userId: 'u2' })
    tickets.issue({ ...grant, userId: 'u2' })
    expect(code(() => tickets.issue({ ...grant, userId: 'u3' }))).toBe('busy')
    expect(tickets.outstanding).toBe(5)
    clock.ms += 30_000
    expect(tickets.outstanding).toBe(0)
    expect(code(() => tickets.issue(grant))).toBeNull()
  })

  test('no other text is ever accepted', () => {
    const { tickets } = table()
    const { ticket } = tickets.issue(grant)
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.constant(`${ticket} `)), (text) => {
        fc.pre(text !== ticket)
        expect(tickets.redeem(text, 'vm1', 'vnc')).toBeNull()
      }),
    )
    expect(tickets.redeem(ticket, 'vm1', 'vnc')).toEqual(grant)
  })
})
