/** Sign-in with accounts of a directory (a real slapd) and of the host (real PAM), from outside. */
import { execFileSync } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { hostAccountsUnavailable } from '#server/auth/host-accounts.ts'
import { type Rig, startRig } from '#server/http/test-rig.ts'
import { type LdapServer, startLdap } from '#server/testing/ldap-server.ts'

const V1 = '/api/v1'
let ldap: LdapServer
let rig: Rig
let admin: Awaited<ReturnType<Rig['person']>>

beforeAll(async () => {
  ldap = await startLdap()
})
afterAll(() => ldap.close())
beforeEach(async () => {
  rig = await startRig()
  admin = await rig.person('adam', 'admin')
})
afterEach(() => rig.stop())

const configure = (change: object = {}) =>
  rig.json(
    'PATCH',
    `${V1}/sign-in`,
    {
      ldap: {
        enabled: true,
        url: ldap.url,
        baseDn: ldap.baseDn,
        groupBaseDn: `ou=groups,${ldap.baseDn}`,
        bindDn: ldap.bindDn,
        bindPassword: ldap.bindPassword,
        roles: [
          { group: 'ops', role: 'operator' },
          { group: 'chiefs', role: 'admin' },
        ],
        ...change,
      },
    },
    admin.bearer,
  )
const signIn = (name: string, password: string, realm = 'ldap') =>
  rig.json('POST', `${V1}/session`, { name, password, realm })
/** Names that nobody has are asked for a code now and then; either way nobody is signed in. */
const isRefused = (answer: Awaited<ReturnType<typeof signIn>>) =>
  answer.status === 401 || (answer.status === 201 && answer.json.user === null && answer.json.challenge !== null)

test.each([
  ['in clear on loopback', () => ({})],
  ['with StartTLS', () => ({ startTls: true, ca: ldap.ca })],
  ['with TLS', () => ({ url: ldap.secureUrl, ca: ldap.ca })],
])('somebody of the directory signs in %s and has the role of their groups', async (_how, change) => {
  expect((await configure(change())).status).toBe(200)
  expect((await rig.json('POST', `${V1}/sign-in/check`, { realm: 'ldap' }, admin.bearer)).json.ok).toBe(true)
  const ann = await signIn('ann', 'horse of the lab')
  expect(ann.json).toMatchObject({ user: { name: 'ann', role: 'operator', hasPassword: false }, by: 'ldap' })
  expect(isRefused(await signIn('ann', 'cart of the lab'))).toBe(true)
  // In no group that counts.
  const bob = await signIn('bob', 'cart of the lab')
  expect(bob.json.error.code).toBe('sign_in_failed')
})

test('a change of groups is followed, and takes the sessions of the old role along', async () => {
  await configure()
  const first = await signIn('ann', 'horse of the lab')
  const cookie = { cookie: first.headers['set-cookie']?.[0]?.split(';')[0] ?? '' }
  const member = (how: 'add' | 'delete') =>
    `dn: cn=chiefs,ou=groups,${ldap.baseDn}\nchangetype: modify\n${how}: member\nmember: uid=ann,ou=people,${ldap.baseDn}\n`
  ldap.modify(member('add'))
  try {
    expect((await signIn('ann', 'horse of the lab')).json.user.role).toBe('admin')
    expect((await rig.get(`${V1}/session`, cookie)).json.user).toBeNull()
  } finally {
    ldap.modify(member('delete'))
  }
})

test('an empty password, a name that is a filter, and a certificate of nobody get nobody in', async () => {
  await configure()
  for (const [name, password] of [
    ['ann', ''],
    ['*', 'horse of the lab'],
    ['ann)(uid=*', 'horse of the lab'],
    ['a*', 'horse of the lab'],
    ['ann\0', 'horse of the lab'],
    ['', 'horse of the lab'],
  ] as const) {
    expect(isRefused(await signIn(name, password)), JSON.stringify(name)).toBe(true)
  }
  expect(rig.auth.users.byName('ann')).toBeNull()
  await configure({ url: ldap.secureUrl })
  expect((await signIn('ann', 'horse of the lab')).json.error.code).toBe('sign_in_failed')
  await configure({ startTls: true })
  expect((await signIn('ann', 'horse of the lab')).json.error.code).toBe('sign_in_failed')
})

