import { expect, test } from 'vitest'
import { linesOf, rolesOf } from './mapping.ts'

test('lines become roles by group and back, also where the group is a DN', () => {
  const roles = rolesOf('ops = operator\n\n  cn=chiefs,dc=lab=admin ')
  expect(roles).toEqual([
    { group: 'ops', role: 'operator' },
    { group: 'cn=chiefs,dc=lab', role: 'admin' },
  ])
  expect(rolesOf(linesOf(roles as never))).toEqual(roles)
  expect(rolesOf('')).toEqual([])
})

test.each([
  ['ops', 1],
  ['ops = operator\nlab = boss', 2],
  [' = viewer', 1],
])('%j is wrong in line %i', (text, line) => {
  expect(rolesOf(text)).toBe(line)
})
