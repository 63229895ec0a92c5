import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type KeyTransition, planTyping, type Stroke, strokesFor, transitionsOf } from './keymap.ts'
import { KEYBOARD_LAYOUTS, type KeyboardLayout, keyPositions } from './layouts.ts'

const press = (stroke: Stroke) => `${stroke.shift ? 'Shift+' : ''}${stroke.altGr ? 'AltGr+' : ''}${stroke.code}`
const typed = (text: string, layout: KeyboardLayout) => planTyping(text, layout).strokes.map(press).join(' ')

/** A guest: holds modifiers, knows dead keys, composes. Written against transitions, not against the plan. */
function guest(transitions: Iterable<KeyTransition>, layout: KeyboardLayout): string {
  const byPress = new Map([...keyPositions(layout)].map(([c, at]) => [`${at.shift}${at.altGr}${at.code}`, c]))
  const fixed: Record<string, string> = { Space: ' ', Enter: '\n', Tab: '\t' }
  const held = new Set<string>()
  let dead = ''
  let text = ''
  for (const { code, down } of transitions) {
    if (!down) {
      expect(held.delete(code)).toBe(true)
      continue
    }
    expect(held.has(code)).toBe(false)
    held.add(code)
    if (code === 'ShiftLeft' || code === 'AltRight') continue
    const character = fixed[code] ?? byPress.get(`${held.has('ShiftLeft')}${held.has('AltRight')}${code}`) ?? '\ufffd'
    if (/[\u0300-\u036f]/.test(character)) {
      dead = character
      continue
    }
    const spacing: Record<string, string> = {
      '\u0300': '`',
      '\u0301': '´',
      '\u0302': '^',
      '\u0303': '~',
      '\u0308': '¨',
    }
    text += dead === '' ? character : character === ' ' ? spacing[dead] : (character + dead).normalize('NFC')
    dead = ''
  }
  expect(held.size).toBe(0)
  return text
}

describe('typing text as keystrokes', () => {
  test.each(KEYBOARD_LAYOUTS)('every character of ASCII can be typed on %s', (layout) => {
    const ascii = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join('')
    const plan = planTyping(`${ascii}\n\t`, layout)
    expect(plan.missing).toEqual([])
    expect(guest(transitionsOf(plan.strokes), layout)).toBe(`${ascii}\n\t`)
  })

  test.each(KEYBOARD_LAYOUTS)(
    'a guest with layout %s reads back what was to be typed, less what is reported missing',
    (layout) => {
      const character = fc.oneof(
        fc.integer({ min: 32, max: 126 }).map((n) => String.fromCharCode(n)),
        fc.integer({ min: 0xa0, max: 0x17f }).map((n) => String.fromCharCode(n)),
        fc.constantFrom('\n', '\t', '€', '日', '😀', 'ñ', 'ß'),
      )
      fc.assert(
        fc.property(fc.array(character, { maxLength: 40 }), (characters) => {
          const text = characters.join('').normalize('NFC')
          const plan = planTyping(text, layout)
          const expected = [...text].filter((c) => !plan.missing.includes(c)).join('')
          expect(guest(transitionsOf(plan.strokes), layout)).toBe(expected)
        }),
      )
    },
  )

  test('keys are positions: the same letter is elsewhere on other keyboards', () => {
    expect(typed('azy', 'us')).toBe('KeyA KeyZ KeyY')
    expect(typed('azy', 'de')).toBe('KeyA KeyY KeyZ')
    expect(typed('azy', 'fr')).toBe('KeyQ KeyW KeyY')
  })

  test.each([
    ['us', '@|\\', 'Shift+Digit2 Shift+Backslash Backslash'],
    ['gb', '@#£€', 'Shift+Quote Backslash Shift+Digit3 AltGr+Digit4'],
    ['de', '@{ß?', 'AltGr+KeyQ AltGr+Digit7 Minus Shift+Minus'],
    ['fr', '1@.m', 'Shift+Digit1 AltGr+Digit0 Shift+Comma Semicolon'],
    ['es', 'ñ@/', 'Semicolon AltGr+Digit2 Shift+Digit7'],
    ['jp', '@"=_|', 'BracketLeft Shift+Digit2 Shift+Minus Shift+IntlRo Shift+IntlYen'],
    ['se', 'å$<', 'BracketLeft AltGr+Digit4 IntlBackslash'],
  ] as const)('%s: %s', (layout, text, presses) => {
    expect(typed(text, layout)).toBe(presses)
  })

  test('what only a dead key gives is composed', () => {
    expect(typed('é', 'de')).toBe('Equal KeyE')
    expect(typed('É', 'es')).toBe('Quote Shift+KeyE')
    expect(typed('ê', 'fr')).toBe('BracketLeft KeyE')
    expect(typed('ñ', 'se')).toBe('AltGr+BracketRight KeyN')
    expect(typed('^', 'de')).toBe('Backquote Space')
    expect(typed('~', 'se')).toBe('AltGr+BracketRight Space')
  })

  test('a character that came as letter and accent is one character', () => {
    expect(typed('e\u0301', 'fr')).toBe('Digit2')
  })

  test('what the layout lacks is named once and left out', () => {
    const plan = planTyping('a日b日é', 'us')
    expect(plan.missing).toEqual(['日', 'é'])
    expect(plan.strokes.map((s) => s.code)).toEqual(['KeyA', 'KeyB'])
    expect(strokesFor('\u0301', 'de')).toBeNull()
    expect(planTyping('\u0007', 'us').missing).toEqual(['\u0007'])
  })

  test('line ends of every kind are one Enter', () => {
    expect(typed('a\r\nb\rc\n', 'us')).toBe('KeyA Enter KeyB Enter KeyC Enter')
  })

  test('a server that knows no positions gets the American keysym of the key', () => {
    expect(planTyping('z', 'de').strokes[0]).toMatchObject({ code: 'KeyY', keysym: 'y'.charCodeAt(0) })
    expect(planTyping('<', 'de').strokes[0]).toMatchObject({ code: 'IntlBackslash', keysym: 0x3c })
  })

  test('Shift is held through a run of capitals', () => {
    const codes = [...transitionsOf(planTyping('ABc', 'us').strokes)].map((t) => `${t.down ? '+' : '-'}${t.code}`)
    expect(codes).toEqual(['+ShiftLeft', '+KeyA', '-KeyA', '+KeyB', '-KeyB', '-ShiftLeft', '+KeyC', '-KeyC'])
  })
})
