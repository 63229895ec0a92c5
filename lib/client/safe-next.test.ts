import { expect, test } from 'vitest'
import { safeNext } from './safe-next.ts'

test('a path of this site is kept with its query', () => {
  expect(safeNext('/vms?q=state%3Arunning')).toBe('/vms?q=state%3Arunning')
})

test.each([
  null,
  '',
  'vms',
  'https://evil.example/',
  '//evil.example/',
  '/\\evil.example',
  'javascript:alert(1)',
  '/\t/evil.example',
])('anything that could leave the site (%j) leads home', (next) => {
  expect(safeNext(next)).toBe('/')
})

test('the sign-in page never leads to itself', () => {
  expect(safeNext('/login?next=/vms')).toBe('/')
  expect(safeNext('/x/../setup')).toBe('/')
})
