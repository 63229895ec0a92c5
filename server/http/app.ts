/**
 * The HTTP side, without listening. One server answers three kinds of request, told apart before any parsing:
 * the API (Fastify), pages (handed on to `pages`), and WebSocket upgrades (`upgrades`).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { API_BASE, EVENTS_PATH, operations } from '#lib/api/contract.ts'
import { may } from '#lib/auth/privileges.ts'
import type { Auth } from '#server/auth/auth.ts'
import { clientAddress, createProxyPolicy } from '#server/auth/client-address.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Engine } from '#server/engine/types.ts'
import { sendJson } from '#server/http/compression.ts'
import { registerOperations } from '#server/http/contract-routes.ts'
import { assertOwnPage, type CredentialPolicy, identify, isOwnOrigin } from '#server/http/credentials.ts'
import { createEventsSocket, type EventsSocket } from '#server/http/events-socket.ts'
import {
  answerRaw,
  answerSocket,
  checkRequestLine,
  createHostPolicy,
  newRequestId,
  setSecurityHeaders,
} from '#server/http/guard.ts'
import { parseJsonBody } from '#server/http/json-body.ts'
import { lingerAfter } from '#server/http/linger.ts'
import { openApiText } from '#server/http/openapi.ts'
import { registerErrors, sendError } from '#server/http/plugins/errors.ts'
import { accountRoutes } from '#server/http/routes/account.ts'
import { applianceRoutes } from '#server/http/routes/appliances.ts'
import { backupRoutes } from '#server/http/routes/backups.ts'
import { cloneRoutes } from '#server/http/routes/clones.ts'
import { consoleRoutes } from '#server/http/routes/consoles.ts'
import { hostRoutes } from '#server/http/routes/host.ts'
import { imageRoutes } from '#server/http/routes/images.ts'
import { labRoutes } from '#server/http/routes/lab.ts'
import { networkRoutes } from '#server/http/routes/networks.ts'
import { peopleRoutes } from '#server/http/routes/people.ts'
import { projectRoutes } from '#server/http/routes/projects.ts'
import { recordingRoutes } from '#server/http/routes/recordings.ts'
import { seedRoutes } from '#server/http/routes/seeds.ts'
import { sessionRoutes } from '#server/http/routes/session.ts'
import { snapshotRoutes } from '#server/http/routes/snapshots.ts'
import { storageRoutes } from '#server/http/routes/storage.ts'
import { transferRoutes } from '#server/http/routes/transfers.ts'
import { vmRoutes } from '#server/http/routes/vms.ts'
import { createTlsPort, type TlsOptions } from '#server/http/tls-port.ts'
import { fileRoutes } from './routes/files.ts'

const JSON_BODY_MAX_BYTES = 256 * 1024
const HEADERS_MAX_BYTES = 16 * 1024
const HEADERS_TIMEOUT_MS = 10_000
/** For a whole JSON body; uploads have a watch of their own. */
const BODY_TIMEOUT_MS = 20_000
const CONNECTIONS_CHECK_MS = 1000
const KEEP_ALIVE_MS = 65_000

