/**
 * WebSocket endpoint of the consoles: `GET /api/v1/vms/:id/console/{vnc,serial}`.
 *
 * upgrade ─▶ path ─▶ Origin (403) ─▶ no query (400) ─▶ ticket (401) ─▶ 101 ─▶ limits (4429), source (4409) ─▶ proxy
 *
 * Everything before 101 is refused with an HTTP status; everything after is told with a close code, because a browser
 * shows a page no more of a refused upgrade than that it failed.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { API_BASE } from '#lib/api/contract.ts'
import { CLOSE } from '#lib/console/close-codes.ts'
import type { ErrorCode } from '#lib/schema/error.ts'
import { createBufferPool } from './buffer-pool.ts'
import { CUT_TEXT_MAX_BYTES } from './rfb-filter.ts'
import { createRooms } from './rooms.ts'
import { proxySerial } from './serial-proxy.ts'
import type {
  ConsoleEnd,
  ConsoleKind,
  ConsoleRooms,
  ConsoleSession,
  ConsoleSources,
  ControlChange,
  TicketGrant,
} from './types.ts'
import { VIEWER_LIMITS, Viewer, type ViewerLimits } from './viewer.ts'
import { proxyVnc } from './vnc-proxy.ts'

const SUBPROTOCOL = 'binary'

interface ConsoleLimits extends ViewerLimits {
  readonly viewersPerVmAndKind: number
  readonly viewersInAll: number
  /** How often stalled and vanished viewers are looked for. */
  readonly tickMs: number
}

const CONSOLE_LIMITS: ConsoleLimits = {
  ...VIEWER_LIMITS,
  viewersPerVmAndKind: 8,
  viewersInAll: 200,
  tickMs: 2_500,
}

export interface ConsoleRouterOptions {
  /** Takes the ticket; null refuses. */
  readonly redeem: (ticket: string, vmId: string, kind: ConsoleKind) => TicketGrant | null
  readonly sources: ConsoleSources
  /** Whether the page that asks is one of ours (or no browser asks); exact comparison is the caller's business. */
  readonly originAllowed: (request: IncomingMessage) => boolean
  /** Calls back once when the session or token ends, or the VM is out of its reach (at once when it already has). Returns the unsubscribe. */
  readonly onRevoked: (credentialId: string, revoked: () => void, grant: TicketGrant) => () => void
  /** Remote address for the record; default: the socket's. */
  readonly remoteAddress?: (request: IncomingMessage) => string
  readonly onOpen?: (session: ConsoleSession) => void
  readonly onClose?: (session: ConsoleSession, end: ConsoleEnd) => void
  /** Who is at the consoles of this VM changed, or who has control. */
  readonly onPresence?: (vmId: string) => void
  readonly onControl?: (change: ControlChange) => void
  readonly limits?: Partial<ConsoleLimits>
}

export interface ConsoleRouter extends ConsoleRooms {
  /** For the HTTP server's `upgrade` event. False when the path is not a console's; otherwise the socket is taken. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  /** Ends every viewer of a VM, for example because it is deleted or a person asked for it. */
  disconnect(vmId: string): void
  /** Ends every viewer with 1001 and refuses new ones; resolves when all sockets are gone (2 s at most). */
  closeAll(): Promise<void>
}

const CONSOLE_PATH = new RegExp(`^${API_BASE}/vms/([^/?#]+)/console/([^/?#]+)(\\?.*)?$`)
const VM_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** A cut text of the greatest length in one frame, with room for the messages around it. */
const VNC_FRAME_MAX_BYTES = 2 * CUT_TEXT_MAX_BYTES
const SERIAL_FRAME_MAX_BYTES = 64 << 10

