import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SECTOR, writeIso } from './iso9660.ts'

/** A reader of its own, after the standard: the writer's constants are not its own. */
function readIso(image: Buffer): {
  label: string
  sectors: number
  primary: Map<string, Buffer>
  joliet: Map<string, Buffer>
} {
  const descriptors = new Map<number, Buffer>()
  for (let sector = 16; ; sector += 1) {
    const block = image.subarray(sector * 2048, (sector + 1) * 2048)
    if (block.toString('latin1', 1, 6) !== 'CD001') throw new Error(`no descriptor in sector ${sector}`)
    if (block[0] === 255) break
    descriptors.set(block[0] ?? 0, block)
  }
  const list = (type: number) => {
    const block = descriptors.get(type)
    if (block === undefined) throw new Error('no tree')
    const root = block.subarray(156, 190)
    if (root.readUInt32LE(2) !== root.readUInt32BE(6)) throw new Error('byte orders differ')
    const from = root.readUInt32LE(2) * 2048
    const directory = image.subarray(from, from + root.readUInt32LE(10))
    const found = new Map<string, Buffer>()
    for (let at = 0; at < directory.length && (directory[at] ?? 0) > 0; at += directory[at] ?? 0) {
      const record = directory.subarray(at, at + (directory[at] ?? 0))
      const id = record.subarray(33, 33 + (record[32] ?? 0))
      if ((record[25] ?? 0) & 2) continue
      const name = type === 2 ? Buffer.from(id).swap16().toString('utf16le') : id.toString('latin1')
      const start = record.readUInt32LE(2) * 2048
      found.set(name, image.subarray(start, start + record.readUInt32LE(10)))
    }
    return found
  }
  const primary = descriptors.get(1)
  if (primary === undefined) throw new Error('no primary descriptor')
  return {
    label: primary.toString('latin1', 40, 72).trim(),
    sectors: primary.readUInt32LE(80),
    primary: list(1),
    joliet: list(2),
  }
}

const AT = new Date('2026-11-27T03:04:05Z')
const name = fc.stringMatching(/^[a-z0-9][A-Za-z0-9._-]{0,30}$/)
const files = fc.uniqueArray(fc.record({ name, content: fc.uint8Array({ maxLength: 9000 }) }), {
  selector: ({ name: given }) => (given.includes('.') ? given : `${given}.`).toUpperCase(),
  maxLength: 12,
})

describe('a CD image', () => {
  it('gives back every file, byte for byte, in both trees', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9_]{1,16}$/), files, (label, wanted) => {
        const image = writeIso(label, wanted, AT)
        const read = readIso(image)
        expect(read.label).toBe(label)
        expect(read.sectors * SECTOR).toBe(image.length)
        expect(new Map([...read.joliet].map(([key, value]) => [key, [...value]]))).toEqual(
          new Map(wanted.map((file) => [file.name, [...file.content]])),
        )
        expect(read.primary.size).toBe(wanted.length)
        for (const file of wanted) {
          const plain = `${file.name.toUpperCase()}${file.name.includes('.') ? '' : '.'};1`
          expect(Buffer.compare(read.primary.get(plain) ?? Buffer.from('absent'), file.content)).toBe(0)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('is the same for the same files', () => {
    const one = [{ name: 'a', content: Buffer.from('x') }]
    expect(writeIso('cidata', one, AT).equals(writeIso('cidata', one, AT))).toBe(true)
  })

  it('refuses names it cannot hold, two of one name, and more than fit', () => {
    const content = Buffer.alloc(1)
    for (const bad of ['', '..', 'a/b', 'a;1', 'ä', 'x'.repeat(32), 'a\0'])
      expect(() => writeIso('cidata', [{ name: bad, content }], AT), bad).toThrow(RangeError)
    for (const label of ['', 'a b', 'x'.repeat(17), 'ä'])
      expect(() => writeIso(label, [], AT), label).toThrow(RangeError)
    for (const same of ['A', 'a.', 'A.']) {
      const two = ['a', same].map((given) => ({ name: given, content }))
      expect(() => writeIso('cidata', two, AT), same).toThrow('Two files')
    }
    const many = Array.from({ length: 60 }, (_, n) => ({ name: `file-with-a-long-name-${n}`, content }))
    expect(() => writeIso('cidata', many, AT)).toThrow('Too many')
  })
})
