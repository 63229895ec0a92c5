/** Second factors, sessions and limited tokens, from outside. */
import { randomUUID } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import { afterEach, beforeEach, expect, test } from 'vitest'
import WebSocket from 'ws'
import { type Answer, MISSING_ID, PASSWORD, type Rig, startRig } from '#server/http/test-rig.ts'

const V1 = '/api/v1'
const MINUTE = 60_000
let rig: Rig
let wallMs: number
let steadyMs: number

beforeEach(async () => {
  wallMs = Date.now()
  steadyMs = 0
  rig = await startRig({}, { wallMs: () => wallMs, clock: { now: () => steadyMs } })
})
afterEach(() => rig.stop())

type Person = Awaited<ReturnType<Rig['person']>>
const post = (path: string, body: object, headers: Record<string, string> = {}) =>
  rig.json('POST', `${V1}${path}`, body, headers)
const cookieOf = (answer: Answer) => answer.headers['set-cookie']?.[0]?.split(';')[0] ?? ''
const signIn = (name: string, password = PASSWORD) => post('/session', { name, password })
const answerWith = (challenge: string, code: string) => post('/session/second-factor', { challenge, code })

/** Sets up an app for codes; `next` gives a code that was not used yet. */
async function withApp(person: Pick<Person, 'cookie'>) {
  const { json } = await post('/account/totp', {}, person.cookie)
  const totp = new TOTP({ secret: Secret.fromBase32(json.secret) })
  const code = () => totp.generate({ timestamp: wallMs })
  const confirmed = await post('/account/totp/confirm', { code: code() }, person.cookie)
  expect(confirmed.status).toBe(200)
  return {
    recoveryCodes: confirmed.json.recoveryCodes as string[],
    confirmed,
    next: () => {
      wallMs += 30_000
      return code()
    },
  }
}

test('with a second factor the first step says the same whether the password was right, and sets no cookie', async () => {
  const ann = await rig.person('ann', 'operator')
  const app = await withApp(ann)
  const right = await signIn('ann')
  const wrong = await signIn('ann', 'not the password')
  for (const answer of [right, wrong]) {
    expect(answer.status).toBe(201)
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(answer.json).toEqual({ ...right.json, challenge: expect.stringMatching(/^[\w-]{32}$/) })
    expect(answer.json.user).toBeNull()
  }
  const refused = await answerWith(wrong.json.challenge, app.next())
  expect(refused.json.error.code).toBe('bad_credentials')
  const mistyped = await answerWith(right.json.challenge, '000000')
  expect(mistyped.json.error.message).toBe(refused.json.error.message)
  // The same code is still good for the right password, once.
  const code = app.next()
  const second = await answerWith(right.json.challenge, code)
  expect(second.json).toMatchObject({ user: { name: 'ann' }, by: 'password', enrolling: false, challenge: null })
  expect(cookieOf(second)).toContain('__Host-guestdeck=')
  expect((await answerWith(right.json.challenge, app.next())).status).toBe(401)
  const again = await signIn('ann')
  expect((await answerWith(again.json.challenge, code)).status).toBe(401)
})

test('guessing codes ends after five tries, each counts for the address, and the log says whose they were', async () => {
  const ann = await rig.person('ann', 'operator')
  const app = await withApp(ann)
  const { challenge } = (await signIn('ann')).json
  for (let i = 0; i < 5; i++) expect((await answerWith(challenge, `00000${i}`)).status).toBe(401)
  expect((await answerWith(challenge, app.next())).json.error.message).toContain('begin again')
  // The log says whose password somebody has, to administrators and to the person.
  const refused = rig.calls.flatMap(({ args: [line] }) => line as { what?: string; result: string; who?: string }[])
  expect(refused.filter(({ what, result }) => what === 'secondFactorCreate' && result === 'denied')).toEqual([
    ...Array.from({ length: 5 }, () => expect.objectContaining({ who: 'ann', userId: ann.user.id })),
    expect.objectContaining({ who: 'somebody' }),
  ])
  const statuses = []
  for (let i = 0; i < 6; i++) statuses.push((await signIn('ann')).status)
  expect(statuses.at(-1)).toBe(429)
})

