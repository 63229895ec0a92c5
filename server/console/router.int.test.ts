import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { consolePath } from '#lib/api/contract.ts'
import { CLOSE } from '#lib/console/close-codes.ts'
import { closed, gone, ORIGIN, opened, type Rig, startRig, unixPeer, until, VM } from './test-rig.ts'

/** The raw answer to an upgrade request. */
async function upgrade(rig: Rig, target: string, headers: Record<string, string> = {}): Promise<string> {
  const socket = connect(rig.port, '127.0.0.1')
  const lines = Object.entries({
    Host: 'deck.test',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    Origin: ORIGIN,
    ...headers,
  })
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET ${target} HTTP/1.1\r\n${lines.join('')}\r\n`)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    if (text.startsWith('HTTP/1.1 101')) socket.destroy()
  })
  await gone(socket)
  return text
}
const status = async (...args: Parameters<typeof upgrade>) => Number((await upgrade(...args)).split(' ')[1])
const PATH = consolePath(VM, 'vnc')
const protocols = (ticket: string) => ({ 'Sec-WebSocket-Protocol': `binary, ${ticket}` })

async function vncRig(limits = {}) {
  const rig = await startRig(limits)
  const peer = await unixPeer(`${rig.dir}/vnc`)
  rig.vnc = peer.path
  return {
    rig,
    peer,
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]()
      await rig[Symbol.asyncDispose]()
    },
  }
}

describe('console upgrade', () => {
  test('a ticket beside "binary" opens a console, once, and "binary" is what is answered', async () => {
    await using setup = await vncRig()
    const ticket = setup.rig.ticket('vnc', 'view')
    const ws = new WebSocket(setup.rig.url('vnc'), ['binary', ticket], { origin: ORIGIN })
    await opened(ws)
    expect(ws.protocol).toBe('binary')
    expect(ws.extensions).toBe('')
    expect(await status(setup.rig, PATH, protocols(ticket))).toBe(401)
    ws.terminate()
  })

  test.each([
    ['another origin', { Origin: 'http://evil.test' }],
    ['the null origin', { Origin: 'null' }],
    ['a longer origin', { Origin: `${ORIGIN}.evil.test` }],
  ])('%s is refused before the upgrade and does not spend the ticket (W01)', async (_, headers) => {
    await using setup = await vncRig()
    const ticket = setup.rig.ticket('vnc', 'control')
    expect(await status(setup.rig, PATH, { ...protocols(ticket), ...headers })).toBe(403)
    expect(await status(setup.rig, PATH, protocols(ticket))).toBe(101)
  })

  test('a ticket in the URL is refused', async () => {
    await using setup = await vncRig()
    const ticket = setup.rig.ticket('vnc', 'control')
    expect(await status(setup.rig, `${PATH}?ticket=${ticket}`, { 'Sec-WebSocket-Protocol': 'binary' })).toBe(400)
    expect(await status(setup.rig, `${PATH}?ticket=${ticket}`, protocols(ticket))).toBe(400)
  })

  test.each([
    ['no subprotocol', ''],
    ['only binary', 'binary'],
    ['binary twice', 'binary, binary'],
    ['three', 'binary, a, b'],
    ['no binary', 'a, b'],
  ])('%s offered is refused', async (_, offered) => {
    await using setup = await vncRig()
    expect(await status(setup.rig, PATH, { 'Sec-WebSocket-Protocol': offered })).toBe(400)
  })

  test('a wrong ticket, one for the other kind and one for another VM are refused alike', async () => {
    await using setup = await vncRig()
    const other = '01920000-0000-7000-8000-000000000002'
    expect(await status(setup.rig, PATH, protocols('A'.repeat(43)))).toBe(401)
    expect(await status(setup.rig, PATH, protocols(setup.rig.ticket('serial', 'view')))).toBe(401)
    expect(await status(setup.rig, consolePath(other, 'vnc'), protocols(setup.rig.ticket('vnc', 'view')))).toBe(401)
  })

  test.each([
    ['//', 404],
    ['/%00', 404],
    ['/', 404],
    ['*', 404],
    ['http://[', 404],
    ['/api/v1/vms/../console/vnc', 404],
    [`/api/v1/vms/${VM}/console/ssh`, 404],
    [`/api/v1/vms/%00/console/vnc`, 404],
    [`/api/v1/vms/${VM}/console/vnc/`, 404],
    [`//api/v1/vms/${VM}/console/vnc`, 404],
  ])('%s does not throw and is not a console', async (target, expected) => {
    await using setup = await vncRig()
    expect(await status(setup.rig, target, protocols(setup.rig.ticket('vnc', 'view')))).toBe(expected)
    expect(await status(setup.rig, PATH, protocols(setup.rig.ticket('vnc', 'view')))).toBe(101)
  })

  test('a refusal is an error body without a trace of the inside', async () => {
    await using setup = await vncRig()
    const answer = await upgrade(setup.rig, PATH, protocols('A'.repeat(43)))
    const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4))
    expect(body).toEqual({
      error: { code: 'unauthenticated', message: expect.any(String), requestId: expect.any(String) },
    })
    expect(answer).not.toContain(setup.rig.dir)
  })

  test('a broken WebSocket handshake is refused', async () => {
    await using setup = await vncRig()
    const headers = { ...protocols(setup.rig.ticket('vnc', 'view')), 'Sec-WebSocket-Key': 'short' }
    expect(await status(setup.rig, PATH, headers)).toBe(400)
  })
})

