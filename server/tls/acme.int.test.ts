/** A certificate from a real ACME authority (Pebble) that proves the name by TLS-ALPN-01 on the dashboard's own port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectTo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startRig } from '#server/http/test-rig.ts'
import { type AcmeSource, acmeSource } from './acme.ts'
import { issueSelfSigned } from './issue.ts'

let dir: string
let authority: ChildProcess | null = null
let directory: string
let tlsPort: number
const told: string[] = []

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

const present = existsSync('/usr/bin/pebble')
beforeAll(async () => {
  if (!present) return
  dir = mkdtempSync(join(tmpdir(), 'gd-acme-'))
  const pair = await issueSelfSigned(['localhost', '127.0.0.1'], 2)
  writeFileSync(join(dir, 'ca.pem'), pair.cert)
  writeFileSync(join(dir, 'key.pem'), pair.key)
  const [listen, management, http] = [await freePort(), await freePort(), await freePort()]
  tlsPort = await freePort()
  writeFileSync(
    join(dir, 'pebble.json'),
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${listen}`,
        managementListenAddress: `127.0.0.1:${management}`,
        certificate: join(dir, 'ca.pem'),
        privateKey: join(dir, 'key.pem'),
        httpPort: http,
        tlsPort,
        ocspResponderURL: '',
        externalAccountBindingRequired: false,
      },
    }),
  )
  directory = `https://localhost:${listen}/dir`
  const started = spawn('/usr/bin/pebble', ['-config', join(dir, 'pebble.json'), '-strict'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // A third of the nonces is refused, as a busy authority does; no waiting before it looks.
    env: { ...process.env, PATH: '/usr/bin:/bin', PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '30' },
  })
  let said = ''
  authority = started
  for (const stream of [started.stdout, started.stderr]) {
    stream.on('data', (chunk) => {
      said += chunk
    })
  }
  await vi.waitFor(() => expect(said).toContain('Listening on'), { timeout: 20_000 })
})
afterAll(async () => {
  if (authority !== null && authority.exitCode === null) {
    const ended = once(authority, 'exit')
    authority.kill('SIGTERM')
    await ended
  }
  if (dir) rmSync(dir, { recursive: true, force: true })
})

const open = (name: string, names = ['localhost']): Promise<AcmeSource> =>
  acmeSource({
    dir: join(dir, name),
    directory,
    caFile: join(dir, 'ca.pem'),
    names,
    contact: 'ann@example.org',
    info: (message) => void told.push(message),
    warn: (message) => void told.push(message),
  })

async function issuerShown(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { issuer } = socket.getPeerCertificate()
  socket.destroy()
  return String(issuer.CN)
}

test.skipIf(!present)(
  'a name is proved on the port itself, the certificate is served at once and kept over a restart',
  async () => {
    const source = await open('good')
    const rig = await startRig({ tls: { source, challenge: () => source.challenge() } })
    // The authority looks at the port the configuration names; ours is reached through it.
    const relay = createServer((socket) => {
      const onward = socket.pipe(connectTo(rig.port, '127.0.0.1'))
      onward.pipe(socket)
      for (const end of [socket, onward]) end.on('error', () => end.destroy())
    })
    await new Promise<void>((resolve) => relay.listen(tlsPort, '127.0.0.1', resolve))
    try {
      expect(await issuerShown(rig.port)).toBe('Guestdeck')
      await source.refresh()
      expect(source.trouble(), told.join('\n')).toBeNull()
      expect(await issuerShown(rig.port)).toMatch(/Pebble/)
      expect(source.challenge()).toBeNull()
      for (const file of ['acme.pem', 'account.pem']) expect(statSync(join(dir, 'good', file)).mode & 0o777).toBe(0o600)
      const before = source.current().cert
      await source.refresh()
      expect(source.current().cert).toBe(before)
      const again = await open('good')
      expect(again.current().cert).toBe(before)
      again.close()
    } finally {
      relay.close()
      source.close()
      await rig.stop()
    }
  },
)

test.skipIf(!present)(
  'a name that cannot be proved leaves the self-signed certificate in place and says what the authority said',
  async () => {
    const source = await open('bad')
    const rig = await startRig({ tls: { source, challenge: () => source.challenge() } })
    try {
      await source.refresh()
      expect(source.trouble()).toMatch(/refused localhost/)
      expect(await issuerShown(rig.port)).toBe('Guestdeck')
    } finally {
      source.close()
      await rig.stop()
    }
  },
)

test('an authority out of reach is no reason to wait or to fail', async () => {
  const own = mkdtempSync(join(tmpdir(), 'gd-acme-'))
  const source = await acmeSource({
    dir: own,
    directory: 'https://127.0.0.1:9/dir',
    caFile: null,
    names: ['localhost'],
    contact: null,
    info: () => {},
    warn: () => {},
  })
  await source.refresh()
  expect(source.trouble()).toContain('cannot be reached at 127.0.0.1:9')
  expect(source.current().cert).toContain('BEGIN CERTIFICATE')
  source.close()
  rmSync(own, { recursive: true, force: true })
})
