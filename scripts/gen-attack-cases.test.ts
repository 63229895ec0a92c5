/** The list of attacks and faults keeps up with the tests, and no case is without one unless that is said. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SECTIONS, UNTESTED } from './attack-cases/cases.ts'
import { attackCasesDoc, idsOf, namedTests } from './gen-attack-cases.ts'

const tests = namedTests()
const known = SECTIONS.flatMap(({ cases }) => Object.keys(cases))
const named = new Set(tests.flatMap(({ ids }) => ids))

test('docs/attack-cases.md is what the titles of the tests say', () => {
  expect(readFileSync(join(import.meta.dirname, '../docs/attack-cases.md'), 'utf8')).toBe(attackCasesDoc(tests))
})

test('every case has a test, or stands among those that have none, with the reason', () => {
  expect(known.filter((id) => !named.has(id) && !(id in UNTESTED))).toEqual([])
  expect(Object.keys(UNTESTED).filter((id) => !known.includes(id))).toEqual([])
})

test('every id in a title is a case', () => {
  expect([...named].filter((id) => !known.includes(id))).toEqual([])
})

test('ids count at the end of a title, and nowhere else', () => {
  expect(idsOf(`it('says so (I10, F04)', () => {})`)).toEqual(['I10', 'F04'])
  expect(idsOf('// as (I10) says')).toEqual([])
  expect(idsOf(`'Mozilla/5.0 (X11; Linux x86_64)'`)).toEqual([])
})
