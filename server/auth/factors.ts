/**
 * Second factors of people: codes of an app (TOTP, RFC 6238) and recovery codes. Passkeys are kept in the same document
 * and handled in `passkeys.ts`.
 */
import { createHash, randomInt } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import type { FactorDocument } from '#server/auth/documents.ts'
import type { Sealer } from '#server/auth/sealer.ts'
import type { SteadyClock } from '#server/auth/steady-clock.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

const ISSUER = 'Guestdeck'
const PERIOD_S = 30
const DIGITS = 6
/** Clocks of phones and servers differ by less than a period either way. */
const WINDOW = 1
const SECRET_BYTES = 20
const SETUP_KEEP_MS = 30 * 60_000
const CODES = 10
/** Without letters and digits that look alike: 16 of 30 are 78 bits, so a plain digest is enough. */
const ALPHABET = 'ABCDEFGHJKMNPQRSTVWXYZ23456789'
const NONE: FactorDocument = { v: 1, totp: null, pendingTotp: null, recovery: [], passkeys: [] }

export type CodeKind = 'totp' | 'recovery'

export interface Factors {
  of(userId: string): FactorDocument
  /** An app that counts, or a passkey; recovery codes alone are none. */
  has(userId: string): boolean
  totpBegin(userId: string, name: string): { secret: string; uri: string }
  /** Returns recovery codes where the person had none. @throws EngineError bad_credentials, conflict */
  totpConfirm(userId: string, code: string): string[] | null
  /** Recovery codes go with the last factor. @throws EngineError conflict when there is none */
  totpDelete(userId: string): void
  /** @throws EngineError conflict when there is no factor that they could stand in for */
  recoveryCreate(userId: string): string[]
  /** Says which kind of code it has the form of; others are none. */
  kindOf(code: string): CodeKind | null
  /** True when it is right; then it is used up. */
  use(userId: string, code: string): boolean
  change<T>(userId: string, change: (before: FactorDocument) => { after: FactorDocument; answer: T }): T
  /** Fresh codes and what is kept of them. */
  newCodes(): { codes: string[]; digests: string[] }
  /** Takes all away. True when there was something. */
  reset(userId: string): boolean
}

const normal = (code: string) => code.toUpperCase().replace(/[^A-Z0-9]/g, '')
const digest = (code: string) => createHash('sha256').update(normal(code)).digest('hex')
const purpose = (userId: string) => `totp ${userId}`

export function hasFactor(document: FactorDocument): boolean {
  return document.totp !== null || document.passkeys.length > 0
}

export function createFactors(
  store: Store,
  sealer: Sealer,
  clock: SteadyClock,
  wallMs: () => number = () => Date.now(),
): Factors {
  const of = (userId: string) => store.get<FactorDocument>('factor', userId)?.value ?? NONE

  const change: Factors['change'] = (userId, work) =>
    store.transaction(() => {
      const before = of(userId)
      const { after, answer } = work(before)
      if (after === before) return answer
      if (!hasFactor(after) && after.pendingTotp === null) store.delete('factor', userId)
      // Recovery codes stand in for a factor: without one they are worth nothing.
      else store.put('factor', userId, hasFactor(after) ? after : { ...after, recovery: [] })
      return answer
    })

  const newCodes = () => {
    const codes = Array.from({ length: CODES }, () =>
      Array.from({ length: 4 }, () =>
        Array.from({ length: 4 }, () => ALPHABET[randomInt(ALPHABET.length)]).join(''),
      ).join('-'),
    )
    return { codes, digests: codes.map(digest) }
  }

  const generator = (secret: string, label: string) =>
    new TOTP({ issuer: ISSUER, label, secret: Secret.fromBase32(secret), digits: DIGITS, period: PERIOD_S })

  /** The period a code belongs to, when it is right now and later than `lastCounter`; else null. */
  const counterOf = (sealedSecret: string, userId: string, code: string, lastCounter: number): number | null => {
    const secret = sealer.open(sealedSecret, purpose(userId))
    if (secret === null) return null
    const timestamp = wallMs()
    const delta = generator(secret, userId).validate({ token: code.replace(/\s/g, ''), timestamp, window: WINDOW })
    if (delta === null) return null
    const current = Math.floor(timestamp / 1000 / PERIOD_S)
    // A counter from the future was noted while the clock was wrong: it must not keep its owner out for days.
    const last = lastCounter > current + WINDOW ? 0 : lastCounter
    return current + delta > last ? current + delta : null
  }

  const kindOf = (code: string): CodeKind | null => {
    if (/^\d{6}$/.test(code.replace(/\s/g, ''))) return 'totp'
    return normal(code).length === 16 ? 'recovery' : null
  }

  return {
    of,
    has: (userId) => hasFactor(of(userId)),
    change,
    newCodes,
    kindOf,
    totpBegin(userId, name) {
      const secret = new Secret({ size: SECRET_BYTES }).base32
      const pendingTotp = { sealedSecret: sealer.seal(secret, purpose(userId)), startedSteadyMs: clock.now() }
      change(userId, (before) => ({ after: { ...before, pendingTotp }, answer: undefined }))
      return { secret, uri: generator(secret, name).toString() }
    },
    totpConfirm: (userId, code) =>
      change(userId, (before) => {
        const { pendingTotp } = before
        if (pendingTotp === null || clock.now() - pendingTotp.startedSteadyMs > SETUP_KEEP_MS) {
          throw new EngineError('conflict', 'This took too long; begin to set up the app again.')
        }
        const counter = counterOf(pendingTotp.sealedSecret, userId, code, 0)
        if (counter === null) {
          throw new EngineError(
            'bad_credentials',
            'That is not the code of the new app. If it stays wrong, compare the clocks of phone and server.',
            { field: 'code' },
          )
        }
        const fresh = before.recovery.length > 0 ? null : newCodes()
        const confirmedAt = new Date(wallMs()).toISOString()
        const after: FactorDocument = {
          ...before,
          totp: { sealedSecret: pendingTotp.sealedSecret, confirmedAt, lastCounter: counter },
          pendingTotp: null,
          recovery: fresh?.digests ?? before.recovery,
        }
        return { after, answer: fresh?.codes ?? null }
      }),
    totpDelete: (userId) =>
      change(userId, (before) => {
        if (before.totp === null) throw new EngineError('conflict', 'No app is set up.')
        return { after: { ...before, totp: null }, answer: undefined }
      }),
    recoveryCreate: (userId) =>
      change(userId, (before) => {
        if (!hasFactor(before)) {
          throw new EngineError('conflict', 'Recovery codes stand in for a second factor; set one up first.')
        }
        const { codes, digests } = newCodes()
        return { after: { ...before, recovery: digests }, answer: codes }
      }),
    use: (userId, code) =>
      change(userId, (before) => {
        const kind = kindOf(code)
        if (kind === 'totp' && before.totp !== null) {
          const { totp } = before
          const counter = counterOf(totp.sealedSecret, userId, code, totp.lastCounter)
          if (counter !== null) return { after: { ...before, totp: { ...totp, lastCounter: counter } }, answer: true }
        }
        if (kind === 'recovery') {
          const used = digest(code)
          const recovery = before.recovery.filter((kept) => kept !== used)
          if (recovery.length < before.recovery.length) return { after: { ...before, recovery }, answer: true }
        }
        return { after: before, answer: false }
      }),
    reset: (userId) => store.delete('factor', userId),
  }
}
