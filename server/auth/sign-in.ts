/**
 * Signing in: name and password (here, of a directory, of the host), then the second factor where there is one; or a
 * passkey; or an OpenID provider.
 *
 * What a stranger learns: somebody with a second factor is asked for it whether the password was right or wrong, and so
 * is one in two of the names that nobody has. So neither the question nor its absence tells that a name is known, and
 * only the end tells that a password was right. Attempts are counted from the first step on and given back at the end.
 */
import { createHmac, randomBytes } from 'node:crypto'
import type { PasswordRealm, Role, SignedInBy } from '#lib/schema/user.ts'
import type { UserDocument } from '#server/auth/documents.ts'
import { type AdmitDeps, admit, type ExternalAccount } from '#server/auth/external.ts'
import type { Factors } from '#server/auth/factors.ts'
import { createFlows } from '#server/auth/flows.ts'
import { hostSignIn } from '#server/auth/host-accounts.ts'
import type { KnownBrowsers } from '#server/auth/known-browsers.ts'
import { ldapSignIn } from '#server/auth/ldap.ts'
import type { OidcSignIn } from '#server/auth/oidc.ts'
import type { Passkeys } from '#server/auth/passkeys.ts'
import type { Passwords } from '#server/auth/passwords.ts'
import { AttemptLimiter, addressKey } from '#server/auth/rate-limit.ts'
import type { Origin } from '#server/auth/sessions.ts'
import type { SettingsStore } from '#server/auth/settings.ts'
import { EngineError, type JsonValue } from '#server/engine/errors.ts'

const IP_LIMIT = { max: 10, windowMs: 60_000 }
const ACCOUNT_LIMIT = { max: 20, windowMs: 15 * 60_000 }
/** From all addresses together, since whoever gets here has the password: six digits are soon tried out. */
const CODE_LIMIT = { max: 30, windowMs: 3_600_000 }
const CHALLENGE_MS = 5 * 60_000
const CHALLENGES_MAX = 5000
const TRIES_PER_CHALLENGE = 5

export interface SignedIn {
  /** Value of the session cookie. */
  readonly secret: string
  readonly user: UserDocument
  readonly notes: readonly string[]
}
export interface Challenged {
  readonly challenge: string
}

interface Challenge {
  /** Null: whatever is answered is wrong. */
  readonly userId: string | null
  readonly passwordHash: string | null
  readonly by: SignedInBy
  /** Under which its attempts are counted. */
  readonly counter: string
  readonly notes: readonly string[]
  triesLeft: number
  giveBack(): void
}

export interface SignIns {
  /** @throws EngineError bad_credentials, sign_in_failed, rate_limited, busy */
  password(
    input: { name: string; password: string; realm: PasswordRealm },
    origin: Origin,
  ): Promise<SignedIn | Challenged>
  /** Whose second step this is: of somebody whose password was right. */
  whoseStep(challenge: string): UserDocument | null
  /** @throws EngineError bad_credentials, rate_limited */
  code(challenge: string, code: string, origin: Origin): SignedIn
  /** Alone, or in answer to a challenge. @throws EngineError bad_credentials, rate_limited */
  passkey(
    input: { id: string; response: Record<string, JsonValue>; challenge: string | null },
    page: string,
    origin: Origin,
  ): Promise<SignedIn>
  /** @throws EngineError sign_in_failed */
  oidc(flow: string, query: string, origin: Origin): Promise<SignedIn>
  /** Counts an attempt of somebody signed in to prove who they are. Returns the function that takes it back. */
  begin(address: string, name: string): () => void
}

export interface SignInDeps extends AdmitDeps {
  readonly passwords: Passwords
  readonly browsers: Pick<KnownBrowsers, 'counterOf'>
  readonly factors: Factors
  readonly passkeys: Passkeys
  readonly oidc: OidcSignIn
  readonly settings: SettingsStore
  start(user: UserDocument, origin: Origin, how: { by: SignedInBy; enrolling: boolean }): string
}

const WRONG = 'The name or the password is wrong.'
const WRONG_CODE = 'The name, the password or the code is wrong. Each code counts once.'
const wrong = (sentence = WRONG) => new EngineError('bad_credentials', sentence)

