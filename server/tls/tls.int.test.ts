/** HTTPS from outside: handshake, redirect, cookies and origins, certificates that change while it runs. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type PeerCertificate } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type Answer, PASSWORD, type Rig, send, startRig } from '#server/http/test-rig.ts'
import type { CertificateSource } from './certificate.ts'
import { certificateFiles } from './files.ts'
import { issueSelfSigned } from './issue.ts'
import { selfSigned } from './self-signed.ts'

const NAMES = ['localhost', '127.0.0.1', '::1']
let dir: string
let source: CertificateSource | null
let rig: Rig | null
const warned: string[] = []
const warn = (message: string) => void warned.push(message)

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-tls-'))
  source = null
  rig = null
  warned.length = 0
})
afterEach(async () => {
  await rig?.stop()
  source?.close()
  rmSync(dir, { recursive: true, force: true })
})

const own = () => selfSigned({ file: join(dir, 'self-signed.pem'), names: NAMES, warn })
async function serve(from: CertificateSource): Promise<Rig> {
  source = from
  rig = await startRig({ tls: { source: from } })
  return rig
}

/** The certificate the port shows now, on a connection of its own. */
async function shown(port: number): Promise<PeerCertificate> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerCertificate()
  socket.destroy()
  return certificate
}

function secure(port: number, method: string, path: string, ca: string, headers: Record<string, string>, body = '') {
  return new Promise<Answer>((resolve, reject) => {
    const outgoing = httpsRequest({ host: 'localhost', port, method, path, ca, headers, agent: false }, (answer) => {
      let text = ''
      answer.on('data', (chunk) => {
        text += chunk
      })
      answer.on('end', () => {
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text,
          json: text === '' ? null : JSON.parse(text),
        })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/** Resolves once the other side has hung up, in whatever way. */
const closed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    socket.on('error', () => {})
    socket.once('close', () => resolve())
  })

test('a browser that trusts the certificate signs in over HTTPS, with a cookie for HTTPS alone', async () => {
  const from = await own()
  const { port, person } = await serve(from)
  await person('ann', 'operator')
  const body = JSON.stringify({ name: 'ann', password: PASSWORD })
  const headers = { 'content-type': 'application/json', origin: `https://localhost:${port}` }
  const answer = await secure(port, 'POST', '/api/v1/session', from.current().cert, headers, body)
  expect(answer.status, answer.text).toBe(201)
  expect(answer.headers['set-cookie']?.[0]).toMatch(/^__Host-guestdeck=.*; HttpOnly; SameSite=Strict; Secure$/)
  // A page that came over plain HTTP, from whoever stands in between, is not ours.
  const plain = { ...headers, origin: `http://localhost:${port}` }
  expect((await secure(port, 'POST', '/api/v1/session', from.current().cert, plain, body)).status).toBe(403)
})

test('the key lies in a file nobody else can read, and a restart keeps the certificate', async () => {
  const first = await own()
  first.close()
  expect(statSync(join(dir, 'self-signed.pem')).mode & 0o777).toBe(0o600)
  const second = await own()
  second.close()
  expect(second.current().cert).toBe(first.current().cert)
})

test('a damaged certificate and a missing name make a new one', async () => {
  const file = join(dir, 'self-signed.pem')
  const first = await own()
  first.close()
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 300))
  const mended = await own()
  mended.close()
  expect(mended.current().cert).not.toBe(first.current().cert)
  expect(warned).toHaveLength(1)
  const wider = await selfSigned({ file, names: [...NAMES, 'deck.lab'], warn })
  wider.close()
  expect(wider.current().cert).not.toBe(mended.current().cert)
})

test('somebody who types http:// is led to https://; whoever sends a secret in clear is told', async () => {
  const { port } = await serve(await own())
  const page = await send(port, 'GET', '/vms?x=1', { headers: { host: `localhost:${port}` } })
  expect(page.status).toBe(308)
  expect(page.headers.location).toBe(`https://localhost:${port}/vms?x=1`)
  const evil = await send(port, 'GET', '/', { headers: { host: 'evil.example' } })
  expect(evil.status).toBe(421)
  expect(evil.headers.location).toBeUndefined()
  const token = await send(port, 'GET', '/api/v1/vms', { headers: { authorization: 'Bearer x' } })
  expect([token.status, token.json.error.message]).toEqual([400, expect.stringContaining('https://')])
  const posted = await send(port, 'POST', '/api/v1/session', {
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  expect(posted.status).toBe(400)
})

test('old TLS, garbage and silence are hung up on, and the port goes on', async () => {
  const { port, person } = await serve(await own())
  const ann = await person('ann', 'viewer')
  const old = connect({
    port,
    host: '127.0.0.1',
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1',
    ciphers: 'ALL@SECLEVEL=0',
    rejectUnauthorized: false,
  })
  await closed(old)
  for (const bytes of [Buffer.from([22, 3, 1, 255, 255, 0]), Buffer.from([22]), Buffer.alloc(70_000, 22)]) {
    const socket = connectTcp(port, '127.0.0.1')
    socket.resume()
    socket.end(bytes)
    await closed(socket)
  }
  const answer = await secure(port, 'GET', '/api/v1/session', source?.current().cert ?? '', ann.bearer)
  expect(answer.status, answer.text).toBe(200)
})

test('the events socket runs over TLS, and only for a page of the same origin', async () => {
  const from = await own()
  const { port, person } = await serve(from)
  const ann = await person('ann', 'operator')
  const open = (origin: string) =>
    new WebSocket(`wss://localhost:${port}/api/v1/events`, {
      ca: from.current().cert,
      headers: { cookie: ann.cookie.cookie, origin },
    })
  const ours = open(`https://localhost:${port}`)
  await once(ours, 'open')
  ours.terminate()
  const [refused] = (await once(open(`http://localhost:${port}`), 'error')) as [Error]
  expect(refused.message).toContain('403')
})

test('a renewed certificate is served without a restart, while open connections stay; half of one is not taken', async () => {
  const cert = join(dir, 'cert.pem')
  const key = join(dir, 'key.pem')
  const write = async () => {
    const pair = await issueSelfSigned(NAMES, 30)
    writeFileSync(`${cert}.new`, pair.cert)
    writeFileSync(`${key}.new`, pair.key)
  }
  await write()
  renameSync(`${cert}.new`, cert)
  renameSync(`${key}.new`, key)
  const from = await certificateFiles({ cert, key, warn })
  const { port } = await serve(from)
  const before = await shown(port)
  const kept = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(kept, 'secureConnect')

  await write()
  renameSync(`${cert}.new`, cert)
  await from.refresh()
  await from.refresh()
  expect(from.trouble()).toContain('does not belong')
  expect(warned).toHaveLength(1)
  expect((await shown(port)).fingerprint256).toBe(before.fingerprint256)

  renameSync(`${key}.new`, key)
  await from.refresh()
  expect(from.trouble()).toBeNull()
  expect((await shown(port)).fingerprint256).not.toBe(before.fingerprint256)
  kept.write(`GET /healthz HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`)
  const [text] = (await once(kept, 'data')) as [Buffer]
  expect(text.toString()).toMatch(/^HTTP\/1\.1 200/)
  kept.destroy()
})

test('files that cannot be used refuse the start by name', async () => {
  const pair = await issueSelfSigned(NAMES, 30)
  const cert = join(dir, 'cert.pem')
  const key = join(dir, 'key.pem')
  await expect(certificateFiles({ cert, key, warn })).rejects.toThrow(`${cert} cannot be read (ENOENT)`)
  writeFileSync(cert, 'hello')
  writeFileSync(key, pair.key)
  await expect(certificateFiles({ cert, key, warn })).rejects.toThrow('not PEM')
})

test('behind a trusted proxy wrong passwords count against the client, and only the proxy gets in', async () => {
  rig = await startRig({ trustedProxies: ['127.0.0.1'], allowedHosts: ['deck.lab'], proxiesOnly: true })
  const { json, person, port } = rig
  await person('ann', 'operator')
  const origin = 'https://deck.lab'
  const attempt = (client: string, password: string) =>
    json('POST', '/api/v1/session', { name: 'ann', password }, { host: 'deck.lab', origin, 'x-forwarded-for': client })
  let status = 0
  for (let i = 0; i < 20 && status !== 429; i++) status = (await attempt('198.51.100.1', 'wrong wrong wrong')).status
  expect(status).toBe(429)
  expect((await attempt('198.51.100.2', PASSWORD)).status).toBe(201)
  // An address of this machine that is neither loopback nor the proxy's stands for a stranger: see the unit tests.
  expect((await send(port, 'GET', '/healthz')).status).toBe(200)
})
