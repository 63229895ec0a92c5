/**
 * Next.js as a renderer of pages inside our own HTTP server.
 *
 * Next attaches an `upgrade` listener to the server it is given, or to the real one when it is given none; it gets a
 * decoy, so that WebSockets are ours alone. In development, and only there, upgrades of its hot reloading are
 * re-emitted on that decoy.
 */
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import nextModule from 'next'
import { EngineError } from '#server/engine/errors.ts'
import { answerRaw, contentSecurityPolicy } from '#server/http/guard.ts'

// CommonJS seen from native ESM: the default export may be wrapped once more.
const next = ((nextModule as unknown as { default?: unknown }).default ?? nextModule) as unknown as typeof nextModule

/** Headers by which clients could steer Next's internals past its routing. */
const INTERNAL_HEADERS = [
  'x-middleware-subrequest',
  'x-middleware-rewrite',
  'x-nextjs-data',
  'x-matched-path',
  'x-now-route-matches',
]

export interface Pages {
  /** For `HttpOptions.pages`. Waits until Next is ready. */
  handle(request: IncomingMessage, response: ServerResponse): void
  /** For `HttpOptions.upgrades`: true when it was one of Next's own. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  close(): Promise<void>
}

export interface PagesOptions {
  readonly dev: boolean
  /** The directory with `app/` and `.next/`. */
  readonly dir: string
  readonly host: string
  readonly port: number
  onError(error: unknown): void
}

export function createPages(options: PagesOptions): Pages {
  const decoy = createServer()
  const app = next({
    dev: options.dev,
    dir: options.dir,
    hostname: options.host,
    port: options.port,
    httpServer: decoy,
  })
  let isReady = false
  const ready = app.prepare().then(() => {
    isReady = true
    return app.getRequestHandler()
  })
  ready.catch(options.onError)

  const render = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    for (const name of INTERNAL_HEADERS) delete request.headers[name]
    if (!request.url?.startsWith('/_next/static/')) {
      const nonce = request.url?.startsWith('/_next/') ? null : randomBytes(16).toString('base64')
      const policy = contentSecurityPolicy(nonce, options.dev)
      response.setHeader('content-security-policy', policy)
      // Next reads the nonce back out of the request's header and puts it on each of its scripts.
      request.headers['content-security-policy'] = policy
    }
    const handle = await ready
    await handle(request, response)
  }

  return {
    handle(request, response) {
      render(request, response).catch((error: unknown) => {
        options.onError(error)
        if (response.headersSent) response.destroy()
        else answerRaw(response, new EngineError('internal', 'This page cannot be shown. The server log says why.'))
      })
    },
    upgrade(request, socket, head) {
      if (!options.dev || !isReady || !request.url?.startsWith('/_next/')) return false
      return decoy.emit('upgrade', request, socket, head)
    },
    close: () => app.close(),
  }
}
