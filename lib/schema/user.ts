/** People, sessions and tokens. */
import * as z from 'zod'
import { Instant, TokenId, UserId } from './ids.ts'

export const Role = z.enum(['admin', 'operator', 'viewer']).meta({ id: 'Role' })
export type Role = z.output<typeof Role>

export const UserName = z
  .string()
  .regex(/^[a-z][a-z0-9._-]{0,31}$/, 'a-z first, then a-z, 0-9, . _ - (up to 32)')
  .meta({ id: 'UserName' })

/** Length alone decides; no composition rules. */
export const Password = z.string().min(10, 'at least 10 characters').max(256, 'at most 256 characters')

export const User = z
  .strictObject({
    id: UserId,
    name: UserName,
    role: Role,
    disabled: z.boolean(),
    createdAt: Instant,
    lastSeenAt: Instant.nullable(),
  })
  .meta({ id: 'User' })
export type User = z.output<typeof User>

export const Session = z
  .strictObject({
    /** Null when nobody is signed in. */
    user: User.nullable(),
    /** What the user's role may do. */
    privileges: z.array(z.string()),
    /** True until the first administrator exists. */
    setupNeeded: z.boolean(),
  })
  .meta({ id: 'Session' })
export type Session = z.output<typeof Session>

export const ApiToken = z
  .strictObject({
    id: TokenId,
    label: z.string(),
    createdAt: Instant,
    lastUsedAt: Instant.nullable(),
    expiresAt: Instant.nullable(),
  })
  .meta({ id: 'ApiToken' })
export type ApiToken = z.output<typeof ApiToken>
