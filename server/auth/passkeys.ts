/**
 * Passkeys (WebAuthn), as second factor and as the only thing to sign in with.
 *
 * They are discoverable: the browser finds them by itself, so that nothing an anonymous visitor is told depends on whose
 * name was given. A passkey belongs to a host name: browsers know none for IP addresses, and none without TLS but for
 * localhost.
 */
import { isIP } from 'node:net'
import type { FactorDocument, PasskeyDocument, UserDocument } from '#server/auth/documents.ts'
import type { Factors } from '#server/auth/factors.ts'
import { createFlows } from '#server/auth/flows.ts'
import { EngineError, type JsonValue } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

const NAME = 'Guestdeck'
const KEEP_MS = 5 * 60_000
const FLOWS_MAX = 2000
const PASSKEYS_PER_USER = 20
/** What a browser sends is a few kilobytes at most. */
const RESPONSE_MAX_CHARS = 20_000

type Json = Record<string, JsonValue>

export interface Passkeys {
  /** For a person who is signed in. @throws EngineError conflict where this address can have none */
  createBegin(user: UserDocument, origin: string): Promise<{ id: string; options: Json }>
  /** Returns recovery codes where there were none. @throws EngineError bad_credentials, conflict */
  createFinish(
    user: UserDocument,
    origin: string,
    input: { id: string; label: string; response: Json },
  ): Promise<{ passkey: PasskeyDocument; recoveryCodes: string[] | null }>
  /** @param alone nothing else is asked for, so the device must have asked its owner for a PIN or a finger */
  answerBegin(origin: string, alone: boolean): Promise<{ id: string; options: Json }>
  /** Whose passkey answered. @throws EngineError bad_credentials */
  answerFinish(origin: string, id: string, response: Json, alone: boolean): Promise<string>
  /** @throws EngineError not_found */
  delete(userId: string, passkeyId: string): void
}

/** Why pages at this origin cannot have passkeys; null where they can. */
export function passkeysUnavailable(origin: string): string | null {
  const url = URL.parse(origin)
  if (url === null) return 'Passkeys need the address of the page.'
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(hostname) !== 0) {
    return `Browsers keep passkeys for host names, and this page was opened by the address ${hostname}. Open the dashboard by its name${url.protocol === 'http:' ? ', with https (or as localhost)' : ''}.`
  }
  if (url.protocol === 'https:' || hostname === 'localhost' || hostname.endsWith('.localhost')) return null
  return 'Browsers allow passkeys only with https, or on localhost.'
}

function hostnameFor(origin: string): string {
  const reason = passkeysUnavailable(origin)
  if (reason !== null) throw new EngineError('conflict', reason)
  return new URL(origin).hostname
}

interface Flow {
  readonly challenge: string
  readonly hostname: string
  /** Who makes a passkey; null for signing in. */
  readonly userId: string | null
  readonly alone: boolean
}

/** Loaded when the first passkey is asked for: with its parsers it is a tenth of a start (measured 0.3 s of 3). */
const library = () => import('@simplewebauthn/server')

/** The library's options as they go over the wire: without what is undefined. */
const asJson = (options: object): Json => JSON.parse(JSON.stringify(options))

const REFUSED = 'The passkey was not accepted. Try again, or use another way to sign in.'