test('passwords do not cross a network in clear, and the one to search with is sealed', async () => {
  const plain = await configure({ url: 'ldap://directory.example' })
  expect(plain.json.error).toMatchObject({ code: 'bad_input', field: 'ldap.url' })
  await configure()
  const shown = await rig.get(`${V1}/sign-in`, admin.bearer)
  expect(shown.json.ldap.hasBindPassword).toBe(true)
  expect(shown.text + JSON.stringify(rig.store.list('meta'))).not.toContain(ldap.bindPassword)
})

test('a directory that takes the connection and says nothing is given up, and the local people still sign in', async () => {
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  await configure({ url: `ldap://127.0.0.1:${(silent.address() as AddressInfo).port}` })
  const waiting = signIn('ann', 'horse of the lab')
  expect((await rig.signInDirectly('adam', 'correct horse battery', '10.0.0.9')) as object).toHaveProperty('secret')
  expect((await waiting).json.error.code).toBe('sign_in_failed')
  silent.close()
}, 60_000)

test('somebody of the directory does not become a local person of the same name', async () => {
  await configure()
  await rig.auth.users.create({ name: 'ann', password: 'correct horse battery', role: 'admin' })
  const refused = await signIn('ann', 'horse of the lab')
  expect(refused.json.error.code).toBe('sign_in_failed')
  expect(isRefused(await signIn('ann', 'horse of the lab', 'local'))).toBe(true)
})

test('accounts that are not set up are no way in', async () => {
  expect((await signIn('ann', 'x', 'ldap')).status).toBe(400)
  expect((await signIn('ann', 'x', 'host')).status).toBe(400)
})

test.skipIf(process.getuid?.() !== 0)(
  'an account of the host signs in through PAM, and root never does',
  async () => {
    expect(hostAccountsUnavailable()).toBeNull()
    const name = `gdtest${process.pid}`
    const password = 'plough of the host'
    execFileSync('useradd', ['--no-create-home', '--shell', '/usr/sbin/nologin', '--user-group', name])
    try {
      execFileSync('chpasswd', { input: `${name}:${password}\n` })
      const host = { enabled: true, roles: [{ group: name, role: 'operator' }], otherRole: null }
      expect((await rig.json('PATCH', `${V1}/sign-in`, { host }, admin.bearer)).status).toBe(200)
      expect((await rig.get(`${V1}/session/ways`)).json.passwords.map((way: { realm: string }) => way.realm)).toContain(
        'host',
      )
      const right = await signIn(name, password, 'host')
      expect(right.json).toMatchObject({ user: { name, role: 'operator' }, by: 'host' })
      expect(isRefused(await signIn(name, `${password}x`, 'host'))).toBe(true)
      expect(isRefused(await signIn(name, `x\n${password}`, 'host'))).toBe(true)
      expect(isRefused(await signIn(`-v`, password, 'host'))).toBe(true)
      // An account that has expired is refused although its password is right.
      execFileSync('usermod', ['--expiredate', '2020-01-01', name])
      expect(isRefused(await signIn(name, password, 'host'))).toBe(true)
      expect(isRefused(await signIn('root', password, 'host'))).toBe(true)
      await rig.json('PATCH', `${V1}/sign-in`, { host: { ...host, enabled: false } }, admin.bearer)
      expect((await signIn(name, password, 'host')).status).toBe(400)
    } finally {
      execFileSync('userdel', [name], { stdio: 'ignore' })
    }
  },
  60_000,
)
