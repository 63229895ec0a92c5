import { expect, test } from 'vitest'
import { operations } from '#lib/api/contract.ts'
import { ROUTES } from './routes.ts'

test('the browser knows method and path of every operation exactly as the contract declares them', () => {
  const declared = Object.fromEntries(Object.entries(operations).map(([id, o]) => [id, [o.method, o.path]]))
  expect(ROUTES).toEqual(declared)
})