export function createConsoleRouter(options: ConsoleRouterOptions): ConsoleRouter {
  const limits: ConsoleLimits = { ...CONSOLE_LIMITS, ...options.limits }
  const rooms = createRooms({
    onPresence: (vmId) => options.onPresence?.(vmId),
    onControl: (change) => options.onControl?.(change),
  })
  const pool = createBufferPool()
  const servers: Record<ConsoleKind, WebSocketServer> = {
    vnc: webSocketServer(VNC_FRAME_MAX_BYTES),
    serial: webSocketServer(SERIAL_FRAME_MAX_BYTES),
  }
  let ticker: NodeJS.Timeout | undefined
  let closing = false

  const accept = (ws: WebSocket, socket: Duplex, grant: TicketGrant, from: string) => {
    const viewer = new Viewer(ws, socket, limits)
    if (closing) return viewer.close(CLOSE.goingAway, 'the dashboard is stopping')
    if (rooms.size >= limits.viewersInAll || rooms.count(grant.vmId, grant.kind) >= limits.viewersPerVmAndKind) {
      return viewer.close(CLOSE.tooMany, 'too many viewers')
    }
    if (grant.guest !== null && rooms.guests(grant.guest.linkId) >= grant.guest.maxViewers) {
      return viewer.close(CLOSE.tooMany, 'this link is in use by as many as it is for')
    }
    const hub = grant.kind === 'serial' ? options.sources.serialHub(grant.vmId) : null
    const vncSocket = grant.kind === 'vnc' ? options.sources.vncSocket(grant.vmId) : null
    if (hub === null && vncSocket === null) return viewer.close(CLOSE.off, 'the guest is off')

    const session: ConsoleSession = { id: grant.viewerId, grant, from, openedAt: new Date() }
    const startedMs = performance.now()
    ticker ??= startTicker()
    let offRevoked: (() => void) | null = null
    viewer.onClosing(() => offRevoked?.())
    options.onOpen?.(session)
    const { gate } = rooms.enter(session, viewer)
    viewer.onEnd(() => {
      if (rooms.size === 0) {
        clearInterval(ticker)
        ticker = undefined
      }
      options.onClose?.(session, {
        code: viewer.closeCode ?? 1006,
        reason: viewer.closeReason,
        durationMs: Math.round(performance.now() - startedMs),
        bytesToViewer: viewer.bytesToViewer,
        bytesFromViewer: viewer.bytesFromViewer,
      })
    })
    if (hub !== null) proxySerial(viewer, hub, gate)
    else if (vncSocket !== null) proxyVnc(viewer, { socketPath: vncSocket, mode: grant.mode, gate, pool })
    offRevoked = options.onRevoked(grant.credentialId, () => viewer.close(CLOSE.revoked, 'signed out'), grant)
    if (viewer.closeCode !== null) offRevoked()
  }

  const startTicker = () => {
    const timer = setInterval(() => {
      const now = performance.now()
      for (const { viewer } of rooms.all()) viewer.tick(now)
    }, limits.tickMs)
    timer.unref()
    return timer
  }

  return {
    handleUpgrade(request, socket, head) {
      const match = CONSOLE_PATH.exec(request.url ?? '')
      if (match === null) return false
      // Whatever happens to a socket that is being refused concerns nobody.
      socket.on('error', ignore)
      const [, vmId = '', kind = '', query] = match
      if (request.method !== 'GET' || (kind !== 'vnc' && kind !== 'serial') || !VM_ID.test(vmId)) {
        refuse(socket, 404, 'not_found', 'There is no such console.')
        return true
      }
      if (!options.originAllowed(request)) {
        refuse(socket, 403, 'bad_origin', 'Consoles open only from the dashboard’s own pages.')
        return true
      }
      if (query !== undefined) {
        refuse(socket, 400, 'bad_input', 'A console takes no query; the ticket goes into the subprotocols.')
        return true
      }
      const ticket = ticketOf(request.headers['sec-websocket-protocol'])
      if (ticket === null) {
        refuse(socket, 400, 'bad_input', `Offer the subprotocols ${SUBPROTOCOL} and the ticket.`)
        return true
      }
      const grant = options.redeem(ticket, vmId, kind)
      if (grant === null) {
        refuse(socket, 401, 'unauthenticated', 'The console ticket is unknown, used or older than 30 seconds.')
        return true
      }
      const from = options.remoteAddress?.(request) ?? request.socket.remoteAddress ?? ''
      servers[kind].handleUpgrade(request, socket, head, (ws) => {
        socket.off('error', ignore)
        accept(ws, socket, grant, from)
      })
      return true
    },

    viewers: rooms.viewers,
    presence: rooms.presence,
    watching: rooms.watching,
    guests: rooms.guests,
    end: rooms.end,
    give: rooms.give,
    setRecordings: rooms.setRecordings,

    disconnect(vmId) {
      for (const { session, viewer } of rooms.all()) {
        if (session.grant.vmId === vmId) viewer.close(CLOSE.disconnected, 'disconnected')
      }
    },

    async closeAll() {
      closing = true
      await Promise.all(
        [...rooms.all()].map(({ viewer }) => {
          const ended = new Promise<void>((resolve) => viewer.onEnd(resolve))
          viewer.close(CLOSE.goingAway, 'the dashboard is stopping')
          return ended
        }),
      )
    },
  }
}

function ignore(): void {}

function webSocketServer(maxPayload: number): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    clientTracking: false,
    // Screens are compressed by RFB already, and inflating is what a small frame could blow up memory with.
    perMessageDeflate: false,
    maxPayload,
    maxFragments: 1024,
    handleProtocols: () => SUBPROTOCOL,
  })
}

/** The one subprotocol offered beside `binary`; null unless exactly these two are. */
function ticketOf(header: string | undefined): string | null {
  const offered = (header ?? '').split(',').map((name) => name.trim())
  if (offered.length !== 2 || !offered.includes(SUBPROTOCOL)) return null
  return offered.find((name) => name !== SUBPROTOCOL && name !== '') ?? null
}

function refuse(socket: Duplex, status: 400 | 401 | 403 | 404, code: ErrorCode, message: string): void {
  const text = { 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found' }[status]
  const body = JSON.stringify({ error: { code, message, requestId: randomUUID() } })
  socket.end(
    [
      `HTTP/1.1 ${status} ${text}`,
      'Content-Type: application/json; charset=utf-8',
      'Cache-Control: no-store',
      'Connection: close',
      `Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
    () => socket.destroy(),
  )
}
