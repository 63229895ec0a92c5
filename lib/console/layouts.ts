/**
 * Keyboard layouts a guest may use, as far as typing text needs them: what each key gives plain, with Shift, with AltGr
 * and with both. Key names are those of `KeyboardEvent.code` (positions, not letters). A combining character (U+0300 to
 * U+036F) stands for a dead key. Where Windows and xkeyboard-config differ (AltGr+2 on a French keyboard is a dead key
 * in one, a plain tilde in the other) the latter is followed.
 */
export const KEYBOARD_LAYOUTS = ['us', 'gb', 'de', 'fr', 'es', 'jp', 'se'] as const
export type KeyboardLayout = (typeof KEYBOARD_LAYOUTS)[number]

const ROWS = [
  'Backquote Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal IntlYen',
  'KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight',
  'KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backslash',
  'IntlBackslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash IntlRo',
].map((row) => row.split(' '))

const GRAVE = '\u0300'
const ACUTE = '\u0301'
const CIRCUMFLEX = '\u0302'
const TILDE = '\u0303'
const DIAERESIS = '\u0308'
/** A key, or a level of one, that gives nothing. */
const NONE = '\u2007'

/** One row per line, keys in the order of `ROWS`, each with up to four characters. */
const TABLES: Readonly<Record<KeyboardLayout, readonly [string, string, string, string]>> = {
  us: [
    '`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) -_ =+',
    'qQ wW eE rR tT yY uU iI oO pP [{ ]}',
    'aA sS dD fF gG hH jJ kK lL ;: \'" \\|',
    `${NONE} zZ xX cC vV bB nN mM ,< .> /?`,
  ],
  gb: [
    '`¬ 1! 2" 3£ 4$€ 5% 6^ 7& 8* 9( 0) -_ =+',
    'qQ wW eE rR tT yY uU iI oO pP [{ ]}',
    "aA sS dD fF gG hH jJ kK lL ;: '@ #~",
    '\\| zZ xX cC vV bB nN mM ,< .> /?',
  ],
  de: [
    `${CIRCUMFLEX}° 1! 2"² 3§³ 4$ 5% 6& 7/{ 8([ 9)] 0=} ß?\\ ${ACUTE}${GRAVE}`,
    'qQ@ wW eE€ rR tT zZ uU iI oO pP üÜ +*~',
    "aA sS dD fF gG hH jJ kK lL öÖ äÄ #'",
    '<>| yY xX cC vV bB nN mMµ ,; .: -_',
  ],
  fr: [
    '² &1 é2~ "3# \'4{ (5[ -6| è7` _8\\ ç9^ à0@ )°] =+}',
    `aA zZ eE€ rR tT yY uU iI oO pP ${CIRCUMFLEX}${DIAERESIS} $£¤`,
    'qQ sS dD fF gG hH jJ kK lL mM ù% *µ',
    '<> wW xX cC vV bB nN ,? ;. :/ !§',
  ],
  es: [
    'ºª\\ 1!| 2"@ 3·# 4$~ 5% 6&¬ 7/ 8( 9) 0= \'? ¡¿',
    `qQ wW eE€ rR tT yY uU iI oO pP ${GRAVE}${CIRCUMFLEX}[ +*]`,
    `aA sS dD fF gG hH jJ kK lL ñÑ ${ACUTE}${DIAERESIS}{ çÇ}`,
    '<> zZ xX cC vV bB nN mM ,; .: -_',
  ],
  jp: [
    `${NONE} 1! 2" 3# 4$ 5% 6& 7' 8( 9) 0 -= ^~ ${NONE}|`,
    'qQ wW eE rR tT yY uU iI oO pP @` [{',
    'aA sS dD fF gG hH jJ kK lL ;+ :* ]}',
    `${NONE} zZ xX cC vV bB nN mM ,< .> /? \\_`,
  ],
  se: [
    `§½ 1! 2"@ 3#£ 4¤$ 5% 6& 7/{ 8([ 9)] 0=} +?\\ ${ACUTE}${GRAVE}`,
    `qQ wW eE€ rR tT yY uU iI oO pP åÅ ${DIAERESIS}${CIRCUMFLEX}${TILDE}`,
    "aA sS dD fF gG hH jJ kK lL öÖ äÄ '*",
    '<>| zZ xX cC vV bB nN mMµ ,; .: -_',
  ],
}

export interface KeyPosition {
  readonly code: string
  readonly shift: boolean
  readonly altGr: boolean
}

const built = new Map<KeyboardLayout, ReadonlyMap<string, KeyPosition>>()

/** Which key gives a character (or, for a combining one, the dead key) on a layout; the least modifiers win. */
export function keyPositions(layout: KeyboardLayout): ReadonlyMap<string, KeyPosition> {
  const known = built.get(layout)
  if (known !== undefined) return known
  const byLevel = new Map<string, KeyPosition & { readonly level: number }>()
  for (const [rowIndex, row] of TABLES[layout].entries()) {
    for (const [keyIndex, key] of row.split(' ').entries()) {
      const code = ROWS[rowIndex]?.[keyIndex]
      if (code === undefined) continue
      for (const [level, character] of [...key].entries()) {
        const other = byLevel.get(character)
        if (character === NONE || (other !== undefined && other.level <= level)) continue
        byLevel.set(character, { code, shift: level % 2 === 1, altGr: level >= 2, level })
      }
    }
  }
  const positions = new Map<string, KeyPosition>()
  for (const [character, { code, shift, altGr }] of byLevel) positions.set(character, { code, shift, altGr })
  built.set(layout, positions)
  return positions
}
