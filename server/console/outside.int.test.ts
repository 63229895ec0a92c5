/**
 * Consoles from outside: the dashboard as a process, a real QEMU, real HTTP and WebSockets. Who watches, who is ended,
 * and guest links with all that ends them.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { CLOSE } from '#lib/console/close-codes.ts'
import type { ConsoleNews, ConsoleViewer } from '#lib/schema/console.ts'
import type { GuestLink } from '#lib/schema/guest-link.ts'
import { type Answer, send } from '#server/http/test-rig.ts'
import { dir, PASSWORD, type Run, ready, server, token } from '#server/testing/process-rig.ts'
import { rfbConnect, until } from './test-rig.ts'

/** What the dashboard promises, with room for a machine that has other things to do. */
const SOON_MS = 10_000

let port: number
let admin: Record<string, string>
let running: Run
let vm: string

const call = (method: string, path: string, body?: object, headers: Record<string, string> = admin): Promise<Answer> =>
  send(port, method, `/api/v1${path}`, {
    headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  })
const done = async (method: string, path: string, body?: object, headers?: Record<string, string>) => {
  const answer = await call(method, path, body, headers)
  expect(answer.status, answer.text).toBeLessThan(300)
  return answer.json
}

beforeEach(async () => {
  admin = { authorization: `Bearer ${await token()}` }
  running = server()
  port = await ready(running)
  vm = (await done('POST', '/vms', { name: 'shared', memoryMiB: 32, cpus: 1, disks: [], networks: [] })).id
  await done('POST', `/vms/${vm}/start`)
  await expect.poll(async () => (await done('GET', `/vms/${vm}`)).state, { timeout: 60_000 }).toBe('running')
}, 180_000)

/** Somebody with a session, for what tokens cannot tell apart. */
async function person(name: string, role: string) {
  const { id } = await done('POST', '/users', { name, password: PASSWORD, role })
  const headers = { 'content-type': 'application/json', origin: `http://127.0.0.1:${port}` }
  const answer = await send(port, 'POST', '/api/v1/session', {
    headers,
    body: JSON.stringify({ name, password: PASSWORD }),
  })
  const cookie = String(answer.headers['set-cookie']).split(';')[0] ?? ''
  return { id, headers: { cookie, origin: headers.origin } }
}

function connect(path: string, ticket: string, headers: Record<string, string> = {}) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, ['binary', ticket], { headers })
  let latest: Extract<ConsoleNews, { type: 'presence' }> | null = null
  let closedAt = 0
  ws.on('error', () => {})
  const end = Promise.withResolvers<number>()
  ws.on('close', (code) => {
    closedAt = performance.now()
    end.resolve(code)
  })
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) return
    const news = JSON.parse(data.toString()) as ConsoleNews
    if (news.type === 'presence') latest = news
  })
  return {
    ws,
    closed: end.promise,
    get viewers(): readonly ConsoleViewer[] {
      return latest?.viewers ?? []
    },
    get closedAt() {
      return closedAt
    },
    sees: (what: string, test: (names: string) => boolean) =>
      until(() => test((latest?.viewers ?? []).map(({ name }) => name).join()), what, SOON_MS),
  }
}
async function viewer(headers: Record<string, string> = admin, mode = 'control', kind = 'vnc') {
  const { ticket, path } = await done('POST', `/vms/${vm}/console-tickets`, { kind, mode, presence: true }, headers)
  return connect(path, ticket, headers.cookie ? headers : {})
}
const link = (more: object = {}): Promise<{ link: GuestLink; path: string }> =>
  done('POST', `/vms/${vm}/guest-links`, { label: 'class', kind: 'vnc', mode: 'view', expiresInMinutes: 60, ...more })
const secretOf = (path: string) => path.split('#')[1] ?? ''
const exchange = (secret: string) => call('POST', '/guest/tickets', { secret, presence: true }, {})
async function guest(path: string) {
  const answer = await exchange(secretOf(path))
  expect(answer.status, answer.text).toBe(201)
  return connect(answer.json.path, answer.json.ticket)
}