/** What the HTTP side needs of a logger; pino's fits. */
interface HttpLog {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface HttpOptions {
  readonly engine: Engine
  readonly auth: Auth
  readonly log: HttpLog
  /** Address bound to, and names the operator allowed beside it. */
  readonly bindHost: string
  readonly allowedHosts: readonly string[]
  readonly insecureHttp: boolean
  /** Absent: plain HTTP. */
  readonly tls?: TlsOptions
  /** Reverse proxies whose `X-Forwarded-For` and `-Proto` are believed. */
  readonly trustedProxies?: readonly string[]
  /** Hang up on everybody but these proxies and this machine. */
  readonly proxiesOnly?: boolean
  /** Check every answer against its schema: tests and development. */
  readonly validateAnswers: boolean
  /** How long the rest of a request is read that was answered before it had come; left out: 10 s. */
  readonly lingerMs?: number
  /** Takes everything that is not the API. Absent: 404. */
  readonly pages?: (request: IncomingMessage, response: ServerResponse) => void
  /** WebSocket endpoints beside the events, asked in order; true means taken. */
  readonly upgrades?: readonly ((request: IncomingMessage, socket: Duplex, head: Buffer) => boolean)[]
}

export interface HttpApp {
  readonly app: FastifyInstance
  readonly events: EventsSocket
  /** For WebSockets with a credential of their own: false when a page of somebody else's opens one. */
  isOwnPage(request: IncomingMessage): boolean
  /** Where a request comes from, past the trusted proxies. */
  clientAddress(request: IncomingMessage): string
}

/** Next's own scripts, styles and fonts; their names change with their content. */
const STATIC_PREFIX = '/_next/static/'
const isApi = (url: string) => url.startsWith('/api/') || url === '/api' || /^\/(healthz|metrics)(?:[?/]|$)/.test(url)

export function createHttpApp(options: HttpOptions): HttpApp {
  const { engine, auth, log } = options
  const hosts = createHostPolicy(options.allowedHosts, options.bindHost)
  const proxies = createProxyPolicy(options.trustedProxies ?? [])
  const { insecureHttp } = options
  const credentials: CredentialPolicy = { hosts, insecureHttp, tls: options.tls !== undefined, proxies }
  const events = createEventsSocket(engine, auth, credentials)

  /** True when the request may go on; otherwise it was answered. */
  const passes = (request: IncomingMessage, response: ServerResponse, api: boolean): boolean => {
    setSecurityHeaders(response, api ? 'api' : request.url?.startsWith(STATIC_PREFIX) ? 'static' : 'page')
    try {
      checkRequestLine(request, hosts)
      return true
    } catch (error) {
      answerRaw(
        response,
        error instanceof EngineError ? error : new EngineError('bad_input', 'The request is malformed.'),
      )
      return false
    }
  }

  const serverFactory = (handler: (request: IncomingMessage, response: ServerResponse) => void): Server => {
    const limits = {
      maxHeaderSize: HEADERS_MAX_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // Off, because it would cut long uploads: bodies are timed below, per route.
      requestTimeout: 0,
      connectionsCheckingInterval: CONNECTIONS_CHECK_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
    }
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      lingerAfter(request, response, options.lingerMs)
      const url = request.url ?? ''
      const api = options.pages === undefined || isApi(url)
      if (!passes(request, response, api)) return
      if (api) return handler(request, response)
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD')
        return answerRaw(response, new EngineError('method_not_allowed', 'Pages can only be read.'))
      }
      options.pages?.(request, response)
    }
    const server = options.tls ? createTlsPort(limits, options.tls, hosts, answer) : createServer(limits, answer)
    // Node's own limit starts with the first byte, so somebody who never sends one is looked at here.
    server.on('connection', (socket) => {
      if (options.proxiesOnly === true && !isNeighbour(socket.remoteAddress ?? '')) return socket.destroy()
      const timer = setTimeout(() => {
        if (socket.bytesRead === 0) socket.destroy()
      }, HEADERS_TIMEOUT_MS)
      timer.unref()
      socket.once('close', () => clearTimeout(timer))
    })
    // "100 Continue" is sent once sign-in, privilege and type have been checked, not before.
    server.on('checkContinue', (request, response) => {
      awaitsContinue.add(request)
      server.emit('request', request, response)
    })
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy())
      try {
        checkRequestLine(request, hosts)
        if ((request.url ?? '').split('?', 1)[0] === EVENTS_PATH) return events.upgrade(request, socket, head)
        for (const take of options.upgrades ?? []) if (take(request, socket, head)) return
        answerSocket(socket, 'not_found', 'There is no WebSocket here.')
      } catch (error) {
        const known = error instanceof EngineError
        if (!known) log.error({ err: error }, 'upgrade failed')
        answerSocket(socket, known ? error.code : 'internal', known ? error.message : 'The connection failed.')
      }
    })
    return server
  }
  const isNeighbour = (address: string) => isLoopbackAddress(address) || proxies.trusts(address)
  const awaitsContinue = new WeakSet<IncomingMessage>()

  const app = Fastify({
    serverFactory,
    bodyLimit: JSON_BODY_MAX_BYTES,
    genReqId: newRequestId,
    requestIdHeader: false,
    trustProxy: false,
    logger: false,
    exposeHeadRoutes: true,
    routerOptions: { maxParamLength: 128, ignoreTrailingSlash: false, caseSensitive: true },
    frameworkErrors: (error, request, reply) => {
      sendError(error, request as FastifyRequest, reply, log)
    },
    clientErrorHandler: (error, socket) => {
      if (error.code === 'ECONNRESET' || socket.destroyed) return socket.destroy()
      if (error.code === 'HPE_HEADER_OVERFLOW') answerSocket(socket, 'headers_too_large', 'The headers are too long.')
      else answerSocket(socket, 'bad_input', 'The request is malformed.')
    },
  })

  registerErrors(app, log)
  registerBodies(app)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  app.addHook('preParsing', async (request, reply) => {
    const { raw } = request
    if (awaitsContinue.delete(raw)) reply.raw.writeContinue()
    const length = raw.headers['content-length']
    const hasBody = raw.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
    if (!hasBody || isByteStream(request.headers['content-type'])) return
    const timer = setTimeout(() => {
      if (!raw.complete) raw.socket.destroy()
    }, BODY_TIMEOUT_MS)
    timer.unref()
    raw.once('close', () => clearTimeout(timer))
  })
  app.addHook('onResponse', async (request, reply) => {
    const fields = {
      requestId: request.id,
      method: request.method,
      // Without the query: people paste secrets there.
      path: request.raw.url?.split('?', 1)[0]?.slice(0, 200),
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      from: clientAddress(request.raw, proxies),
    }
    if (reply.statusCode >= 500) log.warn(fields, 'answered')
    else if (request.method === 'GET' || request.method === 'HEAD') log.debug(fields, 'answered')
    else log.info(fields, 'answered')
  })

  registerOperations(
    app,
    {
      ...sessionRoutes(engine, auth, credentials),
      ...accountRoutes(engine, auth, credentials),
      ...peopleRoutes(engine, auth),
      ...vmRoutes(engine),
      ...consoleRoutes(engine, (request) => clientAddress(request, proxies)),
      ...seedRoutes(engine),
      ...cloneRoutes(engine),
      ...snapshotRoutes(engine),
      ...imageRoutes(engine),
      ...fileRoutes(engine),
      ...transferRoutes(engine),
      ...backupRoutes(engine),
      ...applianceRoutes(engine),
      ...hostRoutes(engine),
      ...storageRoutes(engine),
      ...labRoutes(engine),
      ...recordingRoutes(engine),
      ...projectRoutes(engine),
      ...networkRoutes(engine),
    },
    {
      identify: (request) => identify(request.raw, auth, credentials),
      assertOwnPage: (request, byCookie) => assertOwnPage(request.raw, credentials, byCookie),
      authorize: (caller, privilege, kind, id) => engine.authorize(caller, privilege, kind, id),
      onDenied: (operation, caller, about) =>
        engine.denied(operation, `${caller.name} was refused: ${operations[operation].summary}`, caller, about),
      validateAnswers: options.validateAnswers,
    },
  )

  let openApi: string | null = null
  app.get(`${API_BASE}/openapi.json`, async (request, reply) => {
    openApi ??= openApiText()
    return sendJson(request, reply, openApi)
  })
  app.get('/healthz', async (_request, reply) => reply.type('application/json; charset=utf-8').send('{"ok":true}'))
  app.get('/metrics', async (request, reply) => {
    const caller = identify(request.raw, auth, credentials)
    if (!caller) throw new EngineError('unauthenticated', 'Send an API token.')
    if (!may(caller, 'host.view')) throw new EngineError('forbidden', 'Your role does not allow this.')
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(await engine.metrics(caller))
  })
  registerNotFound(app, log)

  return {
    app,
    events,
    clientAddress: (request) => clientAddress(request, proxies),
    isOwnPage(request) {
      const { origin, cookie } = request.headers
      // A browser always names the origin; without one and with a cookie, somebody pretends not to be a browser.
      return origin === undefined ? cookie === undefined : isOwnOrigin(request, credentials)
    },
  }
}

