/**
 * One guarded request: redirects are followed by hand, each judged like the first; the connection goes to an address
 * that was judged, under the name that was asked for (Host, SNI and certificate); no proxy, no cookies, no compression.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { EngineError } from '#server/engine/errors.ts'
import { type AllowList, parseSource, type Resolve, shownUrl, type VettedUrl, vet } from './url-guard.ts'

const MAX_REDIRECTS = 5
/** Another try would end the same way. */
const FINAL = { details: { again: false } } as const
/** Until the headers are there. */
const ANSWER_TIMEOUT_MS = 30_000

export interface Guard {
  readonly allow: AllowList
  readonly resolve?: Resolve
}

export interface FetchRequest {
  readonly method: 'GET' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
  /** Whether https may lead to http: only where a checksum will tell. */
  readonly mayDowngrade: boolean
  readonly signal: AbortSignal
}

export interface FetchAnswer {
  readonly status: number
  readonly message: IncomingMessage
  /** After redirects. */
  readonly url: URL
}

/**
 * The caller reads or destroys `message`.
 * @throws EngineError blocked_address, bad_input, source_failed; the signal's reason
 */
export async function fetchGuarded(start: URL, guard: Guard, request: FetchRequest): Promise<FetchAnswer> {
  let url = start
  for (let hops = 0; ; hops++) {
    request.signal.throwIfAborted()
    const message = await ask(await vet(url, guard.allow, guard.resolve), request)
    const status = message.statusCode ?? 0
    const { location } = message.headers
    if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return { status, message, url }
    message.destroy()
    if (hops === MAX_REDIRECTS) {
      throw new EngineError('source_failed', `${shownUrl(start)} redirects more than ${MAX_REDIRECTS} times.`, FINAL)
    }
    const next = parseSource(resolved(location, url), 'url')
    if (url.protocol === 'https:' && next.protocol === 'http:' && !request.mayDowngrade) {
      throw new EngineError(
        'source_failed',
        `${shownUrl(start)} leads to ${shownUrl(next)}, which is not encrypted. Give a checksum to allow that.`,
        FINAL,
      )
    }
    url = next
  }
}

function resolved(location: string, base: URL): string {
  try {
    return new URL(location, base).href
  } catch {
    throw new EngineError('source_failed', `${shownUrl(base)} redirects to something that is no address.`, FINAL)
  }
}

function ask(vetted: VettedUrl, { method, headers, signal }: FetchRequest): Promise<IncomingMessage> {
  const { url, addresses } = vetted
  const first = addresses[0]
  /** Answers with what was judged, whatever the name has become. */
  const lookup: LookupFunction = (_hostname, options, callback) => {
    if (options.all) callback(null, [...addresses])
    else callback(null, first?.address ?? '', first?.family)
  }
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const outgoing = send(
      url,
      {
        method,
        agent: false,
        lookup,
        signal,
        maxHeaderSize: 32 * 1024,
        headers: { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'Guestdeck', ...headers },
      },
      (message) => {
        clearTimeout(timer)
        resolve(message)
      },
    )
    const timer = setTimeout(() => outgoing.destroy(new Error('no answer')), ANSWER_TIMEOUT_MS)
    outgoing.on('error', (error) => {
      clearTimeout(timer)
      reject(signal.aborted ? signal.reason : unreachable(url, error))
    })
    outgoing.end()
  })
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'it refuses the connection',
  ECONNRESET: 'it closed the connection',
  ETIMEDOUT: 'it does not answer',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no way to it',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is self-signed',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate cannot be verified',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate cannot be verified',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
}

function unreachable(url: URL, error: Error): EngineError {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  return new EngineError('source_failed', `${url.host} cannot be reached: ${WORDS[code] ?? 'no answer came'}.`, {
    cause: error,
  })
}

/** @throws EngineError source_failed unless the answer is 2xx and as it was sent, uncompressed */
export function assertPlain({ status, message, url }: FetchAnswer): void {
  const encoding = message.headers['content-encoding']
  if (status < 200 || status > 299) {
    message.destroy()
    throw new EngineError('source_failed', `${shownUrl(url)} answers ${status}${STATUS_WORDS[status] ?? ''}.`, {
      details: { again: status >= 500 || status === 408 || status === 429 },
    })
  }
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    message.destroy()
    throw new EngineError(
      'source_failed',
      `${shownUrl(url)} sends the file compressed although that was not asked for.`,
      FINAL,
    )
  }
}
const STATUS_WORDS: Readonly<Record<number, string>> = {
  401: ': it asks for a password',
  403: ': access is refused',
  404: ': there is no such file',
  410: ': the file has gone',
  429: ': too many requests',
  503: ': it is busy',
}

/** A small text such as a list of checksums. @throws EngineError source_failed, too_large */
export async function fetchText(url: URL, guard: Guard, maxBytes: number, signal: AbortSignal): Promise<string> {
  const answer = await fetchGuarded(url, guard, {
    method: 'GET',
    mayDowngrade: false,
    signal: AbortSignal.any([signal, AbortSignal.timeout(60_000)]),
  })
  assertPlain(answer)
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of answer.message as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > maxBytes) {
        throw new EngineError(
          'too_large',
          `${shownUrl(url)} is larger than ${maxBytes / 1024} KiB; this is no list of checksums.`,
        )
      }
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof EngineError) throw error
    signal.throwIfAborted()
    throw new EngineError('source_failed', `${shownUrl(url)} broke off.`, { cause: error })
  } finally {
    answer.message.destroy()
  }
  return Buffer.concat(chunks).toString('utf8')
}
