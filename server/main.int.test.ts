/** The server as a process: how it starts, how it refuses to, how it stops, and what it leaves behind. */
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { send } from '#server/http/test-rig.ts'
import { deck, dir, isRunning, PASSWORD, type Run, ready, run, server, token } from '#server/testing/process-rig.ts'

async function fingerprintOf(port: number): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return fingerprint256
}

async function refused(started: Run): Promise<string> {
  expect(await started.ended).toBe(1)
  const lines = started.err().trim().split('\n')
  expect(lines.filter((line) => line.startsWith('guestdeck: '))).toHaveLength(1)
  expect(started.err()).not.toMatch(/^\s+at /m)
  return lines.at(-1) ?? ''
}

test('a fresh start prints its address and a setup code that works once, and none afterwards', async () => {
  const first = server()
  const port = await ready(first)
  await expect.poll(first.out).toMatch(/Setup code: [A-Z0-9]{4}-[A-Z0-9]{4}-[A-Z0-9]{4}\n/)
  const code = /Setup code: (\S+)/.exec(first.out())?.[1] ?? ''
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ code, name: 'ann', password: PASSWORD })
  expect((await send(port, 'POST', '/api/v1/setup', { headers, body })).status).toBe(201)
  expect((await send(port, 'POST', '/api/v1/setup', { headers, body })).status).toBe(409)
  const stopped = performance.now()
  first.child.kill('SIGTERM')
  expect(await first.ended).toBe(0)
  expect(performance.now() - stopped).toBeLessThan(3500)
  const second = server()
  await ready(second)
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(second.out()).not.toContain('Setup code')
  expect(statSync(join(dir, 'd/state.db')).mode & 0o777).toBe(0o600)
  expect(statSync(join(dir, 'd')).mode & 0o777).toBe(process.getuid?.() === 0 ? 0o711 : 0o700)
})

test('a second dashboard on the same data is refused by pid, and the first is unaffected (F16)', async () => {
  const first = server()
  const port = await ready(first)
  const second = server([], { GUESTDECK_RUN: join(dir, 'r2') })
  expect(await refused(second)).toContain(`in use by pid ${first.child.pid}`)
  expect((await send(port, 'GET', '/healthz')).status).toBe(200)
  first.child.kill('SIGKILL')
  await first.ended
  await ready(server())
})

test('a port that is taken is named', async () => {
  const blocker = createServer()
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve))
  const address = blocker.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  expect(await refused(run('server/main.ts', ['--api-only', '--port', String(port)]))).toContain(`Port ${port}`)
  blocker.close()
})

test.each([
  ['an address that is not ours', ['--host', '203.0.113.7', '--insecure-http'], {}, 'not an address of this machine'],
  ['plain HTTP for other machines', ['--host', '0.0.0.0'], {}, '--insecure-http'],
  ['a certificate without its key', [], { GUESTDECK_TLS_CERT: '/x' }, 'GUESTDECK_TLS_KEY'],
  ['a certificate that is not there', [], { GUESTDECK_TLS_CERT: '/x', GUESTDECK_TLS_KEY: '/y' }, '/x cannot be read'],
  ['ACME without a name', ['--tls', 'acme'], {}, 'GUESTDECK_TLS_NAMES'],
  ['a proxy that is no address', [], { GUESTDECK_TRUSTED_PROXIES: 'proxy.lab' }, 'proxy.lab'],
  ['an unknown flag', ['--bogus'], {}, '--bogus'],
  ['a port that is none', ['--port', '70000'], {}, 'GUESTDECK_PORT'],
  ['a run directory too long for sockets', [], { GUESTDECK_RUN: `/tmp/${'x'.repeat(100)}` }, 'GUESTDECK_RUN'],
  ['a data directory below a file', ['--data', '/dev/null/x'], {}, '/dev/null/x'],
])('%s is refused with one line', async (_what, args, env: Record<string, string>, message) => {
  expect(await refused(server(args, env))).toContain(message)
})

test('a damaged database is refused by name and left as it is (F28)', async () => {
  mkdirSync(join(dir, 'd'), { mode: 0o711 })
  const file = join(dir, 'd/state.db')
  writeFileSync(file, 'x'.repeat(5000))
  expect(await refused(server())).toContain(file)
  expect(readFileSync(file, 'utf8')).toBe('x'.repeat(5000))
})

