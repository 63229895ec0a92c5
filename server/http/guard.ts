/** Checks that come before any routing, for the API, the pages and WebSockets alike: URL, Host, Origin, headers. */

import { randomBytes } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { ERROR_STATUS, type ErrorCode } from '#lib/schema/error.ts'
import { EngineError } from '#server/engine/errors.ts'
import { errorBody } from '#server/http/plugins/errors.ts'

const URL_MAX = 8192
const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])
const INTERFACES_FRESH_MS = 5000

export interface HostPolicy {
  /** Host name without port, as in the Host header; false means somebody else's name leads here. */
  allows(hostname: string): boolean
  isLoopback(hostname: string): boolean
}

/** Host name of a Host header, lower case, with brackets for IPv6; null when it is malformed. */
export function hostnameOf(host: string | undefined): string | null {
  const match = /^(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?$/.exec(host ?? '')
  return match?.[1]?.toLowerCase().replace(/\.$/, '') ?? null
}

/**
 * Names the dashboard answers to: loopback, the addresses of this machine, and what the operator configured.
 * A DNS name of somebody else's that was pointed here (rebinding) is none of them.
 */
export function createHostPolicy(configured: readonly string[], bindHost: string): HostPolicy {
  const names = new Set(configured.map((name) => name.toLowerCase()))
  if (bindHost !== '0.0.0.0' && bindHost !== '::') names.add(bindHost.includes(':') ? `[${bindHost}]` : bindHost)
  let addresses = new Set<string>()
  let readAt = Number.NEGATIVE_INFINITY
  const isOwnAddress = (hostname: string): boolean => {
    if (addresses.has(hostname)) return true
    if (performance.now() - readAt < INTERFACES_FRESH_MS) return false
    readAt = performance.now()
    addresses = new Set(
      Object.values(networkInterfaces()).flatMap((list) =>
        (list ?? []).map((entry) => (entry.family === 'IPv6' ? `[${entry.address.toLowerCase()}]` : entry.address)),
      ),
    )
    return addresses.has(hostname)
  }
  return {
    allows: (hostname) => LOOPBACK_NAMES.has(hostname) || names.has(hostname) || isOwnAddress(hostname),
    isLoopback: (hostname) => LOOPBACK_NAMES.has(hostname),
  }
}

/** @throws EngineError bad_input, headers_too_large, misdirected */
export function checkRequestLine(request: IncomingMessage, policy: HostPolicy): void {
  const url = request.url ?? ''
  if (url.length > URL_MAX) throw new EngineError('headers_too_large', 'The URL is too long.')
  if (!url.startsWith('/') || url.startsWith('//')) throw new EngineError('bad_input', 'The URL is malformed.')
  let decoded: string
  try {
    decoded = decodeURIComponent(url.split('?', 1)[0] ?? '')
  } catch {
    throw new EngineError('bad_input', 'The URL is malformed.')
  }
  if (/[\0-\x1f\x7f\\]/.test(decoded)) throw new EngineError('bad_input', 'The URL is malformed.')
  const hosts = request.headersDistinct.host ?? []
  const hostname = hosts.length === 1 ? hostnameOf(hosts[0]) : null
  if (hostname === null || !policy.allows(hostname)) {
    throw new EngineError(
      'misdirected',
      'Guestdeck does not answer to this host name. Open it by the address it printed, or add the name to GUESTDECK_ALLOWED_HOSTS.',
    )
  }
}

type Headers = readonly (readonly [string, string])[]
/** What matters of a script, style or font: that it is taken for nothing else, by nobody else. */
const STATIC_HEADERS: Headers = [
  ['x-content-type-options', 'nosniff'],
  ['cross-origin-resource-policy', 'same-origin'],
]
const COMMON_HEADERS: Headers = [
  ...STATIC_HEADERS,
  ['referrer-policy', 'no-referrer'],
  ['cross-origin-opener-policy', 'same-origin'],
  ['x-frame-options', 'DENY'],
  [
    'permissions-policy',
    'accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=(), serial=()',
  ],
]

/** `unsafe-eval` is needed by Next's development build alone. */
export function contentSecurityPolicy(nonce: string | null, dev: boolean): string {
  const script = nonce === null ? '' : ` 'nonce-${nonce}' 'strict-dynamic'`
  return [
    "default-src 'self'",
    `script-src 'self'${script}${dev ? " 'unsafe-eval'" : ''}`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' blob: data:",
    "font-src 'self'",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; ')
}

const API_CSP = "default-src 'none'; frame-ancestors 'none'"

/** Headers of every answer of its kind; `static` is for files that are no documents. */
export function setSecurityHeaders(response: ServerResponse, kind: 'api' | 'page' | 'static'): void {
  for (const [name, value] of kind === 'static' ? STATIC_HEADERS : COMMON_HEADERS) response.setHeader(name, value)
  if (kind === 'api') {
    response.setHeader('content-security-policy', API_CSP)
    response.setHeader('cache-control', 'no-store')
  }
}

export const newRequestId = (): string => randomBytes(9).toString('base64url')

/** Answers an error where there is no Fastify reply: before routing, and for pages. */
export function answerRaw(response: ServerResponse, error: EngineError): void {
  const body = JSON.stringify(errorBody(error.code, error.message, newRequestId(), { field: error.field }))
  response.writeHead(ERROR_STATUS[error.code], {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  })
  response.end(body)
}

/** Answers an error on a bare socket (a refused upgrade, an unparsable request) and closes it. */
export function answerSocket(socket: Duplex, code: ErrorCode, message: string): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const status = ERROR_STATUS[code]
  const body = JSON.stringify(errorBody(code, message, newRequestId()))
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  // `end` waits for the other side's FIN; somebody who never sends one must not keep the socket.
  setTimeout(() => socket.destroy(), 1000).unref()
}
