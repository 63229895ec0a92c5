/**
 * Sign-in, credentials and their end. Credentials and people are read from the store on each request, so what the
 * command line changes counts at once.
 *
 * A credential's id is `session:` or `token:` and its key in the store (a digest, no secret). Whoever holds a
 * long-lived connection for one asks `onRevoked`; the call comes within a second of logout, password change,
 * role change, disabling, deletion, revocation or expiry, whichever process did it.
 */
import { hasPrivilege, PRIVILEGES } from '#lib/auth/privileges.ts'
import type { ApiToken, Session } from '#lib/schema/user.ts'
import {
  newSessionSecret,
  type SessionDocument,
  sessionKey,
  type TokenDocument,
  tokenKey,
  tokenView,
  type UserDocument,
  userView,
} from '#server/auth/documents.ts'
import { createPasswords, type Passwords } from '#server/auth/passwords.ts'
import { AttemptLimiter, addressKey } from '#server/auth/rate-limit.ts'
import { createSetupCode } from '#server/auth/setup-code.ts'
import { createSteadyClock, type SteadyClock } from '#server/auth/steady-clock.ts'
import { createTokens, isExpired } from '#server/auth/tokens.ts'
import { createUsers, type UserChange, type Users } from '#server/auth/users.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller } from '#server/engine/types.ts'
import type { SqliteStore } from '#server/store/sqlite.ts'

export const SESSION_IDLE_MS = 12 * 3_600_000
export const SESSION_ABSOLUTE_MS = 7 * 86_400_000
const SESSIONS_PER_USER = 50
/** A use is written down at most this often: each write costs a disk flush. */
const TOUCH_EVERY_MS = 5 * 60_000
const TOKEN_TOUCH_EVERY_MS = 60_000
const SWEEP_EVERY_MS = 1000
/** Every so many sweeps credentials are looked at although nobody changed anything: some expire. */
const FULL_SWEEP_EVERY = 30

const IP_LIMIT = { max: 10, windowMs: 60_000 }
const ACCOUNT_LIMIT = { max: 20, windowMs: 15 * 60_000 }

export interface SignedIn {
  /** Value of the session cookie. */
  readonly secret: string
  readonly user: UserDocument
}

export interface Auth {
  readonly users: Users
  /** The code, while there is no administrator; null afterwards. */
  setupCode(): string | null
  /** @throws EngineError already_set_up, bad_setup_code, name_taken, rate_limited, busy */
  setUp(input: { code: string; name: string; password: string }, from: string): Promise<SignedIn>
  /** `oldSecret` is the cookie sent along, whose session ends. @throws EngineError bad_credentials, rate_limited, busy */
  signIn(input: { name: string; password: string }, from: string, oldSecret: string | null): Promise<SignedIn>
  signOut(caller: Caller): void
  /** @throws EngineError bad_credentials, rate_limited, busy, forbidden (with a token) */
  changePassword(caller: Caller, input: { current: string; next: string }): Promise<void>
  updateUser(id: string, change: UserChange): Promise<UserDocument>
  deleteUser(id: string): UserDocument
  session(userId: string | null): Session
  callerOfSession(secret: string, from: string): Caller | null
  callerOfToken(secret: string, from: string): Caller | null
  tokenList(caller: Caller): ApiToken[]
  /** @throws EngineError forbidden (with a token), conflict */
  tokenCreate(
    caller: Caller,
    input: { label: string; expiresInDays?: number | undefined },
  ): { token: string; entry: ApiToken }
  /** @throws EngineError not_found, forbidden (with a token) */
  tokenDelete(caller: Caller, id: string): void
  isAlive(credentialId: string): boolean
  /** Calls back once when the session or token ends, and soon when it already has. Returns the unsubscribe function. */
  onRevoked(credentialId: string, listener: () => void): () => void
  close(): void
}

export interface AuthOptions {
  readonly passwords?: Passwords
  readonly clock?: SteadyClock
}