test('a recovery code opens the account once, and an administrator can take the factors away', async () => {
  const ann = await rig.person('ann', 'operator')
  const admin = await rig.person('adam', 'admin')
  const { recoveryCodes } = await withApp(ann)
  const [code = ''] = recoveryCodes
  expect((await answerWith((await signIn('ann')).json.challenge, code.toLowerCase())).status).toBe(201)
  expect((await answerWith((await signIn('ann')).json.challenge, code)).status).toBe(401)
  expect((await rig.get(`${V1}/account`, ann.cookie)).json.recoveryCodesLeft).toBe(9)
  const people = (await rig.get(`${V1}/users`, admin.bearer)).json.items
  expect(people.map((p: { name: string; secondFactor: boolean }) => [p.name, p.secondFactor])).toEqual([
    ['adam', false],
    ['ann', true],
  ])
  const reset = await rig.send('DELETE', `${V1}/users/${ann.user.id}/second-factor`, { headers: admin.bearer })
  expect(reset.status).toBe(204)
  expect(rig.calls.some((c) => JSON.stringify(c.args).includes('Took away the second factors of ann.'))).toBe(true)
  expect((await rig.get(`${V1}/session`, ann.cookie)).json.user).toBeNull()
  expect((await signIn('ann')).json.user.name).toBe('ann')
})

