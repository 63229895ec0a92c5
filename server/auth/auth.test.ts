import { expect, test } from 'vitest'
import { sessionKey, tokenKey } from '#server/auth/documents.ts'
import { createPasswords } from '#server/auth/passwords.ts'
import { AttemptLimiter, addressKey } from '#server/auth/rate-limit.ts'
import { createSetupCode } from '#server/auth/setup-code.ts'
import { createSteadyClock } from '#server/auth/steady-clock.ts'
import type { Store } from '#server/store/types.ts'

/** Only what the clock uses. */
function memoryStore(): Store {
  const values = new Map<string, unknown>()
  return {
    get: (_collection: string, key: string) =>
      values.has(key) ? { key, revision: 1, value: structuredClone(values.get(key)) } : null,
    put: (_collection: string, key: string, value: unknown) => {
      values.set(key, structuredClone(value))
      return 1
    },
  } as unknown as Store
}
const DAY = 86_400_000

test('a password verifies against its own hash and no other', async () => {
  const passwords = createPasswords()
  const hash = await passwords.hash('correct horse')
  expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  expect(await passwords.verify(hash, 'correct horse')).toBe(true)
  expect(await passwords.verify(hash, 'correct horsf')).toBe(false)
  expect(await passwords.verify(null, 'correct horse')).toBe(false)
  expect(await passwords.verify('$argon2id$broken', 'correct horse')).toBe(false)
  expect(await passwords.hash('correct horse')).not.toBe(hash)
})

test('the parameters that count are those written in the hash', async () => {
  const passwords = createPasswords()
  const other = (await passwords.hash('correct horse')).replace('m=19456', 'm=19457')
  expect(await passwords.verify(other, 'correct horse')).toBe(false)
})

test('what does not fit the queue is refused as busy, and the queue works on', async () => {
  const passwords = createPasswords({ atOnce: 1, queueMax: 2 })
  const results = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => passwords.hash(`password ${n}`)))
  expect(results.map((result) => result.status)).toEqual([
    'fulfilled',
    'fulfilled',
    'fulfilled',
    'rejected',
    'rejected',
  ])
  expect(results[4]).toMatchObject({ reason: { code: 'busy' } })
  await expect(passwords.hash('again and again')).resolves.toBeDefined()
})

test('attempts are counted per key within the window, and given back when right', () => {
  let now = 0
  const limiter = new AttemptLimiter({ max: 3, windowMs: 1000 }, () => now)
  for (let i = 0; i < 10; i++) limiter.begin('a')()
  for (let i = 0; i < 3; i++) {
    now += 100
    limiter.begin('a')
  }
  expect(() => limiter.begin('a')).toThrow('Try again in 1 seconds')
  limiter.begin('b')
  now = 1101
  limiter.begin('a')
  expect(() => limiter.begin('a')).toThrow()
})

test.each([
  ['127.0.0.1', '127.0.0.1'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::9', '2001:db8:1:2'],
  ['2001:db8::9', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
])('the address %s counts as %s', (address, key) => {
  expect(addressKey(address)).toBe(key)
})

test('the setup code is matched whatever its case and separators, and no other text is', () => {
  const code = createSetupCode()
  expect(code.matches(code.text)).toBe(true)
  expect(code.matches(` ${code.text.toLowerCase().replaceAll('-', ' ')} `)).toBe(true)
  for (const wrong of ['', '----', code.text.slice(1), `${code.text}A`, createSetupCode().text]) {
    expect(code.matches(wrong)).toBe(false)
  }
})

test('only what has the form of a secret is looked up', () => {
  for (const bad of ['', 'x', 'a'.repeat(10_000), 'é'.repeat(43), `gd_${'a'.repeat(42)}`, `${'a'.repeat(42)}=`]) {
    expect(sessionKey(bad)).toBeNull()
    expect(tokenKey(bad)).toBeNull()
  }
  expect(sessionKey('a'.repeat(43))).toMatch(/^[0-9a-f]{64}$/)
  expect(tokenKey(`gd_${'a'.repeat(43)}`)).toMatch(/^[0-9a-f]{64}$/)
})

test('the steady clock ignores the wall clock within a boot, also over restarts of the dashboard', () => {
  const store = memoryStore()
  let uptimeMs = 1000
  let wallMs = 5 * DAY
  const sources = { bootId: 'a', uptimeMs: () => uptimeMs, wallMs: () => wallMs }
  const clock = createSteadyClock(store, sources)
  const start = clock.now()
  wallMs += DAY
  uptimeMs += 60_000
  expect(clock.now() - start).toBe(60_000)
  wallMs -= 3 * DAY
  uptimeMs += 60_000
  expect(createSteadyClock(store, sources).now() - start).toBe(120_000)
})

test('over a reboot it counts the time the host was off and never runs backwards', () => {
  const store = memoryStore()
  const first = createSteadyClock(store, { bootId: 'a', uptimeMs: () => 5000, wallMs: () => 10 * DAY })
  const before = first.now()
  const second = createSteadyClock(store, { bootId: 'b', uptimeMs: () => 10, wallMs: () => 11 * DAY })
  expect(second.now() - before).toBe(DAY)
  const third = createSteadyClock(store, { bootId: 'c', uptimeMs: () => 10, wallMs: () => 2 * DAY })
  expect(third.now()).toBe(second.now())
})

test('a clock that cannot be saved goes on, and is saved later', () => {
  const store = memoryStore()
  const put = store.put
  let full = false
  store.put = (...args) => {
    if (full) throw new Error('disk full')
    return put(...args)
  }
  let uptimeMs = 0
  const sources = { bootId: 'a', uptimeMs: () => uptimeMs, wallMs: () => uptimeMs }
  const clock = createSteadyClock(store, sources)
  full = true
  uptimeMs += DAY
  expect(clock.now()).toBe(DAY)
  expect(clock.now()).toBe(DAY)
  full = false
  uptimeMs += DAY
  expect(clock.now()).toBe(2 * DAY)
  const later = { bootId: 'b', uptimeMs: () => 0, wallMs: () => uptimeMs }
  expect(createSteadyClock(store, later).now()).toBe(2 * DAY)
})
