/**
 * Lists the members of an OVA, which is a tar file. Nothing is unpacked: a member is a name and a range of bytes. Only
 * plain files with plain names are allowed, because an appliance has no use for anything else. Pure: reading is handed
 * in.
 *
 * Source: POSIX.1-2017, pax: ustar interchange format; the size in base 256 is GNU tar's.
 */
import { EngineError } from '#server/engine/errors.ts'

/** Random access to the archive. */
export interface TarSource {
  readonly sizeBytes: number
  /** Exactly `length` bytes, or fewer at the end. */
  read(offset: number, length: number): Promise<Uint8Array>
}

export interface TarMember {
  readonly name: string
  readonly offset: number
  readonly sizeBytes: number
}

const BLOCK = 512
const MAX_MEMBERS = 256
/** Headers in all: each member may have one more, for its attributes. */
const MAX_HEADERS = 2 * MAX_MEMBERS + 8
const MAX_ATTRIBUTES_BYTES = 64 * 1024
const MAX_NAME = 255

const refuse = (message: string): never => {
  throw new EngineError('import_refused', message)
}

/** @throws EngineError import_refused with what was found and why it is not taken */
export async function listTar(source: TarSource): Promise<TarMember[]> {
  const members: TarMember[] = []
  const names = new Set<string>()
  let at = 0
  let attributes = new Map<string, string>()
  for (let headers = 0; ; headers++) {
    if (headers > MAX_HEADERS) refuse(`The archive has more than ${MAX_MEMBERS} files; an appliance has a handful.`)
    const header = await source.read(at, BLOCK)
    if (header.length === 0) break
    if (header.length < BLOCK) refuse('The archive is cut off in the middle of a header.')
    if (header.every((byte) => byte === 0)) break
    checkHeader(header)
    const type = String.fromCharCode(header[156] ?? 0)
    const ownSize = sizeOf(header)
    const dataAt = at + BLOCK
    if (type === 'x' || type === 'g') {
      if (ownSize > MAX_ATTRIBUTES_BYTES) refuse('The archive has an absurdly large header.')
      const records = await source.read(dataAt, ownSize)
      if (records.length < ownSize) refuse('The archive is cut off in the middle of a header.')
      const found = readAttributes(records)
      if (type === 'x') attributes = found
      else if (found.has('path') || found.has('size')) refuse('The archive gives one name or size to all its files.')
      at = dataAt + padded(ownSize)
      continue
    }
    if (type !== '0' && type !== '\0')
      refuse(`The archive holds ${KINDS[type] ?? 'a special file'}; only plain files are taken.`)
    const size = numberOf(attributes.get('size')) ?? ownSize
    const name = cleanName(attributes.get('path') ?? nameOf(header))
    attributes = new Map()
    if (names.has(name)) refuse(`The archive holds ${JSON.stringify(name)} twice.`)
    if (members.length >= MAX_MEMBERS) {
      refuse(`The archive has more than ${MAX_MEMBERS} files; an appliance has a handful.`)
    }
    if (size > source.sizeBytes - dataAt) refuse(`The archive is cut off: ${JSON.stringify(name)} is not complete.`)
    names.add(name)
    members.push({ name, offset: dataAt, sizeBytes: size })
    at = dataAt + padded(size)
  }
  if (members.length === 0) refuse('The archive is empty.')
  return members
}

const KINDS: Record<string, string> = {
  '1': 'a hard link',
  '2': 'a symbolic link',
  '3': 'a device',
  '4': 'a device',
  '5': 'a directory',
  '6': 'a named pipe',
  '7': 'a file of a reserved kind',
  S: 'a sparse file (GNU)',
  L: 'a name in GNU’s long form',
  K: 'a link in GNU’s long form',
  M: 'a part of a file that was split',
}

const padded = (bytes: number) => Math.ceil(bytes / BLOCK) * BLOCK

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder('utf-8').decode(end === -1 ? bytes : bytes.subarray(0, end))
}

function nameOf(header: Uint8Array): string {
  const prefix = text(header.subarray(345, 500))
  const name = text(header.subarray(0, 100))
  const isUstar = text(header.subarray(257, 263)).trimEnd() === 'ustar'
  return isUstar && header[262] === 0 && prefix !== '' ? `${prefix}/${name}` : name
}

function cleanName(raw: string): string {
  const name = raw.startsWith('./') ? raw.slice(2) : raw
  // An appliance has no directories, so a separator is always a way to somewhere else.
  if (name === '' || name === '.' || name === '..' || /[/\\]/.test(name)) {
    refuse(`The archive holds ${JSON.stringify(raw.slice(0, MAX_NAME))}, a path; only plain file names are taken.`)
  }
  if (name.length > MAX_NAME || /\p{C}/u.test(name))
    refuse('The archive holds a file whose name has invisible characters or is too long.')
  return name
}

function checkHeader(header: Uint8Array): void {
  const expected = octal(header.subarray(148, 156))
  let sum = 0
  for (let index = 0; index < BLOCK; index++) sum += index >= 148 && index < 156 ? 0x20 : (header[index] ?? 0)
  if (expected !== sum) refuse('The archive is damaged: a header has a wrong checksum.')
}

/** Null when it is not an octal number. */
function octal(field: Uint8Array): number | null {
  const digits = text(field).trim()
  return /^[0-7]{1,21}$/.test(digits) ? Number.parseInt(digits, 8) : null
}

function sizeOf(header: Uint8Array): number {
  const field = header.subarray(124, 136)
  const first = field[0] ?? 0
  if ((first & 0x80) === 0) return safe(octal(field))
  if (first !== 0x80) refuse('The archive holds a file of a negative size.')
  let size = 0
  for (const byte of field.subarray(1)) size = size * 256 + byte
  return safe(size)
}

function safe(size: number | null): number {
  if (size === null || !Number.isSafeInteger(size)) return refuse('The archive holds a file of an impossible size.')
  return size
}

const numberOf = (value: string | undefined): number | null => {
  if (value === undefined) return null
  return safe(/^\d{1,16}$/.test(value) ? Number(value) : null)
}

/** What an attribute record may say without changing which bytes belong to a file. */
const HARMLESS = /^(mtime|atime|ctime|uid|gid|uname|gname|comment|charset|hdrcharset|path|size|LIBARCHIVE\.|SCHILY\.)/

/** Records `LENGTH KEY=VALUE\n`. */
function readAttributes(bytes: Uint8Array): Map<string, string> {
  const found = new Map<string, string>()
  let at = 0
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at)
    const digits = space === -1 ? '' : text(bytes.subarray(at, space))
    const length = /^[1-9]\d{0,5}$/.test(digits) ? Number(digits) : 0
    const end = at + length
    if (length === 0 || end > bytes.length || bytes[end - 1] !== 0x0a || end <= space) {
      refuse('The archive is damaged: an attribute of a file cannot be read.')
    }
    const record = text(bytes.subarray(space + 1, end - 1))
    const equals = record.indexOf('=')
    const key = record.slice(0, Math.max(0, equals))
    if (key.startsWith('GNU.sparse')) refuse('The archive holds a sparse file (GNU); only plain files are taken.')
    if (!HARMLESS.test(key)) refuse('The archive holds a file with attributes that are not known.')
    found.set(key, record.slice(equals + 1))
    at = end
  }
  return found
}
