/** Who is refused before the whole request has come reads why, also where nothing is read until all was sent. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Rig, startRig } from '#server/http/test-rig.ts'
import type { CertificateSource } from '#server/tls/certificate.ts'
import { selfSigned } from '#server/tls/self-signed.ts'

/** More than the buffers of both sides hold. */
const BODY = Buffer.alloc(16 * 2 ** 20, 32)
const LINGER_MS = 1000
const JSON_TYPE = 'application/json'
const BYTES = 'application/octet-stream'

type Person = Awaited<ReturnType<Rig['person']>>
let dir: string
let source: CertificateSource
let rig: Rig
let secure: Rig
let vera: Person
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'gd-linger-'))
  source = await selfSigned({ file: join(dir, 'pair.pem'), names: ['localhost'], warn: () => {} })
  rig = await startRig({ pages: (_request, response) => void response.end('page'), lingerMs: LINGER_MS })
  secure = await startRig({ tls: { source } })
  vera = await rig.person('vera', 'viewer')
})
afterAll(async () => {
  await rig.stop()
  await secure.stop()
  source.close()
  rmSync(dir, { recursive: true, force: true })
})

const head = (method: string, path: string, headers: Record<string, string>) =>
  [`${method} ${path} HTTP/1.1`, ...Object.entries({ host: 'localhost', ...headers }).map((pair) => pair.join(': '))]
    .join('\r\n')
    .concat('\r\n\r\n')

/** Sends everything before it reads anything. @returns the answer, and how the connection ended */
async function sendFirst(socket: Socket, bytes: readonly (string | Buffer)[]): Promise<{ text: string; end: string }> {
  let text = ''
  let end = 'closed'
  socket.on('error', (error: NodeJS.ErrnoException) => {
    end = error.code ?? error.message
  })
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.pause()
  for (const piece of bytes.slice(0, -1)) socket.write(piece)
  socket.write(bytes.at(-1) ?? '', () => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.resume()
  })
  await closed
  return { text, end }
}

const length = { 'content-length': String(BODY.length), connection: 'close' }
const UPLOAD = '/api/v1/images/upload?name=x.img'
const REFUSED: readonly (readonly [what: string, status: number, method: string, path: string, headers: object])[] = [
  ['somebody unknown', 401, 'POST', UPLOAD, { 'content-type': BYTES }],
  ['another type', 415, 'POST', '/api/v1/session', { 'content-type': BYTES, origin: 'http://localhost' }],
  ['a body that is too large', 413, 'POST', '/api/v1/session', { 'content-type': JSON_TYPE }],
  ['another host name', 421, 'POST', '/api/v1/session', { 'content-type': JSON_TYPE, host: 'other.example' }],
  ['a page', 405, 'POST', '/vms', { 'content-type': JSON_TYPE }],
]

test.each(REFUSED)(
  'who sends all of a large body first reads why it is refused: %s, %i',
  async (_, status, method, path, headers) => {
    const socket = connect(rig.port, '127.0.0.1')
    const { text, end } = await sendFirst(socket, [head(method, path, { ...length, ...headers }), BODY])
    expect(text.startsWith(`HTTP/1.1 ${status} `), text).toBe(true)
    expect(text).toContain('"error"')
    expect(end).toBe('closed')
  },
)

test('who may not upload reads so, also behind TLS, and when typing http:// there', async () => {
  const headers = { ...length, 'content-type': BYTES }
  const forbidden = await sendFirst(connect(rig.port, '127.0.0.1'), [
    head('POST', UPLOAD, { ...headers, ...vera.bearer }),
    BODY,
  ])
  expect(forbidden).toMatchObject({ text: expect.stringMatching(/^HTTP\/1.1 403 /), end: 'closed' })
  const tls = connectTls({ port: secure.port, host: '127.0.0.1', rejectUnauthorized: false })
  const unknown = await sendFirst(tls, [head('POST', UPLOAD, headers), BODY])
  expect(unknown).toMatchObject({ text: expect.stringMatching(/^HTTP\/1.1 401 /), end: 'closed' })
  const plain = await sendFirst(connect(secure.port, '127.0.0.1'), [head('POST', UPLOAD, headers), BODY])
  expect(plain).toMatchObject({ text: expect.stringMatching(/^HTTP\/1.1 400 .*https:/s), end: 'closed' })
})

test('the connection serves the next request when the rest of a refused one has come', async () => {
  const { text } = await sendFirst(connect(rig.port, '127.0.0.1'), [
    head('POST', UPLOAD, { 'content-type': BYTES, 'content-length': String(BODY.length) }),
    BODY,
    head('GET', '/healthz', { connection: 'close' }),
  ])
  expect(text).toMatch(/^HTTP\/1.1 401 [\s\S]*HTTP\/1.1 200 [\s\S]*\{"ok":true\}$/)
})

test.each(['close', 'keep-alive'])(
  'who goes on sending after a refusal loses the connection (%s)',
  async (connection) => {
    // As one that does not care that the other half is closed.
    const socket = connect({ port: rig.port, host: '127.0.0.1', allowHalfOpen: true })
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(head('POST', UPLOAD, { 'content-type': BYTES, 'content-length': '1000000000', connection }))
    const trickle = setInterval(() => socket.write('x'), 50)
    const startedAt = performance.now()
    await closed
    clearInterval(trickle)
    expect(text).toMatch(/^HTTP\/1.1 401 /)
    expect(performance.now() - startedAt).toBeGreaterThan(LINGER_MS / 2)
  },
)
