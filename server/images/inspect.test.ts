import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { inspectImage } from './inspect.ts'
import { guessGuest } from './iso.ts'
import { bufferReader } from './reader.ts'

const MiB = 2 ** 20

/** A blank qcow2 of version 3 with 64 KiB clusters, as qemu-img lays it out: header, refcount table, block, L1. */
function qcow2(change: (header: Buffer) => void = () => {}, sizeBytes = 10 * MiB): Buffer {
  const image = Buffer.alloc(4 * 65536)
  image.write('QFI\xfb', 0, 'latin1')
  image.writeUInt32BE(3, 4)
  image.writeUInt32BE(16, 20)
  image.writeBigUInt64BE(BigInt(sizeBytes), 24)
  image.writeUInt32BE(1, 36)
  image.writeBigUInt64BE(3n * 65536n, 40)
  image.writeBigUInt64BE(65536n, 48)
  image.writeUInt32BE(1, 56)
  image.writeUInt32BE(4, 96)
  image.writeUInt32BE(112, 100)
  change(image)
  return image
}

function iso(label: string, change: (image: Buffer) => void = () => {}): Buffer {
  const image = Buffer.alloc(20 * 2048)
  image[16 * 2048] = 1
  image.write('CD001\x01', 16 * 2048 + 1, 'latin1')
  image.write(label.padEnd(32), 16 * 2048 + 40, 'latin1')
  image[17 * 2048] = 255
  image.write('CD001\x01', 17 * 2048 + 1, 'latin1')
  change(image)
  return image
}

const inspect = (image: Buffer, sizeBytes?: number) => inspectImage(bufferReader(image, sizeBytes))

const REFUSALS = ['image_refused', 'image_has_backing', 'unsupported_format']

