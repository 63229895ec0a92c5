/**
 * One port for TLS: HTTPS, a redirect for those who typed `http://`, and the challenges of an ACME authority. Which of
 * them it is shows in the first bytes, before any of the three protocols begins.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer, type ServerOptions, type Server as TlsHttpServer } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext, createServer as createTlsServer } from 'node:tls'
import { EngineError } from '#server/engine/errors.ts'
import { answerRaw, checkRequestLine, type HostPolicy, setSecurityHeaders } from '#server/http/guard.ts'
import { lingerAfter } from '#server/http/linger.ts'
import type { CertificateSource, KeyPair } from '#server/tls/certificate.ts'

/** First byte of a TLS record that begins a handshake. */
const HANDSHAKE = 22
const ACME_PROTOCOL = 'acme-tls/1'
const HANDSHAKE_MS = 10_000

export interface TlsOptions {
  readonly source: CertificateSource
  /** The certificate that proves a name to an ACME authority, while one is being proved. */
  readonly challenge?: () => KeyPair | null
}

export function createTlsPort(
  options: ServerOptions,
  { source, challenge }: TlsOptions,
  hosts: HostPolicy,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): TlsHttpServer {
  const server = createHttpsServer(
    {
      ...options,
      ...source.current(),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: HANDSHAKE_MS,
    },
    handler,
  )
  source.onChange((pair) => server.setSecureContext({ ...pair, minVersion: 'TLSv1.2' }))
  server.on('tlsClientError', (_error, socket) => socket.destroy())

  const plain = createHttpServer({ ...options, keepAliveTimeout: 1 }, (request, response) =>
    redirect(request, response, hosts),
  )
  plain.on('clientError', (_error, socket) => socket.destroy())
  const prover = createTlsServer({
    ALPNProtocols: [ACME_PROTOCOL],
    handshakeTimeout: HANDSHAKE_MS,
    SNICallback: (_name, done) => {
      const pair = challenge?.() ?? null
      if (pair === null) done(new Error('nothing is being proved'))
      else done(null, createSecureContext(pair))
    },
  })
  // The authority only looks at the certificate.
  prover.on('secureConnection', (socket) => socket.destroy())
  prover.on('tlsClientError', (_error, socket) => socket.destroy())

  const secure = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    const drop = () => socket.destroy()
    socket.on('error', drop)
    socket.once('readable', () => {
      const head: Buffer | null = socket.read()
      if (head === null) return drop()
      socket.off('error', drop)
      socket.unshift(head)
      if (head[0] !== HANDSHAKE) plain.emit('connection', socket)
      else if (challenge?.() && head.includes(ACME_PROTOCOL)) prover.emit('connection', socket)
      else for (const listener of secure) listener.call(server, socket)
    })
  })
  return server
}

/** A page is led to HTTPS; anything else would have sent its secrets in clear already, and is told so. */
function redirect(request: IncomingMessage, response: ServerResponse, hosts: HostPolicy): void {
  lingerAfter(request, response)
  setSecurityHeaders(response, 'api')
  try {
    checkRequestLine(request, hosts)
    const isPage = request.method === 'GET' || request.method === 'HEAD'
    if (!isPage || request.headers.authorization !== undefined) {
      throw new EngineError('bad_input', 'This address speaks TLS. Use https://, and change any secret that was sent.')
    }
    response.writeHead(308, { location: `https://${request.headers.host}${request.url}`, connection: 'close' })
    response.end()
  } catch (error) {
    answerRaw(
      response,
      error instanceof EngineError ? error : new EngineError('bad_input', 'The request is malformed.'),
    )
  }
}
