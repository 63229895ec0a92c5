/**
 * The permission table from outside: every operation and every WebSocket of a running dashboard, called with real
 * objects of a member's by each of the seven of `lib/auth/permission-table.ts`.
 */
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { API_BASE, type Operation, type OperationId, operations } from '#lib/api/contract.ts'
import {
  COLUMN_IDS,
  COLUMNS,
  type ColumnId,
  type Rule,
  SOCKETS,
  STRICTER,
  type Verdict,
  verdict,
} from '#lib/auth/permission-table.ts'
import { type Answer, MISSING_ID } from '#server/http/test-rig.ts'
import { type Call, type Make, type MatrixRig, matrixRig, RECIPES } from '#server/testing/matrix-rig.ts'
import { ready, server, token } from '#server/testing/process-rig.ts'

const table = Object.entries(operations as Record<string, Operation>) as [OperationId, Operation][]
/** Nobody has one here: it takes an authenticator to make it. */
const UNMADE: readonly OperationId[] = ['passkeyDelete']
/** They end the session they are called with. */
const ENDS: readonly OperationId[] = ['sessionDelete', 'oidcSignOut', 'sessionRevokeAll']

const ruleOf = (id: string, operation: Operation): Rule => ({
  method: operation.method,
  path: operation.path,
  privilege: STRICTER[id]?.privilege ?? operation.privilege,
})

function read({ status, json }: Answer): Verdict | string {
  const code: string = json?.error?.code ?? ''
  if (status === 401 && code === 'unauthenticated') return 'unauthenticated'
  if (status === 403 && code === 'forbidden') return 'forbidden'
  if (status === 404 && code === 'not_found') return 'absent'
  // Beyond the checks, an operation may refuse what was asked.
  const refused = [400, 409, 412, 415, 422].includes(status)
  return status < 300 || refused ? 'allowed' : `${status} ${code}`
}

async function ask(rig: MatrixRig, operation: Operation, who: Record<string, string>, call: Call): Promise<Answer> {
  const path = operation.path.replaceAll(/:([a-zA-Z]+)/g, (_all, name: string) => call.params?.[name] ?? '')
  const own = operation.privilege === 'public' ? { origin: rig.origin } : {}
  return rig.ask({ ...own, ...who }, operation.method, path, call)
}

/** What there is, as an administrator sees it; without what changes by itself. */
async function everything(rig: MatrixRig): Promise<unknown> {
  const lists = [
    '/vms',
    '/images',
    '/volumes',
    '/projects',
    '/groups',
    '/roles',
    '/users',
    '/backups',
    '/bookings',
    '/networks',
  ]
  lists.push('/power-schedules', '/backup-schedules', '/appliances', '/images/uploads', '/pools')
  lists.push(...['snapshots', 'snapshot-schedules', 'guest-links', 'viewers'].map((one) => `/vms/${rig.main}/${one}`))
  const found: Record<string, unknown> = {}
  for (const path of [...lists, `/vms/${rig.runner}/viewers`]) {
    const { items, custom } = (await rig.done(rig.headers.administrator, 'GET', path)).json
    found[path] = ((items ?? custom) as Record<string, unknown>[])
      .map(({ id, revision, name, note, state, paused, disabled, role }) =>
        JSON.stringify({ id, revision, name, note, state, paused, disabled, role }),
      )
      .sort()
  }
  for (const path of ['/lab/policy', '/sign-in'])
    found[path] = (await rig.done(rig.headers.administrator, 'GET', path)).json
  return found
}