export function createSignIns(deps: SignInDeps): SignIns {
  const { users, passwords, factors, passkeys, settings } = deps
  const byAddress = new AttemptLimiter(IP_LIMIT)
  const byAccount = new AttemptLimiter(ACCOUNT_LIMIT)
  const byCode = new AttemptLimiter(CODE_LIMIT)
  const challenges = createFlows<Challenge>({ keepMs: CHALLENGE_MS, max: CHALLENGES_MAX })
  const decoyKey = randomBytes(32)

  /** Whether a name that nobody has is asked for a code; always the same for one name. */
  const isDecoy = (realm: string, name: string) =>
    ((createHmac('sha256', decoyKey).update(`${realm} ${name}`).digest()[0] ?? 0) & 1) === 1

  const begin = (address: string, name: string): (() => void) => {
    const giveBackAddress = byAddress.begin(address)
    try {
      const giveBackAccount = byAccount.begin(`${address} ${name}`)
      return () => {
        giveBackAddress()
        giveBackAccount()
      }
    } catch (error) {
      giveBackAddress()
      throw error
    }
  }

  const byNameIn = (realm: PasswordRealm, name: string) =>
    realm === 'local' ? users.byName(name) : users.byLogin({ realm, subject: name.toLowerCase() })

  const isDemanded = (role: Role) => settings.read().policy.secondFactorRoles.includes(role)

  const finish = (
    userId: string,
    origin: Origin,
    by: SignedInBy,
    notes: readonly string[],
    isStrong: boolean,
  ): SignedIn => {
    const user = users.get(userId)
    if (user === null || user.disabled) throw wrong()
    const enrolling = !isStrong && isDemanded(user.role)
    return { secret: deps.start(user, origin, { by, enrolling }), user, notes }
  }

  /** Whom a name and password belong to. Null: wrong. */
  const prove = async (name: string, password: string, realm: PasswordRealm) => {
    if (realm === 'local') {
      const user = users.byName(name)
      const right = await passwords.verify(user?.passwordHash ?? null, password)
      // Read again: the person may have been disabled, or the password changed, while the hash was computed.
      const now = user ? users.get(user.id) : null
      if (!right || !now || now.disabled || now.passwordHash !== user?.passwordHash) return null
      return { user: now, notes: [] }
    }
    const { ldap, host } = settings.read()
    const settled = realm === 'ldap' ? ldap : host
    if (!settled?.enabled)
      throw new EngineError('bad_input', 'realm: there are no such accounts here.', { field: 'realm' })
    const found =
      realm === 'ldap' && ldap !== null
        ? await ldapSignIn(ldap, name, password)
        : host !== null
          ? await hostSignIn(host, name, password)
          : null
    if (found === null) return null
    const account: ExternalAccount = { realm, subject: found.name, name: found.name, groups: found.groups }
    return admit(deps, account, settled)
  }

  return {
    begin,

    async password({ name, password, realm }, origin) {
      const claimed = byNameIn(realm, name)?.id ?? null
      const counter = deps.browsers.counterOf(origin.known, claimed) ?? addressKey(origin.from)
      const giveBack = begin(counter, realm === 'local' ? name : `${realm} ${name}`)
      let proved: Awaited<ReturnType<typeof prove>>
      try {
        proved = await prove(name, password, realm)
      } catch (error) {
        // Ours to mend, not theirs; a refusal after the right password is no wrong attempt either.
        giveBack()
        throw error
      }
      const known = proved?.user ?? byNameIn(realm, name)
      const isAsked = known === null ? isDecoy(realm, name) : factors.has(known.id)
      if (isAsked) {
        const challenge = challenges.begin({
          userId: proved?.user.id ?? null,
          passwordHash: proved?.user.passwordHash ?? null,
          by: realm === 'local' ? 'password' : realm,
          counter,
          notes: proved?.notes ?? [],
          triesLeft: TRIES_PER_CHALLENGE,
          giveBack,
        })
        return { challenge }
      }
      if (proved === null) throw wrong()
      giveBack()
      return finish(proved.user.id, origin, realm === 'local' ? 'password' : realm, proved.notes, false)
    },

    whoseStep(id) {
      const userId = challenges.look(id)?.userId ?? null
      return userId === null ? null : users.get(userId)
    },

    code(id, code, origin) {
      const challenge = challenges.look(id)
      const giveBackAddress = byAddress.begin(challenge?.counter ?? addressKey(origin.from))
      if (challenge === null) throw wrong('This sign-in took too long; begin again.')
      challenge.triesLeft -= 1
      if (challenge.triesLeft <= 0) challenges.take(id)
      // Counted for decoys as well, under a name of their own.
      const giveBackCode = factors.kindOf(code) === 'totp' ? byCode.begin(challenge.userId ?? id) : () => {}
      const user = challenge.userId === null ? null : users.get(challenge.userId)
      const isSame = user !== null && !user.disabled && user.passwordHash === challenge.passwordHash
      if (!isSame || !factors.use(user.id, code)) throw wrong(WRONG_CODE)
      challenges.take(id)
      giveBackCode()
      giveBackAddress()
      challenge.giveBack()
      return finish(user.id, origin, challenge.by, challenge.notes, true)
    },

    async passkey({ id, response, challenge: challengeId }, page, origin) {
      const giveBack = byAddress.begin(addressKey(origin.from))
      if (challengeId === null) {
        const userId = await passkeys.answerFinish(page, id, response, true)
        giveBack()
        return finish(userId, origin, 'passkey', [], true)
      }
      const challenge = challenges.take(challengeId)
      if (challenge === null) throw wrong('This sign-in took too long; begin again.')
      const userId = await passkeys.answerFinish(page, id, response, false)
      const user = users.get(userId)
      if (userId !== challenge.userId || user?.passwordHash !== challenge.passwordHash) {
        throw wrong('The name, the password or the passkey is wrong.')
      }
      giveBack()
      challenge.giveBack()
      return finish(userId, origin, challenge.by, challenge.notes, true)
    },

    async oidc(flow, query, origin) {
      const giveBack = byAddress.begin(addressKey(origin.from))
      const account = await deps.oidc.finish(flow, query)
      const { oidc } = settings.read()
      if (oidc === null) throw new EngineError('conflict', 'Nobody signs in at an OpenID provider here.')
      const { user, notes } = await admit(deps, account, oidc)
      giveBack()
      // Whether a second factor is needed there is the provider's to decide.
      return finish(user.id, origin, 'oidc', notes, true)
    },
  }
}
