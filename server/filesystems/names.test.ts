import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nameToStep, shownText, stepsOf, stepToName } from './names.ts'

test('every name on a disk comes back from its place in a path, byte for byte', () => {
  const name = fc
    .uint8Array({ minLength: 1, maxLength: 255 })
    .map((bytes) => Buffer.from(bytes).map((b) => (b === 0 || b === 0x2f ? 1 : b)))
  fc.assert(
    fc.property(name, (bytes) => {
      const step = nameToStep(Buffer.from(bytes))
      expect(step).not.toMatch(/[/\p{Cc}]/u)
      expect(['.', '..']).not.toContain(step)
      expect(stepToName(step)?.equals(bytes)).toBe(true)
    }),
  )
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
      const bytes = Buffer.from(text.replace(/[/\0]/g, '_'))
      expect(stepToName(nameToStep(bytes))?.equals(bytes)).toBe(true)
    }),
  )
})

test('names for people stand as they are in a path; percent signs and what is unseen are written out', () => {
  expect(nameToStep(Buffer.from('Grüße 1.txt'))).toBe('Grüße 1.txt')
  expect(nameToStep(Buffer.from('100%'))).toBe('100%25')
  expect(nameToStep(Buffer.from('a\nb'))).toBe('a%0Ab')
  expect(nameToStep(Buffer.from('..'))).toBe('%2E%2E')
  expect(nameToStep(Buffer.from([0xff, 0x41]))).toBe('%FFA')
})

test('a path with what no name can be is none', () => {
  for (const path of ['/a/../b', '/./a', '/%zz', `/${'a/'.repeat(200)}`]) expect(stepsOf(path)).toBeNull()
  expect(stepsOf('/')).toEqual([])
  expect(stepsOf('//etc//os-release/')?.map(String)).toEqual(['etc', 'os-release'])
})

test('nothing that is shown turns the direction of writing, ends a line or starts an escape', () => {
  const shown = shownText(Buffer.from('a\u202egpj.exe\n\x1b[31m\u2066\u200b\x00'))
  expect(shown).toBe(`a${'\ufffd'}gpj.exe${'\ufffd'.repeat(2)}[31m${'\ufffd'.repeat(3)}`)
  expect(shownText('x'.repeat(5000))).toHaveLength(1024)
})
