import { expect, test } from 'vitest'
import { operations } from '#lib/api/contract.ts'
import { type Authority, coversVm, may, mayCall, PRIVILEGES, ROLE_PRIVILEGES } from './privileges.ts'

const admin: Authority = { role: 'admin', via: 'session' }
const token = (scope: Authority['scope']): Authority => ({ role: 'admin', via: 'token', scope: scope ?? null })

test('a role may what its table says', () => {
  for (const role of ['viewer', 'operator', 'admin'] as const) {
    for (const privilege of PRIVILEGES) {
      expect(may({ role, via: 'session' }, privilege)).toBe(ROLE_PRIVILEGES[role].includes(privilege))
    }
  }
})

test('a token may what is in its scope and its owner may, and never more', () => {
  const looks = token({ privileges: ['vm.view'], vmIds: null })
  expect(PRIVILEGES.filter((privilege) => may(looks, privilege))).toEqual(['vm.view'])
  const viewer: Authority = {
    role: 'viewer',
    via: 'token',
    scope: { privileges: ['vm.view', 'vm.power'], vmIds: null },
  }
  expect(PRIVILEGES.filter((privilege) => may(viewer, privilege))).toEqual(['vm.view'])
})

test('a token for some VMs creates none and reaches no other', () => {
  const some = token({ privileges: ['vm.create', 'vm.power'], vmIds: ['a'] })
  expect(may(some, 'vm.create')).toBe(false)
  expect(may(some, 'vm.power')).toBe(true)
  expect([coversVm(some, 'a'), coversVm(some, 'b'), coversVm(some, undefined), coversVm(admin, undefined)]).toEqual([
    true,
    false,
    false,
    true,
  ])
})

test('a narrowed token reads what needs no privilege, and changes none of it', () => {
  const looks = token({ privileges: ['vm.view'], vmIds: null })
  expect(mayCall(looks, { method: 'GET', privilege: 'session' })).toBe(true)
  expect(mayCall(looks, { method: 'POST', privilege: 'session' })).toBe(false)
  expect(mayCall(token(null), { method: 'POST', privilege: 'session' })).toBe(true)
})

test('an account is a person’s own, and who still has to set up a second factor may nothing else', () => {
  expect(may(token(null), 'account')).toBe(false)
  const enrolling: Authority = { ...admin, enrolling: true }
  expect(may(enrolling, 'account')).toBe(true)
  expect(may(enrolling, 'session')).toBe(false)
  expect(PRIVILEGES.some((privilege) => may(enrolling, privilege))).toBe(false)
})

test('whatever shows a screen of a guest takes the privilege to watch its console', () => {
  const pictures = Object.entries(operations).filter(
    ([, operation]) => 'raw' in operation && operation.raw === 'image/png',
  )
  expect(pictures.map(([id, { privilege }]) => [id, privilege])).toEqual(
    ['vmScreenshot', 'snapshotScreenshot', 'backupScreenshot'].map((id) => [id, 'vm.console.view']),
  )
})
