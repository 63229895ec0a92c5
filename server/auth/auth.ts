/**
 * People and their credentials. Both are read from the store on each request, so what the command line changes counts
 * at once. How somebody gets a session is in `sign-in.ts`, what they do with their own account in `account.ts`.
 *
 * A credential's id is `session:` or `token:` and its key in the store (a digest, no secret). Whoever holds a
 * long-lived connection for one asks `onRevoked`; the call comes within a second of logout, password change,
 * role change, disabling, deletion, revocation or expiry, whichever process did it.
 */

import { may, PRIVILEGES } from '#lib/auth/privileges.ts'
import type { SignInSettings, SignInSettingsChange, SignInWays } from '#lib/schema/sign-in.ts'
import type { ApiToken } from '#lib/schema/token.ts'
import type { ExternalLogin, ExternalRealm, Person, Session } from '#lib/schema/user.ts'
import { type Access, createAccess } from '#server/access/access.ts'
import { builtInRole } from '#server/access/standing.ts'
import { type AccountActions, createAccount } from '#server/auth/account.ts'
import { keyOf } from '#server/auth/credential-key.ts'
import {
  type FactorDocument,
  type SessionDocument,
  sessionKey,
  type TokenDocument,
  tokenKey,
  tokenView,
  type UserDocument,
  userView,
} from '#server/auth/documents.ts'
import { createFactors, hasFactor } from '#server/auth/factors.ts'
import { hostAccountsUnavailable } from '#server/auth/host-accounts.ts'
import { createKnownBrowsers, type KnownBrowsers } from '#server/auth/known-browsers.ts'
import { ldapCheck } from '#server/auth/ldap.ts'
import { createOidc, OIDC_RETURN_PATH, type OidcSignIn } from '#server/auth/oidc.ts'
import { createPasskeys, type Passkeys, passkeysUnavailable } from '#server/auth/passkeys.ts'
import { createPasswords, type Passwords } from '#server/auth/passwords.ts'
import { AttemptLimiter, addressKey } from '#server/auth/rate-limit.ts'
import type { Sealer } from '#server/auth/sealer.ts'
import { createSessions, type Origin } from '#server/auth/sessions.ts'
import { createSettings } from '#server/auth/settings.ts'
import { createSetupCode } from '#server/auth/setup-code.ts'
import { createSignIns, type SignedIn, type SignIns } from '#server/auth/sign-in.ts'
import { createSteadyClock, type SteadyClock } from '#server/auth/steady-clock.ts'
import { createTokens, isExpired, type Tokens } from '#server/auth/tokens.ts'
import { createUsers, type UserChange, type Users } from '#server/auth/users.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller } from '#server/engine/types.ts'
import type { SqliteStore } from '#server/store/sqlite.ts'

const TOKEN_TOUCH_EVERY_MS = 60_000
const SWEEP_EVERY_MS = 1000
/** Every so many sweeps credentials are looked at although nobody changed anything: some expire. */
const FULL_SWEEP_EVERY = 30
const SETUP_LIMIT = { max: 10, windowMs: 60_000 }

export interface Auth {
  readonly users: Users
  readonly tokens: Tokens
  readonly browsers: Pick<KnownBrowsers, 'markFor'>
  readonly signIns: SignIns
  readonly passkeys: Passkeys
  readonly oidc: OidcSignIn
  /** What a person does with their own account. */
  readonly account: AccountActions
  /** The code, while there is no administrator; null afterwards. */
  setupCode(): string | null
  /** @throws EngineError already_set_up, bad_setup_code, name_taken, bad_input, rate_limited, busy */
  setUp(input: { code: string; name: string; password: string }, origin: Origin): Promise<SignedIn>
  /** Ends the session of a cookie that a sign-in replaces. */
  forget(secret: string): void
  signOut(caller: Caller): void
  updateUser(id: string, change: UserChange): Promise<UserDocument>
  setLogins(id: string, logins: readonly ExternalLogin[]): UserDocument
  deleteUser(id: string): UserDocument
  /** @throws EngineError not_found */
  endSessions(userId: string): UserDocument
  /** Takes away a person's second factors and ends their sessions. @throws EngineError not_found */
  resetFactors(userId: string): UserDocument
  /** Everybody, by name. */
  people(): Person[]
  session(caller: Caller | null): Session
  callerOfSession(secret: string, from: string): Caller | null
  callerOfToken(secret: string, from: string): Caller | null
  /** @throws EngineError not_found */
  tokenDelete(id: string, userId: string): ApiToken
  /** @param page origin of our own page, where it is known */
  ways(page: string | null): SignInWays
  settingsView(page: string | null): SignInSettings
  /** @throws EngineError bad_input, last_admin */
  changeSettings(change: SignInSettingsChange): void
  checkRealm(realm: ExternalRealm): Promise<{ ok: boolean; text: string }>
  isAlive(credentialId: string): boolean
  /** Calls back once when the session or token ends, and soon when it already has. Returns the unsubscribe function. */
  onRevoked(credentialId: string, listener: () => void): () => void
  close(): void
}

