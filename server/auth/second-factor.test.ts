import { randomBytes } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import { expect, test } from 'vitest'
import { isCommonPassword } from '#server/auth/common-passwords.ts'
import { roleOf } from '#server/auth/external.ts'
import { createFactors } from '#server/auth/factors.ts'
import { createFlows } from '#server/auth/flows.ts'
import { isOrdinaryUid } from '#server/auth/host-accounts.ts'
import { escapeFilter } from '#server/auth/ldap.ts'
import { isAllowed } from '#server/auth/oidc.ts'
import { passkeysUnavailable } from '#server/auth/passkeys.ts'
import { createSealer } from '#server/auth/sealer.ts'
import type { Store } from '#server/store/types.ts'

/** Only what factors use. */
function memoryStore(): Store {
  const values = new Map<string, unknown>()
  return {
    get: (_collection: string, key: string) =>
      values.has(key) ? { key, revision: 1, value: structuredClone(values.get(key)) } : null,
    put: (_collection: string, key: string, value: unknown) => void values.set(key, structuredClone(value)),
    delete: (_collection: string, key: string) => values.delete(key),
    transaction: <T>(work: () => T) => work(),
  } as unknown as Store
}

function rig() {
  let wallMs = 1_800_000_000_000
  let steadyMs = 0
  const store = memoryStore()
  const factors = createFactors(store, createSealer(randomBytes(32)), { now: () => steadyMs }, () => wallMs)
  const codeOf = (secret: string) => new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: wallMs })
  return {
    factors,
    store,
    codeOf,
    pass: (ms: number) => {
      wallMs += ms
      steadyMs += Math.max(0, ms)
    },
    withApp() {
      const { secret } = factors.totpBegin('u', 'ann')
      const codes = factors.totpConfirm('u', codeOf(secret)) ?? []
      wallMs += 30_000
      return { secret, codes }
    },
  }
}

test('an app counts once a code of it was right, and never before', () => {
  const { factors, codeOf, pass } = rig()
  const { secret, uri } = factors.totpBegin('u', 'ann')
  expect(uri).toMatch(/^otpauth:\/\/totp\/Guestdeck:ann\?/)
  expect(factors.has('u')).toBe(false)
  expect(factors.use('u', codeOf(secret))).toBe(false)
  expect(() => factors.totpConfirm('u', '000000')).toThrow('not the code')
  expect(factors.totpConfirm('u', codeOf(secret))).toHaveLength(10)
  expect(factors.has('u')).toBe(true)
  pass(30_000)
  expect(factors.use('u', codeOf(secret))).toBe(true)
})

test('setting up an app may not take longer than half an hour', () => {
  const { factors, codeOf, pass } = rig()
  const { secret } = factors.totpBegin('u', 'ann')
  pass(31 * 60_000)
  expect(() => factors.totpConfirm('u', codeOf(secret))).toThrow('took too long')
})

test('a code works once, also the one that set the app up, and a late clock is forgiven for one period', () => {
  const { factors, codeOf, pass, withApp } = rig()
  const { secret } = withApp()
  const code = codeOf(secret)
  expect(factors.use('u', ` ${code.slice(0, 3)} ${code.slice(3)} `)).toBe(true)
  expect(factors.use('u', code)).toBe(false)
  pass(30_000)
  expect(factors.use('u', code)).toBe(false)
  const late = codeOf(secret)
  pass(30_000)
  expect(factors.use('u', late)).toBe(true)
  const tooLate = codeOf(secret)
  pass(90_000)
  expect(factors.use('u', tooLate)).toBe(false)
})

test('a clock that was a day ahead does not keep anybody out when it is right again', () => {
  const { factors, codeOf, pass, withApp } = rig()
  const { secret } = withApp()
  pass(86_400_000)
  expect(factors.use('u', codeOf(secret))).toBe(true)
  pass(-86_400_000)
  expect(factors.use('u', codeOf(secret))).toBe(true)
  expect(factors.use('u', codeOf(secret))).toBe(false)
})

test('each recovery code works once whatever its case and separators, and new ones end the old', () => {
  const { factors, withApp } = rig()
  const { codes } = withApp()
  const [first = '', second = ''] = codes
  expect(new Set(codes).size).toBe(10)
  expect(factors.use('u', first.toLowerCase().replaceAll('-', ' '))).toBe(true)
  expect(factors.use('u', first)).toBe(false)
  const [fresh = ''] = factors.recoveryCreate('u')
  expect(factors.use('u', second)).toBe(false)
  expect(factors.use('u', fresh)).toBe(true)
})

test('recovery codes end with the factor they stood in for', () => {
  const { factors, withApp } = rig()
  const { codes } = withApp()
  factors.totpDelete('u')
  expect(factors.has('u')).toBe(false)
  expect(factors.use('u', codes[0] ?? '')).toBe(false)
  expect(() => factors.recoveryCreate('u')).toThrow('set one up first')
})

