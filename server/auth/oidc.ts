/**
 * Sign-in at an OpenID provider: authorization code with PKCE, state and nonce, discovery, ID token checked against the
 * provider's keys. The browser comes back to a page of ours, which sends the answer on from its own origin, so that the
 * cookies of this can stay as strict as all others.
 *
 * The address of the provider is an administrator's choice; requests go to https alone (or loopback), follow no
 * redirect and are bounded in time and size.
 */
import * as client from 'openid-client'
import type { ExternalAccount } from '#server/auth/external.ts'
import { createFlows } from '#server/auth/flows.ts'
import type { Settings, SettingsStore } from '#server/auth/settings.ts'
import { EngineError } from '#server/engine/errors.ts'

const KEEP_MS = 10 * 60_000
const FLOWS_MAX = 1000
const TIMEOUT_S = 10
const DISCOVERY_FRESH_MS = 3_600_000
const ANSWER_MAX_BYTES = 1024 * 1024
const GROUPS_MAX = 1000
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])
/** Path of the page that the provider sends the browser back to. */
export const OIDC_RETURN_PATH = '/login/return'

type Oidc = NonNullable<Settings['oidc']>

interface Flow {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  readonly redirectUri: string
  readonly settingsRevision: number
}

export interface OidcSignIn {
  /** @param origin of our own page. Returns where to send the browser, and the value of the cookie that binds it. */
  begin(origin: string): Promise<{ url: string; flow: string }>
  /** @throws EngineError sign_in_failed */
  finish(flow: string, query: string): Promise<ExternalAccount>
  /** Where to sign out at the provider; null where it has no such place. */
  signOutUrl(origin: string): Promise<string | null>
  check(): Promise<{ ok: boolean; text: string }>
}

export const fetchProvider: client.CustomFetch = async (url, options) => {
  const { protocol, hostname } = new URL(url)
  if (protocol !== 'https:' && !LOOPBACK.has(hostname))
    throw new Error(`${protocol}//${hostname} is not protected by TLS`)
  const answer = await fetch(url, { ...options, body: options.body ?? null, redirect: 'error' } as RequestInit)
  if (Number(answer.headers.get('content-length') ?? 0) > ANSWER_MAX_BYTES) throw new Error('the answer is too long')
  let bytes = 0
  const counted = answer.body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.byteLength
        if (bytes > ANSWER_MAX_BYTES) controller.error(new Error('the answer is too long'))
        else controller.enqueue(chunk)
      },
    }),
  )
  return new Response(counted ?? null, { status: answer.status, headers: answer.headers })
}

const failed = (sentence: string, cause?: unknown) => new EngineError('sign_in_failed', sentence, { cause })
const said = (text: string) => text.replace(/[\x00-\x1f\x7f]+/g, ' ').slice(0, 200)

/** Names, mail addresses and `@domain`s; a mail address counts only where the provider has checked it. */
export function isAllowed(allowed: readonly string[], name: string, mail: string | null): boolean {
  if (allowed.length === 0) return true
  const domain = mail === null ? null : mail.slice(mail.lastIndexOf('@')).toLowerCase()
  return allowed.some((entry) => {
    const wanted = entry.toLowerCase()
    if (wanted.startsWith('@')) return wanted === domain
    return wanted.includes('@') ? wanted === mail?.toLowerCase() : wanted === name
  })
}

/** A claim as a list of texts: some providers send one text, some an array, some put spaces between. */
function listOf(claim: unknown): string[] {
  if (typeof claim === 'string') return claim.split(/[\s,]+/).filter((part) => part !== '')
  return Array.isArray(claim) ? claim.filter((part) => typeof part === 'string').slice(0, GROUPS_MAX) : []
}