/** A console's ticket is asked for first; the socket then opens for those who got one. */
async function compareSockets(rig: MatrixRig): Promise<void> {
  const upgrade = (path: string, protocols: string[], headers: Record<string, string>): Promise<Verdict | string> =>
    new Promise((resolve) => {
      const ws = new WebSocket(`ws://127.0.0.1:${rig.port}${path}`, protocols, { headers })
      ws.on('unexpected-response', (_request, response) => {
        resolve(response.statusCode === 401 ? 'unauthenticated' : `status ${response.statusCode}`)
        ws.terminate()
      })
      ws.on('error', () => {})
      ws.on('open', () => {
        resolve('allowed')
        ws.terminate()
      })
    })
  const got: Record<string, Record<string, string>> = {}
  const expected: Record<string, Record<string, string>> = {}
  for (const socket of SOCKETS) {
    const [kind, mode] = socket.id.split('-')
    for (const column of COLUMN_IDS) {
      const who = rig.headers[column]
      expected[socket.id] = { ...expected[socket.id], [column]: verdict(COLUMNS[column], { ...socket, method: 'GET' }) }
      let result: string
      if (socket.id === 'events') result = await upgrade(`${API_BASE}/events`, [], { origin: rig.origin, ...who })
      else {
        const path = `/vms/${rig.runner}/console-tickets`
        const answer = await rig.ask(who, 'POST', path, { body: { kind, mode } })
        result = read(answer)
        if (result === 'allowed') result = await upgrade(answer.json.path, ['binary', answer.json.ticket], who)
        // Without a ticket nobody's credential opens one.
        const bare = await upgrade(socket.path.replace('/vms/:id', `${API_BASE}/vms/${rig.runner}`), ['binary'], who)
        expect(bare, `${socket.id} as ${column}`).not.toBe('allowed')
      }
      got[socket.id] = { ...got[socket.id], [column]: result }
    }
  }
  expect(got).toEqual(expected)
}

test('every operation and every WebSocket answers each of seven callers as the table says; what is refused changes nothing, and what is out of reach is answered like what there never was (R01)', {
  timeout: 300_000,
}, async () => {
  const root = { authorization: `Bearer ${await token()}` }
  const rig = await matrixRig(await ready(server()), root)
  const wrong: string[] = []
  const compare = (id: string, column: ColumnId, expected: string, got: string, text = '') => {
    if (got !== expected)
      wrong.push(`${id} as ${COLUMNS[column].name}: ${got} instead of ${expected} ${text.slice(0, 160)}`)
  }

  // Refused calls are all about the same objects, which they must leave alone.
  const kept = new Map<string, Promise<string>>()
  const once = Object.fromEntries(
    Object.entries(rig.make).map(([kind, make]) => [
      kind,
      () => {
        if (!kept.has(kind)) kept.set(kind, make())
        return kept.get(kind)
      },
    ]),
  ) as unknown as Make
  for (const make of Object.values(once)) await make()
  const before = await everything(rig)
  for (const [id, operation] of table) {
    const call = await RECIPES[id](rig, once)
    for (const column of COLUMN_IDS) {
      const expected = verdict(COLUMNS[column], ruleOf(id, operation))
      if (expected === 'allowed') continue
      const answer = await ask(rig, operation, rig.headers[column], call)
      compare(id, column, expected, read(answer), answer.text)
      if (expected !== 'absent' || !/^[0-9a-f-]{36}$/.test(call.params?.id ?? '')) continue
      // The same words for what there never was.
      const missing = await ask(rig, operation, rig.headers[column], {
        ...call,
        params: { ...call.params, id: MISSING_ID },
      })
      expect(missing.status, id).toBe(404)
      expect(missing.json.error.message, id).toBe(answer.json.error.message)
    }
  }
  expect(wrong).toEqual([])
  expect(await everything(rig)).toEqual(before)

  await compareSockets(rig)

  const last = table.filter(([id]) => ENDS.includes(id))
  for (const [id, operation] of [...table.filter(([id]) => !ENDS.includes(id)), ...last]) {
    for (const column of COLUMN_IDS) {
      if (verdict(COLUMNS[column], ruleOf(id, operation)) !== 'allowed') continue
      if (ENDS.includes(id)) await rig.signIn(column)
      const answer = await ask(rig, operation, rig.headers[column], await RECIPES[id](rig, rig.make))
      compare(id, column, UNMADE.includes(id) ? 'absent' : 'allowed', read(answer), answer.text)
    }
  }
  expect(wrong).toEqual([])
})
