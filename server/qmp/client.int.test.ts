/** The client against a scripted peer: what a healthy QEMU never does, and a broken or dying one may. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectQmp } from './client.ts'
import {
  QmpBadReplyError,
  QmpCommandError,
  QmpConnectError,
  QmpDisconnectedError,
  QmpFramingError,
  QmpGreetingError,
  QmpNegotiationError,
  QmpStateError,
  QmpTimeoutError,
} from './errors.ts'
import type { QmpClient } from './types.ts'

const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'test' }, capabilities: ['oob'] },
}
const STAMP = { seconds: 1700000000, microseconds: 250000 }

interface Request {
  readonly execute: string
  readonly id: number
  readonly arguments?: unknown
}
type Script = (request: Request, peer: Peer) => void

class Peer {
  readonly #socket: Socket
  constructor(socket: Socket) {
    this.#socket = socket
  }
  say(...messages: readonly object[]): void {
    this.#socket.write(messages.map((message) => `${JSON.stringify(message)}\r\n`).join(''))
  }
  raw(text: string | Buffer): void {
    this.#socket.write(text)
  }
  hangUp(): void {
    this.#socket.end()
  }
  vanish(): void {
    this.#socket.destroy()
  }
}

let dir: string
let path: string
let servers: Server[]
let sockets: Socket[]
let clients: QmpClient[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gdq-'))
  path = join(dir, 'qmp.sock')
  servers = []
  sockets = []
  clients = []
})

afterEach(async () => {
  for (const client of clients) client.close()
  for (const socket of sockets) socket.destroy()
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  rmSync(dir, { recursive: true, force: true })
})

/** A peer that greets, accepts the negotiation and leaves the rest to the script. */
async function serve(
  script: Script,
  options: { greet?: (peer: Peer) => void; negotiate?: Script } = {},
): Promise<void> {
  const server = createServer((socket) => {
    sockets.push(socket)
    const peer = new Peer(socket)
    socket.on('error', () => {})
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) {
        const request = JSON.parse(line)
        if (request.execute === 'qmp_capabilities') (options.negotiate ?? accept)(request, peer)
        else script(request, peer)
      }
    })
    ;(options.greet ?? ((to) => to.say(GREETING)))(peer)
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(path, resolve))
}

const accept: Script = (request, peer) => peer.say({ return: {}, id: request.id })
const silent: Script = () => {}

async function connect(options: Parameters<typeof connectQmp>[1] = {}): Promise<QmpClient> {
  const client = await connectQmp(path, { timeoutMs: 2000, ...options })
  clients.push(client)
  return client
}

describe('connecting', () => {
  test('a missing socket is a connect error that carries the system error', async () => {
    const failure = await connect().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(QmpConnectError)
    expect((failure as QmpConnectError).cause).toMatchObject({ code: 'ENOENT' })
  })

  test('a socket that appears later is found within milliseconds', async () => {
    let openedAt = 0
    setTimeout(() => {
      void serve(accept).then(() => {
        openedAt = performance.now()
      })
    }, 60)
    await connect({ waitForSocket: true })
    expect(performance.now() - openedAt).toBeLessThan(200)
    expect(openedAt).toBeGreaterThan(0)
  })

  test('waiting for a socket ends at the deadline and by an abort', async () => {
    await expect(connect({ waitForSocket: true, timeoutMs: 40 })).rejects.toThrow(QmpConnectError)
    const controller = new AbortController()
    const waiting = connect({ waitForSocket: true, signal: controller.signal })
    controller.abort(new Error('QEMU died'))
    await expect(waiting).rejects.toThrow('QEMU died')
  })

  test('a peer that says nothing is a greeting error at the deadline (F19)', async () => {
    await serve(silent, { greet: () => {} })
    await expect(connect({ timeoutMs: 60 })).rejects.toThrow(QmpGreetingError)
  })

  test('a peer that is something else is a greeting error', async () => {
    await serve(silent, { greet: (peer) => peer.raw('SSH-2.0-OpenSSH_9.2\r\n') })
    await expect(connect()).rejects.toThrow(QmpGreetingError)
  })

  test('a peer that hangs up before greeting is a greeting error', async () => {
    await serve(silent, { greet: (peer) => peer.hangUp() })
    await expect(connect()).rejects.toThrow(QmpGreetingError)
  })

  test('a refused or lost negotiation is a negotiation error', async () => {
    await serve(silent, {
      negotiate: (request, peer) => peer.say({ error: { class: 'GenericError', desc: 'no' }, id: request.id }),
    })
    await expect(connect()).rejects.toThrow(QmpNegotiationError)
  })

  test('a QEMU that dies right after its greeting is a negotiation error', async () => {
    await serve(silent, { negotiate: (_request, peer) => peer.vanish() })
    await expect(connect()).rejects.toThrow(QmpNegotiationError)
  })

  test('aborting while QEMU is silent rejects with the reason and lets go of the socket', async () => {
    await serve(silent, { greet: () => {} })
    const controller = new AbortController()
    const connecting = connect({ signal: controller.signal })
    setTimeout(() => controller.abort(new Error('stopped')), 30)
    await expect(connecting).rejects.toThrow('stopped')
    const [socket] = sockets
    await new Promise((resolve) => (socket?.closed === true ? resolve(null) : socket?.once('close', resolve)))
  })

  test('an event in the same packet as the negotiation reaches a listener added at once', async () => {
    await serve(silent, {
      negotiate: (request, peer) => peer.say({ return: {}, id: request.id }, { event: 'RESUME', timestamp: STAMP }),
    })
    const client = await connect()
    const seen: string[] = []
    client.onEvent((event) => seen.push(event.event))
    await client.events().waitFor(() => true, { timeoutMs: 1000 })
    expect(seen).toEqual(['RESUME'])
  })
})

