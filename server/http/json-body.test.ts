import { expect, test } from 'vitest'
import { parseJsonBody } from '#server/http/json-body.ts'

const codeOf = (text: string) => {
  try {
    parseJsonBody(text)
    return null
  } catch (error) {
    return error instanceof Error && 'code' in error ? [error.code, 'field' in error ? error.field : undefined] : error
  }
}

test('ordinary JSON passes unchanged', () => {
  expect(parseJsonBody('{"a":[1,{"b":null}],"prototypes":"constructor"}')).toEqual({
    a: [1, { b: null }],
    prototypes: 'constructor',
  })
})

test.each([
  ['{"__proto__":1}', '__proto__'],
  ['{"a":{"constructor":1}}', 'a.constructor'],
  ['[{"prototype":{}}]', '0.prototype'],
])('%s names the reserved key', (text, field) => {
  expect(codeOf(text)).toEqual(['unknown_field', field])
})

test.each(['', '{', 'undefined', "{'a':1}", '{"a":1}x'])('%j is not JSON', (text) => {
  expect(codeOf(text)).toEqual(['bad_input', undefined])
})

test('too deep nesting is refused, as deep as anything real passes', () => {
  expect(codeOf('['.repeat(100_000) + ']'.repeat(100_000))).toEqual(['bad_input', undefined])
  expect(codeOf('['.repeat(30) + ']'.repeat(30))).toBeNull()
})
