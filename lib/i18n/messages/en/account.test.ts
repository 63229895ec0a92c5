import { expect, test } from 'vitest'
import { PRIVILEGES } from '#lib/auth/privileges.ts'
import { account } from './account.ts'

test('every privilege has words for whoever limits a token to it', () => {
  const words = Object.keys(account.messages.privilege)
  expect(PRIVILEGES.map((privilege) => privilege.replaceAll('.', '_')).filter((key) => !words.includes(key))).toEqual(
    [],
  )
})
