/** Who is asking: the session cookie or a bearer token, and whether a browser's request comes from our own page. */
import type { IncomingMessage } from 'node:http'
import type { Auth } from '#server/auth/auth.ts'
import { clientAddress, forwardedScheme, type ProxyPolicy } from '#server/auth/client-address.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller } from '#server/engine/types.ts'
import { type HostPolicy, hostnameOf } from '#server/http/guard.ts'

/**
 * The `__Host-` prefix makes browsers refuse the cookie from subdomains and over plain HTTP (loopback counts as
 * secure). Only where the operator allowed plain HTTP on other addresses a second, unprotected name is used there.
 */
export const SECURE_COOKIE = '__Host-guestdeck'
export const PLAIN_COOKIE = 'guestdeck'
const COOKIE_MAX_AGE_S = 7 * 86_400

export interface CredentialPolicy {
  readonly hosts: HostPolicy
  readonly insecureHttp: boolean
  /** This port speaks it, so no page of ours came over plain HTTP. */
  readonly tls: boolean
  readonly proxies: ProxyPolicy
}

function usesPlainCookie(request: IncomingMessage, policy: CredentialPolicy): boolean {
  if (!policy.insecureHttp) return false
  if (request.headers.origin?.startsWith('https://')) return false
  return !policy.hosts.isLoopback(hostnameOf(request.headers.host) ?? '')
}

/**
 * How a page of ours can have come to the browser that asks, as the operator stated it: by this port's own TLS, by a
 * proxy that is trusted to say, or in clear. A trusted proxy that says nothing may be either.
 */
function pageSchemes(request: IncomingMessage, { tls, proxies }: CredentialPolicy): readonly ('http' | 'https')[] {
  if (tls) return ['https']
  if (!proxies.trusts(request.socket.remoteAddress ?? '')) return ['http']
  const said = forwardedScheme(request, proxies)
  return said === null ? ['http', 'https'] : [said]
}

/** Whether the Origin that is named is that of a page served by us, under the name it was asked by. */
export function isOwnOrigin(request: IncomingMessage, policy: CredentialPolicy): boolean {
  const { origin, host = '' } = request.headers
  return pageSchemes(request, policy).some((scheme) => origin === `${scheme}://${host.toLowerCase()}`)
}

/** The one value of a cookie. Sent twice, somebody may have planted the other one: then none is taken. */
function cookieValue(header: string | undefined, name: string): string | null {
  const values = (header ?? '')
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part.startsWith(`${name}=`))
  const [only] = values
  return only !== undefined && values.length === 1 ? only.slice(name.length + 1) : null
}

export function sessionSecret(request: IncomingMessage, policy: CredentialPolicy): string | null {
  const header = request.headers.cookie
  const secure = cookieValue(header, SECURE_COOKIE)
  return secure === null && usesPlainCookie(request, policy) ? cookieValue(header, PLAIN_COOKIE) : secure
}

/** `Set-Cookie` for a new session, or, with null, for its end. */
export function sessionCookie(request: IncomingMessage, policy: CredentialPolicy, secret: string | null): string {
  const plain = usesPlainCookie(request, policy)
  return [
    `${plain ? PLAIN_COOKIE : SECURE_COOKIE}=${secret ?? ''}`,
    'Path=/',
    `Max-Age=${secret === null ? 0 : COOKIE_MAX_AGE_S}`,
    'HttpOnly',
    'SameSite=Strict',
    ...(plain ? [] : ['Secure']),
  ].join('; ')
}

/** Binds a sign-in at an OpenID provider to the browser that began it. */
const FLOW_SUFFIX = '-flow'
const FLOW_MAX_AGE_S = 600

export function flowCookie(request: IncomingMessage, policy: CredentialPolicy, flow: string): string {
  const plain = usesPlainCookie(request, policy)
  return [
    `${plain ? PLAIN_COOKIE : SECURE_COOKIE}${FLOW_SUFFIX}=${flow}`,
    'Path=/',
    `Max-Age=${FLOW_MAX_AGE_S}`,
    'HttpOnly',
    'SameSite=Strict',
    ...(plain ? [] : ['Secure']),
  ].join('; ')
}

