/** For this folder's tests: the router behind a real HTTP server, a scripted VNC server, and a small VNC client. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createUnixServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ClientOptions, WebSocket } from 'ws'
import { consolePath } from '#lib/api/contract.ts'
import { type ConsoleRouter, type ConsoleRouterOptions, createConsoleRouter } from './router.ts'
import { createTickets } from './tickets.ts'
import type { ConsoleKind, ConsoleMode, ControlChange, SerialHubHandle, TicketGrant } from './types.ts'

export const VM = '01920000-0000-7000-8000-000000000001'
export const ORIGIN = 'http://deck.test'

export interface Rig extends AsyncDisposable {
  readonly dir: string
  readonly port: number
  readonly router: ConsoleRouter
  readonly ended: { code: number; reason: string }[]
  presence: number
  readonly changes: ControlChange[]
  vnc: string | null
  hub: SerialHubHandle | null
  ticket(kind: ConsoleKind, mode: ConsoleMode, grant?: Partial<TicketGrant>): string
  revoke(credentialId: string): void
  /** A viewer; `options` may override Origin and subprotocols. */
  open(kind: ConsoleKind, mode: ConsoleMode, options?: ClientOptions & { grant?: Partial<TicketGrant> }): WebSocket
  url(kind: ConsoleKind): string
}

export async function startRig(limits: ConsoleRouterOptions['limits'] = {}): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), 'gdc-'))
  const tickets = createTickets()
  const revocations = new Map<string, Set<() => void>>()
  const sockets = new Set<WebSocket>()
  const router = createConsoleRouter({
    redeem: tickets.redeem,
    sources: { vncSocket: () => rig.vnc, serialHub: () => rig.hub },
    originAllowed: (request) => request.headers.origin === undefined || request.headers.origin === ORIGIN,
    onRevoked: (id, revoked) => {
      const set = revocations.get(id) ?? new Set()
      revocations.set(id, set.add(revoked))
      return () => set.delete(revoked)
    },
    onClose: (_, end) => rig.ended.push({ code: end.code, reason: end.reason }),
    onPresence: () => {
      rig.presence++
    },
    onControl: (change) => rig.changes.push(change),
    limits: { tickMs: 25, ...limits },
  })
  const http = createServer((_, response) => response.writeHead(404).end())
  http.on('upgrade', (request, socket, head) => {
    if (!router.handleUpgrade(request, socket, head)) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nX-Passed-On: yes\r\n\r\n')
    }
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  const rig: Rig = {
    dir,
    port,
    router,
    ended: [],
    presence: 0,
    changes: [],
    vnc: null,
    hub: null,
    ticket: (kind, mode, grant = {}) =>
      tickets.issue({
        ...{ userId: 'u1', userName: 'ada', vmId: VM, kind, mode, credentialId: 's1' },
        ...{ viewerId: randomUUID(), presence: false, manages: false, guest: null },
        ...grant,
      }).ticket,
    revoke: (id) => {
      for (const revoked of [...(revocations.get(id) ?? [])]) revoked()
    },
    url: (kind) => `ws://127.0.0.1:${port}${consolePath(VM, kind)}`,
    open(kind, mode, { grant, ...options } = {}) {
      const ws = new WebSocket(rig.url(kind), ['binary', rig.ticket(kind, mode, grant)], {
        origin: ORIGIN,
        ...options,
      })
      ws.on('error', () => {})
      ws.on('close', (code) => closeCodes.set(ws, code))
      sockets.add(ws)
      return ws
    },
    async [Symbol.asyncDispose]() {
      for (const ws of sockets) ws.terminate()
      rig.hub?.close()
      http.closeAllConnections()
      http.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
  return rig
}

export async function opened(ws: WebSocket): Promise<void> {
  if (ws.readyState !== ws.OPEN) await once(ws, 'open')
}

/** When a socket is closed, whether politely or by a reset. */
export function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())))
}

export async function closed(ws: WebSocket): Promise<number> {
  const known = closeCodes.get(ws)
  if (known !== undefined) return known
  const [code] = (await once(ws, 'close')) as [number]
  return code
}

const closeCodes = new WeakMap<WebSocket, number>()