describe('who watches', () => {
  test('is seen at the console and in the VM, and who is ended is told by whom; a stranger sees and ends nobody (R05)', async () => {
    const bob = await person('bob', 'viewer')
    const olga = await person('olga', 'operator')
    const ada = await viewer()
    await rfbConnect(ada.ws)
    const watching = await viewer(bob.headers, 'view')
    await ada.sees('bob came', (names) => names === 'ann,bob')
    await expect
      .poll(async () => (await done('GET', `/vms/${vm}`)).live.watching, { timeout: SOON_MS })
      .toMatchObject([
        { name: 'ann', kind: 'vnc', mode: 'control', guest: false },
        { name: 'bob', mode: 'view' },
      ])
    const { items } = await done('GET', `/vms/${vm}/viewers`, undefined, bob.headers)
    const [first, second] = items as ConsoleViewer[]
    // A viewer sees them all and ends nobody but themselves; to whom the VM does not exist there are none.
    expect((await call('POST', `/vms/${vm}/viewers/${first?.id}/end`, {}, bob.headers)).status).toBe(403)
    expect((await call('POST', `/vms/${vm}/viewers/${first?.id}/control`, {}, bob.headers)).status).toBe(403)
    for (const [method, path] of [
      ['GET', 'viewers'],
      ['POST', `viewers/${second?.id}/end`],
      ['POST', `viewers/${second?.id}/control`],
      ['GET', 'guest-links'],
      ['POST', 'guest-links'],
    ] as const) {
      const body = path === 'guest-links' ? { label: 'x', kind: 'vnc', mode: 'view', expiresInMinutes: 5 } : {}
      expect((await call(method, `/vms/${vm}/${path}`, method === 'GET' ? undefined : body, olga.headers)).status).toBe(
        404,
      )
    }
    const reason = new Promise<string>((resolve) => watching.ws.on('close', (_, text) => resolve(text.toString())))
    await done('POST', `/vms/${vm}/viewers/${second?.id}/end`, { reason: 'the lesson is over' })
    expect(await watching.closed).toBe(CLOSE.disconnected)
    expect(await reason).toBe('ann ended this connection: the lesson is over')
    await ada.sees('bob is gone', (names) => names === 'ann')
    expect((await call('POST', `/vms/${vm}/viewers/${second?.id}/end`, {})).status).toBe(404)

    // Sole control from beside the console, and back.
    const cora = await viewer()
    await cora.sees('both are there', (names) => names === 'ann,ann')
    await done('POST', `/vms/${vm}/viewers/${first?.id}/control`)
    await until(() => cora.viewers[0]?.holds === true, 'ann has control', SOON_MS)
    await done('POST', `/vms/${vm}/console-control/release`, { kind: 'vnc' })
    await until(() => cora.viewers[0]?.holds === false, 'all have control', SOON_MS)

    const lines = (await done('GET', `/vms/${vm}/activity`)).items.map(({ text }: { text: string }) => text)
    expect(lines).toContain('ann ended the connection of bob to shared.')
    expect(lines).toContain('ann handed control to ann, of the screen of shared.')
    expect(lines).toContain('ann gave up sole control of the screen of shared.')
    for (const { ws } of [ada, cora]) ws.terminate()
  }, 120_000)
})

