import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Catalogue, Messages } from './define.ts'
import { formatNodes, parseMessage, type Values } from './icu.ts'

const say = (text: string, values: Values = {}, locale = 'en') =>
  formatNodes<string>(parseMessage(text), locale, values, (name, children) => `[${name}:${children.join('')}]`).join('')

test('arguments take text and numbers as they are; number ones are grouped', () => {
  expect(say('{name} did not start', { name: 'web-1' })).toBe('web-1 did not start')
  expect(say('pid {pid} of {all, number}', { pid: 40_001, all: 40_001 })).toBe('pid 40001 of 40,001')
})

test('plurals choose the exact case first, then the rule of the locale, then other', () => {
  const text = '{count, plural, =0 {No jobs} one {# job} other {# jobs}}'
  expect([0, 1, 2, 1200].map((count) => say(text, { count }))).toEqual(['No jobs', '1 job', '2 jobs', '1,200 jobs'])
  expect(say('{n, plural, one {jeden} few {# kilka} other {# inne}}', { n: 3 }, 'pl')).toBe('3 kilka')
})

test('ordinals and selections nest, and # stays the number of the plural around it', () => {
  expect(say('{n, selectordinal, one {#st} two {#nd} few {#rd} other {#th}}', { n: 22 })).toBe('22nd')
  expect(say('{n, plural, other {# {kind, select, a {apples (#)} other {things}}}}', { n: 2, kind: 'a' })).toBe(
    '2 apples (2)',
  )
  expect(say('{kind, select, a {A} other {neither}}', { kind: 'zzz' })).toBe('neither')
})

test('tags wrap what they contain', () => {
  expect(say('for <time>{n} s</time>', { n: 3 })).toBe('for [time:3 s]')
})

test('# outside a plural, apostrophes and lone angle brackets are ordinary text', () => {
  expect(say("file's #1 < 2")).toBe("file's #1 < 2")
})

test('a missing value is visible, not fatal', () => {
  expect(say('{name} is gone')).toBe('{name} is gone')
})

test.each(['{', '{name', '{n, plural, one {x}}', '{n, date}', 'a } b', '<b>x', '<b>x</i>', '{n, plural, other {x}'])(
  'syntax outside the subset is refused: %s',
  (text) => {
    expect(() => parseMessage(text)).toThrow(SyntaxError)
  },
)

const directory = new URL('./messages/en/', import.meta.url)
const files = readdirSync(directory).filter((name) => /^[a-z-]+\.ts$/.test(name))

function* texts(messages: Messages, path: string): Generator<[string, string]> {
  for (const [key, value] of Object.entries(messages))
    if (typeof value === 'string') yield [`${path}.${key}`, value]
    else yield* texts(value, `${path}.${key}`)
}

test('every message of every namespace parses, and none says please or successfully', async () => {
  let count = 0
  const namespaces = new Set<string>()
  for (const file of files) {
    const module = (await import(new URL(file, directory).href)) as Record<string, Catalogue<Messages>>
    for (const catalogue of Object.values(module)) {
      expect(namespaces, `${catalogue.namespace} is declared once`).not.toContain(catalogue.namespace)
      namespaces.add(catalogue.namespace)
      for (const [path, text] of texts(catalogue.messages, catalogue.namespace)) {
        expect(() => parseMessage(text), path).not.toThrow()
        expect(text, path).not.toMatch(/\b(please|successfully)\b/i)
        count += 1
      }
    }
  }
  expect(count).toBeGreaterThan(300)
})
