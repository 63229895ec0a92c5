/** The event socket from outside: who gets in, what arrives, and what a reader that does not read costs. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import WebSocket from 'ws'
import type { DeckEvent } from '#lib/schema/event.ts'
import { createProxyPolicy } from '#server/auth/client-address.ts'
import { createEventsSocket } from '#server/http/events-socket.ts'
import { createHostPolicy } from '#server/http/guard.ts'
import { type Rig, startRig } from '#server/http/test-rig.ts'

let rig: Rig
let ann: Awaited<ReturnType<Rig['person']>>
beforeAll(async () => {
  rig = await startRig()
  ann = await rig.person('ann', 'viewer')
})
afterAll(() => rig.stop())

const PATH = '/api/v1/events'

function open(headers: Record<string, string>, query = '') {
  const ws = new WebSocket(`ws://127.0.0.1:${rig.port}${PATH}${query}`, { headers })
  const events: DeckEvent[] = []
  ws.on('message', (text) => events.push(JSON.parse(String(text))))
  const outcome = new Promise<number>((resolve) => {
    ws.on('open', () => resolve(101))
    ws.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0))
    ws.on('error', () => resolve(0))
  })
  return { ws, events, outcome }
}

test.each([
  ['the cookie and the own origin', () => ann.cookie, 101],
  ['a token and no origin', () => ann.bearer, 101],
  ['a token and the own origin', () => ({ ...ann.bearer, origin: rig.origin }), 101],
  ['the cookie and no origin', () => ({ cookie: ann.cookie.cookie }), 403],
  ['the cookie and a foreign origin', () => ({ ...ann.cookie, origin: 'http://evil.example' }), 403],
  ['the cookie and the origin null', () => ({ ...ann.cookie, origin: 'null' }), 403],
  ['the cookie and another port', () => ({ ...ann.cookie, origin: 'http://127.0.0.1:1' }), 403],
  ['a token and a foreign origin', () => ({ ...ann.bearer, origin: 'http://evil.example' }), 403],
  ['nothing but the own origin', () => ({ origin: rig.origin }), 401],
  ['a wrong token', () => ({ authorization: `Bearer gd_${'A'.repeat(43)}` }), 401],
])('with %s the answer is right (W01)', async (_who, headers, expected) => {
  const { ws, outcome } = open(headers() as Record<string, string>)
  expect(await outcome).toBe(expected)
  ws.terminate()
})

test('a token in the query lets nobody in (B06)', async () => {
  const { outcome } = open({ origin: rig.origin }, `?token=${ann.token}`)
  expect(await outcome).toBe(401)
})

test('hello comes first, then events in order, once each', async () => {
  const { ws, events, outcome } = open(ann.bearer)
  await outcome
  await expect.poll(() => events.length).toBe(1)
  expect(events[0]).toMatchObject({ kind: 'hello', epoch: rig.hub.epoch })
  for (let i = 0; i < 5; i++) rig.hub.publish('vm', 'a', i + 1, { i })
  await expect.poll(() => events.length).toBe(6)
  const first = events[1]?.seq ?? 0
  expect(events.slice(1).map((event) => event.seq - first)).toEqual([0, 1, 2, 3, 4])
  ws.terminate()
})

test('a reader that comes back gets what it missed, or a reset when that is gone', async () => {
  const from = rig.hub.seq
  for (let i = 0; i < 3; i++) rig.hub.publish('vm', 'b', i + 1)
  const back = open(ann.bearer, `?since=${from}&epoch=${rig.hub.epoch}`)
  await expect.poll(() => back.events.length).toBe(4)
  expect(back.events.map((event) => event.kind)).toEqual(['hello', 'change', 'change', 'change'])
  const without = open(ann.bearer, `?since=${from}`)
  await expect.poll(() => without.events.length).toBe(4)
  const stale = open(ann.bearer, `?since=${from}&epoch=another`)
  await expect.poll(() => stale.events.length).toBe(2)
  expect(stale.events[1]?.kind).toBe('reset')
  for (const { ws } of [back, without, stale]) ws.terminate()
})

test.each(['since=x', 'since=-1', 'since=1e9', 'since='])('?%s is 400', async (query) => {
  expect(await open(ann.bearer, `?${query}`).outcome).toBe(400)
})

test('one person does not take the last place of all others', async () => {
  const bob = await rig.person('bob', 'viewer')
  const policy = {
    ...{ hosts: createHostPolicy([], '127.0.0.1'), proxies: createProxyPolicy([]) },
    ...{ insecureHttp: false, tls: false },
  }
  const sockets = createEventsSocket(rig.engine, rig.auth, policy, 2)
  const server = createServer().on('upgrade', sockets.upgrade)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const opened: WebSocket[] = []
  const outcome = async (headers: Record<string, string>) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}${PATH}`, { headers })
    opened.push(ws)
    const refused = once(ws, 'unexpected-response').then(([, response]) => response.statusCode)
    return Promise.race([once(ws, 'open').then(() => 101), refused])
  }
  try {
    expect(await outcome(ann.bearer)).toBe(101)
    expect(await outcome(ann.bearer)).toBe(101)
    expect(await outcome(ann.bearer)).toBe(503)
    expect(await outcome(bob.bearer)).toBe(101)
    opened[0]?.close()
    await expect.poll(() => sockets.clients).toBe(2)
    expect(await outcome(ann.bearer)).toBe(101)
  } finally {
    for (const ws of opened) ws.on('error', () => {}).terminate()
    sockets.close()
    server.close()
  }
})

test('a reader that talks too much is cut off (W04)', async () => {
  const { ws, outcome } = open(ann.bearer)
  await outcome
  const closed = new Promise<number>((resolve) => ws.on('close', resolve))
  ws.send('x'.repeat(100_000))
  expect(await closed).toBe(1009)
})

test.each([
  ['text', '{"kind":"reset"}', 1008],
  ['nesting without end', '['.repeat(1000), 1008],
  ['binary', Buffer.from([0, 1, 2]), 1003],
])('%s from a reader ends that reader (W10)', async (_what, message, code) => {
  const { ws, outcome } = open(ann.bearer)
  await outcome
  const closed = new Promise<number>((resolve) => ws.on('close', resolve))
  ws.send(message)
  expect(await closed).toBe(code)
})

test('a hundred thousand messages end their sender, and the others are told what happens (W10)', async () => {
  const [good, bad] = [open(ann.bearer), open(ann.bearer)]
  await Promise.all([good.outcome, bad.outcome])
  const closed = new Promise<number>((resolve) => bad.ws.on('close', resolve))
  const before = process.memoryUsage.rss()
  for (let i = 0; i < 100_000 && bad.ws.readyState === WebSocket.OPEN; i++) {
    bad.ws.send('x')
    if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  rig.hub.publish('host', 'flooded', null)
  await expect.poll(() => good.events.some(({ id }) => id === 'flooded')).toBe(true)
  // Cut off with frames still coming, it may not read the reason any more.
  expect([1008, 1006]).toContain(await closed)
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20)
  good.ws.terminate()
})

test('a reader that does not read takes little memory and is told to fetch again once it does', async () => {
  const socket = connect(rig.port, '127.0.0.1')
  socket.write(
    `GET ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${ann.token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  )
  await new Promise((resolve) => socket.once('data', resolve))
  socket.pause()
  const big = 'x'.repeat(50_000)
  // 100 MB of events: what is not taken must not pile up.
  let most = 0
  for (let i = 0; i < 2000; i++) {
    rig.hub.publish('vm', `big${i}`, i + 1, big)
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    most = Math.max(most, rig.http.events.backlogBytes)
  }
  expect(most).toBeGreaterThan(2 ** 20)
  expect(most).toBeLessThan(2 ** 20 + 2 * big.length)
  let tail = ''
  socket.on('data', (chunk) => {
    tail = (tail + chunk.toString('latin1')).slice(-100_000)
  })
  socket.resume()
  await expect.poll(() => tail, { timeout: 10_000 }).toContain('"kind":"reset"')
  rig.hub.publish('host', 'after', null)
  await expect.poll(() => tail, { timeout: 10_000 }).toContain('"after"')
  socket.destroy()
})

test('a thousand readers each get an event within a second', async () => {
  const readers = Array.from({ length: 1000 }, () => open(ann.bearer))
  await Promise.all(readers.map(({ outcome }) => outcome))
  await expect.poll(() => readers.every(({ events }) => events.length === 1), { timeout: 20_000 }).toBe(true)
  const started = performance.now()
  rig.hub.publish('vm', 'a', 1, { name: 'x'.repeat(2000) })
  await expect
    .poll(() => readers.every(({ events }) => events.length === 2), { interval: 5, timeout: 10_000 })
    .toBe(true)
  expect(performance.now() - started).toBeLessThan(1000)
  for (const { ws } of readers) ws.terminate()
  await expect.poll(() => rig.http.events.clients, { timeout: 10_000 }).toBe(0)
}, 60_000)