/** Everything a socket sends, with a wait for a number of bytes. */
export function collect(source: WebSocket | Socket) {
  let bytes = Buffer.alloc(0)
  let waiting: { count: number; done: (value: Buffer) => void }[] = []
  source.on(source instanceof WebSocket ? 'message' : 'data', (chunk: Buffer, isBinary?: boolean) => {
    // News about the others is no part of the stream.
    if (isBinary === false) return
    bytes = Buffer.concat([bytes, chunk])
    const ready = waiting.filter(({ count }) => bytes.length >= count)
    waiting = waiting.filter(({ count }) => bytes.length < count)
    for (const { done } of ready) done(bytes)
  })
  return {
    get bytes() {
      return bytes
    },
    /** The first `count` bytes once they are there. */
    atLeast(count: number): Promise<Buffer> {
      if (bytes.length >= count) return Promise.resolve(bytes)
      const { promise, resolve } = Promise.withResolvers<Buffer>()
      waiting.push({ count, done: resolve })
      return promise
    },
    /** Removes and returns exactly `count` bytes. */
    async take(count: number): Promise<Buffer> {
      await this.atLeast(count)
      const head = bytes.subarray(0, count)
      bytes = bytes.subarray(count)
      return head
    },
  }
}

export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export interface UnixPeer extends AsyncDisposable {
  readonly path: string
  readonly connections: Socket[]
  /** The next connection that comes, or one that came and was not taken yet. */
  next(): Promise<Socket>
}

/** Listens at a unix socket and hands out its connections; what they say is the test's business. */
export async function unixPeer(path: string): Promise<UnixPeer> {
  const connections: Socket[] = []
  const fresh: Socket[] = []
  let waiting: ((socket: Socket) => void)[] = []
  const server = createUnixServer((socket) => {
    socket.on('error', () => {})
    connections.push(socket)
    const taker = waiting.shift()
    if (taker) taker(socket)
    else fresh.push(socket)
  })
  server.listen(path)
  await once(server, 'listening')
  return {
    path,
    connections,
    next: () => {
      const socket = fresh.shift()
      if (socket) return Promise.resolve(socket)
      const { promise, resolve } = Promise.withResolvers<Socket>()
      waiting = [...waiting, resolve]
      return promise
    },
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const CLIENT_HANDSHAKE = Buffer.from([...Buffer.from('RFB 003.008\n'), 1, 1])

export function keyMessage(keysym: number, down: boolean): Buffer {
  const bytes = Buffer.alloc(8)
  bytes[0] = 4
  bytes[1] = down ? 1 : 0
  bytes.writeUInt32BE(keysym, 4)
  return bytes
}

export interface RfbScreen {
  readonly width: number
  readonly height: number
  readonly send: (bytes: Uint8Array) => void
  /** Asks for the screen and returns the raw pixels (4 bytes each) of every rectangle of one update. */
  update(incremental: boolean): Promise<Buffer>
}

/** RFB 3.8 handshake, raw encoding only (RFC 6143 §7.1 to §7.7.1). */
export async function rfbConnect(ws: WebSocket, sharedFlag = 1): Promise<RfbScreen> {
  const input = collect(ws)
  const version = (await input.take(12)).toString('latin1')
  if (version !== 'RFB 003.008\n') throw new Error(`unexpected version ${version}`)
  ws.send(Buffer.from(version))
  const types = await input.take((await input.take(1)).readUInt8(0))
  if (!types.includes(1)) throw new Error('security type None is not offered')
  ws.send(Buffer.of(1))
  if ((await input.take(4)).readUInt32BE(0) !== 0) throw new Error('refused')
  ws.send(Buffer.of(sharedFlag))
  const init = await input.take(24)
  await input.take(init.readUInt32BE(20))
  ws.send(Buffer.of(2, 0, 0, 1, 0, 0, 0, 0))
  const width = init.readUInt16BE(0)
  const height = init.readUInt16BE(2)
  return {
    width,
    height,
    send: (bytes) => ws.send(bytes),
    async update(incremental) {
      const request = Buffer.alloc(10)
      request[0] = 3
      request[1] = incremental ? 1 : 0
      request.writeUInt16BE(width, 6)
      request.writeUInt16BE(height, 8)
      ws.send(request)
      for (;;) {
        const type = (await input.take(1)).readUInt8(0)
        if (type === 2) continue
        if (type === 3) {
          await input.take((await input.take(7)).readUInt32BE(3))
          continue
        }
        if (type !== 0) throw new Error(`unexpected message ${type}`)
        const count = (await input.take(3)).readUInt16BE(1)
        const pixels: Buffer[] = []
        for (let i = 0; i < count; i++) {
          const rect = await input.take(12)
          pixels.push(await input.take(rect.readUInt16BE(4) * rect.readUInt16BE(6) * 4))
        }
        return Buffer.concat(pixels)
      }
    },
  }
}