test('neither the secret of an app nor a recovery code is kept in clear', () => {
  const { factors, store, withApp } = rig()
  const { secret, codes } = withApp()
  const kept = JSON.stringify(store.get('factor', 'u')) + JSON.stringify(factors.of('u'))
  for (const text of [secret, ...codes, ...codes.map((code) => code.replaceAll('-', ''))]) {
    expect(kept).not.toContain(text)
  }
})

test('what is sealed opens with its own key and for its own purpose alone', () => {
  const sealer = createSealer(randomBytes(32))
  const sealed = sealer.seal('secret', 'one')
  expect(sealer.open(sealed, 'one')).toBe('secret')
  expect(sealer.open(sealed, 'other')).toBeNull()
  expect(createSealer(randomBytes(32)).open(sealed, 'one')).toBeNull()
  for (const bad of ['', 'x', sealed.slice(0, -4), `${sealed.slice(0, -2)}AA`])
    expect(sealer.open(bad, 'one')).toBeNull()
  expect(sealer.seal('secret', 'one')).not.toBe(sealed)
})

test('what was begun is there for a while, can be taken once, and is bounded', () => {
  let now = 0
  const flows = createFlows<number>({ keepMs: 100, max: 3 }, () => now)
  const id = flows.begin(1)
  expect(flows.look(id)).toBe(1)
  expect(flows.take(id)).toBe(1)
  expect(flows.take(id)).toBeNull()
  const ids = [1, 2, 3, 4].map((value) => flows.begin(value))
  expect(ids.map(flows.look)).toEqual([null, 2, 3, 4])
  now = 100
  expect(ids.map(flows.look)).toEqual([null, null, null, null])
})

test.each([
  ['password123', true],
  ['P@ssw0rd2026!', true],
  ['1234567890', true],
  ['qwertyuiop', true],
  ['aaaaaaaaaaaa', true],
  ['Guestdeck-2026', true],
  ['annlovelace1', true],
  ['letmein-letmein', true],
  ['abcdefghijkl', true],
  ['admin12345admin', true],
  ['correct horse battery', false],
  ['set by an admin', false],
  ['brand new password', false],
  ['kX9$vT2m!qLw', false],
  ['8301745296173', false],
  ['Ein Satz mit fünf Wörtern', false],
])('the password %s is common: %s', (password, common) => {
  expect(isCommonPassword(password, 'annlovelace')).toBe(common)
})

test.each([
  ['*', '\\2a'],
  ['a)(uid=*', 'a\\29\\28uid\\3d\\2a'],
  ['back\\slash', 'back\\5cslash'],
  ['nul\0', 'nul\\00'],
  ['é', '\\c3\\a9'],
  ['ann.o-2', 'ann.o-2'],
])('in a search of a directory %j is %j', (typed, escaped) => {
  expect(escapeFilter(typed)).toBe(escaped)
})

test('the most that any group gives is the role; without a group it is that of all others, or none', () => {
  const roles = [
    { group: 'lab', role: 'viewer' as const },
    { group: 'ops', role: 'operator' as const },
  ]
  const mapping = { roles, otherRole: null, createPeople: true }
  expect(roleOf(['ops', 'lab'], mapping)).toBe('operator')
  expect(roleOf(['lab'], mapping)).toBe('viewer')
  expect(roleOf(['OPS'], mapping)).toBeNull()
  expect(roleOf([], { ...mapping, otherRole: 'viewer' })).toBe('viewer')
})

test('a name, a checked mail address or its domain is allowed, and an empty list allows all', () => {
  const list = ['ann', 'bob@lab.example', '@uni.example']
  expect(isAllowed([], 'eve', null)).toBe(true)
  expect(isAllowed(list, 'ann', null)).toBe(true)
  expect(isAllowed(list, 'x', 'Bob@Lab.example')).toBe(true)
  expect(isAllowed(list, 'x', 'eve@uni.example')).toBe(true)
  expect(isAllowed(list, 'x', 'eve@evil-uni.example')).toBe(false)
  expect(isAllowed(list, 'x', 'eve@uni.example.evil')).toBe(false)
  expect(isAllowed(list, '@uni.example', null)).toBe(false)
})

test.each([
  ['https://deck.example', true],
  ['http://localhost:8686', true],
  ['http://deck.example', false],
  ['http://127.0.0.1:8686', false],
  ['https://10.0.0.5', false],
  ['https://[::1]:8686', false],
  ['', false],
])('passkeys at %s are possible: %s', (origin, possible) => {
  expect(passkeysUnavailable(origin) === null).toBe(possible)
})

test('an account with the uid of root is root whatever its name', () => {
  expect(['0\n', '', '-1\n', '00\n', '1000\n', '1000\n0\n'].map(isOrdinaryUid)).toEqual([
    false,
    false,
    false,
    false,
    true,
    false,
  ])
})
