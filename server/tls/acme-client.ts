/**
 * The part of ACME (RFC 8555) that one server needs: an account, an order, TLS-ALPN-01 (RFC 8737), the certificate.
 * TLS-ALPN-01 answers on the port the dashboard has anyway, so that no second one is opened.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { request as httpsRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { CertificateError } from './certificate.ts'

const ANSWER_MAX_BYTES = 256 * 1024
const ANSWER_MS = 30_000
const POLL_MS = 1000
const ORDER_MS = 180_000

const Directory = z.object({ newNonce: z.url(), newAccount: z.url(), newOrder: z.url() })
const Problem = z.object({ type: z.string().optional(), detail: z.string().optional() })
const Status = z.enum(['pending', 'ready', 'processing', 'valid', 'invalid', 'deactivated', 'expired', 'revoked'])
const Order = z.object({
  status: Status,
  authorizations: z.array(z.url()).max(100),
  finalize: z.url(),
  certificate: z.url().optional(),
  error: Problem.optional(),
})
const Authorization = z.object({
  status: Status,
  identifier: z.object({ value: z.string() }),
  challenges: z.array(
    z.object({ type: z.string(), url: z.url(), token: z.string().optional(), error: Problem.optional() }),
  ),
})

export interface AcmeOptions {
  /** Address of the authority's directory. */
  readonly directory: string
  /** PEM of the authority's own root, where the system does not know it. */
  readonly ca: string | null
  /** PEM; made by `newAccountKey`. */
  readonly accountKey: string
  readonly contact: string | null
  readonly signal: AbortSignal
}

interface Answer {
  readonly status: number
  readonly location: string | null
  readonly text: string
  readonly nonce: string | null
}

export function newAccountKey(): string {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString()
}

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/**
 * Orders a certificate. `prove` is called for each name with the digest that the challenge certificate must carry,
 * and its result once the authority has looked.
 * @returns the chain, PEM
 * @throws CertificateError with what the authority said
 */
export async function orderCertificate(
  options: AcmeOptions,
  names: readonly string[],
  csr: Buffer,
  prove: (name: string, digest: Buffer) => Promise<() => void>,
): Promise<string> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(ORDER_MS)])
  const session = await openSession(options, signal)
  const order = await session.post(session.directory.newOrder, {
    identifiers: names.map((value) => ({ type: 'dns', value })),
  })
  const orderUrl = order.location
  if (orderUrl === null) throw new CertificateError('The certificate authority did not say where the order is.')
  let state = parse(Order, order.text)
  for (const url of state.authorizations) await authorize(session, url, prove, signal)

  state = await session.until(orderUrl, Order, ({ status }) => status !== 'pending')
  if (state.status === 'ready') {
    await session.post(state.finalize, { csr: csr.toString('base64url') })
    state = await session.until(orderUrl, Order, ({ status }) => status === 'valid' || status === 'invalid')
  }
  if (state.status !== 'valid' || state.certificate === undefined) throw refused(state.error)
  return (await session.post(state.certificate, null)).text
}

async function authorize(
  session: Session,
  url: string,
  prove: (name: string, digest: Buffer) => Promise<() => void>,
  signal: AbortSignal,
): Promise<void> {
  const asked = parse(Authorization, (await session.post(url, null)).text)
  if (asked.status === 'valid') return
  const challenge = asked.challenges.find(({ type }) => type === 'tls-alpn-01')
  if (challenge?.token === undefined) {
    throw new CertificateError(
      `The certificate authority offers no TLS-ALPN-01 challenge for ${asked.identifier.value}.`,
    )
  }
  const digest = createHash('sha256').update(`${challenge.token}.${session.thumbprint}`).digest()
  const withdraw = await prove(asked.identifier.value, digest)
  try {
    signal.throwIfAborted()
    await session.post(challenge.url, {})
    const done = await session.until(url, Authorization, ({ status }) => status !== 'pending')
    if (done.status !== 'valid') {
      throw refused(done.challenges.find(({ type }) => type === 'tls-alpn-01')?.error, asked.identifier.value)
    }
  } finally {
    withdraw()
  }
}

