import { expect, test } from 'vitest'
import { PRIVILEGES } from '#lib/auth/privileges.ts'
import { roles } from '#lib/i18n/messages/en/roles.ts'
import { FOR_ADMINISTRATORS, VERB_GROUPS } from './verb-groups.ts'

test('every privilege that a role of one’s own may have can be chosen once and is explained', () => {
  const shown = VERB_GROUPS.flatMap(({ verbs }) => [...verbs])
  const wanted = PRIVILEGES.filter((verb) => !FOR_ADMINISTRATORS.some((kept) => kept === verb))
  expect([...shown].sort()).toEqual([...wanted].sort())
  const words = Object.keys(roles.messages.means)
  expect(wanted.map((verb) => verb.replaceAll('.', '_')).filter((key) => !words.includes(key))).toEqual([])
})
