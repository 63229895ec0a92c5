/** A person's own account: second factors, passkeys and sessions. */
import * as z from 'zod'
import { Instant } from './ids.ts'
import { SignedInBy, User } from './user.ts'

/** Base64url, as browsers name a credential. */
export const PasskeyId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,1400}$/)
  .meta({ id: 'PasskeyId' })
export const SessionId = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .meta({ id: 'SessionId' })

/** Six digits of an app, or a recovery code. */
export const SecondFactorCode = z.string().min(1).max(64)

/** What a browser's `PublicKeyCredential` answers, as JSON; checked by the WebAuthn library. */
export const PasskeyResponse = z.record(z.string(), z.json()).meta({ id: 'PasskeyResponse' })
/** What to hand to the browser's `navigator.credentials`. */
export const PasskeyOptions = z
  .strictObject({ id: z.string(), options: z.record(z.string(), z.json()) })
  .meta({ id: 'PasskeyOptions' })

export const Passkey = z
  .strictObject({
    id: PasskeyId,
    label: z.string(),
    createdAt: Instant,
    lastUsedAt: Instant.nullable(),
    /** Host name it was made for: it works there alone. */
    hostname: z.string(),
    /** Kept by a service that carries it to other devices. */
    synced: z.boolean(),
  })
  .meta({ id: 'Passkey' })
export type Passkey = z.output<typeof Passkey>

export const SessionEntry = z
  .strictObject({
    id: SessionId,
    /** This is the one that asks. */
    current: z.boolean(),
    by: SignedInBy,
    /** What the browser calls itself, shortened. */
    device: z.string(),
    from: z.string(),
    createdAt: Instant,
    lastSeenAt: Instant,
  })
  .meta({ id: 'SessionEntry' })
export type SessionEntry = z.output<typeof SessionEntry>

export const Account = z
  .strictObject({
    user: User,
    /** Null: none. */
    totp: z.strictObject({ confirmedAt: Instant }).nullable(),
    passkeys: z.array(Passkey),
    recoveryCodesLeft: z.int().min(0),
    /** The rules demand a second factor of this role. */
    secondFactorRequired: z.boolean(),
    /** Why this address cannot have passkeys; null where it can. */
    passkeysUnavailable: z.string().nullable(),
  })
  .meta({ id: 'Account' })
export type Account = z.output<typeof Account>

export const RecoveryCodes = z.array(z.string())