describe('commands', () => {
  test('answers in any order find their command', async () => {
    const held: Request[] = []
    await serve((request, peer) => {
      held.push(request)
      if (held.length === 3) for (const one of held.reverse()) peer.say({ return: { to: one.execute }, id: one.id })
    })
    const client = await connect()
    const answers = await Promise.all(['a', 'b', 'c'].map((name) => client.execute(name)))
    expect(answers).toEqual([{ to: 'a' }, { to: 'b' }, { to: 'c' }])
  })

  test('an error keeps command, class and QEMU’s words, and the connection stays good', async () => {
    await serve((request, peer) =>
      request.execute === 'bad'
        ? peer.say({ error: { class: 'DeviceNotFound', desc: 'Device x not found' }, id: request.id })
        : accept(request, peer),
    )
    const client = await connect()
    const failure = await client.execute('bad').catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(QmpCommandError)
    expect(failure).toMatchObject({ command: 'bad', class: 'DeviceNotFound', desc: 'Device x not found' })
    expect(await client.execute('good')).toEqual({})
  })

  test('a late answer and one to nobody are dropped (F20)', async () => {
    let late: Request | null = null
    await serve((request, peer) => {
      if (request.execute === 'slow') late = request
      else {
        if (late !== null)
          peer.say({ return: { late: true }, id: late.id }, { return: {}, id: 99_999 }, { return: {}, id: 'x' })
        peer.say({ return: { prompt: true }, id: request.id })
      }
    })
    const client = await connect()
    await expect(client.execute('slow', undefined, { timeoutMs: 20 })).rejects.toThrow(QmpTimeoutError)
    expect(await client.execute('next')).toEqual({ prompt: true })
    expect(client.closed).toBe(false)
  })

  test('an aborted command rejects with the reason', async () => {
    await serve(silent)
    const client = await connect()
    const controller = new AbortController()
    const waiting = client.execute('query-status', undefined, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
  })

  test('64-bit numbers go out and come back unchanged', async () => {
    await serve((request, peer) => peer.raw(`{"return": {"echo": 18446744073709551615}, "id": ${request.id}}\r\n`))
    const client = await connect()
    expect(await client.execute('x', { value: 2n ** 64n - 1n })).toEqual({ echo: 2n ** 64n - 1n })
  })

  test('quit succeeds when QEMU answers, hangs up or vanishes', async () => {
    const ways: readonly Script[] = [accept, (_request, peer) => peer.hangUp(), (_request, peer) => peer.vanish()]
    for (const way of ways) {
      path = join(dir, `quit-${ways.indexOf(way)}.sock`)
      await serve(way)
      const client = await connect()
      await expect(client.execute('quit')).resolves.toEqual({})
    }
  })

  test('quit fails when it was us who closed', async () => {
    await serve(silent)
    const client = await connect()
    const quitting = client.execute('quit')
    client.close()
    await expect(quitting).rejects.toThrow(QmpDisconnectedError)
  })
})

describe('a broken connection', () => {
  /** One waiter, one stream; both must end with the same first cause. */
  async function causeOf(provoke: Script): Promise<Error> {
    await serve(provoke)
    const client = await connect()
    const stream = client.events()
    const waiting = client.execute('query-status').catch((error: unknown) => error)
    const reading = stream.next().catch((error: unknown) => error)
    const cause = await client.whenClosed
    expect(await waiting).toBe(cause)
    expect(await reading).toBe(cause)
    expect(client.closed).toBe(true)
    await expect(client.execute('query-status')).rejects.toThrow(QmpStateError)
    return cause
  }

  test('a disconnect in the middle of a command rejects every waiter and ends every stream', async () => {
    expect(await causeOf((_request, peer) => peer.hangUp())).toBeInstanceOf(QmpDisconnectedError)
  })

  test('half an answer and then the end is a disconnect', async () => {
    const cause = await causeOf((_request, peer) => {
      peer.raw('{"return": {')
      peer.hangUp()
    })
    expect(cause).toBeInstanceOf(QmpDisconnectedError)
  })

  test('garbage is a framing error', async () => {
    expect(await causeOf((_request, peer) => peer.raw('\u0000\u0001garbage\r\n'))).toBeInstanceOf(QmpFramingError)
  })

  test('a line of 9 MB is a framing error (G04)', async () => {
    const cause = await causeOf((request, peer) =>
      peer.raw(Buffer.from(`{"return": "${'x'.repeat(9_000_000)}", "id": ${request.id}}\r\n`)),
    )
    expect(cause).toBeInstanceOf(QmpFramingError)
  })

  test('JSON that is no QMP is a bad reply', async () => {
    for (const [i, message] of [[1], { hello: 1 }, { error: { class: 'X', desc: 'y' } }, { event: 'STOP' }].entries()) {
      path = join(dir, `bad-${i}.sock`)
      expect(await causeOf((_request, peer) => peer.raw(`${JSON.stringify(message)}\r\n`))).toBeInstanceOf(
        QmpBadReplyError,
      )
    }
  })

  test('an event before the end is still delivered', async () => {
    await serve((_request, peer) => {
      peer.say({ event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' }, timestamp: STAMP })
      peer.hangUp()
    })
    const client = await connect()
    const stream = client.events(['SHUTDOWN'])
    client.execute('query-status').catch(() => {})
    await client.whenClosed
    expect((await stream.next()).value).toEqual({
      event: 'SHUTDOWN',
      data: { guest: true, reason: 'guest-shutdown' },
      timestampMs: 1700000000250,
    })
    await expect(stream.next()).rejects.toThrow(QmpDisconnectedError)
  })

  test('a stream opened after the end gives the cause', async () => {
    await serve((_request, peer) => peer.hangUp())
    const client = await connect()
    client.execute('query-status').catch(() => {})
    const cause = await client.whenClosed
    await expect(client.events().next()).rejects.toBe(cause)
  })

  test('closing twice keeps the first reason', async () => {
    await serve(silent)
    const client = await connect()
    const reason = new Error('first')
    client.close(reason)
    client.close(new Error('second'))
    expect(await client.whenClosed).toBe(reason)
  })
})

describe('events', () => {
  const flood = (count: number) => (request: Request, peer: Peer) => {
    peer.say(...Array.from({ length: count }, (_, n) => ({ event: 'RTC_CHANGE', data: { n }, timestamp: STAMP })))
    peer.say({ return: {}, id: request.id })
  }

  test('a flood reaches listeners in order and the answer after it (G04)', async () => {
    await serve(flood(20_000))
    const client = await connect()
    const seen: unknown[] = []
    client.onEvent((event) => seen.push(event.data.n))
    await client.execute('go')
    expect(seen).toEqual(Array.from({ length: 20_000 }, (_, n) => n))
  })

  test('a stream nobody reads is closed in a flood; the connection and the other subscribers live (G04)', async () => {
    await serve(flood(5000))
    const client = await connect()
    const unread = client.events()
    const picky = client.events(['SHUTDOWN'])
    await client.execute('go')
    await expect(unread.next()).rejects.toThrow(QmpStateError)
    expect(client.closed).toBe(false)
    picky.close()
    expect((await picky.next()).done).toBe(true)
  })

  test('a listener that throws is dropped, reported, and hurts nobody else', async () => {
    await serve(flood(3))
    const client = await connect()
    const warnings: string[] = []
    const onWarning = (warning: Error) => warnings.push(warning.message)
    process.on('warning', onWarning)
    let calls = 0
    client.onEvent(() => {
      calls += 1
      throw new Error('listener is broken')
    })
    let others = 0
    client.onEvent(() => {
      others += 1
    })
    await client.execute('go')
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', onWarning)
    expect([calls, others]).toEqual([1, 3])
    expect(warnings.join()).toContain('listener is broken')
  })
})