export interface AuthOptions {
  readonly passwords?: Passwords
  readonly clock?: SteadyClock
  /** Projects, shares and roles; made over the store when left out. */
  readonly access?: Access
  /** Wall clock of one-time codes. */
  readonly wallMs?: () => number
}

export function createAuth(store: SqliteStore, sealer: Sealer, options: AuthOptions = {}): Auth {
  const passwords = options.passwords ?? createPasswords()
  const clock = options.clock ?? createSteadyClock(store)
  const access = options.access ?? createAccess(store)
  const users = createUsers(store, passwords)
  const tokens = createTokens(store)
  const sessions = createSessions(store, clock)
  const factors = createFactors(store, sealer, clock, options.wallMs)
  const passkeys = createPasskeys(store, factors)
  const settings = createSettings(store, sealer)
  const oidc = createOidc(settings)
  const setupCode = createSetupCode()
  const browsers = createKnownBrowsers(sealer)
  const setupByAddress = new AttemptLimiter(SETUP_LIMIT)
  /** Who waits for the end of which credential. */
  const listeners = new Map<string, Set<() => void>>()

  const activeUser = (id: string): UserDocument | null => {
    const user = users.get(id)
    return user && !user.disabled ? user : null
  }

  const isAlive = (credentialId: string): boolean => {
    const [kind, key = ''] = credentialId.split(':')
    if (kind === 'session') {
      const session = store.get<SessionDocument>('session', key)?.value
      return session !== undefined && !sessions.isOver(session) && activeUser(session.userId) !== null
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

  let sweeps = 0
  const timer = setInterval(() => {
    try {
      sweeps += 1
      if (store.changedElsewhere() || sweeps % FULL_SWEEP_EVERY === 0) sweep()
      if (sweeps % 3600 === 0) sessions.dropExpired()
    } catch {
      // A store that cannot be read for a moment is looked at again in a second.
    }
  }, SWEEP_EVERY_MS)
  timer.unref()
  sessions.dropExpired()

  const start: typeof sessions.start = (user, origin, how) => {
    const secret = sessions.start(user, origin, how)
    users.seen(user)
    return secret
  }
  const updateUser = async (id: string, change: UserChange) => {
    const user = await users.update(id, change)
    sweep()
    return user
  }
  const known = (id: string): UserDocument => {
    const user = users.get(id)
    if (user === null) throw new EngineError('not_found', 'There is no such person.')
    return user
  }
  const signIns = createSignIns({
    ...{ users, passwords, factors, passkeys, oidc, settings, browsers, start },
    update: updateUser,
  })

  const callerFor = (user: UserDocument, from: string) => ({
    userId: user.id,
    name: user.name,
    role: builtInRole(user),
    from,
    grants: access.grantsOf(user.id),
  })

  return {
    users,
    tokens,
    signIns,
    browsers,
    passkeys,
    oidc,
    account: createAccount({
      users,
      tokens,
      sessions,
      factors,
      passkeys,
      passwords,
      settings,
      attempts: signIns,
      start,
      sweep,
    }),
    setupCode: () => (users.hasAdmin() ? null : setupCode.text),

    async setUp({ code, name, password }, origin) {
      if (users.hasAdmin()) {
        throw new EngineError('already_set_up', 'There is already an administrator. Sign in instead.')
      }
      const takeBack = setupByAddress.begin(addressKey(origin.from))
      if (!setupCode.matches(code)) {
        throw new EngineError(
          'bad_setup_code',
          'That is not the setup code. It stands in the output of the server, as "Setup code: …".',
          { field: 'code' },
        )
      }
      takeBack()
      const user = await users.createFirstAdmin({ name, password })
      return { secret: start(user, origin, { by: 'password' }), user, notes: [] }
    },

    forget(secret) {
      const key = sessionKey(secret)
      if (key !== null && store.delete('session', key)) sweep()
    },
    signOut(caller) {
      store.delete('session', keyOf(caller))
      sweep()
    },
    updateUser,
    setLogins(id, logins) {
      const before = known(id).logins ?? []
      const after = users.setLogins(id, logins)
      // Who came in by an account that no longer counts has to sign in again.
      if (before.some((old) => !logins.some((now) => now.realm === old.realm && now.subject === old.subject))) {
        sessions.end(id, () => true)
      }
      sweep()
      return after
    },
    deleteUser(id) {
      const user = users.delete(id)
      sweep()
      return user
    },
    endSessions(userId) {
      const user = known(userId)
      sessions.end(userId, () => true)
      sweep()
      return user
    },
    resetFactors(userId) {
      const user = known(userId)
      factors.reset(userId)
      sessions.end(userId, () => true)
      sweep()
      return user
    },

    people() {
      const strong = new Set(
        store.list<FactorDocument>('factor').flatMap(({ key, value }) => (hasFactor(value) ? [key] : [])),
      )
      const count = (of: readonly { readonly userId: string }[]) => Map.groupBy(of, ({ userId }) => userId)
      const ownTokens = count(tokens.list())
      const open = store.list<SessionDocument>('session').map(({ value }) => value)
      const ownSessions = count(open.filter((session) => !sessions.isOver(session)))
      return users
        .list()
        .map((user) => ({
          ...userView(user),
          secondFactor: strong.has(user.id),
          tokens: ownTokens.get(user.id)?.length ?? 0,
          sessions: ownSessions.get(user.id)?.length ?? 0,
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1))
    },

    session(caller) {
      const user = caller === null ? null : users.get(caller.userId)
      const nobody = { by: null, enrolling: false, challenge: null, setupNeeded: !users.hasAdmin() }
      if (caller === null || user === null) return { user: null, privileges: [], ...nobody }
      return {
        ...nobody,
        user: userView(user),
        privileges: PRIVILEGES.filter((privilege) => may(caller, privilege)),
        by:
          caller.via === 'token'
            ? 'token'
            : (store.get<SessionDocument>('session', keyOf(caller))?.value.by ?? 'password'),
        enrolling: caller.enrolling ?? false,
      }
    },

    callerOfSession(secret, from) {
      const stored = sessions.find(secret)
      const user = stored && activeUser(stored.value.userId)
      if (!user) return null
      note(() => {
        if (sessions.touch(stored, from)) users.seen(user)
      })
      const { enrolling = false } = stored.value
      return { ...callerFor(user, from), credentialId: `session:${stored.key}`, via: 'session', scope: null, enrolling }
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
          const used = { ...token, lastUsedAt: new Date(now).toISOString(), lastUsedFrom: from }
          store.cas('token', stored.key, used, stored.revision)
          users.seen(user)
        })
      }
      return {
        ...callerFor(user, from),
        credentialId: `token:${stored.key}`,
        via: 'token',
        scope: token.scope ?? null,
        enrolling: false,
      }
    },

    tokenDelete(id, userId) {
      const gone = tokens.delete(id, userId)
      sweep()
      return tokenView(gone)
    },

    ways(page) {
      const now = settings.read()
      const passwordRealms: SignInWays['passwords'] = [{ realm: 'local', label: '' }]
      if (now.ldap?.enabled) passwordRealms.push({ realm: 'ldap', label: now.ldap.label })
      if (now.host?.enabled && hostAccountsUnavailable() === null) {
        passwordRealms.push({ realm: 'host', label: now.host.label })
      }
      return {
        passwords: passwordRealms,
        oidc: now.oidc?.enabled ? now.oidc.label : null,
        passkeysUnavailable: passkeysUnavailable(page ?? ''),
      }
    },
    settingsView(page) {
      const { policy, oidc: provider, ldap: directory, host } = settings.read()
      const strip = <T extends object, K extends string>(from: T, ...names: K[]) =>
        Object.fromEntries(Object.entries(from).filter(([name]) => !names.includes(name as K))) as Omit<T, K>
      return {
        policy,
        oidc: provider && {
          ...strip(provider, 'clientSecret', 'sealedClientSecret'),
          hasClientSecret: provider.clientSecret !== null,
        },
        ldap: directory && {
          ...strip(directory, 'bindPassword', 'sealedBindPassword'),
          hasBindPassword: directory.bindPassword !== null,
        },
        host,
        hostUnavailable: hostAccountsUnavailable(),
        redirectUri: page === null ? null : page + OIDC_RETURN_PATH,
      }
    },
    changeSettings(change) {
      settings.change(change, () => users.assertSomeAdmin())
    },
    async checkRealm(realm) {
      if (realm === 'oidc') return oidc.check()
      if (realm === 'host') {
        const reason = hostAccountsUnavailable()
        return { ok: reason === null, text: reason ?? 'PAM can be asked.' }
      }
      const { ldap } = settings.read()
      return ldap === null ? { ok: false, text: 'No directory is set up.' } : ldapCheck(ldap)
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
}

/** A time stamp that cannot be written (the disk is full, say) must not keep anybody from reading or stopping a VM. */
function note(write: () => void): void {
  try {
    write()
  } catch {
    // Written with the next use.
  }
}
