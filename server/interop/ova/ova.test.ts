/** What an OVA may and may not hold: security.md U14, U16, X01, X04. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { draftOf } from './draft.ts'
import { readManifest } from './manifest.ts'
import { readOvf, scaled } from './ovf.ts'
import { listTar } from './tar.ts'
import { ovf, sealed, tar, tarHeader } from './testing/forge.ts'

const source = (bytes: Buffer, sizeBytes = bytes.length) => ({
  sizeBytes,
  read: async (offset: number, length: number) => bytes.subarray(offset, offset + length),
})
const list = (bytes: Buffer) => listTar(source(bytes))
const FILES = new Set(['box.ovf', 'disk.vmdk'])
const content = Buffer.from('content')

describe('the archive', () => {
  it('plain files are listed with the place of their bytes', async () => {
    const archive = tar([
      { name: 'box.ovf', content },
      { name: './disk.vmdk', content: Buffer.alloc(1000, 1) },
    ])
    const members = await list(archive)
    expect(members).toEqual([
      { name: 'box.ovf', offset: 512, sizeBytes: 7 },
      { name: 'disk.vmdk', offset: 1536, sizeBytes: 1000 },
    ])
  })
  it('sizes of 8 GiB and more are read in base 256 and from attributes', async () => {
    const header = tarHeader({ name: 'big.vmdk' })
    header.fill(0, 124, 136)
    header.writeUInt8(0x80, 124)
    header.writeBigUInt64BE(9n * 2n ** 30n, 128)
    const huge = 12 * 2 ** 30
    expect(await listTar(source(sealed(header), huge))).toMatchObject([{ sizeBytes: 9 * 2 ** 30 }])
    const record = '20 size=9663676416\n'
    const attributes = Buffer.alloc(512)
    attributes.write(record.replace('20', String(record.length)))
    const second = Buffer.concat([
      tarHeader({ name: 'x', type: 'x', size: record.length }),
      attributes,
      tarHeader({ name: 'big.vmdk', size: 0 }),
    ])
    expect(await listTar(source(second, huge))).toMatchObject([{ name: 'big.vmdk', sizeBytes: 9663676416 }])
  })
  it.each([
    ['a way up', { name: '../../etc/passwd' }],
    ['an absolute name', { name: '/etc/passwd' }],
    ['a directory in the name', { name: 'a/b.vmdk' }],
    ['a backslash', { name: 'a\\b.vmdk' }],
    ['a name of dots', { name: '..' }],
    ['a symbolic link', { name: 'disk.vmdk', type: '2', link: '/etc/passwd' }],
    ['a hard link', { name: 'disk.vmdk', type: '1', link: 'box.ovf' }],
    ['a device', { name: 'disk.vmdk', type: '4' }],
    ['a pipe', { name: 'disk.vmdk', type: '6' }],
    ['a directory', { name: 'dir', type: '5' }],
    ['a sparse file', { name: 'disk.vmdk', type: 'S', size: 2 ** 33 - 1 }],
    ['a long name', { name: '././@LongLink', type: 'L' }],
    ['invisible characters', { name: 'disk\u202evmdk' }],
    ['more bytes than the archive has', { name: 'disk.vmdk', size: 10_000 }],
  ])('%s is refused', async (_, member) => {
    const archive = tar([{ name: 'box.ovf', content }, member])
    await expect(list(archive)).rejects.toMatchObject({ code: 'import_refused' })
  })
  it('a sparse file in the attributes of newer tar, and a size of 2^63, are refused (U16)', async () => {
    const record = Buffer.from('31 GNU.sparse.realsize=1099511\n')
    const archive = tar([
      { name: 'x', type: 'x', content: record },
      { name: 'disk.vmdk', content },
    ])
    await expect(list(archive)).rejects.toMatchObject({ message: expect.stringContaining('sparse') })
    const header = tarHeader({ name: 'disk.vmdk' })
    header.fill(0xff, 125, 136)
    header.writeUInt8(0x80, 124)
    await expect(list(sealed(header))).rejects.toMatchObject({ code: 'import_refused' })
  })
  it('one name twice is refused, a million members are refused after the first few hundred (U14, U16)', async () => {
    const twice = tar([
      { name: 'a', content },
      { name: './a', content },
    ])
    await expect(list(twice)).rejects.toMatchObject({ message: expect.stringContaining('twice') })
    let reads = 0
    const endless = {
      sizeBytes: 512_000_000,
      async read(offset: number) {
        reads += 1
        return tarHeader({ name: `f${offset}` })
      },
    }
    await expect(listTar(endless)).rejects.toMatchObject({ code: 'import_refused' })
    expect(reads).toBeLessThan(1000)
  })
  it('no archive, however mangled, gives anything but members inside of it or a refusal', async () => {
    const whole = tar([
      { name: 'box.ovf', content },
      { name: 'disk.vmdk', content: Buffer.alloc(700, 3) },
    ])
    const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 12 }),
        fc.nat(whole.length),
        fc.boolean(),
        async (changes, cut, seal) => {
          const bytes = Buffer.from(whole.subarray(0, cut))
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
          if (seal && bytes.length >= 512) sealed(bytes.subarray(0, 512))
          const members = await list(bytes).catch((error: unknown) => {
            expect(error).toBeInstanceOf(EngineError)
            return []
          })
          for (const { offset, sizeBytes } of members) expect(offset + sizeBytes).toBeLessThanOrEqual(bytes.length)
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('the description', () => {
  const read = (bytes: Buffer, files = FILES) => readOvf(bytes, files)
  it('becomes a draft that create accepts, and nothing is dropped in silence', () => {
    const machine = read(ovf())
    const imageId = '01890000-0000-7000-8000-0000000000aa'
    const { draft, report } = draftOf(machine, new Map([['d1', { imageId, virtualSizeBytes: 3 * 2 ** 30 }]]), 'x.ova')
    expect(VmSpecInput.parse(draft)).toEqual({
      name: 'web server-1',
      guest: 'linux',
      firmware: 'uefi',
      cpus: 2,
      memoryMiB: 1024,
      disks: [
        { device: 'disk', bus: 'sata', sizeGiB: 3, image: imageId },
        { device: 'cdrom', image: null },
      ],
      networks: [{ model: 'e1000' }],
    })
    expect(report.filter(({ fate }) => fate === 'dropped').map(({ what }) => what)).toEqual(['VMCI device'])
    for (const item of machine.items)
      expect(
        report.some(({ what }) => what === item.name),
        item.name,
      ).toBe(true)
    expect(report.find(({ what }) => what === 'Card')?.detail).toContain('VM Network')
  })
  it.each([
    ['a document type', '<!DOCTYPE x>'],
    ['a billion laughs', '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'],
    ['an external entity', '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'],
    ['an external document type', '<!doctype x SYSTEM "http://127.0.0.1:1/x.dtd">'],
  ])('%s is refused before the parser sees it, within 50 ms (X01)', (_, before) => {
    // The quickest of several: the others measure the machine.
    const times = Array.from({ length: 5 }, () => {
      const started = performance.now()
      expect(() => read(ovf({ before }))).toThrow(expect.objectContaining({ code: 'dtd_forbidden' }))
      return performance.now() - started
    })
    expect(Math.min(...times)).toBeLessThan(50)
  })
  it('a document type in another encoding is not smuggled in (X01)', () => {
    const utf16 = Buffer.from(`\ufeff${ovf({ before: '<!DOCTYPE x>' }).toString()}`, 'utf16le')
    expect(() => read(utf16)).toThrow(expect.objectContaining({ code: 'import_refused' }))
    const utf7 = Buffer.from(ovf().toString().replace('UTF-8', 'UTF-7'))
    expect(() => read(utf7)).toThrow(expect.objectContaining({ message: expect.stringContaining('UTF-7') }))
  })
  it.each([
    'file:///etc/passwd',
    'http://127.0.0.1:1/d.vmdk',
    '../d.vmdk',
    '/etc/shadow',
    '/dev/sda',
    'other.vmdk',
    '',
  ])('a reference to %j is refused (U16, X03)', (href) => {
    const files = `<File ovf:href="${href}" ovf:id="file1"/>`
    expect(() => read(ovf({ files }))).toThrow(expect.objectContaining({ code: 'import_refused' }))
  })
  it.each([
    ['a size that overflows', 'ovf:capacity="18446744073709551615" ovf:capacityAllocationUnits="byte * 2^60"'],
    ['a size in EiB', 'ovf:capacity="9" ovf:capacityAllocationUnits="byte * 2^60"'],
    ['a negative size', 'ovf:capacity="-5"'],
    ['half a byte', 'ovf:capacity="0.5"'],
    ['no size', 'ovf:capacity=""'],
    ['a size of zero', 'ovf:capacity="0"'],
    ['unknown units', 'ovf:capacity="1" ovf:capacityAllocationUnits="furlongs"'],
    ['units with an endless exponent', 'ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^99999999"'],
    ['a file it does not name', 'ovf:capacity="1" ovf:fileRef="nowhere"'],
    ['a parent', 'ovf:capacity="1" ovf:parentRef="d0"'],
  ])('a disk with %s is refused (X04)', (_, attributes) => {
    const disks = `<Disk ovf:diskId="d1" ${attributes}/>`
    expect(() => read(ovf({ disks }))).toThrow(expect.objectContaining({ code: 'import_refused' }))
  })
  it('one disk twice, two disks of one file, a drive without its disk, and one id for two things are refused (X04)', () => {
    const disk = '<Disk ovf:capacity="1" ovf:diskId="d1" ovf:fileRef="file1"/>'
    const other = '<Disk ovf:capacity="1" ovf:diskId="d2" ovf:fileRef="file1"/>'
    const drive = (id: number, held: string) =>
      `<Item><rasd:HostResource>ovf:/disk/${held}</rasd:HostResource><rasd:InstanceID>${id}</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>`
    for (const change of [
      { disks: disk + disk },
      { disks: disk + other },
      { items: drive(5, 'd1') + drive(6, 'd1') },
      { items: drive(5, 'd7') },
      { items: drive(5, 'd1') + drive(5, 'd1') },
    ]) {
      expect(() => read(ovf(change))).toThrow(expect.objectContaining({ code: 'import_refused' }))
    }
  })
  it('depth, size and number of elements are bounded', () => {
    for (const system of [
      '<a>'.repeat(500) + '</a>'.repeat(500),
      '<a/>'.repeat(30_000),
      `<a>${'x'.repeat(2 ** 20)}</a>`,
    ]) {
      expect(() => read(ovf({ system }))).toThrow(expect.objectContaining({ code: 'import_refused' }))
    }
  })
  it('hostile names and texts become plain ones, or the default', () => {
    const machine = { ...read(ovf()), name: '\u0000<img src=x>,process=x' }
    const imported = new Map([['d1', { imageId: '01890000-0000-7000-8000-0000000000aa', virtualSizeBytes: 512 }]])
    expect(VmSpecInput.parse(draftOf(machine, imported, '').draft).name).toBe('img src-x-process-x')
    expect(draftOf({ ...machine, name: '///' }, imported, '..').draft.name).toBe('imported')
  })
  it('no description, however mangled, is anything but read or refused', () => {
    const whole = ovf()
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(whole.length),
        (changes, cut) => {
          const bytes = Buffer.from(whole.subarray(0, Math.max(cut, whole.length - 200)))
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
          try {
            read(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(EngineError)
          }
        },
      ),
      { numRuns: 200 },
    )
  })
  it('units mean what they say', () => {
    expect(scaled('10', 'byte * 2^30')).toBe(10 * 2 ** 30)
    expect(scaled('10')).toBe(10)
    expect(scaled('4', 'MegaBytes')).toBe(4 * 2 ** 20)
    expect(scaled('3', 'byte * 10^9')).toBe(3e9)
  })
})

describe('the manifest', () => {
  it('gives a checksum for each file, whatever the spelling', () => {
    const hex = 'A'.repeat(64)
    expect(readManifest(`SHA256(disk.vmdk)= ${hex}\nSHA1 (box.ovf) = ${'0'.repeat(40)}\r\n`, FILES)).toEqual(
      new Map([
        ['disk.vmdk', { algorithm: 'sha256', digest: 'a'.repeat(64) }],
        ['box.ovf', { algorithm: 'sha1', digest: '0'.repeat(40) }],
      ]),
    )
  })
  it.each([
    ['a file that is not there', `SHA1(gone)= ${'0'.repeat(40)}`],
    ['a file twice', `SHA1(box.ovf)= ${'0'.repeat(40)}\nSHA1(box.ovf)= ${'0'.repeat(40)}`],
    ['a checksum of the wrong length', `SHA256(box.ovf)= ${'0'.repeat(40)}`],
    ['anything else', 'rm -rf /'],
  ])('%s is refused', (_, text) => {
    expect(() => readManifest(text, FILES)).toThrow(expect.objectContaining({ code: 'import_refused' }))
  })
})
