import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Vm } from '../schema/vm-state.ts'
import { formatSearch, matchesSearch, parseSearch, SEARCH_KEYS, toggleFilter } from './search.ts'

type Facts = Partial<Pick<Vm, 'name' | 'state' | 'stateDetail' | 'pending'>> & {
  tags?: string[]
  owner?: string
  project?: string
  addresses?: string[]
  actual?: 'kvm' | 'tcg' | null
  guest?: string
}
/** Only what the search reads. */
const vm = ({ name = 'web-1', state = 'running', tags = [], owner = 'mara', ...rest }: Facts = {}) =>
  ({
    name,
    state,
    stateDetail: rest.stateDetail ?? null,
    pending: rest.pending ?? [],
    owner: { id: 'x', name: owner },
    ...(rest.project !== undefined && { project: { id: 'p', name: rest.project } }),
    accelerator: { actual: rest.actual === undefined ? 'tcg' : rest.actual },
    spec: { description: 'The shop', tags, guest: rest.guest ?? 'linux' },
    live: { addresses: rest.addresses ?? [] },
  }) as unknown as Vm

const finds = (text: string, facts?: Facts, me: string | null = 'mara') =>
  matchesSearch(vm(facts), parseSearch(text), me)

test('words and filters are told apart; quotes keep words together; minus excludes', () => {
  expect(parseSearch('shop state:running -tag:"old things" "two words"')).toEqual([
    { key: null, value: 'shop', negated: false },
    { key: 'state', value: 'running', negated: false },
    { key: 'tag', value: 'old things', negated: true },
    { key: null, value: 'two words', negated: false },
  ])
})

test('an unknown key is a word, an open quote ends with the line, an empty filter vanishes', () => {
  expect(parseSearch('colour:red')).toEqual([{ key: null, value: 'colour:red', negated: false }])
  expect(parseSearch('tag:"open end')).toEqual([{ key: 'tag', value: 'open end', negated: false }])
  expect(parseSearch('   ""  ')).toEqual([])
})

test('every word must be found somewhere: name, description, tag, owner or address', () => {
  expect(finds('WEB shop')).toBe(true)
  expect(finds('web nothing')).toBe(false)
  expect(finds('10.0.2', { addresses: ['10.0.2.15'] })).toBe(true)
  expect(finds('')).toBe(true)
})

test('several states mean any of them, several tags mean all of them', () => {
  expect(finds('state:off state:running')).toBe(true)
  expect(finds('state:off state:crashed')).toBe(false)
  expect(finds('tag:lab tag:db', { tags: ['lab', 'db'] })).toBe(true)
  expect(finds('tag:lab tag:db', { tags: ['lab'] })).toBe(false)
})

test('project: is one by name, and none is what belongs to no project', () => {
  expect(finds('project:lab', { project: 'Lab' })).toBe(true)
  expect(finds('project:lab', { project: 'Lab 2' })).toBe(false)
  expect(finds('project:"lab 2" owner:mara', { project: 'Lab 2' })).toBe(true)
  expect(finds('project:none')).toBe(true)
  expect(finds('project:none', { project: 'Lab' })).toBe(false)
})

test('owner:me is the reader, and nobody when nobody is signed in', () => {
  expect(finds('owner:me')).toBe(true)
  expect(finds('owner:me', { owner: 'jon' })).toBe(false)
  expect(finds('owner:me', {}, null)).toBe(false)
})

test('needs:you finds what waits for a person', () => {
  expect(finds('needs:you')).toBe(false)
  expect(finds('needs:you', { state: 'crashed' })).toBe(true)
  expect(finds('needs:you', { state: 'paused' })).toBe(false)
  expect(finds('needs:you', { state: 'paused', stateDetail: 'The disk is full.' })).toBe(true)
})

test('excluded things are left out', () => {
  expect(finds('-state:running')).toBe(false)
  expect(finds('-tag:lab web')).toBe(true)
  expect(finds('accel:none', { actual: null })).toBe(true)
})

test('a filter is put in once and taken out again', () => {
  const once = toggleFilter('shop', 'state', 'Running')
  expect(once).toBe('shop state:running')
  expect(toggleFilter(once, 'state', 'running')).toBe('shop')
})

test('what is written for terms parses to the same terms', () => {
  const value = fc
    .string({ minLength: 1, maxLength: 12 })
    .map((text) => text.replaceAll('"', '').trim().toLowerCase())
    .filter((text) => text !== '')
  const term = fc.record({ key: fc.constantFrom(null, ...SEARCH_KEYS), value, negated: fc.boolean() })
  void fc.assert(
    fc.property(fc.array(term, { maxLength: 6 }), (terms) => {
      expect(parseSearch(formatSearch(terms))).toEqual(terms)
    }),
  )
})

test('any text can be parsed', () => {
  void fc.assert(fc.property(fc.string(), (text) => parseSearch(text).every((term) => term.value !== '')))
})