test('a role that needs a second factor may do nothing but set one up, and goes on with another secret', async () => {
  const admin = await rig.person('adam', 'admin')
  await rig.auth.users.create({ name: 'ann', password: PASSWORD, role: 'operator' })
  await rig.json('PATCH', `${V1}/sign-in`, { policy: { secondFactorRoles: ['operator'] } }, admin.bearer)
  const first = await signIn('ann')
  expect(first.json).toMatchObject({ user: { name: 'ann' }, enrolling: true, privileges: [] })
  const limited = { cookie: cookieOf(first), origin: rig.origin }
  for (const [method, path] of [
    ['GET', '/vms'],
    ['GET', '/activity'],
    ['POST', '/tokens'],
  ] as const) {
    const body = method === 'POST' ? { label: 'x' } : undefined
    const refused = body ? await post(path, body, limited) : await rig.get(`${V1}${path}`, limited)
    expect(refused.json.error.code).toBe('second_factor_needed')
  }
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}${V1}/events`, { headers: limited })
  const status = await new Promise((resolve) => {
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode))
    socket.on('open', () => resolve('open'))
  })
  expect(status).toBe(403)
  const app = await withApp({ cookie: limited })
  const full = { cookie: cookieOf(app.confirmed), origin: rig.origin }
  expect(full.cookie).not.toBe(limited.cookie)
  expect((await rig.get(`${V1}/session`, limited)).json.user).toBeNull()
  rig.on('vms.list', () => ({ items: [] }))
  expect((await rig.get(`${V1}/vms`, full)).status).toBe(200)
  // The last factor stays while the rules want one.
  const last = await rig.send('DELETE', `${V1}/account/totp`, { headers: full })
  expect(last.json.error.code).toBe('conflict')
})

test('a while after signing in, whoever changes how they sign in says once more who they are', async () => {
  const ann = await rig.person('ann', 'operator')
  steadyMs += 16 * MINUTE
  for (const [path, body] of [
    ['/account/totp', {}],
    ['/tokens', { label: 'x' }],
    ['/account/passkeys/options', {}],
    ['/account/recovery-codes', {}],
  ] as const) {
    expect((await post(path, body, ann.cookie)).json.error.code).toBe('confirm_needed')
  }
  const wrong = await post('/session/confirm', { password: 'not it at all' }, ann.cookie)
  expect(wrong.json.error).toMatchObject({ code: 'bad_credentials', field: 'password' })
  expect((await post('/session/confirm', { password: PASSWORD }, ann.cookie)).status).toBe(204)
  const app = await withApp(ann)
  steadyMs += 16 * MINUTE
  expect((await post('/session/confirm', { code: app.next() }, ann.cookie)).status).toBe(204)
  expect((await post('/tokens', { label: 'x' }, ann.cookie)).status).toBe(201)
})

test('own sessions are listed with device and address; one, the others or all can be ended', async () => {
  const ann = await rig.person('ann', 'operator')
  const bob = await rig.person('bob', 'operator')
  const other = await rig.json(
    'POST',
    `${V1}/session`,
    { name: 'ann', password: PASSWORD },
    { 'user-agent': 'Browser/1 of\tthe test' },
  )
  const list = async (headers: Record<string, string>) => (await rig.get(`${V1}/account/sessions`, headers)).json.items
  const items = await list(ann.cookie)
  expect(items).toHaveLength(2)
  const [elsewhere] = items.filter((item: { current: boolean }) => !item.current)
  expect(elsewhere).toMatchObject({ from: '127.0.0.1', by: 'password' })
  expect(elsewhere.device).toBe('Browser/1 ofthe test')
  const foreign = await rig.send('DELETE', `${V1}/account/sessions/${elsewhere.id}`, { headers: bob.cookie })
  expect(foreign.status).toBe(404)
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}${V1}/events`, {
    headers: { cookie: cookieOf(other), origin: rig.origin },
  })
  await new Promise((resolve) => socket.on('open', resolve))
  const closed = new Promise((resolve) => socket.on('close', resolve))
  const ended = await rig.send('DELETE', `${V1}/account/sessions/${elsewhere.id}`, { headers: ann.cookie })
  expect(ended.status).toBe(204)
  expect(await closed).toBe(4401)
  const third = cookieOf(await signIn('ann'))
  expect((await post('/account/sessions/end', { keepThis: true }, ann.cookie)).status).toBe(204)
  expect((await rig.get(`${V1}/session`, { cookie: third })).json.user).toBeNull()
  expect(await list(ann.cookie)).toHaveLength(1)
  expect((await post('/account/sessions/end', {}, ann.cookie)).status).toBe(204)
  expect((await rig.get(`${V1}/session`, ann.cookie)).json.user).toBeNull()
  expect((await rig.get(`${V1}/session`, bob.cookie)).json.user.name).toBe('bob')
})

test('a token for looking can look and nothing else, and its VMs are all it is for (R08)', async () => {
  const ann = await rig.person('ann', 'operator')
  const vmId = MISSING_ID
  const made = await post('/tokens', { label: 'eyes', scope: { privileges: ['vm.view'], vmIds: [vmId] } }, ann.cookie)
  expect(made.json.entry.scope).toEqual({ privileges: ['vm.view'], vmIds: [vmId] })
  const bearer = { authorization: `Bearer ${made.json.token}` }
  expect((await rig.get(`${V1}/session`, bearer)).json).toMatchObject({ privileges: ['vm.view'], by: 'token' })
  expect((await rig.get(`${V1}/vms/${vmId}`, bearer)).status).toBe(404)
  const [call] = rig.calls.filter(({ method }) => method === 'vms.view')
  expect(call?.args[0]).toMatchObject({ scope: { privileges: ['vm.view'], vmIds: [vmId] } })
  for (const [path, body] of [
    [`/vms/${vmId}/start`, {}],
    ['/vms', {}],
    ['/tokens', { label: 'more' }],
    [`/jobs/${vmId}/cancel`, {}],
  ] as const) {
    const answer = await post(path, body, bearer)
    expect(answer.status, path).toBe(403)
    expect(answer.json.error.code).toBe('forbidden')
  }
  for (const path of ['/host', '/images', '/users', '/tokens', '/account']) {
    expect((await rig.get(`${V1}${path}`, bearer)).status, path).toBe(403)
  }
  expect((await rig.get('/metrics', bearer)).status).toBe(403)
})

