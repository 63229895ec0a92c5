/**
 * What ends a session or a token ends everything opened with it, from outside: the dashboard as a process with a guest
 * that runs, and clients that do not answer when they are told to go.
 */
import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { API_BASE } from '#lib/api/contract.ts'
import { send } from '#server/http/test-rig.ts'
import { PASSWORD, ready, server, token } from '#server/testing/process-rig.ts'

/** Two seconds are promised; the rest is for a machine that has other things to do. A handshake may take longer. */
const SOON_MS = 15_000
const NEW_PASSWORD = 'set anew by somebody'

type Headers = Record<string, string>
/** All that came over a socket. */
const said = new Map<Socket, string>()

/** A WebSocket that says nothing after its handshake, not even goodbye. */
function stubborn(port: number, path: string, headers: Headers, protocols?: string[]): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.on('data', (bytes) => said.set(socket, (said.get(socket) ?? '') + bytes.toString('latin1')))
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...(protocols === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocols.join(', ')}`]),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  return new Promise((resolve, reject) => {
    socket.once('data', (bytes) => {
      const [status = ''] = bytes.toString('latin1').split('\r\n')
      if (status.includes(' 101 ')) resolve(socket)
      else reject(new Error(`${path}: ${status}`))
    })
    socket.once('close', () => reject(new Error(`${path} was closed`)))
  })
}

test('whatever ends a session or a token ends its event sockets and consoles too, also of clients that do not answer; tickets taken before open nothing, and nobody else is disturbed (B05)', {
  timeout: 240_000,
}, async () => {
  const admin = { authorization: `Bearer ${await token()}` }
  const port = await ready(server())
  const origin = `http://127.0.0.1:${port}`
  const ask = async (who: Headers, method: string, path: string, body?: unknown) => {
    const answer = await send(port, method, `${API_BASE}${path}`, {
      headers: { ...who, ...(body !== undefined && { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    expect(answer.status, `${method} ${path}: ${answer.text}`).toBeLessThan(300)
    return answer
  }
  const vm = (await ask(admin, 'POST', '/vms', { name: 'watched', memoryMiB: 32, disks: [], networks: [] })).json.id
  await ask(admin, 'POST', `/vms/${vm}/start`)

  const signIn = async (name: string): Promise<Headers> => {
    const answer = await ask({ origin }, 'POST', '/session', { name, password: PASSWORD })
    return { cookie: String(answer.headers['set-cookie']).split(';')[0] ?? '', origin }
  }
  const person = async (name: string) => {
    const { id } = (await ask(admin, 'POST', '/users', { name, password: PASSWORD, role: 'viewer' })).json
    const cookie = await signIn(name)
    const made = (await ask(cookie, 'POST', '/tokens', { label: 'mine' })).json
    return { id, name, cookie, tokenId: made.entry.id, bearer: { authorization: `Bearer ${made.token}` } }
  }
  type Person = Awaited<ReturnType<typeof person>>
  const ticket = async (who: Headers, kind: string) =>
    (await ask(who, 'POST', `/vms/${vm}/console-tickets`, { kind, mode: 'view' })).json
  const sockets = async (who: Headers) => {
    const console = async (kind: string) => {
      const { path, ticket: secret } = await ticket(who, kind)
      return stubborn(port, path, 'cookie' in who ? { origin } : {}, ['binary', secret])
    }
    const opened = await Promise.all([stubborn(port, `${API_BASE}/events`, who), console('vnc'), console('serial')])
    return opened
  }
  const areClosed = async (all: readonly Socket[]) => {
    await expect.poll(() => all.filter((socket) => !socket.closed).length, { timeout: SOON_MS }).toBe(0)
    for (const socket of all) expect(said.get(socket)).toContain('signed out')
  }

  const bystander = await sockets((await person('bystander')).cookie)
  const byPerson = (path: string, method: string, body?: unknown) => (one: Person) =>
    ask(admin, method, `/users/${one.id}${path}`, body)
  const cases: readonly [string, (one: Person) => Promise<unknown>, 'session' | 'token' | 'both'][] = [
    ['signing out', (one) => ask(one.cookie, 'DELETE', '/session'), 'session'],
    ['signing out everywhere', (one) => ask(one.cookie, 'POST', '/account/sessions/end', {}), 'session'],
    ['an administrator ending sessions', byPerson('/sign-out', 'POST'), 'session'],
    ['revoking the token', (one) => ask(one.cookie, 'DELETE', `/tokens/${one.tokenId}`), 'token'],
    [
      'a new password of one’s own',
      async (one) => {
        const other = await signIn(one.name)
        await ask(other, 'POST', '/session/password', { current: PASSWORD, next: NEW_PASSWORD })
      },
      'both',
    ],
    ['a new password by an administrator', byPerson('', 'PATCH', { password: NEW_PASSWORD }), 'both'],
    ['another role', byPerson('', 'PATCH', { role: 'operator' }), 'both'],
    ['being disabled', byPerson('', 'PATCH', { disabled: true }), 'both'],
    ['being removed', byPerson('', 'DELETE'), 'both'],
  ]
  for (const [index, [what, end, ends]] of cases.entries()) {
    const one = await person(`person${index}`)
    const [ofSession, ofToken] = [await sockets(one.cookie), await sockets(one.bearer)]
    const kept = [await ticket(one.cookie, 'vnc'), await ticket(one.bearer, 'vnc')] as const
    await end(one)
    await areClosed([...(ends === 'token' ? [] : ofSession), ...(ends === 'session' ? [] : ofToken)])
    const left = ends === 'both' ? [] : ends === 'token' ? ofSession : ofToken
    expect(
      left.map((socket) => socket.closed),
      what,
    ).toEqual(left.map(() => false))
    const status = async (who: Headers) => (await send(port, 'GET', `${API_BASE}/vms`, { headers: who })).status
    expect([await status(one.cookie), await status(one.bearer)], what).toEqual([
      ends === 'token' ? 200 : 401,
      ends === 'session' ? 200 : 401,
    ])
    for (const [at, { path, ticket: secret }] of kept.entries()) {
      if (ends !== 'both' && (ends === 'session') !== (at === 0)) continue
      // Taken, perhaps, and closed at once: no picture of the guest comes before that.
      const late = await stubborn(port, path, at === 0 ? { origin } : {}, ['binary', secret]).catch(() => null)
      if (late !== null) await areClosed([late])
    }
    for (const socket of left) socket.destroy()
  }
  // A screen ends by itself when nobody greets it.
  expect(bystander.filter((_socket, index) => index !== 1).map((socket) => socket.closed)).toEqual([false, false])
  for (const socket of bystander) socket.destroy()
})
