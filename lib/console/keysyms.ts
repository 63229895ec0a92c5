/** X11 key symbols (keysymdef.h) for what the console sends. */

const NAMED: Readonly<Record<string, number>> = {
  Backspace: 0xff08,
  Tab: 0xff09,
  Enter: 0xff0d,
  Pause: 0xff13,
  Escape: 0xff1b,
  PrintScreen: 0xff61,
  ContextMenu: 0xff67,
  Delete: 0xffff,
  ShiftLeft: 0xffe1,
  ShiftRight: 0xffe2,
  ControlLeft: 0xffe3,
  ControlRight: 0xffe4,
  AltLeft: 0xffe9,
  /** ISO_Level3_Shift: the AltGr key. */
  AltRight: 0xfe03,
  MetaLeft: 0xffeb,
  MetaRight: 0xffec,
  Space: 0x20,
  ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`F${i + 1}`, 0xffbe + i])),
}

/** Latin-1 characters are their own keysyms; the rest of Unicode has 0x01000000 added. */
export function keysymOfCharacter(character: string): number {
  const point = character.codePointAt(0) ?? 0
  return point < 0x100 ? point : 0x0100_0000 + point
}

/** Of a key that gives no character; throws for a name that is not known here. */
export function keysymOfKey(code: string): number {
  const keysym = NAMED[code]
  if (keysym === undefined) throw new RangeError(`no keysym for ${code}`)
  return keysym
}
