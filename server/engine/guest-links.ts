/**
 * Guest links: whoever has the secret sees one console of one VM, without an account, until the link expires or is
 * revoked. The secret leaves here once and is kept as its digest. A link is never worth more than the person who made
 * it: when they may no longer do what it allows, it opens nothing and what it opened is closed.
 */
import { createHash, randomBytes, randomUUID, randomUUIDv7 } from 'node:crypto'
import { consolePath } from '#lib/api/contract.ts'
import { type Authority, mayOn } from '#lib/auth/privileges.ts'
import { paths } from '#lib/paths.ts'
import type { GuestLink } from '#lib/schema/guest-link.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import { AttemptLimiter, addressKey } from '#server/auth/rate-limit.ts'
import type { ConsoleRooms, ConsoleSources, Tickets } from '#server/console/types.ts'
import type { Store, Stored } from '#server/store/types.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { LOOK_ONLY, requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Caller, GuestLinkEngine } from './types.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

const SECRET_BYTES = 32
const SECRET = /^[A-Za-z0-9_-]{43}$/
const LINKS_PER_VM = 50
/** A person who mistypes has not typed at all: nobody types 256 bits. */
const WRONG_LIMIT = { max: 10, windowMs: 60_000 }
/** A page that connects again and again asks each time. */
const ASKED_LIMIT = { max: 120, windowMs: 60_000 }
const SWEEP_EVERY_MS = 1000
const MINUTE_MS = 60_000

/** Stored under the SHA-256 of its secret. */
export interface GuestLinkDocument {
  readonly v: 1
  readonly id: string
  readonly vmId: string
  readonly label: string
  readonly kind: 'vnc' | 'serial'
  readonly mode: 'control' | 'view'
  readonly maxViewers: number
  readonly byUserId: string
  readonly createdAt: string
  /** By the wall clock: people choose a time. */
  readonly expiresAt: string
  readonly lastUsedAt: string | null
  readonly lastUsedFrom: string | null
  readonly uses: number
}

export interface GuestLinkDeps {
  readonly store: Store
  readonly records: VmRecords
  readonly runtime: (vmId: string) => VmRuntime
  readonly sources: ConsoleSources
  readonly rooms: ConsoleRooms
  readonly tickets: Tickets
  readonly journal: Journal
  readonly userName: (id: string) => string
  /** What decides about somebody now; null: they have gone or are disabled. */
  readonly person: (id: string) => Pick<Authority, 'role' | 'grants'> | null
}

export interface GuestLinks extends GuestLinkEngine {
  /** For the console router: calls back once when the link a viewer came by is no longer good. */
  onRevoked(credentialId: string, revoked: () => void): () => void
  /** A console was opened by it. */
  used(linkId: string, from: string): void
  forgetVm(vmId: string): void
  close(): void
}

const PREFIX = 'guest:'
export const isGuestCredential = (credentialId: string): boolean => credentialId.startsWith(PREFIX)
const digest = (secret: string) => createHash('sha256').update(secret).digest('hex')

