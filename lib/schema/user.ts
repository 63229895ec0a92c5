/** People and sessions. */
import * as z from 'zod'
import { Instant, RoleId, UserId } from './ids.ts'

export const Role = z.enum(['admin', 'operator', 'member', 'viewer']).meta({ id: 'Role' })
export type Role = z.output<typeof Role>

export const UserName = z
  .string()
  .regex(/^[a-z][a-z0-9._-]{0,31}$/, 'a-z first, then a-z, 0-9, . _ - (up to 32)')
  .meta({ id: 'UserName' })

/** Length alone decides, and that it is not one of those everybody tries first; no composition rules. */
export const Password = z.string().min(10, 'at least 10 characters').max(256, 'at most 256 characters')

/** Where an account is kept that signs in here: an OpenID provider, a directory, the host's own accounts. */
export const ExternalRealm = z.enum(['oidc', 'ldap', 'host']).meta({ id: 'ExternalRealm' })
export type ExternalRealm = z.output<typeof ExternalRealm>
export const PasswordRealm = z.enum(['local', 'ldap', 'host']).meta({ id: 'PasswordRealm' })
export type PasswordRealm = z.output<typeof PasswordRealm>

/** An account elsewhere that signs in as this person. */
export const ExternalLogin = z
  .strictObject({
    realm: ExternalRealm,
    /** What names it there for good: subject and issuer, or the name. */
    subject: z.string().min(1).max(512),
  })
  .meta({ id: 'ExternalLogin' })
export type ExternalLogin = z.output<typeof ExternalLogin>

export const User = z
  .strictObject({
    id: UserId,
    name: UserName,
    role: Role,
    /** Takes the place of what `role` gives. */
    customRole: RoleId.nullable(),
    disabled: z.boolean(),
    createdAt: Instant,
    lastSeenAt: Instant.nullable(),
    hasPassword: z.boolean(),
    logins: z.array(ExternalLogin),
  })
  .meta({ id: 'User' })
export type User = z.output<typeof User>

/** A person as administrators see them. */
export const Person = z
  .strictObject({ ...User.shape, secondFactor: z.boolean(), tokens: z.int().min(0), sessions: z.int().min(0) })
  .meta({ id: 'Person' })
export type Person = z.output<typeof Person>

export const SignedInBy = z.enum(['password', 'passkey', 'oidc', 'ldap', 'host', 'token']).meta({ id: 'SignedInBy' })
export type SignedInBy = z.output<typeof SignedInBy>

export const Session = z
  .strictObject({
    /** Null when nobody is signed in. */
    user: User.nullable(),
    /** What the caller may do. */
    privileges: z.array(z.string()),
    /** True until the first administrator exists. */
    setupNeeded: z.boolean(),
    /** Null when nobody is signed in. */
    by: SignedInBy.nullable(),
    /** True while nothing is allowed but setting up the second factor that is demanded. */
    enrolling: z.boolean(),
    /** Name and password were taken; send the second factor with this. Only in answer to a sign-in. */
    challenge: z.string().nullable(),
  })
  .meta({ id: 'Session' })
export type Session = z.output<typeof Session>
