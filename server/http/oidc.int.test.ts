/** Sign-in at a real OpenID provider, from outside. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Answer, PASSWORD, type Rig, startRig } from '#server/http/test-rig.ts'
import { startProvider, type TestProvider } from '#server/testing/oidc-provider.ts'

const V1 = '/api/v1'
let rig: Rig
let provider: TestProvider
let admin: Awaited<ReturnType<Rig['person']>>

beforeEach(async () => {
  rig = await startRig()
  provider = await startProvider(`${rig.origin}/login/return`)
  admin = await rig.person('adam', 'admin')
})
afterEach(async () => {
  await provider.close()
  await rig.stop()
})

const configure = (change: object = {}) =>
  rig.json(
    'PATCH',
    `${V1}/sign-in`,
    {
      oidc: {
        enabled: true,
        label: 'Lab account',
        issuer: provider.issuer,
        clientId: provider.clientId,
        clientSecret: provider.clientSecret,
        roles: [
          { group: 'ops', role: 'operator' },
          { group: 'chiefs', role: 'admin' },
        ],
        otherRole: null,
        ...change,
      },
    },
    admin.cookie,
  )
const cookieOf = (answer: Answer) => answer.headers['set-cookie']?.[0]?.split(';')[0] ?? ''

async function begin() {
  const begun = await rig.json('POST', `${V1}/session/oidc`, {}, { origin: rig.origin })
  expect(begun.status).toBe(200)
  expect(begun.headers['set-cookie']?.[0]).toMatch(/^__Host-guestdeck-flow=\S+; .*HttpOnly; SameSite=Strict; Secure$/)
  return { url: begun.json.url as string, cookie: cookieOf(begun) }
}
const finish = (query: string, cookie: string) =>
  rig.json('POST', `${V1}/session/oidc/finish`, { query }, { origin: rig.origin, cookie })
async function signIn(): Promise<Answer> {
  const { url, cookie } = await begin()
  return finish(await provider.signIn(url), cookie)
}

test('a first sign-in adds the person with the role of their groups, a later one follows the groups', async () => {
  expect((await configure()).json.oidc).toMatchObject({ hasClientSecret: true })
  expect((await rig.get(`${V1}/session/ways`)).json.oidc).toBe('Lab account')
  provider.person = { sub: 'u-1', preferred_username: 'Ann', groups: ['ops'] }
  const first = await signIn()
  expect(first.status).toBe(201)
  expect(first.json).toMatchObject({ user: { name: 'ann', role: 'operator', hasPassword: false }, by: 'oidc' })
  expect((await rig.get(`${V1}/session`, { cookie: cookieOf(first) })).json.user.name).toBe('ann')
  provider.person = { sub: 'u-1', preferred_username: 'anna', groups: ['chiefs'] }
  expect((await signIn()).json.user).toMatchObject({ name: 'ann', role: 'admin' })
  // What the change of role made void.
  expect((await rig.get(`${V1}/session`, { cookie: cookieOf(first) })).json.user).toBeNull()
  provider.person = { sub: 'u-1', preferred_username: 'ann', groups: [] }
  const refused = await signIn()
  expect(refused.status).toBe(422)
  expect(refused.json.error.code).toBe('sign_in_failed')
})

test('the request carries PKCE, state and nonce, and no answer works twice, elsewhere or altered', async () => {
  await configure()
  provider.person = { sub: 'u-1', preferred_username: 'ann', groups: ['ops'] }
  const { url, cookie } = await begin()
  const asked = new URL(url).searchParams
  expect(asked.get('code_challenge_method')).toBe('S256')
  for (const name of ['state', 'nonce', 'code_challenge']) expect(asked.get(name)?.length).toBeGreaterThan(20)
  expect(url).not.toContain(provider.clientSecret)
  const query = await provider.signIn(url)
  // Another browser (no cookie, or that of another sign-in) cannot use the answer, and an altered state is refused.
  expect((await finish(query, '')).status).toBe(422)
  const other = await begin()
  expect((await finish(query, other.cookie)).status).toBe(422)
  expect((await finish(query, cookie)).status).toBe(201)
  expect((await finish(query, cookie)).status).toBe(422)
  const altered = await begin()
  const answer = new URLSearchParams(await provider.signIn(altered.url))
  answer.set('state', 'x'.repeat(43))
  expect((await finish(answer.toString(), altered.cookie)).status).toBe(422)
})

test('a refusal of the provider is told in its words, and leaves nobody signed in', async () => {
  await configure()
  const refused = await signIn()
  expect(refused.json.error).toMatchObject({ code: 'sign_in_failed', message: 'The provider refused: Not today.' })
  expect(refused.headers['set-cookie']).toBeUndefined()
})

test('nobody takes over an account by having its name elsewhere; an administrator links them', async () => {
  await configure()
  provider.person = { sub: 'u-9', preferred_username: 'adam', groups: ['ops'] }
  const refused = await signIn()
  expect(refused.status).toBe(422)
  expect(refused.json.error.message).toContain('u-9')
  const ann = await rig.person('ann', 'viewer')
  provider.person = { sub: 'u-2', preferred_username: 'somebody', groups: ['ops'] }
  const login = { realm: 'oidc', subject: `u-2 ${provider.issuer}` }
  const linked = await rig.json('POST', `${V1}/users/${ann.user.id}/logins`, { logins: [login] }, admin.bearer)
  expect(linked.json.logins).toEqual([login])
  expect((await signIn()).json.user).toMatchObject({ name: 'ann', role: 'operator' })
  const taken = await rig.json('POST', `${V1}/users/${admin.user.id}/logins`, { logins: [login] }, admin.bearer)
  expect(taken.status).toBe(409)
  await rig.json('PATCH', `${V1}/users/${ann.user.id}`, { disabled: true }, admin.bearer)
  expect((await signIn()).status).toBe(422)
})

test('whoever is not on the list of names and mail addresses stays out', async () => {
  await configure({ allowed: ['@lab.example'], otherRole: 'viewer' })
  const person = { sub: 'u-3', preferred_username: 'eve', email: 'eve@lab.example' }
  provider.person = { ...person, email_verified: false }
  expect((await signIn()).status).toBe(422)
  provider.person = { ...person, email_verified: true }
  expect((await signIn()).json.user).toMatchObject({ name: 'eve', role: 'viewer' })
})

test('the last administrator stays one and gets in whatever the groups say (B13)', async () => {
  await configure()
  provider.person = { sub: 'u-4', preferred_username: 'zoe', groups: ['chiefs'] }
  const zoe = await signIn()
  const cookie = { cookie: cookieOf(zoe), origin: rig.origin }
  expect((await rig.send('DELETE', `${V1}/users/${admin.user.id}`, { headers: cookie })).status).toBe(204)
  provider.person = { sub: 'u-4', preferred_username: 'zoe', groups: ['ops'] }
  expect((await signIn()).json.user).toMatchObject({ name: 'zoe', role: 'admin' })
  provider.person = { sub: 'u-4', preferred_username: 'zoe', groups: [] }
  const still = await signIn()
  expect(still.json.user).toMatchObject({ name: 'zoe', role: 'admin' })
  // Nor can the way in that is left be taken away.
  const now = { cookie: cookieOf(still), origin: rig.origin }
  const off = await rig.json('PATCH', `${V1}/sign-in`, { oidc: null }, now)
  expect(off.json.error.code).toBe('last_admin')
  const unlink = await rig.json('POST', `${V1}/users/${still.json.user.id}/logins`, { logins: [] }, now)
  expect(unlink.json.error.code).toBe('last_admin')
  expect((await rig.json('PATCH', `${V1}/users/${still.json.user.id}`, { password: PASSWORD }, now)).status).toBe(200)
})

test('signing out ends the session and tells where to sign out at the provider', async () => {
  await configure()
  provider.person = { sub: 'u-1', preferred_username: 'ann', groups: ['ops'] }
  const headers = { cookie: cookieOf(await signIn()), origin: rig.origin }
  const out = await rig.json('POST', `${V1}/session/oidc/sign-out`, {}, headers)
  const url = new URL(out.json.url)
  expect(url.origin).toBe(provider.issuer)
  expect(url.searchParams.get('post_logout_redirect_uri')).toBe(`${rig.origin}/login`)
  expect((await fetch(url)).status).toBe(200)
  expect((await rig.get(`${V1}/session`, headers)).json.user).toBeNull()
})

test('the secret of the client is kept sealed, never shown, and not sent to another provider', async () => {
  await configure()
  await configure({ clientSecret: undefined, label: 'Other name' })
  const shown = await rig.get(`${V1}/sign-in`, admin.bearer)
  expect(shown.json.oidc).toMatchObject({ label: 'Other name', hasClientSecret: true })
  expect(shown.json.redirectUri).toBe(`${rig.origin}/login/return`)
  expect(shown.text).not.toContain(provider.clientSecret)
  expect(JSON.stringify(rig.store.list('meta'))).not.toContain(provider.clientSecret)
  const moved = await configure({ clientSecret: undefined, issuer: 'https://other.example' })
  expect(moved.json.oidc.hasClientSecret).toBe(false)
})

test('plain HTTP is for loopback alone, and an address that redirects or answers endlessly is refused', async () => {
  const plain = await configure({ issuer: 'http://login.example' })
  expect(plain.json.error).toMatchObject({ code: 'bad_input', field: 'oidc.issuer' })
  let hits = 0
  const trap = createServer((request, response) => {
    if (request.url === '/secret') {
      hits += 1
      response.end('{}')
    } else if (request.url?.startsWith('/endless')) {
      response.writeHead(200, { 'content-type': 'application/json' })
      const chunk = `{"x":"${'a'.repeat(65_536)}"`
      const pour = () => {
        while (!response.destroyed && response.write(chunk)) {}
      }
      response.on('drain', pour)
      pour()
    } else response.writeHead(302, { location: '/secret' }).end()
  })
  await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(trap.address() as AddressInfo).port}`
  for (const issuer of [base, `${base}/endless`]) {
    expect((await configure({ issuer })).status).toBe(200)
    const begun = await rig.json('POST', `${V1}/session/oidc`, {}, { origin: rig.origin })
    expect(begun.json.error.code).toBe('sign_in_failed')
    const check = await rig.json('POST', `${V1}/sign-in/check`, { realm: 'oidc' }, admin.bearer)
    expect(check.json).toMatchObject({ ok: false })
  }
  trap.closeAllConnections()
  await new Promise((resolve) => trap.close(resolve))
  expect(hits).toBe(0)
})
