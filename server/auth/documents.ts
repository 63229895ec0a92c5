/** What the store keeps about people and their credentials, and how secrets become keys. */
import { createHash, randomBytes } from 'node:crypto'
import type * as z from 'zod'
import type { ApiToken, Role, User } from '#lib/schema/user.ts'

export interface UserDocument {
  readonly v: 1
  readonly id: string
  readonly name: string
  readonly role: z.output<typeof Role>
  readonly disabled: boolean
  /** PHC string. */
  readonly passwordHash: string
  readonly createdAt: string
  readonly lastSeenAt: string | null
}

/** Stored under the SHA-256 of its secret. */
export interface SessionDocument {
  readonly v: 1
  readonly userId: string
  readonly createdAt: string
  readonly from: string
  /** By the steady clock, milliseconds. */
  readonly startedSteadyMs: number
  readonly usedSteadyMs: number
}

/** Stored under the SHA-256 of its secret. */
export interface TokenDocument {
  readonly v: 1
  readonly id: string
  readonly userId: string
  readonly label: string
  readonly createdAt: string
  readonly lastUsedAt: string | null
  /** By the wall clock: people choose a date. */
  readonly expiresAt: string | null
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
  return { id: id as User['id'], name, role, disabled, createdAt, lastSeenAt }
}

export function tokenView(token: TokenDocument): ApiToken {
  const { id, label, createdAt, lastUsedAt, expiresAt } = token
  return { id: id as ApiToken['id'], label, createdAt, lastUsedAt, expiresAt }
}
