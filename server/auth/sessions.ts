/** Sessions: opaque secrets, stored under their digest, timed by the steady clock. */

import type { SessionEntry } from '#lib/schema/account.ts'
import type { SignedInBy } from '#lib/schema/user.ts'
import { newSessionSecret, type SessionDocument, sessionKey, type UserDocument } from '#server/auth/documents.ts'
import type { SteadyClock } from '#server/auth/steady-clock.ts'
import type { Store, Stored } from '#server/store/types.ts'

export const SESSION_IDLE_MS = 12 * 3_600_000
export const SESSION_ABSOLUTE_MS = 7 * 86_400_000
/** An unattended browser may look around, but not change how its owner signs in. */
const CONFIRMED_FOR_MS = 15 * 60_000
const SESSIONS_PER_USER = 50
/** A use is written down at most this often: each write costs a disk flush. */
const TOUCH_EVERY_MS = 5 * 60_000
const DEVICE_MAX_CHARS = 200
const ID_CHARS = 32

/** Where a request comes from: its address, and what the browser calls itself. */
export interface Origin {
  readonly from: string
  readonly device: string
  /** What `known-browsers.ts` gave this browser at an earlier sign-in. */
  readonly known?: string | null
}

/** A session's id for people: the start of its key, which is a digest and opens nothing. */
export const sessionId = (key: string): string => key.slice(0, ID_CHARS)

export interface Sessions {
  /** Returns the secret, the value of the cookie. */
  start(user: UserDocument, origin: Origin, how: { by: SignedInBy; enrolling?: boolean }): string
  /** Null for what is no session, or is over. */
  find(secret: string): Stored<SessionDocument> | null
  isOver(session: SessionDocument): boolean
  /** Notes a use, now and then. True when it was written. */
  touch(stored: Stored<SessionDocument>, from: string): boolean
  /** Last used first. */
  list(userId: string, currentKey: string | null): SessionEntry[]
  /** Ends those of a person that `ends` says yes to; returns how many. */
  end(userId: string, ends: (key: string) => boolean): number
  confirm(key: string): void
  isConfirmed(key: string): boolean
  dropExpired(): void
}

const cleaned = (device: string) => device.replace(/[\x00-\x1f\x7f-\x9f]/g, '').slice(0, DEVICE_MAX_CHARS)

export function createSessions(store: Store, clock: SteadyClock): Sessions {
  const isOver = (session: SessionDocument) => {
    const now = clock.now()
    return now - session.usedSteadyMs > SESSION_IDLE_MS || now - session.startedSteadyMs > SESSION_ABSOLUTE_MS
  }
  const all = () => store.list<SessionDocument>('session')
  return {
    isOver,
    start(user, origin, { by, enrolling = false }) {
      const secret = newSessionSecret()
      const key = sessionKey(secret)
      if (key === null) throw new Error('a new session secret is not of its own form')
      const now = clock.now()
      const at = new Date().toISOString()
      const session: SessionDocument = {
        v: 1,
        userId: user.id,
        createdAt: at,
        from: origin.from,
        startedSteadyMs: now,
        usedSteadyMs: now,
        by,
        device: cleaned(origin.device),
        lastSeenAt: at,
        confirmedSteadyMs: now,
        enrolling,
      }
      store.transaction(() => {
        const own = all().filter(({ value }) => value.userId === user.id)
        own.sort((a, b) => a.value.usedSteadyMs - b.value.usedSteadyMs)
        for (const { key: old } of own.slice(0, Math.max(0, own.length - SESSIONS_PER_USER + 1))) {
          store.delete('session', old)
        }
        store.put('session', key, session)
      })
      return secret
    },
    find(secret) {
      const key = sessionKey(secret)
      const stored = key === null ? null : store.get<SessionDocument>('session', key)
      return stored && !isOver(stored.value) ? stored : null
    },
    touch({ key, revision, value }, from) {
      const now = clock.now()
      if (now - value.usedSteadyMs <= TOUCH_EVERY_MS) return false
      const after = { ...value, usedSteadyMs: now, from, lastSeenAt: new Date().toISOString() }
      return store.cas('session', key, after, revision) !== null
    },
    list: (userId, currentKey) =>
      all()
        .filter(({ value }) => value.userId === userId && !isOver(value))
        .sort((a, b) => b.value.usedSteadyMs - a.value.usedSteadyMs)
        .map(({ key, value }) => ({
          id: sessionId(key),
          current: key === currentKey,
          by: value.by ?? 'password',
          device: value.device ?? '',
          from: value.from,
          createdAt: value.createdAt,
          lastSeenAt: value.lastSeenAt ?? value.createdAt,
        })),
    end(userId, ends) {
      return store.transaction(() => {
        const over = all().filter(({ key, value }) => value.userId === userId && ends(key))
        for (const { key } of over) store.delete('session', key)
        return over.length
      })
    },
    confirm(key) {
      const stored = store.get<SessionDocument>('session', key)
      if (stored) store.put('session', key, { ...stored.value, confirmedSteadyMs: clock.now() })
    },
    isConfirmed(key) {
      const session = store.get<SessionDocument>('session', key)?.value
      // Sessions older than this rule count from their start.
      const at = session?.confirmedSteadyMs ?? session?.startedSteadyMs
      return at !== undefined && clock.now() - at <= CONFIRMED_FOR_MS
    },
    dropExpired() {
      const over = all().filter(({ value }) => isOver(value))
      if (over.length === 0) return
      store.transaction(() => {
        for (const { key } of over) store.delete('session', key)
      })
    },
  }
}