function refused(problem: z.output<typeof Problem> | undefined, name?: string): CertificateError {
  const said = problem?.detail ?? problem?.type ?? 'it did not say why'
  return new CertificateError(`The certificate authority refused${name === undefined ? '' : ` ${name}`}: ${said}`)
}

interface Session {
  readonly directory: z.output<typeof Directory>
  readonly thumbprint: string
  /** Null asks for the object ("POST-as-GET"). @throws CertificateError */
  post(url: string, payload: object | null): Promise<Answer>
  until<T>(url: string, schema: z.ZodType<T>, done: (value: T) => boolean): Promise<T>
}

async function openSession(options: AcmeOptions, signal: AbortSignal): Promise<Session> {
  const key = createPrivateKey(options.accountKey)
  const jwk = publicJwk(key)
  const thumbprint = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url')
  const directory = parse(Directory, (await exchange(options, 'GET', options.directory, null, signal)).text)
  let nonce: string | null = null
  let account: string | null = null

  const post = async (url: string, payload: object | null): Promise<Answer> => {
    // A nonce can be stale: the answer then brings a fresh one (RFC 8555 §6.5).
    for (let attempt = 0; ; attempt++) {
      nonce ??= (await exchange(options, 'HEAD', directory.newNonce, null, signal)).nonce
      const head = base64url({ alg: 'ES256', nonce, url, ...(account === null ? { jwk } : { kid: account }) })
      const body = payload === null ? '' : base64url(payload)
      const signature = sign('sha256', Buffer.from(`${head}.${body}`), { key, dsaEncoding: 'ieee-p1363' })
      const jws = JSON.stringify({ protected: head, payload: body, signature: signature.toString('base64url') })
      const answer = await exchange(options, 'POST', url, jws, signal)
      nonce = answer.nonce
      if (answer.status < 400) return answer
      const problem = Problem.safeParse(tryJson(answer.text)).data
      if (problem?.type?.endsWith(':badNonce') && attempt < 4) continue
      throw refused(problem ?? { detail: `HTTP ${answer.status}` })
    }
  }
  const registered = await post(directory.newAccount, {
    termsOfServiceAgreed: true,
    ...(options.contact !== null && { contact: [`mailto:${options.contact}`] }),
  })
  account = registered.location
  if (account === null) throw new CertificateError('The certificate authority did not name the account.')
  return {
    directory,
    thumbprint,
    post,
    async until(url, schema, done) {
      for (;;) {
        const value = parse(schema, (await post(url, null)).text)
        if (done(value)) return value
        await sleep(POLL_MS, undefined, { signal })
      }
    },
  }
}

/** In the order RFC 7638 wants for the thumbprint. */
function publicJwk(key: KeyObject): { crv: unknown; kty: unknown; x: unknown; y: unknown } {
  const { crv, kty, x, y } = createPublicKey(key).export({ format: 'jwk' })
  return { crv, kty, x, y }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function parse<T>(schema: z.ZodType<T>, text: string): T {
  const parsed = schema.safeParse(tryJson(text))
  if (parsed.success) return parsed.data
  throw new CertificateError('The certificate authority answered something that is not ACME.')
}

function exchange(
  { ca }: AcmeOptions,
  method: 'GET' | 'HEAD' | 'POST',
  url: string,
  body: string | null,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      url,
      {
        method,
        ...(ca !== null && { ca }),
        agent: false,
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
        headers: {
          'user-agent': 'guestdeck',
          ...(body !== null && { 'content-type': 'application/jose+json', 'content-length': Buffer.byteLength(body) }),
        },
      },
      (answer) => {
        const chunks: Buffer[] = []
        let size = 0
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > ANSWER_MAX_BYTES) outgoing.destroy(new Error('its answer is too long'))
          else chunks.push(chunk)
        })
        answer.on('error', fail)
        answer.on('end', () => {
          const { location, 'replay-nonce': nonce } = answer.headers
          resolve({
            status: answer.statusCode ?? 0,
            location: location ?? null,
            nonce: typeof nonce === 'string' ? nonce : null,
            text: Buffer.concat(chunks).toString(),
          })
        })
      },
    )
    const fail = (error: Error) =>
      reject(
        new CertificateError(`The certificate authority cannot be reached at ${new URL(url).host}: ${error.message}.`),
      )
    outgoing.on('error', fail)
    outgoing.end(body ?? undefined)
  })
}
