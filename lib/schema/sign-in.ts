/** How people may sign in: rules and accounts kept elsewhere. Secrets go in and never come out. */
import * as z from 'zod'
import { ExternalRealm, PasswordRealm, Role } from './user.ts'

const Text = z.string().trim().max(512)
export const GroupRole = z.strictObject({ group: Text.min(1), role: Role }).meta({ id: 'GroupRole' })
export type GroupRole = z.output<typeof GroupRole>

const mapping = {
  enabled: z.boolean().default(false),
  /** What the sign-in page calls it. */
  label: z.string().trim().min(1).max(64),
  roles: z.array(GroupRole).max(100).default([]),
  /** Role of who is in none of these groups; null: refused. */
  otherRole: Role.nullable().default(null),
  /** Somebody new is added at their first sign-in; otherwise an administrator links them. */
  createPeople: z.boolean().default(true),
}

export const OidcSettings = z
  .strictObject({
    ...mapping,
    label: mapping.label.default('Single sign-on'),
    issuer: z.url({ protocol: /^https?$/ }).max(512),
    clientId: Text.min(1),
    scopes: Text.default('openid profile email'),
    nameClaim: Text.min(1).default('preferred_username'),
    groupsClaim: Text.min(1).default('groups'),
    /** Names, mail addresses, or `@domain`; empty: everybody whom the provider lets in. */
    allowed: z.array(Text.min(1)).max(200).default([]),
  })
  .meta({ id: 'OidcSettings' })
export type OidcSettings = z.output<typeof OidcSettings>

export const LdapSettings = z
  .strictObject({
    ...mapping,
    label: mapping.label.default('Directory'),
    url: z.url({ protocol: /^ldaps?$/ }).max(512),
    startTls: z.boolean().default(false),
    /** PEM; null: the system's authorities. */
    ca: z.string().max(64_000).nullable().default(null),
    /** Empty: search without signing in. */
    bindDn: Text.default(''),
    baseDn: Text.min(1),
    /** `{name}` stands for what was typed, escaped. */
    filter: Text.includes('{name}').default('(uid={name})'),
    nameAttribute: Text.min(1).default('uid'),
    /** Empty: groups come from `memberOf`. */
    groupBaseDn: Text.default(''),
    /** `{dn}` and `{name}` stand for the person. */
    groupFilter: Text.default('(member={dn})'),
    groupAttribute: Text.min(1).default('cn'),
  })
  .meta({ id: 'LdapSettings' })
export type LdapSettings = z.output<typeof LdapSettings>

export const HostSettings = z
  .strictObject({
    ...mapping,
    label: mapping.label.default('This host'),
    /** Of PAM: a file in `/etc/pam.d`. */
    service: z
      .string()
      .regex(/^[a-z][a-z0-9_-]{0,31}$/)
      .default('guestdeck'),
  })
  .meta({ id: 'HostSettings' })
export type HostSettings = z.output<typeof HostSettings>

export const SignInPolicy = z
  .strictObject({
    /** Roles that need a second factor when they sign in with a password. */
    secondFactorRoles: z.array(Role).max(3).default([]),
  })
  .meta({ id: 'SignInPolicy' })
export type SignInPolicy = z.output<typeof SignInPolicy>

export const SignInSettings = z
  .strictObject({
    policy: SignInPolicy,
    oidc: z.strictObject({ ...OidcSettings.shape, hasClientSecret: z.boolean() }).nullable(),
    ldap: z.strictObject({ ...LdapSettings.shape, hasBindPassword: z.boolean() }).nullable(),
    host: HostSettings.nullable(),
    /** Why the host's accounts cannot be used; null where they can. */
    hostUnavailable: z.string().nullable(),
    /** What to enter at the provider as the address to come back to. */
    redirectUri: z.string().nullable(),
  })
  .meta({ id: 'SignInSettings' })
export type SignInSettings = z.output<typeof SignInSettings>

/** A part left out stays; null takes a realm away. A secret left out stays. */
export const SignInSettingsChange = z.strictObject({
  policy: SignInPolicy.optional(),
  oidc: z
    .strictObject({ ...OidcSettings.shape, clientSecret: z.string().max(1024).optional() })
    .nullable()
    .optional(),
  ldap: z
    .strictObject({ ...LdapSettings.shape, bindPassword: z.string().max(1024).optional() })
    .nullable()
    .optional(),
  host: HostSettings.nullable().optional(),
})
export type SignInSettingsChange = z.output<typeof SignInSettingsChange>

export const SignInWays = z
  .strictObject({
    /** Where a name and password may belong, the dashboard's own people first. */
    passwords: z.array(z.strictObject({ realm: PasswordRealm, label: z.string() })),
    /** What the button of the OpenID provider says; null: none. */
    oidc: z.string().nullable(),
    /** Why passkeys do not work at this address; null where they do. */
    passkeysUnavailable: z.string().nullable(),
  })
  .meta({ id: 'SignInWays' })
export type SignInWays = z.output<typeof SignInWays>

export const RealmCheck = z
  .strictObject({
    realm: ExternalRealm,
    ok: z.boolean(),
    /** What was found, or what is wrong. */
    text: z.string(),
  })
  .meta({ id: 'RealmCheck' })