test('with --tls it listens for other machines, prints its fingerprint, and takes a new certificate on SIGHUP', async () => {
  const first = server(['--tls', 'self-signed', '--host', '0.0.0.0'])
  await expect.poll(first.out, { timeout: 60_000 }).toMatch(/ready at https:\/\/0\.0\.0\.0:\d+\n/)
  const port = Number(/0\.0\.0\.0:(\d+)/.exec(first.out())?.[1])
  await expect.poll(first.out).toMatch(/Certificate, SHA-256: ([0-9A-F]{2}:){31}/)
  const fingerprint = /SHA-256: (\S+)/.exec(first.out())?.[1]
  expect(await fingerprintOf(port)).toBe(fingerprint)
  rmSync(join(dir, 'd/tls/self-signed.pem'))
  first.child.kill('SIGHUP')
  await expect.poll(() => fingerprintOf(port)).not.toBe(fingerprint)
  first.child.kill('SIGTERM')
  expect(await first.ended).toBe(0)
})

test('--help and --version answer without starting anything', async () => {
  for (const [flag, text] of [
    ['--help', '--insecure-http'],
    ['--version', '0.1.0'],
  ] as const) {
    const asked = run('server/main.ts', [flag])
    expect(await asked.ended).toBe(0)
    expect(asked.out()).toContain(text)
  }
  expect(existsSync(join(dir, 'd'))).toBe(false)
})

test('a VM is created, started, survives kill -9 of the dashboard, is found again and powered off (F01)', async () => {
  const secret = await token()
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }
  const first = server()
  const port = await ready(first)
  expect(first.out()).not.toContain('Setup code')
  const body = JSON.stringify({ name: 'demo', memoryMiB: 64, cpus: 1, accelerator: 'tcg' })
  const created = await send(port, 'POST', '/api/v1/vms', { headers, body })
  expect(created.status, created.text).toBe(201)
  const path = `/api/v1/vms/${created.json.id}`
  const started = await send(port, 'POST', `${path}/start`, { headers })
  expect(started.status, started.text).toBe(200)
  expect(started.json.state).toBe('running')
  const { pid } = started.json.live
  expect((await send(port, 'GET', `${path}/screenshot.png`, { headers })).headers['content-type']).toBe('image/png')
  try {
    first.child.kill('SIGKILL')
    await first.ended
    const second = server()
    const again = await ready(second)
    const found = (await send(again, 'GET', path, { headers })).json
    expect(found.state).toBe('running')
    expect(found.live.pid).toBe(pid)
    // A second start must not make a second QEMU.
    expect((await send(again, 'POST', `${path}/start`, { headers })).status).toBe(409)
    second.child.kill('SIGTERM')
    expect(await second.ended).toBe(0)
    expect(isRunning(pid)).toBe(true)
    const third = await ready(server())
    expect((await send(third, 'GET', path, { headers })).json.state).toBe('running')
    const off = await send(third, 'POST', `${path}/poweroff`, { headers })
    expect(off.json.state).toBe('off')
    expect(isRunning(pid)).toBe(false)
    expect((await send(third, 'DELETE', path, { headers })).status).toBe(204)
  } finally {
    if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  }
})