describe('console sessions', () => {
  test('a guest that is off closes with "off"', async () => {
    await using rig = await startRig()
    expect(await closed(rig.open('vnc', 'view'))).toBe(CLOSE.off)
    expect(await closed(rig.open('serial', 'view'))).toBe(CLOSE.off)
  })

  test('the ninth viewer is turned away, the eight stay, and a place that gets free can be taken (W06)', async () => {
    await using setup = await vncRig()
    const eight = Array.from({ length: 8 }, () => setup.rig.open('vnc', 'view'))
    for (const ws of eight) await opened(ws)
    expect(await closed(setup.rig.open('vnc', 'control'))).toBe(CLOSE.tooMany)
    expect(eight.every((ws) => ws.readyState === ws.OPEN)).toBe(true)
    expect(setup.peer.connections.length).toBeLessThanOrEqual(8)
    eight[0]?.close()
    await until(() => setup.rig.router.viewers(VM).vnc === 7, 'one left')
    const late = setup.rig.open('vnc', 'view')
    await opened(late)
    await until(() => setup.rig.router.viewers(VM).vnc === 8, 'one came')
  })

  test('ending a session or token ends its consoles and no others', async () => {
    await using setup = await vncRig()
    const mine = setup.rig.open('vnc', 'view', { grant: { credentialId: 's1' } })
    const theirs = setup.rig.open('vnc', 'view', { grant: { credentialId: 's2' } })
    await Promise.all([opened(mine), opened(theirs)])
    setup.rig.revoke('s1')
    expect(await closed(mine)).toBe(CLOSE.revoked)
    expect(theirs.readyState).toBe(theirs.OPEN)
  })

  test('who watches is known, told when it changes, and the end is recorded with its code', async () => {
    await using setup = await vncRig()
    const ws = setup.rig.open('vnc', 'control')
    await opened(ws)
    expect(setup.rig.router.watching(VM).map(({ grant }) => [grant.userName, grant.kind, grant.mode])).toEqual([
      ['ada', 'vnc', 'control'],
    ])
    expect(setup.rig.presence).toBe(1)
    setup.rig.router.disconnect(VM)
    expect(await closed(ws)).toBe(CLOSE.disconnected)
    await until(() => setup.rig.ended.length === 1, 'the end is recorded')
    expect(setup.rig.ended[0]?.code).toBe(CLOSE.disconnected)
    expect(setup.rig.presence).toBe(2)
    expect(setup.rig.router.watching(VM)).toEqual([])
  })

  test('stopping the dashboard tells viewers so and takes no new ones', async () => {
    await using setup = await vncRig()
    const ws = setup.rig.open('vnc', 'control')
    const stuck = setup.rig.open('vnc', 'view')
    await Promise.all([opened(ws), opened(stuck)])
    stuck.pause()
    const startedMs = performance.now()
    const all = setup.rig.router.closeAll()
    expect(await closed(ws)).toBe(CLOSE.goingAway)
    await all
    expect(performance.now() - startedMs).toBeLessThan(4000)
    expect(await closed(setup.rig.open('vnc', 'view'))).toBe(CLOSE.goingAway)
  })

  test('a client that vanishes during the handshake leaves nothing behind', async () => {
    await using setup = await vncRig()
    for (let i = 0; i < 20; i++) {
      const socket = connect(setup.rig.port, '127.0.0.1')
      await once(socket, 'connect')
      socket.write(
        `GET ${PATH} HTTP/1.1\r\nHost: deck.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: ${ORIGIN}\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n` +
          `Sec-WebSocket-Protocol: binary, ${setup.rig.ticket('vnc', 'view')}\r\n\r\n`,
      )
      socket.resetAndDestroy()
    }
    await until(() => setup.rig.router.viewers(VM).vnc === 0, 'all are gone')
    const ws = setup.rig.open('vnc', 'view')
    await opened(ws)
  })
})