export function createOidc(settings: SettingsStore, now: () => number = () => performance.now()): OidcSignIn {
  const flows = createFlows<Flow>({ keepMs: KEEP_MS, max: FLOWS_MAX }, now)
  let discovered: { revision: number; at: number; configuration: client.Configuration } | null = null

  const current = (): { oidc: Oidc; revision: number } => {
    const { oidc, revision } = settings.read()
    if (!oidc?.enabled) throw new EngineError('conflict', 'Nobody signs in at an OpenID provider here.')
    return { oidc, revision }
  }

  const discover = async (oidc: Oidc, revision: number): Promise<client.Configuration> => {
    if (discovered?.revision === revision && now() - discovered.at < DISCOVERY_FRESH_MS) return discovered.configuration
    const issuer = new URL(oidc.issuer)
    const configuration = await client.discovery(
      issuer,
      oidc.clientId,
      undefined,
      oidc.clientSecret === null ? client.None() : client.ClientSecretBasic(oidc.clientSecret),
      {
        timeout: TIMEOUT_S,
        [client.customFetch]: fetchProvider,
        // `settings.ts` lets plain HTTP through for loopback alone, and so does `fetchProvider`.
        execute: [
          client.enableNonRepudiationChecks,
          ...(issuer.protocol === 'http:' ? [client.allowInsecureRequests] : []),
        ],
      },
    )
    discovered = { revision, at: now(), configuration }
    return configuration
  }

  const provider = async (oidc: Oidc, revision: number): Promise<client.Configuration> => {
    try {
      return await discover(oidc, revision)
    } catch (error) {
      throw failed('The OpenID provider does not answer as expected. An administrator can check it.', error)
    }
  }

  return {
    async begin(origin) {
      const { oidc, revision } = current()
      const configuration = await provider(oidc, revision)
      const codeVerifier = client.randomPKCECodeVerifier()
      const flow: Flow = {
        state: client.randomState(),
        nonce: client.randomNonce(),
        codeVerifier,
        redirectUri: origin + OIDC_RETURN_PATH,
        settingsRevision: revision,
      }
      const url = client.buildAuthorizationUrl(configuration, {
        redirect_uri: flow.redirectUri,
        scope: oidc.scopes,
        code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: 'S256',
        state: flow.state,
        nonce: flow.nonce,
      })
      return { url: url.href, flow: flows.begin(flow) }
    },

    async finish(id, query) {
      const { oidc, revision } = current()
      const flow = flows.take(id)
      if (flow === null || flow.settingsRevision !== revision) {
        throw failed('This sign-in took too long, or began in another browser. Begin again.')
      }
      const returned = new URL(flow.redirectUri)
      returned.search = query
      const configuration = await provider(oidc, revision)
      let claims: Record<string, unknown>
      try {
        const tokens = await client.authorizationCodeGrant(configuration, returned, {
          pkceCodeVerifier: flow.codeVerifier,
          expectedState: flow.state,
          expectedNonce: flow.nonce,
          idTokenExpected: true,
        })
        const idToken = tokens.claims()
        if (idToken === undefined) throw new Error('no ID token')
        const more =
          configuration.serverMetadata().userinfo_endpoint === undefined
            ? {}
            : await client.fetchUserInfo(configuration, tokens.access_token, idToken.sub)
        claims = { ...more, ...idToken }
      } catch (error) {
        if (error instanceof client.AuthorizationResponseError) {
          throw failed(`The provider refused: ${said(error.error_description ?? error.error)}`)
        }
        throw failed('The answer of the OpenID provider could not be trusted, so nobody was signed in.', error)
      }
      const written = claims[oidc.nameClaim]
      const mail = claims.email_verified === true && typeof claims.email === 'string' ? claims.email : null
      const name = typeof written === 'string' ? written.toLowerCase() : ''
      if (!isAllowed(oidc.allowed, name, mail)) {
        throw failed('You are not among those who may sign in here. Ask an administrator.')
      }
      return {
        realm: 'oidc',
        subject: `${String(claims.sub)} ${configuration.serverMetadata().issuer}`.slice(0, 512),
        name,
        groups: listOf(claims[oidc.groupsClaim]),
      }
    },

    async signOutUrl(origin) {
      try {
        const { oidc, revision } = current()
        const configuration = await discover(oidc, revision)
        if (configuration.serverMetadata().end_session_endpoint === undefined) return null
        return client.buildEndSessionUrl(configuration, { post_logout_redirect_uri: `${origin}/login` }).href
      } catch {
        // Signed out here in any case.
        return null
      }
    },

    async check() {
      const { oidc, revision } = settings.read()
      if (oidc === null) return { ok: false, text: 'No OpenID provider is set up.' }
      try {
        discovered = null
        const configuration = await discover(oidc, revision)
        return { ok: true, text: `${said(configuration.serverMetadata().issuer)} answers.` }
      } catch (error) {
        const cause = error instanceof Error && error.cause instanceof Error ? `, ${error.cause.message}` : ''
        return {
          ok: false,
          text: `The provider cannot be used: ${said(`${error instanceof Error ? error.message : error}${cause}`)}`,
        }
      }
    },
  }
}
