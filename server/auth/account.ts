/**
 * What a signed-in person does with their own account. Whatever changes how they sign in needs them to have said who
 * they are a short while ago (`confirm`): an unattended browser must not be enough.
 */

import { may } from '#lib/auth/privileges.ts'
import type { Account, Passkey, SessionEntry } from '#lib/schema/account.ts'
import type { ApiToken, TokenScope } from '#lib/schema/token.ts'
import { keyOf } from '#server/auth/credential-key.ts'
import { type PasskeyDocument, tokenView, type UserDocument, userView } from '#server/auth/documents.ts'
import { type Factors, hasFactor } from '#server/auth/factors.ts'
import { type Passkeys, passkeysUnavailable } from '#server/auth/passkeys.ts'
import type { Passwords } from '#server/auth/passwords.ts'
import { addressKey } from '#server/auth/rate-limit.ts'
import { type Sessions, sessionId } from '#server/auth/sessions.ts'
import type { SettingsStore } from '#server/auth/settings.ts'
import type { SignIns } from '#server/auth/sign-in.ts'
import type { Tokens } from '#server/auth/tokens.ts'
import { assertGoodPassword, type Users } from '#server/auth/users.ts'
import { EngineError, type JsonValue } from '#server/engine/errors.ts'
import type { Caller } from '#server/engine/types.ts'

export interface AccountDeps {
  readonly users: Users
  readonly tokens: Tokens
  readonly sessions: Sessions
  readonly factors: Factors
  readonly passkeys: Passkeys
  readonly passwords: Passwords
  readonly settings: SettingsStore
  readonly attempts: Pick<SignIns, 'begin'>
  readonly start: Sessions['start']
  /** Tells those who hold connections of credentials that have ended. */
  sweep(): void
}

type Json = Record<string, JsonValue>

export interface AccountActions {
  /** @param page origin of our own page, where it is known */
  view(caller: Caller, page: string | null): Account
  sessions(caller: Caller): SessionEntry[]
  /** @throws EngineError not_found */
  endSession(caller: Caller, id: string): void
  endSessions(caller: Caller, keepThis: boolean): void
  /** @throws EngineError bad_credentials, conflict, rate_limited, busy */
  confirm(caller: Caller, proof: { password?: string | undefined; code?: string | undefined }): Promise<void>
  /** @throws EngineError confirm_needed */
  assertConfirmed(caller: Caller): void
  /** @throws EngineError bad_credentials, bad_input, conflict, rate_limited, busy */
  changePassword(caller: Caller, input: { current: string; next: string }): Promise<void>
  totpBegin(caller: Caller): { secret: string; uri: string }
  totpConfirm(caller: Caller, code: string): string[] | null
  totpDelete(caller: Caller): void
  recoveryCreate(caller: Caller): string[]
  passkeyBegin(caller: Caller, page: string): Promise<{ id: string; options: Json }>
  passkeyCreate(
    caller: Caller,
    page: string,
    input: { id: string; label: string; response: Json },
  ): Promise<{ passkey: Passkey; recoveryCodes: string[] | null }>
  passkeyDelete(caller: Caller, passkeyId: string): void
  /** A session that was good for nothing but this becomes a full one, with another secret; null where it was one. */
  enrolled(caller: Caller, device: string): string | null
  tokens(caller: Caller): ApiToken[]
  /** @throws EngineError conflict, confirm_needed, forbidden (more than the caller may) */
  tokenCreate(
    caller: Caller,
    input: { label: string; expiresInDays?: number | undefined; scope?: TokenScope | undefined },
  ): { token: string; entry: ApiToken }
}

const passkeyView = ({ id, label, createdAt, lastUsedAt, hostname, synced }: PasskeyDocument): Passkey => ({
  id,
  label,
  createdAt,
  lastUsedAt,
  hostname,
  synced,
})

