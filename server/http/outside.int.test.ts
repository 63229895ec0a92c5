/**
 * What pages of others, planted cookies, races and odd requests get out of a dashboard somebody is signed in to. From
 * outside: a process, real HTTP and WebSockets.
 */
import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { API_BASE, EVENTS_PATH } from '#lib/api/contract.ts'
import { type Answer, send, sendRaw } from '#server/http/test-rig.ts'
import { rawDisk } from '#server/images/testing/forge.ts'
import { PASSWORD, ready, server, token } from '#server/testing/process-rig.ts'

const MiB = 2 ** 20
type Headers = Record<string, string>

async function deck() {
  const admin = { authorization: `Bearer ${await token()}` }
  const port = await ready(server())
  const origin = `http://127.0.0.1:${port}`
  const ask = (
    who: Headers,
    method: string,
    path: string,
    body?: unknown,
    more: Headers = {},
    bytes?: Buffer,
  ): Promise<Answer> =>
    send(port, method, `${API_BASE}${path}`, {
      headers: { ...who, ...(body !== undefined && { 'content-type': 'application/json' }), ...more },
      body: bytes ?? (body === undefined ? undefined : JSON.stringify(body)),
    })
  const signIn = async (headers: Headers = {}) => {
    const answer = await ask({ origin, ...headers }, 'POST', '/session', { name: 'ann', password: PASSWORD })
    expect(answer.status, answer.text).toBe(201)
    return String(answer.headers['set-cookie']).split(';')[0] ?? ''
  }
  const whoIs = async (cookie: string) => (await ask({ cookie }, 'GET', '/session')).json.user?.name ?? null
  return { admin, port, origin, ask, signIn, whoIs }
}

/** How an upgrade ends: 101, or the status it is refused with. */
function upgrade(port: number, path: string, headers: Headers, protocols: string[] = []): Promise<number> {
  return new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers })
    ws.on('error', () => {})
    ws.on('open', () => {
      resolve(101)
      ws.terminate()
    })
    ws.on('unexpected-response', (_request, response) => {
      resolve(response.statusCode ?? 0)
      ws.terminate()
    })
  })
}

test('a page of somebody else’s opens no socket and changes nothing with the cookie of who looks at it, under any name of the dashboard; a cookie planted before signing in is worth nothing after (A07, A12, W01)', {
  timeout: 120_000,
}, async () => {
  const { admin, port, origin, ask, signIn, whoIs } = await deck()
  const planted = `__Host-guestdeck=${randomBytes(32).toString('base64url')}`
  const before = await signIn({ cookie: planted })
  expect(before).not.toBe(planted)
  expect([await whoIs(planted), await whoIs(before)]).toEqual([null, 'ann'])
  // Signing in again takes the place of the session there was, for whoever knew that one.
  const cookie = await signIn({ cookie: before })
  expect([await whoIs(before), await whoIs(cookie)]).toEqual([null, 'ann'])

  const vm = (await ask(admin, 'POST', '/vms', { name: 'a', memoryMiB: 32, disks: [], networks: [] })).json.id
  expect((await ask(admin, 'POST', `/vms/${vm}/start`)).status).toBe(200)
  const foreign = [
    'http://evil.example',
    'null',
    `http://localhost.evil.example:${port}`,
    'http://127.0.0.1:1',
    'file://',
  ]
  for (const page of [...foreign, undefined]) {
    const headers = { cookie, ...(page !== undefined && { origin: page }) }
    expect(await upgrade(port, EVENTS_PATH, headers), String(page)).toBe(403)
    for (const kind of ['vnc', 'serial']) {
      // Even a ticket that leaked is good for our own page alone.
      const mine = { cookie, origin }
      const { ticket, path } = (await ask(mine, 'POST', `/vms/${vm}/console-tickets`, { kind, mode: 'view' })).json
      expect(await upgrade(port, path, headers, ['binary', ticket]), `${page} ${kind}`).toBe(403)
      expect(await upgrade(port, path, headers, ['binary']), `${page} ${kind}`).toBe(403)
    }
  }
  expect(await upgrade(port, EVENTS_PATH, { cookie, origin })).toBe(101)

  // What a form or a script of another page can send, and by a name that somebody else's DNS gives us.
  const state = async () =>
    (await ask(admin, 'GET', '/vms')).json.items.map(({ id, state, revision }: Record<string, unknown>) => ({
      ...{ id, state, revision },
    }))
  const was = await state()
  for (const page of foreign)
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])
      for (const [method, path] of [
        ['POST', '/vms'],
        ['POST', `/vms/${vm}/start`],
        ['DELETE', `/vms/${vm}`],
        ['POST', '/session/password'],
        ['DELETE', '/session'],
      ] as const) {
        const more = { origin: page, 'content-type': type }
        const { status } = await ask({ cookie }, method, path, undefined, more, Buffer.from('{"name":"evil"}'))
        expect(status, `${page} ${type} ${method} ${path}`).toBe(403)
      }
  for (const path of [`${API_BASE}/vms`, `${API_BASE}/session`, '/healthz', '/', EVENTS_PATH]) {
    const upgrading =
      path === EVENTS_PATH
        ? 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
        : 'Connection: close\r\n'
    const request = `GET ${path} HTTP/1.1\r\nHost: rebound.example:${port}\r\nOrigin: http://rebound.example:${port}\r\nCookie: ${cookie}\r\n${upgrading}\r\n`
    expect(await sendRaw(port, request, 10_000), path).toMatch(/^HTTP\/1\.1 421 /)
  }
  expect(await state()).toEqual(was)
  expect(await whoIs(cookie)).toBe('ann')
})

