/** The privilege matrix: every operation of the contract × everybody, generated from the table itself. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { API_BASE, type Operation, type OperationId, operations } from '#lib/api/contract.ts'
import { ROLE_PRIVILEGES } from '#lib/auth/privileges.ts'
import { MISSING_ID, type Rig, startRig } from '#server/http/test-rig.ts'

let rig: Rig
type Person = Awaited<ReturnType<Rig['person']>>
const people = {} as Record<'viewer' | 'operator' | 'admin' | 'admin2', Person>

beforeAll(async () => {
  rig = await startRig()
  people.admin = await rig.person('adam', 'admin')
  people.admin2 = await rig.person('zoe', 'admin')
  people.operator = await rig.person('olga', 'operator')
  people.viewer = await rig.person('vera', 'viewer')
})
afterAll(() => rig.stop())

const table = Object.entries(operations as Record<string, Operation>) as [OperationId, Operation][]
const pathOf = (operation: Operation) =>
  API_BASE + operation.path.replace('/images/starters/:id', '/images/starters/ipxe').replace(/:(id|token)/g, MISSING_ID)

const call = (operation: Operation, headers: Record<string, string>) =>
  rig.send(operation.method, pathOf(operation), {
    headers: {
      // Some ways to sign in are for pages alone.
      ...(operation.privilege === 'public' && { origin: rig.origin }),
      ...headers,
      ...(operation.method !== 'GET' && { 'content-type': operation.stream ?? 'application/json' }),
    },
    body: operation.method === 'GET' ? undefined : '{}',
  })

test('every operation of the contract has a route, and nothing else is routed under the API', () => {
  for (const [, operation] of table) {
    expect(rig.http.app.hasRoute({ method: operation.method, url: API_BASE + operation.path })).toBe(true)
  }
  const listed = rig.http.app
    .printRoutes({ commonPrefix: false })
    .split('\n')
    .filter((line) => line.includes('('))
  // openapi.json, healthz and metrics stand beside the table.
  const urls = new Set(table.map(([, operation]) => operation.path))
  expect(listed.length).toBe(urls.size + 3)
})

describe.each(table)('%s', (id, operation) => {
  const isPublic = operation.privilege === 'public'

  test(isPublic ? 'anybody may ask' : 'without a credential it is 401', async () => {
    const answer = await call(operation, {})
    if (isPublic) expect([401, 403]).not.toContain(answer.status === 401 ? 0 : answer.status)
    else {
      expect(answer.status).toBe(401)
      expect(answer.json.error.code).toBe('unauthenticated')
    }
  })

  test.each(['viewer', 'operator', 'admin'] as const)('%s is let in or kept out as the table says', async (role) => {
    // Those end the session that the other lines of the table are tried with.
    if (/^(sessionDelete|oidcSignOut|sessionRevokeAll)$/.test(id)) return
    const allowed =
      operation.privilege === 'public' ||
      operation.privilege === 'session' ||
      operation.privilege === 'account' ||
      ROLE_PRIVILEGES[role].includes(operation.privilege)
    for (const headers of [people[role].bearer, people[role].cookie]) {
      const before = rig.calls.length
      const answer = await call(operation, headers)
      if (allowed) {
        // A person's own account is never a token's.
        if (operation.privilege === 'account' && 'authorization' in headers) expect(answer.status).toBe(403)
        else expect([401, 403]).not.toContain(answer.status)
      } else {
        expect(answer.status).toBe(403)
        expect(answer.json.error.code).toBe('forbidden')
        expect(rig.calls.slice(before).every((c) => c.method === 'record')).toBe(true)
      }
    }
  })

  test('a token that does not exist is 401 even beside a good cookie', async () => {
    const answer = await call(operation, { ...people.admin.cookie, authorization: `Bearer gd_${'A'.repeat(43)}` })
    expect(answer.status === 401 || isPublic).toBe(true)
  })
})

test('a token can neither mint nor revoke tokens, change the password nor sign out (R08)', async () => {
  const { bearer } = people.admin
  expect((await rig.json('POST', `${API_BASE}/tokens`, { label: 'x' }, bearer)).status).toBe(403)
  expect((await rig.send('DELETE', `${API_BASE}/tokens/${MISSING_ID}`, { headers: bearer })).status).toBe(403)
  const change = { current: 'correct horse battery', next: 'another password' }
  expect((await rig.json('POST', `${API_BASE}/session/password`, change, bearer)).status).toBe(403)
  expect((await rig.send('DELETE', `${API_BASE}/session`, { headers: bearer })).status).toBe(403)
})

test('the rest of the surface: healthz says nothing, metrics need a credential, openapi is the contract', async () => {
  expect((await rig.get('/healthz')).text).toBe('{"ok":true}')
  expect((await rig.get('/metrics')).status).toBe(401)
  rig.on('metrics', () => 'guestdeck_up 1\n')
  expect((await rig.get('/metrics', people.viewer.bearer)).text).toBe('guestdeck_up 1\n')
  const document = (await rig.get(`${API_BASE}/openapi.json`)).json
  expect(document.openapi).toBe('3.1.0')
  const ids = Object.values(document.paths as Record<string, Record<string, { operationId: string }>>).flatMap((item) =>
    Object.values(item).map((o) => o.operationId),
  )
  expect(ids.sort()).toEqual(Object.keys(operations).sort())
})
