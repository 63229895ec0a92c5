/**
 * Writes small CD images: ISO 9660 (ECMA-119, interchange level 2) with a Joliet tree, files in the root alone. What reads
 * one of the two sees every file: Linux, BSD and Windows take Joliet with the names as given, firmware takes ISO 9660.
 *
 * Layout in sectors of 2048 bytes:
 *   0–15 system area │ 16 primary descriptor │ 17 Joliet descriptor │ 18 end │ 19–22 path tables │ 23 root │ 24 Joliet
 *   root │ 25… files │ pad
 */
export const SECTOR = 2048

/** cdrecord's pad: Linux reads ahead and would report errors at the very end of a medium. */
const PAD_SECTORS = 150
const PRIMARY = 16
const JOLIET = 17
const END = 18
const PRIMARY_TABLES = 19
const JOLIET_TABLES = 21
const PRIMARY_ROOT = 23
const JOLIET_ROOT = 24
const FIRST_FILE = 25

export interface IsoFile {
  /** 1 to 31 of letters, digits, `.`, `_` and `-`. */
  readonly name: string
  readonly content: Uint8Array
}

const both16 = (to: Buffer, at: number, value: number): void => {
  to.writeUInt16LE(value, at)
  to.writeUInt16BE(value, at + 2)
}
const both32 = (to: Buffer, at: number, value: number): void => {
  to.writeUInt32LE(value, at)
  to.writeUInt32BE(value, at + 4)
}

const wide = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()

/** A primary tree has capitals, and a point in every name: `a` and `A.` are one. */
const plainText = (name: string) => `${name.toUpperCase()}${name.includes('.') ? '' : '.'}`
const plainName = (name: string): Buffer => Buffer.from(`${plainText(name)};1`, 'latin1')

/** ECMA-119 9.1. */
function directoryRecord(id: Buffer, sector: number, bytes: number, isDirectory: boolean, at: Date): Buffer {
  const record = Buffer.alloc(33 + id.length + ((33 + id.length) % 2))
  record[0] = record.length
  both32(record, 2, sector)
  both32(record, 10, bytes)
  record.set(
    [
      at.getUTCFullYear() - 1900,
      at.getUTCMonth() + 1,
      at.getUTCDate(),
      at.getUTCHours(),
      at.getUTCMinutes(),
      at.getUTCSeconds(),
      0,
    ],
    18,
  )
  record[25] = isDirectory ? 2 : 0
  both16(record, 28, 1)
  record[32] = id.length
  id.copy(record, 33)
  return record
}

interface Tree {
  readonly descriptor: number
  readonly tables: number
  readonly root: number
  readonly isJoliet: boolean
}
const TREES: readonly Tree[] = [
  { descriptor: PRIMARY, tables: PRIMARY_TABLES, root: PRIMARY_ROOT, isJoliet: false },
  { descriptor: JOLIET, tables: JOLIET_TABLES, root: JOLIET_ROOT, isJoliet: true },
]

/** ECMA-119 8.4 and 8.5; Joliet specification, 1995. */
function writeDescriptor(
  image: Buffer,
  { descriptor, tables, root, isJoliet }: Tree,
  label: string,
  sectors: number,
  at: Date,
): void {
  const block = image.subarray(descriptor * SECTOR, (descriptor + 1) * SECTOR)
  const text = (value: string, from: number, bytes: number): void => {
    if (!isJoliet) block.write(value.padEnd(bytes), from, bytes, 'latin1')
    else wide(value.padEnd(bytes >> 1).slice(0, bytes >> 1)).copy(block, from)
  }
  block[0] = isJoliet ? 2 : 1
  block.write('CD001', 1)
  block[6] = 1
  text('LINUX', 8, 32)
  text(label, 40, 32)
  both32(block, 80, sectors)
  // Escape sequence of UCS-2 level 3, which makes a supplementary descriptor Joliet.
  if (isJoliet) block.write('%/E', 88)
  both16(block, 120, 1)
  both16(block, 124, 1)
  both16(block, 128, SECTOR)
  both32(block, 132, 10)
  block.writeUInt32LE(tables, 140)
  block.writeUInt32BE(tables + 1, 148)
  directoryRecord(Buffer.from([0]), root, SECTOR, true, at).copy(block, 156)
  for (const from of [190, 318, 446, 574]) text('', from, 128)
  for (const from of [702, 739, 776]) text('', from, 37)
  const moment = at.toISOString().replace(/\D/g, '').slice(0, 16)
  for (const from of [813, 830]) block.write(moment, from)
  for (const from of [847, 864]) block.write('0'.repeat(16), from)
  block[881] = 1
  for (const [sector, isBig] of [
    [tables, false],
    [tables + 1, true],
  ] as const) {
    const table = image.subarray(sector * SECTOR)
    table[0] = 1
    if (isBig) {
      table.writeUInt32BE(root, 2)
      table.writeUInt16BE(1, 6)
    } else {
      table.writeUInt32LE(root, 2)
      table.writeUInt16LE(1, 6)
    }
  }
}

/**
 * The whole image in memory; the same input gives the same bytes.
 * @param label up to 16 letters, digits and `_`; kept as given, as cloud-init looks for `cidata`
 * @throws RangeError for a label or name it cannot hold, or more files than fit into one sector of names
 */
export function writeIso(label: string, files: readonly IsoFile[], at: Date): Buffer {
  if (!/^[A-Za-z0-9_]{1,16}$/.test(label)) throw new RangeError(`“${label}” is no volume label`)
  const seen = new Set<string>()
  for (const { name } of files) {
    if (!/^[A-Za-z0-9._-]{1,31}$/.test(name) || /^\.+$/.test(name))
      throw new RangeError(`“${name}” is no name for a file on a CD`)
    if (seen.has(plainText(name))) throw new RangeError(`Two files on one CD are called “${name}”`)
    seen.add(plainText(name))
  }
  // Readers search for names in the order of the standard.
  const sorted = files.toSorted((a, b) => (a.name.toUpperCase() < b.name.toUpperCase() ? -1 : 1))
  let next = FIRST_FILE
  const placed = sorted.map((file) => {
    const sector = next
    next += Math.max(1, Math.ceil(file.content.length / SECTOR))
    return { ...file, sector }
  })
  const sectors = next + PAD_SECTORS
  const image = Buffer.alloc(sectors * SECTOR)
  for (const tree of TREES) {
    writeDescriptor(image, tree, label, sectors, at)
    const records = [
      directoryRecord(Buffer.from([0]), tree.root, SECTOR, true, at),
      directoryRecord(Buffer.from([1]), tree.root, SECTOR, true, at),
      ...placed.map(({ name, sector, content }) =>
        directoryRecord(tree.isJoliet ? wide(name) : plainName(name), sector, content.length, false, at),
      ),
    ]
    let offset = tree.root * SECTOR
    for (const record of records) {
      if (offset + record.length > (tree.root + 1) * SECTOR) throw new RangeError('Too many files for one small CD')
      record.copy(image, offset)
      offset += record.length
    }
  }
  image[END * SECTOR] = 255
  image.write('CD001', END * SECTOR + 1)
  image[END * SECTOR + 6] = 1
  for (const { sector, content } of placed) image.set(content, sector * SECTOR)
  return image
}