test('who watches a console shows in the VM within a second, and who opened it in the activity, once', async () => {
  const secret = await token()
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }
  const started = server()
  const port = await ready(started)
  const own = JSON.stringify({
    name: 'own-port',
    networks: [{ forwards: [{ protocol: 'tcp', hostPort: port, guestPort: 80 }] }],
  })
  const refusal = await send(port, 'POST', '/api/v1/vms', { headers, body: own })
  expect(refusal.json.error, refusal.text).toMatchObject({ code: 'port_in_use' })

  const body = JSON.stringify({ name: 'demo', memoryMiB: 64, cpus: 1, accelerator: 'tcg' })
  const path = `/api/v1/vms/${(await send(port, 'POST', '/api/v1/vms', { headers, body })).json.id}`
  const { pid } = (await send(port, 'POST', `${path}/start`, { headers })).json.live
  const told: { vnc: number }[] = []
  const events = new WebSocket(`ws://127.0.0.1:${port}/api/v1/events`, {
    headers: { authorization: `Bearer ${secret}` },
  })
  try {
    await once(events, 'open')
    events.on('message', (text) => {
      const { topic, object } = JSON.parse(String(text))
      if (topic === 'vm' && object?.live) told.push(object.live.viewers)
    })
    const ask = (mode: string) =>
      send(port, 'POST', `${path}/console-tickets`, { headers, body: JSON.stringify({ kind: 'vnc', mode }) })
    await ask('control')
    const issued = await ask('view')
    const viewer = new WebSocket(`ws://127.0.0.1:${port}${issued.json.path}`, ['binary', issued.json.ticket])
    await once(viewer, 'open')
    await expect.poll(() => told.at(-1)?.vnc, { timeout: 1500 }).toBe(1)
    expect((await send(port, 'GET', path, { headers })).json.live.viewers).toEqual({ vnc: 1, serial: 0 })
    viewer.close(1000)
    await expect.poll(() => told.at(-1)?.vnc, { timeout: 1500 }).toBe(0)
    const lines = async () =>
      (await send(port, 'GET', `${path}/activity`, { headers })).json.items
        .filter(({ what }: { what: string }) => what.startsWith('vmConsole'))
        .map(({ text, who }: { text: string; who: string }) => `${who}: ${text}`)
    await expect
      .poll(lines)
      .toEqual([
        expect.stringMatching(/^ann: ann left the screen of demo after \d s\.$/),
        'ann: ann opened the screen of demo (view only).',
      ])
    expect((await send(port, 'POST', `${path}/poweroff`, { headers })).status).toBe(200)
  } finally {
    events.terminate()
    if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  }
})

test('the command changes people and tokens beside a running dashboard, which knows at once', async () => {
  const port = await ready(server())
  const secret = await token()
  const headers = { authorization: `Bearer ${secret}` }
  const who = async () => (await send(port, 'GET', '/api/v1/session', { headers })).json?.user?.name
  expect(await who()).toBe('ann')
  const id = (
    await (async () => {
      const list = deck(['token', 'list'])
      expect(await list.ended).toBe(0)
      return list
    })()
  )
    .out()
    .split('\n')[1]
    ?.split(' ')[0]
  expect(await deck(['token', 'revoke', id ?? '']).ended).toBe(0)
  expect((await send(port, 'GET', '/api/v1/vms', { headers })).status).toBe(401)
})

test('the command refuses clearly: exit 1 for what cannot be, 2 for what was mistyped', async () => {
  const cases: [string[], string | undefined, number, string][] = [
    [['user', 'list'], undefined, 1, 'no Guestdeck data'],
    [['user', 'add', 'ann', '--role', 'king', '--password-stdin'], PASSWORD, 2, 'king'],
    [['user', 'add', 'Ann!', '--role', 'admin', '--password-stdin'], PASSWORD, 2, 'name'],
    [['user', 'add', 'ann', '--role', 'admin', '--password-stdin'], 'short', 2, 'at least 10'],
    [['user', 'add', 'ann', '--role', 'admin'], '', 2, '--password-stdin'],
    [['user', 'add', 'ann', '--role', 'admin', '--password-stdin'], PASSWORD, 0, ''],
    [['user', 'add', 'ann', '--role', 'viewer', '--password-stdin'], PASSWORD, 1, 'already'],
    [['user', 'disable', 'ann'], undefined, 1, 'last administrator'],
    [['user', 'delete', 'bob'], undefined, 1, 'nobody called bob'],
    [['token', 'create', '--user', 'ann', '--label', 'x', '--expires-days', '0'], undefined, 2, '1 to 3650'],
    [['token', 'revoke', 'nonsense'], undefined, 1, 'no such API token'],
    [['fly'], undefined, 2, 'unknown command'],
  ]
  for (const [args, input, exit, message] of cases) {
    const asked = deck(args, input)
    expect(await asked.ended, args.join(' ')).toBe(exit)
    expect(asked.err()).toContain(message)
    if (exit !== 0) expect(asked.out()).toBe('')
  }
})
