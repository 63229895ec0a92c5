/** What the store keeps about people and their credentials, and how secrets become keys. */
import { createHash, randomBytes } from 'node:crypto'
import type { ApiToken, TokenScope } from '#lib/schema/token.ts'
import type { ExternalLogin, Role, SignedInBy, User } from '#lib/schema/user.ts'

export interface UserDocument {
  readonly v: 1
  readonly id: string
  readonly name: string
  readonly role: Role
  readonly disabled: boolean
  /** PHC string; null: this person has no password here. */
  readonly passwordHash: string | null
  readonly createdAt: string
  readonly lastSeenAt: string | null
  /** Accounts elsewhere that sign in as this person; absent in older documents. */
  readonly logins?: readonly ExternalLogin[]
  /** Id of a custom role that takes the place of what `role` gives. */
  readonly customRole?: string | null
  /** Groups elsewhere, as of the last sign-in from there: `realm:name`. */
  readonly groups?: readonly string[]
}

/** Stored under the SHA-256 of its secret. Optional fields are absent in older documents. */
export interface SessionDocument {
  readonly v: 1
  readonly userId: string
  readonly createdAt: string
  readonly from: string
  /** By the steady clock, milliseconds. */
  readonly startedSteadyMs: number
  readonly usedSteadyMs: number
  readonly by?: SignedInBy
  readonly device?: string
  readonly lastSeenAt?: string
  /** When the person last said who they are, by the steady clock. */
  readonly confirmedSteadyMs?: number
  /** Good for nothing but setting up the second factor that is demanded. */
  readonly enrolling?: boolean
}

/** Second factors of one person; stored under the person's id. */
export interface FactorDocument {
  readonly v: 1
  readonly totp: { readonly sealedSecret: string; readonly confirmedAt: string; readonly lastCounter: number } | null
  /** An app that has not shown yet that it counts right. */
  readonly pendingTotp: { readonly sealedSecret: string; readonly startedSteadyMs: number } | null
  /** SHA-256 of each code that was not used. */
  readonly recovery: readonly string[]
  readonly passkeys: readonly PasskeyDocument[]
}

export interface PasskeyDocument {
  /** Base64url, as are the other bytes. */
  readonly id: string
  readonly publicKey: string
  readonly counter: number
  readonly label: string
  readonly createdAt: string
  readonly lastUsedAt: string | null
  readonly hostname: string
  readonly synced: boolean
}

/** Stored under the SHA-256 of its secret. */
export interface TokenDocument {
  readonly v: 1
  readonly id: string
  readonly userId: string
  readonly label: string
  readonly createdAt: string
  readonly lastUsedAt: string | null
  readonly lastUsedFrom?: string | null
  /** By the wall clock: people choose a date. */
  readonly expiresAt: string | null
  /** Absent or null: whatever its owner may. */
  readonly scope?: TokenScope | null
}

const SECRET_BYTES = 32
const TOKEN_PREFIX = 'gd_'
/** 32 bytes in base64url. */
const SECRET = /^[A-Za-z0-9_-]{43}$/

export const newSessionSecret = (): string => randomBytes(SECRET_BYTES).toString('base64url')
export const newTokenSecret = (): string => TOKEN_PREFIX + randomBytes(SECRET_BYTES).toString('base64url')

/** The store's key of a session secret; null for anything that cannot be one. */
export function sessionKey(secret: string): string | null {
  return SECRET.test(secret) ? sha256(secret) : null
}

/** The store's key of an API token; null for anything that cannot be one. */
export function tokenKey(secret: string): string | null {
  return secret.startsWith(TOKEN_PREFIX) && SECRET.test(secret.slice(TOKEN_PREFIX.length)) ? sha256(secret) : null
}

/** Looking a secret up by its digest needs no constant-time compare: the digest's prefix tells nothing about it. */
function sha256(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

export function userView(user: UserDocument): User {
  const { id, name, role, disabled, createdAt, lastSeenAt } = user
  const hasPassword = user.passwordHash !== null
  return {
    id: id as User['id'],
    name,
    role,
    customRole: (user.customRole ?? null) as User['customRole'],
    disabled,
    createdAt,
    lastSeenAt,
    hasPassword,
    logins: [...(user.logins ?? [])],
  }
}

export function tokenView(token: TokenDocument): ApiToken {
  const { id, label, createdAt, lastUsedAt, lastUsedFrom = null, expiresAt, scope = null } = token
  return { id: id as ApiToken['id'], label, createdAt, lastUsedAt, lastUsedFrom, expiresAt, scope }
}