async function refusal(image: Buffer, sizeBytes?: number): Promise<string> {
  const error = await inspect(image, sizeBytes).then(
    (facts) => facts,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(EngineError)
  expect(REFUSALS).toContain((error as EngineError).code)
  return (error as EngineError).message
}

describe('what is accepted', () => {
  it('an ISO is known by its volume descriptor and gives its label and a guess of the guest', async () => {
    expect(await inspect(iso('Debian 12.5.0 amd64 n'))).toEqual({
      kind: 'iso',
      format: 'raw',
      virtualSizeBytes: 20 * 2048,
      label: 'Debian 12.5.0 amd64 n',
      guest: 'linux',
    })
  })
  it('a hybrid ISO with a boot sector is an ISO, not a disk', async () => {
    const hybrid = iso('ISOIMAGE', (image) => {
      image[510] = 0x55
      image[511] = 0xaa
    })
    expect(await inspect(hybrid)).toMatchObject({ kind: 'iso', label: 'ISOIMAGE', guest: null })
  })
  it('control characters in a volume label do not survive', async () => {
    expect((await inspect(iso('A\x1b]0;x\x07\nB'))).label).toBe('A ]0;x  B')
  })
  it('a plain qcow2 is a disk with the size its guest sees', async () => {
    expect(await inspect(qcow2())).toMatchObject({ kind: 'disk', format: 'qcow2', virtualSizeBytes: 10 * MiB })
  })
  it('qcow2 is qcow2 whatever else it looks like: an ISO inside does not hide the header', async () => {
    const both = qcow2((image) => iso('X').copy(image, 16 * 2048, 16 * 2048))
    expect(await inspect(both)).toMatchObject({ format: 'qcow2' })
  })
  it('internal snapshots are accepted up to a bound (I14)', async () => {
    const few = (image: Buffer) => {
      image.writeUInt32BE(2, 60)
      image.writeBigUInt64BE(2n * 65536n, 64)
    }
    expect(await inspect(qcow2(few))).toMatchObject({ format: 'qcow2' })
    expect(await refusal(qcow2((image) => image.writeUInt32BE(65_535, 60)))).toContain('snapshots')
  })
  it('anything with a boot signature and whole sectors is a raw disk', async () => {
    const disk = Buffer.alloc(MiB)
    disk[510] = 0x55
    disk[511] = 0xaa
    expect(await inspect(disk)).toMatchObject({ kind: 'disk', format: 'raw', virtualSizeBytes: MiB })
    expect(await refusal(disk.subarray(0, MiB - 1))).toContain('multiple of 512')
  })
})

describe('what could reach outside the file', () => {
  const backing = (name: string) =>
    qcow2((image) => {
      image.writeBigUInt64BE(512n, 8)
      image.writeUInt32BE(name.length, 16)
      image.write(name, 512, 'latin1')
    })
  it.each([
    '/etc/passwd',
    '../secret',
    'self.qcow2',
    'json:{"driver":"file","filename":"/etc/shadow"}',
    'nbd://127.0.0.1:10809',
  ])('a backing file is refused whatever its name: %s (I01)', async (name) => {
    expect(await refusal(backing(name))).toContain('backing file')
  })
  it('a backing file with offset or length alone is refused (I01)', async () => {
    expect(await refusal(qcow2((image) => image.writeBigUInt64BE(512n, 8)))).toContain('backing file')
    expect(await refusal(qcow2((image) => image.writeUInt32BE(4, 16)))).toContain('backing file')
  })
  it('a data file is refused by its feature bit and by its header extension (I02)', async () => {
    expect(await refusal(qcow2((image) => image.writeBigUInt64BE(4n, 72)))).toContain('data-file')
    const extension = qcow2((image) => {
      image.writeUInt32BE(0x44415441, 112)
      image.writeUInt32BE(11, 116)
      image.write('/etc/passwd', 120, 'latin1')
    })
    expect(await refusal(extension)).toContain('data-file')
  })
  it('an extension hidden behind an unknown one is still found', async () => {
    const hidden = qcow2((image) => {
      image.writeUInt32BE(0x6803f857, 112)
      image.writeUInt32BE(48, 116)
      image.writeUInt32BE(0xe2792aca, 112 + 8 + 48)
      image.writeUInt32BE(3, 112 + 8 + 48 + 4)
    })
    expect(await refusal(hidden)).toContain('backing format')
  })
})

describe('what is absurd or damaged', () => {
  it.each<[string, (image: Buffer) => void, string]>([
    ['60 PiB', (i) => i.writeBigUInt64BE(60n * 2n ** 50n, 24), '64 TiB'],
    ['size zero', (i) => i.writeBigUInt64BE(0n, 24), 'zero'],
    ['a size between sectors', (i) => i.writeBigUInt64BE(1_000_001n, 24), 'multiple of 512'],
    ['version 1', (i) => i.writeUInt32BE(1, 4), 'version 1'],
    ['version 9', (i) => i.writeUInt32BE(9, 4), 'version 9'],
    ['clusters of 2 GiB', (i) => i.writeUInt32BE(31, 20), 'cluster size'],
    ['encryption', (i) => i.writeUInt32BE(1, 32), 'encrypted'],
    ['unknown features', (i) => i.writeBigUInt64BE(1n << 40n, 72), 'features'],
    ['the corrupt mark', (i) => i.writeBigUInt64BE(2n, 72), 'corrupt'],
    ['an L1 table of 32 GiB', (i) => i.writeUInt32BE(0xffffffff, 36), 'L1'],
    ['an L1 table too small', (i) => i.writeBigUInt64BE(2n ** 40n, 24), 'L1'],
    ['an L1 table outside', (i) => i.writeBigUInt64BE(2n ** 50n, 40), 'L1'],
    ['an L1 table over the header', (i) => i.writeBigUInt64BE(0n, 40), 'L1'],
    ['refcounts outside', (i) => i.writeBigUInt64BE(2n ** 62n, 48), 'reference-count'],
    ['huge refcounts', (i) => i.writeUInt32BE(1_000_000, 56), 'reference-count'],
    ['an endless extension', (i) => i.writeUInt32BE(0xfffffff0, 116) && i.writeUInt32BE(7, 112), 'extension'],
    ['a header longer than the file', (i) => i.writeUInt32BE(0x7ffffff8, 100), 'header length'],
  ])('a qcow2 with %s is refused (I11, I14)', async (_, change, words) => {
    expect(await refusal(qcow2(change))).toContain(words)
  })
  it('a header cut off anywhere is refused, never a crash', async () => {
    const whole = qcow2()
    for (let length = 1; length < 200; length++) await refusal(whole.subarray(0, length))
  })
})

describe('what other programs made', () => {
  it.each([
    ['QED', 'QED\0', 0],
    ['VMDK', 'KDMV', 0],
    ['VMDK', '# Disk DescriptorFile\n', 0],
    ['VHDX', 'vhdxfile', 0],
    ['VDI', '\x7f\x10\xda\xbe', 64],
    ['LUKS', 'LUKS\xba\xbe', 0],
    ['Parallels', 'WithoutFreeSpace', 0],
    ['gzip', '\x1f\x8b\x08', 0],
    ['tar or OVA', 'ustar', 257],
  ])('%s is refused by name, even with a boot signature (I07)', async (name, magic, offset) => {
    const image = Buffer.alloc(MiB)
    image[510] = 0x55
    image[511] = 0xaa
    image.write(magic, offset, 'latin1')
    expect(await refusal(image)).toContain(name)
  })
  it('a fixed VHD is known by its last sector', async () => {
    const image = Buffer.alloc(MiB)
    image[510] = 0x55
    image[511] = 0xaa
    image.write('conectix', MiB - 512, 'latin1')
    expect(await refusal(image)).toContain('VHD')
  })
  it('text, random bytes and nothing at all are refused', async () => {
    expect(await refusal(Buffer.alloc(0))).toContain('empty')
    expect(await refusal(Buffer.from('#!/bin/sh\necho hello\n'.repeat(100)))).toContain('neither')
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 4096 }), async (bytes) => {
        const image = Buffer.from(bytes)
        fc.pre(!(image[510] === 0x55 && image[511] === 0xaa))
        await refusal(image)
      }),
    )
  })
  it('no header, however mangled, makes the parser throw anything but a refusal', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 4, max: 300 }), fc.integer({ min: 0, max: 255 })), { maxLength: 40 }),
        async (changes) => {
          const image = qcow2((header) => {
            for (const [at, value] of changes) header[at] = value
          })
          await inspect(image).then(
            (facts) => expect(facts.virtualSizeBytes).toBeGreaterThan(0),
            (error: unknown) => expect(REFUSALS).toContain((error as EngineError).code),
          )
        },
      ),
    )
  })
})

it('the guest kind is guessed from labels that installers carry', () => {
  expect(guessGuest('CCCOMA_X64FRE_EN-US_DV9')).toBe('windows')
  expect(guessGuest('14_1_RELEASE_AMD64_CD')).toBe('bsd')
  expect(guessGuest('OpenBSD/amd64 7.5 Install CD')).toBe('bsd')
  expect(guessGuest('Ubuntu-Server 24.04 LTS amd64')).toBe('linux')
  expect(guessGuest('Fedora-WS-Live-41')).toBe('linux')
  expect(guessGuest('MT610_X64')).toBeNull()
  expect(guessGuest(null)).toBeNull()
})