const isLoopbackAddress = (address: string) => /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/.test(address)

const BYTE_STREAMS = ['application/octet-stream', 'application/offset+octet-stream']
const isByteStream = (type: string | undefined) => BYTE_STREAMS.some((known) => type?.startsWith(known))

function registerBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      // An empty body with a content type is what some clients send with a POST that needs none.
      done(null, body === '' ? undefined : parseJsonBody(String(body)))
    } catch (error) {
      done(error as Error)
    }
  })
  // Left on the socket: the handler reads it.
  app.addContentTypeParser([...BYTE_STREAMS], (_request, _payload, done) => done(null))
}

/** Unknown path 404; known path with another method 405, which also meets TRACE and `_method` tricks. */
function registerNotFound(app: FastifyInstance, log: HttpLog): void {
  const known = Object.values(operations).map((operation) => ({
    method: operation.method,
    pattern: new RegExp(`^${API_BASE}${operation.path.replace(/[.]/g, '\\.').replace(/:[a-zA-Z]+/g, '[^/]+')}$`),
  }))
  app.setNotFoundHandler((request, reply) => {
    const path = request.raw.url?.split('?', 1)[0] ?? ''
    const methods = known.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method)
    if (methods.length === 0)
      return sendError(new EngineError('not_found', 'There is no such thing.'), request, reply, log)
    reply.header('allow', [...new Set(methods)].join(', '))
    return sendError(new EngineError('method_not_allowed', 'This cannot be done here.'), request, reply, log)
  })
}
