/**
 * `/api/v1/events`: what changes, one JSON text message per event.
 *
 * A reader that does not keep up is not allowed to fill our memory: past 1 MiB of unsent data its events are left
 * out, and once it has caught up it gets one `reset`, upon which it fetches again.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { may } from '#lib/auth/privileges.ts'
import type { Auth } from '#server/auth/auth.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller, Engine } from '#server/engine/types.ts'
import { type CredentialPolicy, identify, isOwnOrigin } from '#server/http/credentials.ts'
import { answerSocket } from '#server/http/guard.ts'

const BACKLOG_MAX_BYTES = 1024 * 1024
const PING_EVERY_MS = 20_000
const CLIENTS_MAX = 2000
/** One person does not take the last place of all others. */
const CLIENTS_MAX_OF_ONE = 1500
/** Readers have nothing to say. */
const MESSAGE_MAX_BYTES = 1024
const CLOSE_REVOKED = 4401
/** RFC 6455 §7.4.1. */
const CLOSE_UNSUPPORTED = 1003
const CLOSE_POLICY = 1008
/** What a reader has to answer the end; then the connection is cut. */
const LINGER_MS = 1000

export interface EventsSocket {
  /** Answers the upgrade or refuses it. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  readonly clients: number
  /** What all readers together have not taken yet. */
  readonly backlogBytes: number
  close(): void
}

/** @throws EngineError bad_input */
function sinceOf(url: string): { epoch: string | null; seq: number } | null {
  const query = new URLSearchParams(url.split('?', 2)[1] ?? '')
  const seq = query.get('since')
  if (seq === null) return null
  if (!/^\d{1,15}$/.test(seq)) throw new EngineError('bad_input', 'since: must be the number of an event.')
  return { epoch: query.get('epoch')?.slice(0, 64) ?? null, seq: Number(seq) }
}

/** @throws EngineError unauthenticated, bad_origin */
export function callerOfUpgrade(request: IncomingMessage, auth: Auth, policy: CredentialPolicy): Caller {
  const { origin, authorization } = request.headers
  // Browsers always send it, and a cookie comes along whatever page opened the socket.
  if (origin !== undefined || authorization === undefined) {
    if (!isOwnOrigin(request, policy)) throw new EngineError('bad_origin', 'This connection comes from another site.')
  }
  const caller = identify(request, auth, policy)
  if (!caller) throw new EngineError('unauthenticated', 'Sign in first.')
  if (!may(caller, 'session')) {
    throw new EngineError('second_factor_needed', 'Set up a second factor on your account page first.')
  }
  return caller
}

export function createEventsSocket(
  engine: Engine,
  auth: Auth,
  policy: CredentialPolicy,
  mostOfOne: number = CLIENTS_MAX_OF_ONE,
): EventsSocket {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MESSAGE_MAX_BYTES,
  })
  const open = new Map<WebSocket, { alive: boolean }>()
  const ofPerson = new Map<string, number>()
  const count = (userId: string, more: 1 | -1): void => {
    const now = (ofPerson.get(userId) ?? 0) + more
    if (now === 0) ofPerson.delete(userId)
    else ofPerson.set(userId, now)
  }

  const pinger = setInterval(() => {
    for (const [ws, entry] of open) {
      if (!entry.alive) {
        ws.terminate()
        continue
      }
      entry.alive = false
      ws.ping()
    }
  }, PING_EVERY_MS)
  pinger.unref()

  const serve = (ws: WebSocket, caller: Caller, since: ReturnType<typeof sinceOf>): void => {
    const entry = { alive: true }
    open.set(ws, entry)
    count(caller.userId, 1)
    let behind = false
    const hello = JSON.stringify({
      seq: since?.seq ?? 0,
      epoch: engine.events.epoch,
      kind: 'hello',
      topic: null,
      id: null,
      revision: null,
      at: new Date().toISOString(),
    })
    let unsubscribe = () => {}
    const send = (text: string): void => {
      if (ws.readyState !== ws.OPEN) return
      if (behind) return
      if (ws.bufferedAmount > BACKLOG_MAX_BYTES) {
        behind = true
        catchUp()
        return
      }
      ws.send(text)
    }
    /** Looks again until the backlog is gone, then subscribes anew: the engine starts that with a reset. */
    const catchUp = (): void => {
      const timer = setInterval(() => {
        if (ws.readyState !== ws.OPEN) return clearInterval(timer)
        if (ws.bufferedAmount > BACKLOG_MAX_BYTES / 4) return
        clearInterval(timer)
        behind = false
        unsubscribe()
        unsubscribe = engine.events.subscribe(caller, { epoch: 'behind', seq: 0 }, (_event, text) => send(text))
      }, 50)
      timer.unref()
    }
    ws.on('error', () => ws.terminate())
    ws.on('pong', () => {
      entry.alive = true
    })
    const end = (code: number, reason: string): void => {
      ws.close(code, reason)
      setTimeout(() => ws.terminate(), LINGER_MS).unref()
    }
    ws.once('message', (_message, isBinary) =>
      end(isBinary ? CLOSE_UNSUPPORTED : CLOSE_POLICY, 'there is nothing to say here'),
    )
    const offRevoked = auth.onRevoked(caller.credentialId, () => end(CLOSE_REVOKED, 'signed out'))
    ws.on('close', () => {
      open.delete(ws)
      count(caller.userId, -1)
      offRevoked()
      unsubscribe()
    })
    let greeted = false
    unsubscribe = engine.events.subscribe(caller, since, (event, text) => {
      if (!greeted) {
        greeted = true
        if (event.kind !== 'hello') send(hello)
      }
      send(text)
    })
    if (!greeted) send(hello)
    greeted = true
  }

  return {
    upgrade(request, socket, head) {
      try {
        const caller = callerOfUpgrade(request, auth, policy)
        const since = sinceOf(request.url ?? '')
        if (open.size >= CLIENTS_MAX) throw new EngineError('busy', 'Too many connections are open.')
        if ((ofPerson.get(caller.userId) ?? 0) >= mostOfOne)
          throw new EngineError('busy', 'You have too many connections open. Close some pages or scripts.')
        server.handleUpgrade(request, socket, head, (ws) => serve(ws, caller, since))
      } catch (error) {
        if (error instanceof EngineError) answerSocket(socket, error.code, error.message)
        else answerSocket(socket, 'internal', 'Something went wrong inside Guestdeck.')
      }
    },
    get clients() {
      return open.size
    },
    get backlogBytes() {
      let sum = 0
      for (const ws of open.keys()) sum += ws.bufferedAmount
      return sum
    },
    close() {
      clearInterval(pinger)
      for (const ws of open.keys()) ws.close(1001, 'the dashboard is restarting')
    },
  }
}