export function createGuestLinks(deps: GuestLinkDeps): GuestLinks {
  const { store, records, rooms, journal } = deps
  const wrong = new AttemptLimiter(WRONG_LIMIT)
  const asked = new AttemptLimiter(ASKED_LIMIT)
  /** Who waits for the end of which link. */
  const listeners = new Map<string, Set<() => void>>()

  const all = () => store.list<GuestLinkDocument>('guest-link')
  const byId = (id: string): Stored<GuestLinkDocument> | null => all().find(({ value }) => value.id === id) ?? null

  /** The VM it leads to, while the link is good. */
  const vmOf = (link: GuestLinkDocument): VmRecord | null => {
    if (Date.parse(link.expiresAt) <= Date.now()) return null
    const record = records.get(link.vmId)
    const user = deps.person(link.byUserId)
    if (record === null || user === null) return null
    const maker = { ...user, via: 'session' as const, scope: null, userId: link.byUserId }
    const needs = link.mode === 'control' ? 'vm.console.control' : 'vm.console.view'
    return mayOn(maker, record, 'vm.console.share') && mayOn(maker, record, needs) ? record : null
  }

  const sweep = (): void => {
    for (const [id, waiting] of listeners) {
      const link = byId(id)?.value
      if (link !== undefined && vmOf(link) !== null) continue
      listeners.delete(id)
      for (const revoked of waiting) revoked()
    }
  }
  // Expiry, revocation and what happens to who made it, whichever process did it.
  const timer = setInterval(() => {
    try {
      if (listeners.size > 0) sweep()
    } catch {
      // A store that cannot be read for a moment is looked at again in a second.
    }
  }, SWEEP_EVERY_MS)
  timer.unref()

  const viewOf = (link: GuestLinkDocument): GuestLink => ({
    // Ids were made here or parsed before they were stored.
    id: link.id as GuestLink['id'],
    vmId: link.vmId as GuestLink['vmId'],
    label: link.label,
    kind: link.kind,
    mode: link.mode,
    maxViewers: link.maxViewers,
    viewers: rooms.guests(link.id),
    createdBy: { id: link.byUserId as GuestLink['createdBy']['id'], name: deps.userName(link.byUserId) },
    createdAt: link.createdAt,
    expiresAt: link.expiresAt,
    lastUsedAt: link.lastUsedAt,
    lastUsedFrom: link.lastUsedFrom,
    uses: link.uses,
  })
  const consoleOf = (link: Pick<GuestLinkDocument, 'kind'>) => (link.kind === 'vnc' ? 'screen' : 'serial console')

  const assertShares = (caller: Caller, record: VmRecord, mode: 'control' | 'view'): void => {
    if (
      !mayOn(caller, record, 'vm.console.share') ||
      (mode === 'control' && !mayOn(caller, record, 'vm.console.control'))
    ) {
      throw new EngineError('forbidden', LOOK_ONLY)
    }
  }

  return {
    async list(caller, vmId) {
      const record = requireVm(records, caller, vmId)
      assertShares(caller, record, 'view')
      const own = all().filter(({ value }) => value.vmId === record.id && Date.parse(value.expiresAt) > Date.now())
      return { items: own.map(({ value }) => viewOf(value)).sort((a, b) => (a.id < b.id ? 1 : -1)) }
    },

    async create(caller, vmId, input) {
      const record = requireVm(records, caller, vmId)
      return journal.vmOperation('guestLinkCreate', caller, record, null, async () => {
        assertShares(caller, record, input.mode)
        if (input.kind === 'vnc' ? record.spec.display === 'none' : !record.spec.serial) {
          throw new EngineError('conflict', `This VM has no ${consoleOf(input)}.`, { field: 'kind' })
        }
        const secret = randomBytes(SECRET_BYTES).toString('base64url')
        const now = Date.now()
        const link: GuestLinkDocument = {
          v: 1,
          id: randomUUIDv7(),
          vmId: record.id,
          label: input.label,
          kind: input.kind,
          mode: input.mode,
          maxViewers: input.maxViewers,
          byUserId: caller.userId,
          createdAt: new Date(now).toISOString(),
          expiresAt: new Date(now + input.expiresInMinutes * MINUTE_MS).toISOString(),
          lastUsedAt: null,
          lastUsedFrom: null,
          uses: 0,
        }
        store.transaction(() => {
          const known = all()
          for (const { key, value } of known) if (Date.parse(value.expiresAt) <= now) store.delete('guest-link', key)
          const live = known.filter(({ value }) => value.vmId === record.id && Date.parse(value.expiresAt) > now)
          if (live.length >= LINKS_PER_VM) {
            throw new EngineError('conflict', `This VM has ${live.length} guest links already; revoke one first.`)
          }
          store.put('guest-link', digest(secret), link)
        })
        journal.write({
          what: 'guestLinkCreate',
          text: `${caller.name} made a guest link to the ${consoleOf(link)} of ${record.spec.name} (${link.label}, ${link.mode === 'control' ? 'control' : 'view only'}, until ${link.expiresAt}).`,
          result: 'ok',
          caller,
          topic: 'vm',
          objectId: record.id,
          objectName: record.spec.name,
          ownerId: record.ownerId,
        })
        return { link: viewOf(link), path: `${paths.guest(link.id)}#${secret}` }
      })
    },

    async revoke(caller, vmId, linkId) {
      const record = requireVm(records, caller, vmId)
      const found = byId(linkId)
      if (found === null || found.value.vmId !== record.id) {
        throw new EngineError('not_found', 'There is no such guest link.')
      }
      const done = `revoked the guest link ${found.value.label} to`
      await journal.vmOperation('guestLinkRevoke', caller, record, done, async () => {
        if (found.value.byUserId !== caller.userId) assertShares(caller, record, 'view')
        store.delete('guest-link', found.key)
        sweep()
      })
    },

    async ticket(from, { secret, presence }) {
      const address = addressKey(from)
      asked.begin(address)
      const takeBack = wrong.begin(address)
      const stored = SECRET.test(secret) ? store.get<GuestLinkDocument>('guest-link', digest(secret)) : null
      const record = stored === null ? null : vmOf(stored.value)
      if (stored === null || record === null) {
        journal.write({
          what: 'guestTicketCreate',
          text: 'A guest link that is not valid, or no longer, was tried.',
          result: 'denied',
          caller: null,
          from,
        })
        throw new EngineError(
          'not_found',
          'This link does not open anything: it has expired, was revoked, or is cut off.',
        )
      }
      takeBack()
      const link = stored.value
      const allowed = allowedAction(deps.runtime(record.id).state, 'console')
      const source = link.kind === 'vnc' ? deps.sources.vncSocket(record.id) : deps.sources.serialHub(record.id)
      if (!allowed.allowed || source === null) throw new EngineError('wrong_state', 'The guest is off.')
      const viewerId = randomUUID()
      const { ticket, expiresAt } = deps.tickets.issue({
        userId: PREFIX + link.id,
        userName: link.label,
        vmId: record.id,
        kind: link.kind,
        mode: link.mode,
        credentialId: PREFIX + link.id,
        viewerId,
        presence,
        manages: false,
        guest: { linkId: link.id, maxViewers: link.maxViewers, byUserId: link.byUserId },
      })
      return {
        ticket,
        path: consolePath(record.id, link.kind),
        viewer: viewerId,
        kind: link.kind,
        mode: link.mode,
        name: record.spec.name,
        label: link.label,
        recordings: [...deps.rooms.presence(record.id).recordings],
        expiresAt: expiresAt.toISOString(),
      }
    },

    onRevoked(credentialId, revoked) {
      const id = credentialId.slice(PREFIX.length)
      const set = listeners.get(id) ?? new Set()
      listeners.set(id, set.add(revoked))
      const link = byId(id)?.value
      // Revoked between the ticket and the connection.
      if (link === undefined || vmOf(link) === null) queueMicrotask(sweep)
      return () => {
        set.delete(revoked)
        if (set.size === 0 && listeners.get(id) === set) listeners.delete(id)
      }
    },

    used(linkId, from) {
      const found = byId(linkId)
      if (found === null) return
      const link = {
        ...found.value,
        lastUsedAt: new Date().toISOString(),
        lastUsedFrom: from,
        uses: found.value.uses + 1,
      }
      try {
        store.cas('guest-link', found.key, link, found.revision)
      } catch {
        // A full disk must not keep anybody from the console.
      }
    },

    forgetVm(vmId) {
      for (const { key, value } of all()) if (value.vmId === vmId) store.delete('guest-link', key)
      sweep()
    },
    close() {
      clearInterval(timer)
    },
  }
}