export function createPasskeys(store: Store, factors: Factors): Passkeys {
  const flows = createFlows<Flow>({ keepMs: KEEP_MS, max: FLOWS_MAX })

  const takeFlow = (id: string, hostname: string): Flow => {
    const flow = flows.take(id)
    if (flow === null || flow.hostname !== hostname) {
      throw new EngineError('bad_credentials', 'This took too long; begin again.')
    }
    return flow
  }
  const bounded = (response: Json): void => {
    if (JSON.stringify(response).length > RESPONSE_MAX_CHARS) throw new EngineError('bad_credentials', REFUSED)
  }
  const owner = (passkeyId: string): { userId: string; passkey: PasskeyDocument } | null => {
    for (const { key, value } of store.list<FactorDocument>('factor')) {
      const passkey = value.passkeys.find((kept) => kept.id === passkeyId)
      if (passkey) return { userId: key, passkey }
    }
    return null
  }

  return {
    async createBegin(user, origin) {
      const hostname = hostnameFor(origin)
      const { passkeys } = factors.of(user.id)
      if (passkeys.length >= PASSKEYS_PER_USER) {
        throw new EngineError('conflict', `There are already ${PASSKEYS_PER_USER} passkeys; remove one first.`)
      }
      const { generateRegistrationOptions } = await library()
      const options = await generateRegistrationOptions({
        rpName: NAME,
        rpID: hostname,
        userName: user.name,
        userID: new Uint8Array(Buffer.from(user.id)),
        attestationType: 'none',
        excludeCredentials: passkeys.map(({ id }) => ({ id })),
        authenticatorSelection: { residentKey: 'required', userVerification: 'preferred' },
      })
      const id = flows.begin({ challenge: options.challenge, hostname, userId: user.id, alone: false })
      return { id, options: asJson(options) }
    },

    async createFinish(user, origin, { id, label, response }) {
      const hostname = hostnameFor(origin)
      const flow = takeFlow(id, hostname)
      bounded(response)
      if (flow.userId !== user.id) throw new EngineError('bad_credentials', REFUSED)
      const { verifyRegistrationResponse } = await library()
      const verified = await verifyRegistrationResponse({
        // Not of this type until the library has looked at it, which is what it is for.
        response: response as never,
        expectedChallenge: flow.challenge,
        expectedOrigin: origin,
        expectedRPID: hostname,
        requireUserVerification: false,
      }).catch(() => null)
      if (!verified?.verified) {
        throw new EngineError('bad_credentials', 'The browser made no passkey that can be used here. Try again.')
      }
      const { credential, credentialBackedUp } = verified.registrationInfo
      const passkey: PasskeyDocument = {
        id: credential.id,
        publicKey: Buffer.from(credential.publicKey).toString('base64url'),
        counter: credential.counter,
        label,
        createdAt: new Date().toISOString(),
        lastUsedAt: null,
        hostname,
        synced: credentialBackedUp,
      }
      return factors.change(user.id, (before) => {
        if (owner(passkey.id) !== null) throw new EngineError('conflict', 'This passkey is kept already.')
        const fresh = before.recovery.length > 0 ? null : factors.newCodes()
        return {
          after: {
            ...before,
            passkeys: [...before.passkeys, passkey],
            recovery: fresh?.digests ?? before.recovery,
          },
          answer: { passkey, recoveryCodes: fresh?.codes ?? null },
        }
      })
    },

    async answerBegin(origin, alone) {
      const hostname = hostnameFor(origin)
      const { generateAuthenticationOptions } = await library()
      const options = await generateAuthenticationOptions({
        rpID: hostname,
        userVerification: alone ? 'required' : 'preferred',
      })
      const id = flows.begin({ challenge: options.challenge, hostname, userId: null, alone })
      return { id, options: asJson(options) }
    },

    async answerFinish(origin, id, response, alone) {
      const hostname = hostnameFor(origin)
      const flow = takeFlow(id, hostname)
      bounded(response)
      const found = typeof response.id === 'string' ? owner(response.id) : null
      if (flow.userId !== null || flow.alone !== alone || found === null) {
        throw new EngineError('bad_credentials', REFUSED)
      }
      const { userId, passkey } = found
      const { verifyAuthenticationResponse } = await library()
      const verified = await verifyAuthenticationResponse({
        response: response as never,
        expectedChallenge: flow.challenge,
        expectedOrigin: origin,
        expectedRPID: hostname,
        credential: {
          id: passkey.id,
          publicKey: new Uint8Array(Buffer.from(passkey.publicKey, 'base64url')),
          counter: passkey.counter,
        },
        requireUserVerification: alone,
      }).catch(() => null)
      if (!verified?.verified) throw new EngineError('bad_credentials', REFUSED)
      const { newCounter } = verified.authenticationInfo
      factors.change(userId, (before) => ({
        after: {
          ...before,
          passkeys: before.passkeys.map((kept) =>
            kept.id === passkey.id ? { ...kept, counter: newCounter, lastUsedAt: new Date().toISOString() } : kept,
          ),
        },
        answer: undefined,
      }))
      return userId
    },

    delete: (userId, passkeyId) =>
      factors.change(userId, (before) => {
        const passkeys = before.passkeys.filter(({ id }) => id !== passkeyId)
        if (passkeys.length === before.passkeys.length) {
          throw new EngineError('not_found', 'There is no such passkey.')
        }
        return { after: { ...before, passkeys }, answer: undefined }
      }),
  }
}