test('of two changes based on one revision one is kept and the other told; a name with a line break is refused, one in any script is given back when its file is saved; a thousand ranges are no thousand answers (A10, A21, A22)', {
  timeout: 120_000,
}, async () => {
  const { admin, ask, port } = await deck()
  const vm = (await ask(admin, 'POST', '/vms', { name: 'a', memoryMiB: 32, disks: [], networks: [] })).json
  const path = `/vms/${vm.id}`
  const match = { 'if-match': `"${vm.revision}"` }
  const both = await Promise.all(
    ['one', 'two', 'three', 'four'].map((description) => ask(admin, 'PATCH', path, { description }, match)),
  )
  expect(both.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409])
  expect(both.filter(({ status }) => status === 409).map(({ json }) => json.error.code)).toContain('stale_revision')
  const won = both.find(({ status }) => status === 200)?.json
  const now = (await ask(admin, 'GET', path)).json
  expect([now.spec.description, now.revision]).toEqual([won.spec.description, vm.revision + 1])
  expect((await ask(admin, 'DELETE', path, undefined, match)).json.error.code).toBe('stale_revision')

  for (const name of ['a\r\nX-Evil: 1', 'a\nb', '\u0000', 'a\u001b]0;x\u0007'])
    expect((await ask(admin, 'PATCH', path, { name })).status, JSON.stringify(name)).toBe(400)
  const name = 'Образ 世界 🐧 "x".img'
  const bytes = rawDisk(MiB)
  const type = { 'content-type': 'application/octet-stream' }
  const image = (await ask(admin, 'POST', `/images/upload?name=${encodeURIComponent(name)}`, undefined, type, bytes))
    .json
  const saved = await ask(admin, 'GET', `/images/${image.id}/content`)
  expect(saved.status).toBe(200)
  const disposition = String(saved.headers['content-disposition'])
  expect(disposition).toMatch(/^attachment; filename="[\x20-\x7e]*"; filename\*=UTF-8''/)
  expect(decodeURIComponent(disposition.split("UTF-8''")[1] ?? '')).toBe(name)

  const ranges = Array.from({ length: 1000 }, (_one, index) => `${index}-${index}`).join(',')
  const many = await ask(admin, 'GET', `/images/${image.id}/content`, undefined, { range: `bytes=${ranges}` })
  expect([200, 206, 400, 416]).toContain(many.status)
  expect(many.headers['content-type']).not.toContain('multipart')
  expect(many.text.length).toBeLessThanOrEqual(MiB)
  expect((await send(port, 'GET', '/healthz')).status).toBe(200)
})

test('of pieces that race for one place in an upload one is kept whole; finishing, sending and cancelling at once leave an image with every byte or nothing (A21, F08)', {
  timeout: 120_000,
}, async () => {
  const { admin, ask } = await deck()
  const tus = { 'tus-resumable': '1.0.0' }
  const begin = async (sizeBytes: number): Promise<string> => {
    const metadata = `filename ${Buffer.from('raced.img').toString('base64')}`
    const headers = { ...tus, 'upload-length': String(sizeBytes), 'upload-metadata': metadata }
    const answer = await ask(admin, 'POST', '/images/uploads', undefined, headers)
    expect(answer.status, answer.text).toBe(201)
    return answer.json.id
  }
  const append = (id: string, offset: number, bytes: Buffer) =>
    // Who loses may be cut off.
    ask(
      admin,
      'PATCH',
      `/images/uploads/${id}`,
      undefined,
      { ...tus, 'upload-offset': String(offset), 'content-type': 'application/offset+octet-stream' },
      bytes,
    ).catch(() => ({ status: 0, text: 'cut off' }))
  const image = (): Buffer => {
    const bytes = randomBytes(MiB)
    bytes.write('U\xaa', 510, 'latin1')
    return bytes
  }
  const pieces = [image(), image(), image(), image()]
  const id = await begin(2 * MiB)
  const raced = await Promise.all(pieces.map((bytes) => append(id, 0, bytes)))
  const winners = pieces.filter((_bytes, index) => raced[index]?.status === 204)
  expect(winners, raced.map(({ status, text }) => `${status} ${text}`).join()).toHaveLength(1)
  const rest = randomBytes(MiB)
  expect((await append(id, MiB, rest)).status).toBe(204)
  const images = async () => (await ask(admin, 'GET', '/images')).json.items as { id: string; sha256: string }[]
  await expect.poll(async () => (await images()).length, { timeout: 60_000 }).toBe(1)
  const sha256 = createHash('sha256')
    .update(Buffer.concat([...winners, rest]))
    .digest('hex')
  await expect.poll(async () => (await images())[0]?.sha256, { timeout: 60_000 }).toBe(sha256)

  for (let round = 0; round < 4; round++) {
    const one = await begin(MiB)
    const [sent] = await Promise.all([
      append(one, 0, image()),
      ask(admin, 'DELETE', `/images/uploads/${one}`, undefined, tus),
      ask(admin, 'POST', `/images/uploads/${one}/finish`, undefined, tus),
    ])
    expect(sent.status).toBeLessThan(500)
  }
  const uploads = async () => (await ask(admin, 'GET', '/images/uploads')).json.items.length
  await expect.poll(uploads, { timeout: 60_000 }).toBe(0)
  for (const { id: each } of await images()) {
    const { text, status } = await ask(admin, 'GET', `/images/${each}/content`)
    expect([status, text.length > 0]).toEqual([200, true])
  }
})
