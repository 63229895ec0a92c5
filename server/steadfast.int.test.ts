/**
 * What must not happen to those who are signed in, to the last administrator and to guests when somebody errs, the clock
 * jumps or the database breaks. From outside: the dashboard and its command as processes.
 */
import { execFileSync } from 'node:child_process'
import { openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { API_BASE, EVENTS_PATH } from '#lib/api/contract.ts'
import { type Answer, send } from '#server/http/test-rig.ts'
import { readUid } from '#server/platform/process.ts'
import { deck, dir, isRunning, joined, PASSWORD, ready, server, token } from '#server/testing/process-rig.ts'

type Headers = Record<string, string>
const DAY_MS = 86_400_000
const isRoot = process.getuid?.() === 0

const asker =
  (port: number) =>
  (who: Headers, method: string, path: string, body?: unknown): Promise<Answer> =>
    send(port, method, `${API_BASE}${path}`, {
      headers: { ...who, ...(body !== undefined && { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    })

test('an administrator who can sign in is left whatever is tried, by themselves, by another at the same moment, through roles and groups, or by the command (B13)', {
  timeout: 120_000,
}, async () => {
  const root = { authorization: `Bearer ${await token()}` }
  const port = await ready(server())
  const ask = asker(port)
  const { items } = (await ask(root, 'GET', '/users')).json
  const ann = items[0].id
  const custom = (await ask(root, 'POST', '/roles', { name: 'looks', privileges: ['vm.view'] })).json.id
  const tried: readonly [string, string, unknown?][] = [
    ['PATCH', `/users/${ann}`, { role: 'viewer' }],
    ['PATCH', `/users/${ann}`, { role: 'operator' }],
    ['PATCH', `/users/${ann}`, { customRole: custom }],
    ['PATCH', `/users/${ann}`, { disabled: true }],
    ['PATCH', `/users/${ann}`, { role: 'admin', disabled: true }],
    ['DELETE', `/users/${ann}`],
  ]
  for (const [method, path, body] of tried) {
    const { status, json } = await ask(root, method, path, body)
    expect([status, json.error.code], `${method} ${JSON.stringify(body)}`).toEqual([409, 'last_admin'])
  }
  // No custom role makes an administrator, and no group: there is no way round by taking such a one away.
  expect((await ask(root, 'POST', '/roles', { name: 'boss', privileges: ['user.manage'] })).status).toBe(400)
  expect((await ask(root, 'PATCH', `/roles/${custom}`, { privileges: ['user.manage'] })).status).toBe(400)

  for (const args of [
    ['user', 'disable', 'ann'],
    ['user', 'delete', 'ann'],
  ])
    expect(await deck(args).ended, args.join(' ')).toBe(1)

  // Two who would take it from each other: at most one succeeds, and one is left.
  for (let round = 0; round < 3; round++) {
    const bob = (await ask(root, 'POST', '/users', { name: `bob${round}`, password: PASSWORD, role: 'admin' })).json.id
    const answers = await Promise.all([
      ask(root, 'PATCH', `/users/${bob}`, { role: 'viewer' }),
      ask(root, 'PATCH', `/users/${bob}`, { disabled: true }),
      ask(root, 'PATCH', `/users/${ann}`, { disabled: true }),
      ask(root, 'DELETE', `/users/${ann}`),
    ])
    expect(answers.every(({ status }) => status < 500)).toBe(true)
    const origin = `http://127.0.0.1:${port}`
    const roleOf = async (name: string) =>
      (await ask({ origin }, 'POST', '/session', { name, password: PASSWORD })).json?.user?.role
    const roles = [await roleOf('ann'), await roleOf(`bob${round}`)]
    expect(roles, JSON.stringify(answers.map(({ status }) => status))).toContain('admin')
    if (roles[0] !== 'admin') break
    await ask(root, 'DELETE', `/users/${bob}`)
  }
})

test('a clock that jumps a day forth or two back signs nobody out and closes nothing; tickets and sessions end by time that passed (F40)', {
  timeout: 120_000,
}, async () => {
  const root = { authorization: `Bearer ${await token()}` }
  const clock = join(dir, 'clock')
  const running = server([], {
    GUESTDECK_TEST_CLOCK: clock,
    NODE_OPTIONS: `--import ${joined('moved-clock')}`,
  })
  const port = await ready(running)
  const ask = asker(port)
  const origin = `http://127.0.0.1:${port}`
  const signedIn = await ask({ origin }, 'POST', '/session', { name: 'ann', password: PASSWORD })
  const cookie = { cookie: String(signedIn.headers['set-cookie']).split(';')[0] ?? '', origin }
  const made = await ask(root, 'POST', '/vms', { name: 'a', memoryMiB: 32, disks: [], networks: [] })
  await ask(root, 'POST', `/vms/${made.json.id}/start`)
  const ticket = (await ask(cookie, 'POST', `/vms/${made.json.id}/console-tickets`, { kind: 'vnc', mode: 'view' })).json
  const events = new WebSocket(`ws://127.0.0.1:${port}${EVENTS_PATH}`, { headers: cookie })
  await new Promise((resolve, reject) => events.once('open', resolve).once('error', reject))
  let closed = 0
  events.on('close', () => {
    closed++
  })
  const startedAt = Date.now()
  let before = 0
  for (const jump of [DAY_MS, -2 * DAY_MS, 40 * DAY_MS]) {
    writeFileSync(clock, String(jump))
    // The dashboard itself has seen it: what happens now is written with the wrong time.
    await ask(root, 'PATCH', `/vms/${made.json.id}`, { description: `moved by ${jump}` })
    const [latest] = (await ask(root, 'GET', '/activity?limit=1')).json.items
    expect(Math.abs(Date.parse(latest.at) - Date.now() - jump)).toBeLessThan(DAY_MS / 2)
    expect(latest.id).toBeGreaterThan(before)
    before = latest.id
    expect((await ask(cookie, 'GET', '/session')).json.user?.name, String(jump)).toBe('ann')
    expect((await ask(root, 'GET', '/vms')).status).toBe(200)
  }
  expect(closed).toBe(0)
  // Thirty seconds are thirty seconds, whatever the clock says: it is still good if none have passed.
  const late = new WebSocket(`ws://127.0.0.1:${port}${ticket.path}`, ['binary', ticket.ticket], { headers: { origin } })
  late.on('error', () => {})
  const opened = await new Promise<boolean>((resolve) =>
    late.once('open', () => resolve(true)).once('unexpected-response', () => resolve(false)),
  )
  if (Date.now() - startedAt < 20_000) expect(opened).toBe(true)
  late.terminate()
  events.terminate()
})

test('with no more files to open the dashboard turns some away, goes on, and serves everybody again; its guests do not notice (F35)', {
  timeout: 120_000,
}, async () => {
  const root = { authorization: `Bearer ${await token()}` }
  const running = server()
  const port = await ready(running)
  const ask = asker(port)
  const { id } = (await ask(root, 'POST', '/vms', { name: 'a', memoryMiB: 32, disks: [], networks: [] })).json
  const pid = (await ask(root, 'POST', `/vms/${id}/start`)).json.live.pid
  const deckPid = String(running.child.pid)
  // As its own user: root may do this to another's only with a capability that containers lack.
  const user = readUid(Number(deckPid))
  const asItsUser = [`--reuid=${user}`, `--regid=${user}`, '--clear-groups', 'prlimit', '--pid', deckPid]
  const limit = (files: string) =>
    isRoot
      ? execFileSync('setpriv', [...asItsUser, `--nofile=${files}:`])
      : execFileSync('prlimit', ['--pid', deckPid, `--nofile=${files}:`])
  const before = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${deckPid}/limits`, 'utf8'))?.[1] ?? ''
  const open = () => readdirSync(`/proc/${deckPid}/fd`).length
  const idle: Socket[] = []
  try {
    limit(String(open() + 6))
    for (let n = 0; n < 60; n += 1) idle.push(connect(port, '127.0.0.1').on('error', () => {}))
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, (_, n) => {
        const [method, path, body] = (
          [
            ['GET', '/vms'],
            ['GET', `/vms/${id}/screenshot.png`],
            ['POST', '/vms', { name: `b${n}`, memoryMiB: 32, networks: [], disks: [{ device: 'disk', sizeGiB: 1 }] }],
            ['GET', '/host'],
          ] as const
        )[n % 4] ?? ['GET', '/vms']
        return ask(root, method, path, body).then(
          ({ status }) => status,
          () => 'turned away',
        )
      }),
    )
    expect(new Set(outcomes), 'nobody noticed: there were files to open').not.toEqual(new Set([200, 201]))
    expect(outcomes).not.toContain(500)
    expect(running.child.exitCode).toBeNull()
    for (const socket of idle.splice(0)) socket.destroy()
    // Those who come one after the other are served, still without room for more.
    await expect.poll(() => ask(root, 'GET', `/vms/${id}`).then((answer) => answer.status, String)).toBe(200)
    limit(before)
    for (const path of ['/vms', '/host', `/vms/${id}/screenshot.png`])
      expect((await ask(root, 'GET', path)).status, path).toBe(200)
    expect((await ask(root, 'POST', '/vms', { name: 'c', memoryMiB: 32, disks: [], networks: [] })).status).toBe(201)
    expect((await ask(root, 'GET', `/vms/${id}`)).json).toMatchObject({ state: 'running', live: { pid } })
    expect(running.err()).not.toMatch(/unhandled rejection/)
  } finally {
    for (const socket of idle) socket.destroy()
    if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  }
})

test('a database with a destroyed page is refused by name and left as it is while guests run on; with a copy in its place everything is known again (F28)', {
  timeout: 180_000,
}, async () => {
  const root = { authorization: `Bearer ${await token()}` }
  const first = server()
  let ask = asker(await ready(first))
  const { id } = (await ask(root, 'POST', '/vms', { name: 'survivor', memoryMiB: 32, disks: [], networks: [] })).json
  const pid = (await ask(root, 'POST', `/vms/${id}/start`)).json.live.pid
  // In the orderly way, so that the database is one file.
  first.child.kill('SIGTERM')
  expect(await first.ended).toBe(0)
  const file = join(dir, 'd/state.db')
  const good = readFileSync(file)

  const zeroed = openSync(file, 'r+')
  writeSync(zeroed, Buffer.alloc(4096), 0, 4096, 4096)
  const broken = readFileSync(file)
  const refused = server()
  expect(await refused.ended).not.toBe(0)
  expect(refused.err()).toContain(file)
  expect(refused.err()).toContain('running guests are not affected')
  expect(readFileSync(file).equals(broken)).toBe(true)
  expect(isRunning(pid)).toBe(true)

  // Cut short is no better.
  writeFileSync(file, good.subarray(0, Math.floor(good.length / 2)))
  const cut = server()
  expect(await cut.ended).not.toBe(0)
  expect(cut.err()).toContain(file)
  expect(isRunning(pid)).toBe(true)

  // With the operator's own copy.
  writeFileSync(file, good)
  ask = asker(await ready(server()))
  const vm = (await ask(root, 'GET', `/vms/${id}`)).json
  expect([vm.state, vm.live?.pid]).toEqual(['running', pid])
  expect((await ask(root, 'POST', `/vms/${id}/poweroff`)).status).toBe(200)
})
