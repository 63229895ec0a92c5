/** From text to keystrokes on a guest's keyboard. Pure. */
import { keysymOfCharacter, keysymOfKey } from './keysyms.ts'
import { type KeyboardLayout, type KeyPosition, keyPositions } from './layouts.ts'

export interface Stroke extends KeyPosition {
  /**
   * For servers that take no key positions: what an American keyboard has on this key, because QEMU without `-k`
   * turns it back into the same position.
   */
  readonly keysym: number
}

export interface TypingPlan {
  readonly strokes: readonly Stroke[]
  /** Characters the layout cannot give, each once, in order of appearance; they are left out. */
  readonly missing: readonly string[]
}

const SPACE: Stroke = { code: 'Space', shift: false, altGr: false, keysym: 0x20 }
const CONTROL: ReadonlyMap<string, Stroke> = new Map([
  [' ', SPACE],
  ['\n', { code: 'Enter', shift: false, altGr: false, keysym: keysymOfKey('Enter') }],
  ['\t', { code: 'Tab', shift: false, altGr: false, keysym: keysymOfKey('Tab') }],
])
/** Accents that stand alone: their dead key and a space. */
const SPACING_OF_DEAD: ReadonlyMap<string, string> = new Map([
  ['`', '\u0300'],
  ['´', '\u0301'],
  ['^', '\u0302'],
  ['~', '\u0303'],
  ['¨', '\u0308'],
])

const americanKeysyms = new Map(
  [...keyPositions('us')].filter(([, at]) => !at.shift && !at.altGr).map(([c, at]) => [at.code, keysymOfCharacter(c)]),
)
/** Keys an American keyboard lacks, as QEMU's own keymap has them. */
const FALLBACK_KEYSYMS: Readonly<Record<string, number>> = { IntlBackslash: 0x3c, IntlRo: 0x5c, IntlYen: 0xa5 }

function strokeAt(position: KeyPosition): Stroke {
  return { ...position, keysym: americanKeysyms.get(position.code) ?? FALLBACK_KEYSYMS[position.code] ?? 0 }
}

/** Keystrokes for one character; null when the layout cannot give it. */
export function strokesFor(character: string, layout: KeyboardLayout): readonly Stroke[] | null {
  const control = CONTROL.get(character)
  if (control !== undefined) return [control]
  const keys = keyPositions(layout)
  const direct = isCombining(character) ? undefined : keys.get(character)
  if (direct !== undefined) return [strokeAt(direct)]
  const spacing = SPACING_OF_DEAD.get(character)
  const lone = spacing === undefined ? undefined : keys.get(spacing)
  if (lone !== undefined) return [strokeAt(lone), SPACE]
  // é is ´ then e where no key has é itself.
  const [base, mark, ...rest] = [...character.normalize('NFD')]
  if (base === undefined || mark === undefined || rest.length > 0) return null
  const dead = isCombining(mark) ? keys.get(mark) : undefined
  const letter = keys.get(base)
  return dead === undefined || letter === undefined ? null : [strokeAt(dead), strokeAt(letter)]
}

/** Line ends of every kind become Enter; letters and their accents are joined first. */
export function planTyping(text: string, layout: KeyboardLayout): TypingPlan {
  const strokes: Stroke[] = []
  const missing = new Set<string>()
  for (const character of text.replace(/\r\n?/g, '\n').normalize('NFC')) {
    const found = strokesFor(character, layout)
    if (found === null) missing.add(character)
    else strokes.push(...found)
  }
  return { strokes, missing: [...missing] }
}

/** A key going down or up. */
export interface KeyTransition {
  readonly code: string
  readonly keysym: number
  readonly down: boolean
}

const SHIFT = { code: 'ShiftLeft', keysym: keysymOfKey('ShiftLeft') }
const ALT_GR = { code: 'AltRight', keysym: keysymOfKey('AltRight') }

/**
 * Strokes as key transitions. Modifiers stay down between strokes that share them, so that guests have fewer events to
 * take; all are up at the end.
 */
export function* transitionsOf(strokes: Iterable<Stroke>): Generator<KeyTransition & { readonly strokesDone: number }> {
  let shift = false
  let altGr = false
  let strokesDone = 0
  for (const stroke of strokes) {
    if (shift !== stroke.shift) yield { ...SHIFT, down: stroke.shift, strokesDone }
    if (altGr !== stroke.altGr) yield { ...ALT_GR, down: stroke.altGr, strokesDone }
    shift = stroke.shift
    altGr = stroke.altGr
    yield { code: stroke.code, keysym: stroke.keysym, down: true, strokesDone }
    strokesDone++
    yield { code: stroke.code, keysym: stroke.keysym, down: false, strokesDone }
  }
  if (altGr) yield { ...ALT_GR, down: false, strokesDone }
  if (shift) yield { ...SHIFT, down: false, strokesDone }
}

function isCombining(character: string): boolean {
  return character >= '\u0300' && character <= '\u036f'
}
