/** Roles of one's own over the real store, and a store from before there were projects. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { privilegesOn } from '#lib/auth/privileges.ts'
import { startRig } from '#server/http/test-rig.ts'
import { dataPaths } from '#server/paths.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createAccess } from './access.ts'

test('a custom role takes the place of the built-in one: what that gave is gone, and the last administrator keeps theirs (B13)', async () => {
  const rig = await startRig()
  try {
    const role = {
      ...{ v: 1, id: '01890000-0000-7000-8000-0000000000aa', name: 'looks', description: '' },
      ...{ privileges: ['vm.view'], reach: 'own', createdAt: new Date().toISOString() },
    }
    rig.store.put('role', role.id, role)
    const { user: only } = await rig.person('ada', 'admin')
    await expect(rig.auth.updateUser(only.id, { customRole: role.id })).rejects.toMatchObject({ code: 'last_admin' })
    const { user: other } = await rig.person('bea', 'admin')
    await rig.auth.updateUser(other.id, { customRole: role.id })
    const signedIn = await rig.signInDirectly('bea', 'correct horse battery', '10.0.0.2')
    if ('challenge' in signedIn) throw new Error('asked for a second factor')
    const caller = rig.auth.callerOfSession(signedIn.secret, '10.0.0.2')
    if (caller === null) throw new Error('no session')
    expect(caller.role).toBe('member')
    expect(rig.auth.session(caller).privileges).toEqual(['vm.view'])
    expect([...privilegesOn(caller, { ownerId: other.id, id: 'a' })]).toEqual(['vm.view'])
    expect(privilegesOn(caller, { ownerId: only.id, id: 'b' }).size).toBe(0)
  } finally {
    await rig.stop()
  }
})

test('a store from before there were projects opens, and everybody reaches what they reached (F47)', () => {
  const dir = mkdtempSync(join(tmpdir(), 'gd-old-'))
  try {
    const paths = dataPaths(dir)
    openStore(paths).close()
    const db = new DatabaseSync(paths.stateDb)
    db.exec('PRAGMA user_version = 2')
    const put = db.prepare('INSERT INTO document (collection, key, revision, value) VALUES (?, ?, 1, ?)')
    for (const [id, role] of Object.entries({ ada: 'admin', olga: 'operator', otto: 'operator', vera: 'viewer' }))
      put.run('user', id, JSON.stringify({ v: 1, id, name: id, role, disabled: false, passwordHash: null }))
    db.close()
    const store = openStore(paths)
    const access = createAccess(store)
    const reaches = (userId: string) => access.grantsOf(userId).on({ id: 'vm', ownerId: 'olga' })
    expect(reaches('ada').has('vm.delete')).toBe(true)
    expect(reaches('olga').has('vm.delete')).toBe(true)
    expect(reaches('otto').size).toBe(0)
    expect(reaches('vera').has('vm.view')).toBe(true)
    expect(reaches('vera').has('vm.power')).toBe(false)
    expect(access.grantsOf('otto').on({ kind: 'image', id: 'i', ownerId: 'olga' }).has('image.delete')).toBe(true)
    expect(store.get('user', 'olga')?.value).toMatchObject({
      role: 'operator',
      customRole: null,
      groups: [],
      logins: [],
    })
    access.close()
    store.close()
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