describe('a guest link', () => {
  test('opens one console without an account, no more than it says, to no more viewers than it says', async () => {
    const { link: made, path } = await link()
    expect(path).toMatch(new RegExp(`^/guest/${made.id}#[A-Za-z0-9_-]{43}$`))
    const host = await viewer()
    const first = await guest(path)
    await host.sees('the guest came', (names) => names === 'ann,class')
    expect(host.viewers[1]).toMatchObject({ name: 'class', guest: true, mode: 'view', kind: 'vnc' })
    const second = await guest(path)
    expect(await second.closed).toBe(CLOSE.tooMany)
    // The ticket is good for nothing else, and once.
    const { ticket, path: consolePath, name } = (await exchange(secretOf(path))).json
    expect(name).toBe('shared')
    const other = connect(consolePath.replace('/vnc', '/serial'), ticket)
    expect(await other.closed).toBe(1006)
    expect(await connect(consolePath, ticket).closed).toBe(1006)
    // Nor is the secret: it is no session, no token and no password.
    for (const headers of [
      { authorization: `Bearer ${secretOf(path)}` },
      { cookie: `__Host-guestdeck=${secretOf(path)}` },
    ]) {
      expect((await call('GET', '/vms', undefined, headers)).status).toBe(401)
    }
    const listed = (await done('GET', `/vms/${vm}/guest-links`)).items
    expect(listed).toMatchObject([
      { id: made.id, uses: 1, viewers: 1, lastUsedFrom: '127.0.0.1', createdBy: { name: 'ann' } },
    ])
    expect(JSON.stringify(listed)).not.toContain(secretOf(path))
    const lines = (await done('GET', `/vms/${vm}/activity`)).items as { text: string; who: string }[]
    expect(
      lines.some(({ text, who }) => who === 'guest: class' && /opened the screen of shared \(view only\)/.test(text)),
    ).toBe(true)
    expect(lines.some(({ text }) => text.startsWith('ann made a guest link to the screen of shared'))).toBe(true)
    // Neither the database nor the log has it.
    const files = ['state.db', 'state.db-wal'].map((file) => readFileSync(join(dir, 'd', file)).toString('latin1'))
    for (const text of [...files, running.out(), running.err()]) expect(text).not.toContain(secretOf(path))
    for (const { ws } of [host, first]) ws.terminate()
  }, 120_000)

  test('that is revoked, or whose maker may no more, opens nothing and ends what it opened', async () => {
    const olga = await person('olga', 'admin')
    const ways: [string, (made: { link: GuestLink; path: string }) => Promise<unknown>][] = [
      ['revoked', ({ link: { id } }) => done('DELETE', `/vms/${vm}/guest-links/${id}`)],
      ['of somebody disabled', () => done('PATCH', `/users/${olga.id}`, { disabled: true })],
      ['of somebody demoted', () => done('PATCH', `/users/${olga.id}`, { role: 'viewer' })],
    ]
    for (const [what, end] of ways) {
      await done('PATCH', `/users/${olga.id}`, { disabled: false, role: 'admin' })
      const headers = { ...olga.headers }
      const signedIn = await send(port, 'POST', '/api/v1/session', {
        headers: { 'content-type': 'application/json', origin: headers.origin ?? '' },
        body: JSON.stringify({ name: 'olga', password: PASSWORD }),
      })
      headers.cookie = String(signedIn.headers['set-cookie']).split(';')[0] ?? ''
      const body = { label: what, kind: 'serial', mode: 'control', expiresInMinutes: 60 }
      const made = await done('POST', `/vms/${vm}/guest-links`, body, headers)
      const there = await guest(made.path)
      await there.sees('it is there', (names) => names.includes(what))
      const at = performance.now()
      await end(made)
      expect(await there.closed, what).toBe(CLOSE.revoked)
      expect(there.closedAt - at, what).toBeLessThan(SOON_MS)
      expect((await exchange(secretOf(made.path))).status, what).toBe(404)
    }
  }, 120_000)

  test('goes with its VM, is refused while the guest is off, and guessing is slowed', async () => {
    const { path } = await link({ kind: 'serial' })
    await done('POST', `/vms/${vm}/poweroff`)
    await expect.poll(async () => (await done('GET', `/vms/${vm}`)).state, { timeout: 30_000 }).toBe('off')
    const off = await exchange(secretOf(path))
    expect([off.status, off.json.error.code]).toEqual([409, 'wrong_state'])
    await done('DELETE', `/vms/${vm}`)
    expect((await exchange(secretOf(path))).status).toBe(404)
    const statuses: number[] = []
    for (let i = 0; i < 11; i++) statuses.push((await exchange('A'.repeat(43))).status)
    expect(statuses.at(0)).toBe(404)
    expect(statuses.at(-1)).toBe(429)
    // The page of another site cannot ask in a visitor's name.
    const body = JSON.stringify({ secret: 'x' })
    const headers = { 'content-type': 'application/json', origin: 'http://evil.example' }
    expect((await send(port, 'POST', '/api/v1/guest/tickets', { headers, body })).status).toBe(403)
  }, 120_000)
})
