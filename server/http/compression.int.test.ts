/** Which answers are compressed, for whom, and which headers tell caches and browsers about it. */
import { request } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { acceptsGzip } from '#server/http/compression.ts'
import { type Rig, startRig } from '#server/http/test-rig.ts'

let rig: Rig
let admin: Awaited<ReturnType<Rig['person']>>
const entries = Array.from({ length: 60 }, (_, index) => ({
  id: index + 1,
  at: '2026-01-01T00:00:00.000Z',
  what: 'vmStart',
  text: `ada started vm-${index} Größe.`,
  result: 'ok',
  who: 'ada',
  from: null,
  topic: null,
  objectId: null,
  objectName: null,
}))

beforeAll(async () => {
  rig = await startRig({ pages: (_request, response) => response.end('page') })
  admin = await rig.person('ada', 'admin')
  rig.on('activity', () => ({ items: entries }))
})
afterAll(() => rig.stop())

function read(path: string, headers: Record<string, string> = {}, method = 'GET') {
  const { promise, resolve, reject } = Promise.withResolvers<{
    headers: Record<string, unknown>
    body: Buffer
  }>()
  request(
    { host: '127.0.0.1', port: rig.port, path, method, headers: { ...admin.bearer, ...headers }, agent: false },
    (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk) => chunks.push(chunk))
      answer.on('end', () => resolve({ headers: answer.headers, body: Buffer.concat(chunks) }))
    },
  )
    .on('error', reject)
    .end()
  return promise
}

test.each([
  [undefined, false],
  ['', false],
  ['identity', false],
  ['br, deflate', false],
  ['gzip', true],
  ['br, GZIP;q=0.5', true],
  ['gzip;q=0', false],
  ['gzip; q=0.000', false],
  ['*', true],
  ['*;q=0', false],
  ['*, gzip;q=0', false],
])('Accept-Encoding %j: gzip %s', (header, taken) => {
  expect(acceptsGzip(header)).toBe(taken)
})

test('a long answer is compressed for those who ask, every time the same, and says what it depends on', async () => {
  const plain = await read('/api/v1/activity')
  expect(plain.headers['content-encoding']).toBeUndefined()
  expect(plain.headers.vary).toBe('accept-encoding')
  expect(JSON.parse(plain.body.toString())).toEqual({ items: entries })
  for (let turn = 0; turn < 2; turn++) {
    const packed = await read('/api/v1/activity', { 'accept-encoding': 'br, gzip' })
    expect(packed.headers).toMatchObject({
      'content-encoding': 'gzip',
      vary: 'accept-encoding',
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(packed.body.length),
    })
    expect(packed.body.length).toBeLessThan(plain.body.length / 4)
    expect(gunzipSync(packed.body).equals(plain.body)).toBe(true)
  }
})

test('short answers, and those to changes, stay as they are', async () => {
  const session = await read('/api/v1/session', { 'accept-encoding': 'gzip' })
  expect(session.headers['content-encoding']).toBeUndefined()
  const refused = await read('/api/v1/session', { 'accept-encoding': 'gzip' }, 'DELETE')
  expect(refused.headers['content-encoding']).toBeUndefined()
})

test('the description of the API is compressed too', async () => {
  const answer = await read('/api/v1/openapi.json', { 'accept-encoding': 'gzip' })
  expect(answer.headers['content-encoding']).toBe('gzip')
  expect(JSON.parse(gunzipSync(answer.body).toString())).toHaveProperty('paths')
})

test('static files carry no headers that only documents need, and still are what they say', async () => {
  const file = await read('/_next/static/chunks/a.js')
  expect(file.headers).toMatchObject({ 'x-content-type-options': 'nosniff' })
  expect(file.headers).not.toHaveProperty('x-frame-options')
  expect(file.headers).not.toHaveProperty('permissions-policy')
  const page = await read('/_next/image')
  expect(page.headers).toMatchObject({ 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff' })
})