test('nobody gives a token more than they have, or nothing at all', async () => {
  const ann = await rig.person('ann', 'viewer')
  const more = await post('/tokens', { label: 'x', scope: { privileges: ['vm.power'], vmIds: null } }, ann.cookie)
  expect(more.status).toBe(403)
  const unknown = await post('/tokens', { label: 'x', scope: { privileges: ['vm.fly'], vmIds: null } }, ann.cookie)
  expect(unknown.status).toBe(400)
  const empty = await post('/tokens', { label: 'x', scope: { privileges: [], vmIds: null } }, ann.cookie)
  expect(empty.status).toBe(400)
})

test("administrators see and revoke others' tokens, and end their sessions", async () => {
  const ann = await rig.person('ann', 'viewer')
  const admin = await rig.person('adam', 'admin')
  const path = `${V1}/users/${ann.user.id}/tokens`
  const [token] = (await rig.get(path, admin.bearer)).json.items
  expect(token.label).toBe('test')
  expect((await rig.get(path, ann.cookie)).status).toBe(403)
  expect(
    (await rig.send('DELETE', `${V1}/users/${admin.user.id}/tokens/${token.id}`, { headers: admin.bearer })).status,
  ).toBe(404)
  expect((await rig.send('DELETE', `${path}/${token.id}`, { headers: admin.bearer })).status).toBe(204)
  expect((await rig.get(`${V1}/vms`, ann.bearer)).status).toBe(401)
  expect((await post(`/users/${ann.user.id}/sign-out`, {}, admin.bearer)).status).toBe(204)
  expect((await rig.get(`${V1}/session`, ann.cookie)).json.user).toBeNull()
  expect((await post(`/users/${randomUUID()}/sign-out`, {}, admin.bearer)).status).toBe(404)
})

test('a password that everybody tries first is refused where it is chosen', async () => {
  const admin = await rig.person('adam', 'admin')
  const common = await post('/users', { name: 'ann', password: 'password123', role: 'viewer' }, admin.bearer)
  expect(common.json.error).toMatchObject({ code: 'bad_input', field: 'password' })
  const change = await post('/session/password', { current: PASSWORD, next: 'Adam1234567' }, admin.cookie)
  expect(change.json.error).toMatchObject({ code: 'bad_input', field: 'next' })
})

test('passkeys are refused where browsers have none, and an answer nobody asked for is worth nothing', async () => {
  const ann = await rig.person('ann', 'operator')
  const address = await post('/account/passkeys/options', {}, ann.cookie)
  expect(address.json.error).toMatchObject({ code: 'conflict', message: expect.stringContaining('host names') })
  const host = `localhost:${rig.port}`
  const named = { host, origin: `http://${host}` }
  const begun = await post('/session/passkey/options', {}, named)
  expect(begun.json.options).toMatchObject({ rpId: 'localhost', userVerification: 'required' })
  expect(begun.json.options.allowCredentials ?? []).toEqual([])
  for (const response of [{}, { id: 'AAAA' }, { id: 'AAAA', rawId: 'AAAA', type: 'public-key', response: {} }]) {
    const answer = await post('/session/passkey', { id: begun.json.id, response }, named)
    expect(answer.status).toBe(401)
  }
})

test('a clock set a day forth or back signs nobody out (F40)', async () => {
  const ann = await rig.person('ann', 'operator')
  for (const jump of [86_400_000, -2 * 86_400_000]) {
    wallMs += jump
    steadyMs += MINUTE
    expect((await rig.get(`${V1}/session`, ann.cookie)).json.user.name).toBe('ann')
  }
  steadyMs += 13 * 60 * MINUTE
  expect((await rig.get(`${V1}/session`, ann.cookie)).json.user).toBeNull()
})
