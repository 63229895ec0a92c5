/** Names that somebody else gave: how they are shown, and how they stand in an address. Pure. */
import { type FsNode, MAX_DEPTH } from './types.ts'

/** Control and format characters: line ends, escapes, directions of writing, nothing that is seen. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
const MAX_SHOWN = 1024

/** For people: what cannot be shown, or would change how the rest is shown, becomes a replacement character. */
export function shownText(bytes: Buffer | string, max = MAX_SHOWN): string {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('utf8')
  return text.replace(UNSEEN, '\ufffd').slice(0, max)
}

/** What a name may hold and still stand for itself in a path. */
const PLAIN = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\ufffd/%]*$/u

/** A name as one step of a path; `stepToName` gives its bytes back. */
export function nameToStep(name: Buffer): string {
  const text = name.toString('utf8')
  if (PLAIN.test(text) && text !== '.' && text !== '..' && Buffer.from(text).equals(name)) return text
  let step = ''
  for (const byte of name) {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x25 && byte !== 0x2f && byte !== 0x2e
    step += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`
  }
  return step
}

/** @returns null for what `nameToStep` never makes */
export function stepToName(step: string): Buffer | null {
  if (step === '' || step === '.' || step === '..' || /%(?![0-9A-Fa-f]{2})/.test(step)) return null
  const pieces = step.split(/(%[0-9A-Fa-f]{2})/)
  return Buffer.concat(
    pieces.map((piece) => (/^%[0-9A-Fa-f]{2}$/.test(piece) ? Buffer.from(piece.slice(1), 'hex') : Buffer.from(piece))),
  )
}

/** The steps of a path such as `/etc/os-release`; null: it is none. */
export function stepsOf(path: string): Buffer[] | null {
  const steps = path.split('/').filter((step) => step !== '')
  if (steps.length > MAX_DEPTH) return null
  const names = steps.map(stepToName)
  return names.every((name) => name !== null) ? names : null
}

/**
 * Goes down directory by directory. A link on the way is not followed: there is nothing behind it.
 * @returns null when there is no such thing @throws Unreadable
 */
export async function walk(root: FsNode, steps: readonly Buffer[]): Promise<FsNode | null> {
  let node = root
  for (const step of steps) {
    if (node.type !== 'directory') return null
    const entry = (await node.list()).entries.find(({ name }) => name.equals(step))
    if (entry === undefined) return null
    node = await entry.open()
  }
  return node
}
