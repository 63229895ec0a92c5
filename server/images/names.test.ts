import { expect, it } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { cleanImageName } from './names.ts'

it.each([
  ['debian.iso', 'debian.iso'],
  ['../../etc/passwd', 'passwd'],
  ['/abs/x.iso', 'x.iso'],
  ['..\\..\\x.iso', 'x.iso'],
  ['C:\\Users\\me\\win.iso', 'win.iso'],
  ['  padded.iso ', 'padded.iso'],
  ['-rf', '-rf'],
  ['Образ диска.qcow2', 'Образ диска.qcow2'],
  ['イメージ.iso', 'イメージ.iso'],
  ['e\u0301.iso', '\u00e9.iso'],
])('only the last path part of %s stays', (raw, clean) => {
  expect(cleanImageName(raw)).toBe(clean)
})

it.each([
  ['nothing', ''],
  ['blanks', '   '],
  ['a dot', '.'],
  ['two dots', 'x/..'],
  ['a NUL', 'a\0b.iso'],
  ['a line feed', 'a\nb.iso'],
  ['an escape', 'a\x1b[31m.iso'],
  ['a right-to-left override', 'exe\u202eosi.iso'],
  ['a zero-width space', 'a\u200bb.iso'],
  ['a lone surrogate', 'a\ud800.iso'],
  ['256 bytes', `${'a'.repeat(252)}.iso`],
  ['86 three-byte letters', '字'.repeat(86)],
])('a name with %s is refused with the field at fault', (_, raw) => {
  expect(() => cleanImageName(raw)).toThrow(EngineError)
  try {
    cleanImageName(raw)
  } catch (error) {
    expect(error).toMatchObject({ code: 'bad_input', field: 'name' })
  }
})