export function createAuth(store: SqliteStore, options: AuthOptions = {}): Auth {
  const passwords = options.passwords ?? createPasswords()
  const clock = options.clock ?? createSteadyClock(store)
  const users = createUsers(store, passwords)
  const tokens = createTokens(store)
  const setupCode = createSetupCode()
  const byAddress = new AttemptLimiter(IP_LIMIT)
  const byAccount = new AttemptLimiter(ACCOUNT_LIMIT)
  const setupByAddress = new AttemptLimiter(IP_LIMIT)
  /** Who waits for the end of which credential. */
  const listeners = new Map<string, Set<() => void>>()

  const isSessionOver = (session: SessionDocument, now: number) =>
    now - session.usedSteadyMs > SESSION_IDLE_MS || now - session.startedSteadyMs > SESSION_ABSOLUTE_MS

  const activeUser = (id: string): UserDocument | null => {
    const user = users.get(id)
    return user && !user.disabled ? user : null
  }

  const isAlive = (credentialId: string): boolean => {
    const [kind, key = ''] = credentialId.split(':')
    if (kind === 'session') {
      const session = store.get<SessionDocument>('session', key)?.value
      return session !== undefined && !isSessionOver(session, clock.now()) && activeUser(session.userId) !== null
    }
    const token = store.get<TokenDocument>('token', key)?.value
    return token !== undefined && !isExpired(token, Date.now()) && activeUser(token.userId) !== null
  }

  const sweep = (): void => {
    for (const [credentialId, waiting] of listeners) {
      if (isAlive(credentialId)) continue
      listeners.delete(credentialId)
      for (const listener of waiting) listener()
    }
  }

  const dropExpired = (): void => {
    const now = clock.now()
    const over = store.list<SessionDocument>('session').filter(({ value }) => isSessionOver(value, now))
    if (over.length === 0) return
    store.transaction(() => {
      for (const { key } of over) store.delete('session', key)
    })
  }

  let sweeps = 0
  const timer = setInterval(() => {
    try {
      sweeps += 1
      if (store.changedElsewhere() || sweeps % FULL_SWEEP_EVERY === 0) sweep()
      if (sweeps % 3600 === 0) dropExpired()
    } catch {
      // A store that cannot be read for a moment is looked at again in a second.
    }
  }, SWEEP_EVERY_MS)
  timer.unref()
  dropExpired()

  const startSession = (user: UserDocument, from: string): SignedIn => {
    const secret = newSessionSecret()
    const key = sessionKey(secret)
    if (key === null) throw new Error('a new session secret is not of its own form')
    const now = clock.now()
    const session: SessionDocument = {
      v: 1,
      userId: user.id,
      createdAt: new Date().toISOString(),
      from,
      startedSteadyMs: now,
      usedSteadyMs: now,
    }
    store.transaction(() => {
      const own = store.list<SessionDocument>('session').filter(({ value }) => value.userId === user.id)
      own.sort((a, b) => a.value.usedSteadyMs - b.value.usedSteadyMs)
      for (const { key: old } of own.slice(0, Math.max(0, own.length - SESSIONS_PER_USER + 1))) {
        store.delete('session', old)
      }
      store.put('session', key, session)
    })
    users.seen(user)
    return { secret, user }
  }

  const assertSession = (caller: Caller, what: string): void => {
    if (caller.via === 'token') {
      throw new EngineError('forbidden', `An API token cannot ${what}; sign in with a password for that.`)
    }
  }

  return {
    users,
    setupCode: () => (users.hasAdmin() ? null : setupCode.text),

    async setUp({ code, name, password }, from) {
      if (users.hasAdmin()) {
        throw new EngineError('already_set_up', 'There is already an administrator. Sign in instead.')
      }
      const takeBack = setupByAddress.begin(addressKey(from))
      if (!setupCode.matches(code)) {
        throw new EngineError(
          'bad_setup_code',
          'That is not the setup code. It stands in the output of the server, as "Setup code: …".',
          { field: 'code' },
        )
      }
      takeBack()
      return startSession(await users.createFirstAdmin({ name, password }), from)
    },

    async signIn({ name, password }, from, oldSecret) {
      const address = addressKey(from)
      const takeBackAddress = byAddress.begin(address)
      const takeBackAccount = byAccount.begin(`${address} ${name}`)
      const user = users.byName(name)
      let right = false
      try {
        right = await passwords.verify(user?.passwordHash ?? null, password)
      } catch (error) {
        takeBackAddress()
        takeBackAccount()
        throw error
      }
      // Read again: the person may have been disabled, or the password changed, while the hash was computed.
      const now = user ? users.get(user.id) : null
      if (!right || !now || now.disabled || now.passwordHash !== user?.passwordHash) {
        throw new EngineError('bad_credentials', 'The name or the password is wrong.')
      }
      takeBackAddress()
      takeBackAccount()
      const oldKey = oldSecret === null ? null : sessionKey(oldSecret)
      if (oldKey !== null && store.delete('session', oldKey)) sweep()
      return startSession(now, from)
    },

    signOut(caller) {
      assertSession(caller, 'sign out')
      store.delete('session', keyOf(caller))
      sweep()
    },

    async changePassword(caller, { current, next }) {
      assertSession(caller, 'change the password')
      const takeBack = byAccount.begin(`${addressKey(caller.from)} ${caller.name}`)
      const user = users.get(caller.userId)
      if (!(await passwords.verify(user?.passwordHash ?? null, current))) {
        throw new EngineError('bad_credentials', 'The current password is wrong.', { field: 'current' })
      }
      takeBack()
      await users.update(caller.userId, { password: next }, keyOf(caller))
      sweep()
    },

    async updateUser(id, change) {
      const user = await users.update(id, change)
      sweep()
      return user
    },

    deleteUser(id) {
      const user = users.delete(id)
      sweep()
      return user
    },

    session(userId) {
      const user = userId === null ? null : users.get(userId)
      return {
        user: user ? userView(user) : null,
        privileges: user ? PRIVILEGES.filter((privilege) => hasPrivilege(user.role, privilege)) : [],
        setupNeeded: !users.hasAdmin(),
      }
    },

    callerOfSession(secret, from) {
      const key = sessionKey(secret)
      const stored = key === null ? null : store.get<SessionDocument>('session', key)
      if (!stored) return null
      const now = clock.now()
      const session = stored.value
      const user = isSessionOver(session, now) ? null : activeUser(session.userId)
      if (!user) return null
      if (now - session.usedSteadyMs > TOUCH_EVERY_MS) {
        note(() => {
          store.cas('session', stored.key, { ...session, usedSteadyMs: now }, stored.revision)
          users.seen(user)
        })
      }
      return callerFor(user, `session:${stored.key}`, 'session', from)
    },

    callerOfToken(secret, from) {
      const key = tokenKey(secret)
      const stored = key === null ? null : store.get<TokenDocument>('token', key)
      if (!stored) return null
      const now = Date.now()
      const token = stored.value
      const user = isExpired(token, now) ? null : activeUser(token.userId)
      if (!user) return null
      if (token.lastUsedAt === null || Math.abs(now - Date.parse(token.lastUsedAt)) > TOKEN_TOUCH_EVERY_MS) {
        note(() => {
          store.cas('token', stored.key, { ...token, lastUsedAt: new Date(now).toISOString() }, stored.revision)
          users.seen(user)
        })
      }
      return callerFor(user, `token:${stored.key}`, 'token', from)
    },

    tokenList: (caller) => tokens.list(caller.userId).map(tokenView),
    tokenCreate(caller, input) {
      assertSession(caller, 'create API tokens')
      const { secret, entry } = tokens.create({ userId: caller.userId, ...input })
      return { token: secret, entry: tokenView(entry) }
    },
    tokenDelete(caller, id) {
      assertSession(caller, 'revoke API tokens')
      tokens.delete(id, caller.userId)
      sweep()
    },

    isAlive,
    onRevoked(credentialId, listener) {
      const waiting = listeners.get(credentialId) ?? new Set()
      listeners.set(credentialId, waiting)
      waiting.add(listener)
      if (!isAlive(credentialId)) setImmediate(sweep)
      return () => {
        waiting.delete(listener)
        if (waiting.size === 0 && listeners.get(credentialId) === waiting) listeners.delete(credentialId)
      }
    },
    close() {
      clearInterval(timer)
    },
  }

  function callerFor(user: UserDocument, credentialId: string, via: Caller['via'], from: string): Caller {
    return { userId: user.id, name: user.name, role: user.role, from, credentialId, via }
  }
}

const keyOf = (caller: Caller): string => caller.credentialId.slice(caller.credentialId.indexOf(':') + 1)

/** A time stamp that cannot be written (the disk is full, say) must not keep anybody from reading or stopping a VM. */
function note(write: () => void): void {
  try {
    write()
  } catch {
    // Written with the next use.
  }
}