export function flowSecret(request: IncomingMessage, policy: CredentialPolicy): string | null {
  const name = usesPlainCookie(request, policy) ? PLAIN_COOKIE : SECURE_COOKIE
  return cookieValue(request.headers.cookie, name + FLOW_SUFFIX)
}

/**
 * Says that somebody has signed in with this browser: wrong passwords of others at the same address do not count
 * against it. It opens nothing, and stays when they sign out.
 */
const KNOWN_SUFFIX = '-known'
const KNOWN_MAX_AGE_S = 400 * 86_400

export function knownCookie(request: IncomingMessage, policy: CredentialPolicy, known: string): string {
  const plain = usesPlainCookie(request, policy)
  return [
    `${plain ? PLAIN_COOKIE : SECURE_COOKIE}${KNOWN_SUFFIX}=${known}`,
    'Path=/',
    `Max-Age=${KNOWN_MAX_AGE_S}`,
    'HttpOnly',
    'SameSite=Strict',
    ...(plain ? [] : ['Secure']),
  ].join('; ')
}

export function knownBrowser(request: IncomingMessage, policy: CredentialPolicy): string | null {
  const name = usesPlainCookie(request, policy) ? PLAIN_COOKIE : SECURE_COOKIE
  return cookieValue(request.headers.cookie, name + KNOWN_SUFFIX)
}

/** What the browser calls itself; empty when it does not say. */
export const deviceOf = (request: IncomingMessage): string => request.headers['user-agent'] ?? ''

/**
 * Origin of our own page that asks, as good as it can be known: browsers leave the header out when they only read.
 * For showing; what depends on it uses `requirePageOrigin`.
 */
export function pageOrigin(request: IncomingMessage, policy: CredentialPolicy): string | null {
  const { origin, host = '' } = request.headers
  if (origin !== undefined) return isOwnOrigin(request, policy) ? origin : null
  return `${pageSchemes(request, policy).at(-1)}://${host}`
}

/** @throws EngineError bad_origin when it does not say, or is another's */
export function requirePageOrigin(request: IncomingMessage, policy: CredentialPolicy): string {
  const { origin } = request.headers
  if (origin !== undefined && isOwnOrigin(request, policy)) return origin
  throw new EngineError('bad_origin', 'This works from a page of the dashboard only.')
}

/** Null: nobody. A bearer token that is sent must be valid; the cookie does not stand in for it. */
export function identify(request: IncomingMessage, auth: Auth, policy: CredentialPolicy): Caller | null {
  const from = clientAddress(request, policy.proxies)
  const { authorization } = request.headers
  if (authorization !== undefined) {
    const token = /^Bearer ([^\s]{1,200})$/i.exec(authorization)?.[1]
    return token === undefined ? null : auth.callerOfToken(token, from)
  }
  const secret = sessionSecret(request, policy)
  return secret === null ? null : auth.callerOfSession(secret, from)
}

/** Most likely a proxy that nobody stated: whoever set it up reads this. */
const unstatedProxy = () =>
  new EngineError(
    'bad_origin',
    'The page came over HTTPS and this server was asked in clear, by nobody it knows. Name the TLS proxy in GUESTDECK_TRUSTED_PROXIES, and let it send X-Forwarded-Proto.',
  )

/**
 * Refuses requests that a foreign page made a browser send. Every browser names the origin of a request that changes
 * something; programs that send neither Origin nor Sec-Fetch-Site pass if their content type is one that no form and
 * no simple cross-origin request can have.
 * @throws EngineError bad_origin
 */
export function assertOwnPage(request: IncomingMessage, policy: CredentialPolicy, byCookie: boolean): void {
  const { origin, host = '' } = request.headers
  const site = request.headers['sec-fetch-site']
  const foreign = () =>
    new EngineError('bad_origin', 'This request comes from another site. Use the dashboard at its own address.')
  if (origin !== undefined) {
    if (isOwnOrigin(request, policy)) return
    throw origin === `https://${host.toLowerCase()}` ? unstatedProxy() : foreign()
  }
  if (site !== undefined) {
    if (site !== 'same-origin') throw foreign()
    return
  }
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (byCookie && type !== 'application/json' && type !== 'application/octet-stream') throw foreign()
}