export function createAccount(deps: AccountDeps): AccountActions {
  const { users, tokens, sessions, factors, passkeys, passwords, settings } = deps

  const own = (caller: Caller): UserDocument => {
    const user = users.get(caller.userId)
    if (user === null) throw new EngineError('unauthenticated', 'Sign in first.')
    return user
  }
  const isDemanded = (user: UserDocument) => settings.read().policy.secondFactorRoles.includes(user.role)
  const assertConfirmed = (caller: Caller): void => {
    if (sessions.isConfirmed(keyOf(caller))) return
    throw new EngineError('confirm_needed', 'Say once more who you are: your sign-in was a while ago.')
  }
  /** The last factor cannot go while the rules demand one: the next sign-in would only ask for it again. */
  const assertMayLose = (user: UserDocument, what: 'totp' | 'passkey'): void => {
    const { totp, passkeys: kept } = factors.of(user.id)
    const left = what === 'totp' ? kept.length : kept.length - 1 + (totp === null ? 0 : 1)
    if (left <= 0 && isDemanded(user)) {
      throw new EngineError('conflict', 'Your role needs a second factor; set up another one first.')
    }
  }

  return {
    assertConfirmed,
    view(caller, page) {
      const user = own(caller)
      const { totp, passkeys: kept, recovery } = factors.of(user.id)
      return {
        user: userView(user),
        totp: totp && { confirmedAt: totp.confirmedAt },
        passkeys: kept.map(passkeyView),
        recoveryCodesLeft: recovery.length,
        secondFactorRequired: isDemanded(user),
        passkeysUnavailable: passkeysUnavailable(page ?? ''),
      }
    },
    sessions: (caller) => sessions.list(caller.userId, keyOf(caller)),
    endSession(caller, id) {
      if (sessions.end(caller.userId, (key) => sessionId(key) === id) === 0) {
        throw new EngineError('not_found', 'There is no such session.')
      }
      deps.sweep()
    },
    endSessions(caller, keepThis) {
      sessions.end(caller.userId, (key) => !keepThis || key !== keyOf(caller))
      deps.sweep()
    },

    async confirm(caller, { password, code }) {
      const user = own(caller)
      const takeBack = deps.attempts.begin(addressKey(caller.from), user.name)
      let right = false
      if (code !== undefined) right = factors.use(user.id, code)
      else if (password !== undefined && user.passwordHash !== null) {
        right = await passwords.verify(user.passwordHash, password)
      } else {
        takeBack()
        throw new EngineError('conflict', 'You have no password here. Sign out and in again, which says it as well.')
      }
      if (!right) {
        throw new EngineError('bad_credentials', 'That is not right.', {
          field: code === undefined ? 'password' : 'code',
        })
      }
      takeBack()
      sessions.confirm(keyOf(caller))
    },

    async changePassword(caller, { current, next }) {
      const user = own(caller)
      if (user.passwordHash === null) {
        throw new EngineError('conflict', 'Your password is kept elsewhere; change it there.')
      }
      const takeBack = deps.attempts.begin(addressKey(caller.from), user.name)
      if (!(await passwords.verify(user.passwordHash, current))) {
        throw new EngineError('bad_credentials', 'The current password is wrong.', { field: 'current' })
      }
      takeBack()
      assertGoodPassword(next, user.name, 'next')
      await users.update(caller.userId, { password: next }, keyOf(caller))
      deps.sweep()
    },

    totpBegin(caller) {
      assertConfirmed(caller)
      const user = own(caller)
      return factors.totpBegin(user.id, user.name)
    },
    totpConfirm(caller, code) {
      assertConfirmed(caller)
      const takeBack = deps.attempts.begin(addressKey(caller.from), caller.name)
      const codes = factors.totpConfirm(caller.userId, code)
      takeBack()
      return codes
    },
    totpDelete(caller) {
      assertConfirmed(caller)
      assertMayLose(own(caller), 'totp')
      factors.totpDelete(caller.userId)
    },
    recoveryCreate(caller) {
      assertConfirmed(caller)
      return factors.recoveryCreate(caller.userId)
    },
    async passkeyBegin(caller, page) {
      assertConfirmed(caller)
      return passkeys.createBegin(own(caller), page)
    },
    async passkeyCreate(caller, page, input) {
      assertConfirmed(caller)
      const { passkey, recoveryCodes } = await passkeys.createFinish(own(caller), page, input)
      return { passkey: passkeyView(passkey), recoveryCodes }
    },
    passkeyDelete(caller, passkeyId) {
      assertConfirmed(caller)
      assertMayLose(own(caller), 'passkey')
      passkeys.delete(caller.userId, passkeyId)
    },
    enrolled(caller, device) {
      if (caller.enrolling !== true || !hasFactor(factors.of(caller.userId))) return null
      const by = sessions.list(caller.userId, keyOf(caller)).find((entry) => entry.current)?.by ?? 'password'
      const secret = deps.start(own(caller), { from: caller.from, device }, { by })
      sessions.end(caller.userId, (key) => key === keyOf(caller))
      deps.sweep()
      return secret
    },

    tokens: (caller) => tokens.list(caller.userId).map(tokenView),
    tokenCreate(caller, input) {
      if (caller.enrolling === true) {
        throw new EngineError('second_factor_needed', 'Set up a second factor on your account page first.')
      }
      const beyond = input.scope?.privileges.filter((privilege) => !may(caller, privilege)) ?? []
      if (beyond.length > 0) {
        throw new EngineError('forbidden', `You may not do this yourself: ${beyond.join(', ')}.`, { field: 'scope' })
      }
      assertConfirmed(caller)
      const { secret, entry } = tokens.create({ userId: caller.userId, ...input })
      return { token: secret, entry: tokenView(entry) }
    },
  }
}
