/** What a library image may be called. Names are for people: the file on disk is named by id. */
import { EngineError } from '#server/engine/errors.ts'

const IMAGE_NAME_MAX_BYTES = 255

/**
 * Takes the last path part of what a browser or script sent and normalises it to NFC.
 * Pure. @throws EngineError bad_input with field `name` for anything that would mislead a reader or a terminal
 */
export function cleanImageName(raw: string): string {
  const refuse = (why: string): never => {
    throw new EngineError('bad_input', `The image name ${why}.`, { field: 'name' })
  }
  const last = raw.split(/[/\\]/).at(-1) ?? ''
  const name = last.normalize('NFC').trim()
  if (name === '' || name === '.' || name === '..') return refuse('is empty')
  // Cc control, Cf format (bidi marks, zero width), Cs lone surrogates, Co private use, Cn unassigned, Zl Zp separators.
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(name)) return refuse('contains control, direction or invisible characters')
  if (Buffer.byteLength(name) > IMAGE_NAME_MAX_BYTES) return refuse(`is longer than ${IMAGE_NAME_MAX_BYTES} bytes`)
  return name
}

/** Text about an image: line breaks stay, other control characters go. Pure. */
export function cleanDescription(raw: string): string {
  return raw
    .normalize('NFC')
    .replace(/\r\n?/g, '\n')
    .replace(/[^\P{C}\n\t]/gu, '')
    .trim()
}
