import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAccess } from '#server/access/access.ts'
import { dataPaths } from '#server/paths.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createPeople, type People } from './people.ts'

let dir: string
let store: ReturnType<typeof openStore>
let people: People
let changes = 0

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-people-'))
  store = openStore(dataPaths(dir))
  changes = 0
  people = createPeople(store, createAccess(store), () => {
    changes += 1
  })
})
afterEach(() => {
  people.close()
  store.close()
  rmSync(dir, { recursive: true, force: true })
})

const put = (user: object) => store.put('user', 'u', { v: 1, id: 'u', name: 'ada', disabled: false, ...user })

test('whoever has a custom role counts as a member wherever the built-in role alone is looked at', () => {
  put({ role: 'admin' })
  expect(people.person('u')?.role).toBe('admin')
  put({ role: 'admin', customRole: '01890000-0000-7000-8000-0000000000aa' })
  expect(people.person('u')?.role).toBe('member')
})

test('who is disabled, gone or unreadable may nothing, and keeps a name as long as there is one', () => {
  put({ role: 'operator', disabled: true })
  expect([people.person('u'), people.name('u')]).toEqual([null, 'ada'])
  put({ role: 'emperor' })
  expect(people.person('u')).toBeNull()
  store.delete('user', 'u')
  expect([people.person('u'), people.name('u')]).toEqual([null, 'unknown'])
})

test('a new name shows at once, and whoever keeps names is told', () => {
  put({ role: 'viewer' })
  expect(people.name('u')).toBe('ada')
  put({ role: 'viewer', name: 'bea' })
  expect(people.name('u')).toBe('bea')
  expect(changes).toBe(2)
})
