/** What comes through the door becomes a file of our own with the same bytes for the guest, or nothing at all. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { zstdCompressSync } from 'node:zlib'
import { expect, it, vi } from 'vitest'
import { doorRig, MiB } from './testing/door-rig.ts'
import { qemuImg, rawDisk } from './testing/forge.ts'

/** A disk of 12 MiB with a boot sector, holes, and content that does not compress. */
function sampleDisk(path: string): Buffer {
  const image = rawDisk(12 * MiB)
  randomBytes(MiB).copy(image, 5 * MiB)
  writeFileSync(path, image)
  return image
}

const KINDS = [
  ['qcow2', '', 'qcow2'],
  ['qcow2', 'compression_type=zstd', 'qcow2, compressed'],
  ['vmdk', 'subformat=monolithicSparse', 'VMDK'],
  ['vmdk', 'subformat=streamOptimized', 'VMDK, stream-optimised'],
  ['vhdx', 'subformat=dynamic', 'VHDX'],
  ['vhdx', 'subformat=fixed', 'VHDX, fixed'],
  ['vdi', '', 'VDI'],
  ['vpc', 'force_size=on', 'VHD'],
  ['vpc', 'subformat=fixed,force_size=on', 'VHD, fixed'],
] as const

it.each(KINDS)('%s %s: a fresh qcow2 with the same content, the guest sees every byte', async (format, options) => {
  const { admit, data, library, file, leftovers, space } = await doorRig()
  sampleDisk(file('sample.raw'))
  qemuImg(
    ...['convert', '-f', 'raw', '-O', format],
    ...(options.startsWith('compression') ? ['-c'] : []),
    ...(options === '' ? [] : ['-o', options]),
    ...[file('sample.raw'), file('in')],
  )
  const sha256 = createHash('sha256')
    .update(readFileSync(file('in')))
    .digest('hex')
  const { size } = statSync(file('in'))
  const progress = vi.fn()
  const id = await admit('in', {}, { progress })
  expect(leftovers()).toEqual([id])
  expect(library.get(id)).toMatchObject({
    kind: 'disk',
    format: 'qcow2',
    virtualSizeBytes: 12 * MiB,
    sha256,
    origin: { format, compression: null, sizeBytes: size },
  })
  expect(
    execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', file('sample.raw'), data.image(id)]),
  ).toBeTruthy()
  qemuImg('check', '-q', '-f', 'qcow2', data.image(id))
  expect(progress.mock.lastCall?.[0]).toBe(12 * MiB)
  expect(space.outstandingBytes).toBe(0)
})

it('raw disks and ISO images stay as they are', async () => {
  const { admit, data, library, file } = await doorRig()
  const image = sampleDisk(file('in'))
  const id = await admit('in')
  expect(library.get(id)).toMatchObject({ format: 'raw', origin: null })
  expect(readFileSync(data.image(id)).equals(image)).toBe(true)
})

it('what is refused, cancelled, or not what was promised leaves no file and no image', async () => {
  const { admit, library, file, leftovers, data, space } = await doorRig()
  qemuImg('create', '-q', '-f', 'qed', file('in'), '1M')
  await expect(admit('in')).rejects.toMatchObject({ code: 'unsupported_format' })
  sampleDisk(file('in'))
  await expect(admit('in', { expectedSha256: '0'.repeat(64) })).rejects.toMatchObject({ code: 'checksum_mismatch' })
  sampleDisk(file('raw'))
  qemuImg('convert', '-f', 'raw', '-O', 'vdi', file('raw'), file('in'))
  const controller = new AbortController()
  const cancelled = admit('in', {}, { signal: controller.signal, step: () => controller.abort(new Error('enough')) })
  await expect(cancelled).rejects.toThrow('enough')
  expect(leftovers()).toEqual([])
  expect(library.all()).toEqual([])
  expect(readdirSync(data.uploadsDir)).toEqual([])
  expect(space.outstandingBytes).toBe(0)
})

it('a header that lies about what follows is found out by qemu-img, and nothing stays', async () => {
  const { admit, file, leftovers } = await doorRig()
  writeFileSync(file('raw'), rawDisk(8 * MiB).fill('text that compresses ', MiB))
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', '-c', file('raw'), file('in'))
  const image = readFileSync(file('in'))
  // Header, reference counts, L1 and L2 come first; garbage after them is no deflate stream.
  image.fill(0xff, 5 * 65_536)
  writeFileSync(file('in'), image)
  await expect(admit('in')).rejects.toMatchObject({ code: 'image_refused' })
  expect(leftovers()).toEqual([])
})

it('what was left of an interrupted conversion is swept at the next start', async () => {
  const { data, open, leftovers } = await doorRig()
  const stage = data.upload('01890000-0000-7000-8000-0000000000aa-12345678')
  execFileSync('mkdir', ['-p', `${stage}/out`])
  writeFileSync(`${stage}/out/disk.qcow2`, 'half')
  writeFileSync(data.image('01890000-0000-7000-8000-0000000000aa'), 'linked, but not recorded')
  await open()
  expect(leftovers()).toEqual([])
  expect(existsSync(stage)).toBe(false)
})

const PACKERS = [
  ['gzip', (path: string) => execFileSync('gzip', ['-c', path], { maxBuffer: 2 ** 30 })],
  ['xz', (path: string) => execFileSync('xz', ['-c', '-1', path], { maxBuffer: 2 ** 30 })],
  ['zstd', (path: string) => zstdCompressSync(readFileSync(path))],
  ['bzip2', (path: string) => execFileSync('bzip2', ['-c', path], { maxBuffer: 2 ** 30 })],
] as const

it.each(PACKERS)(
  '%s: the disk inside is unpacked, zeros as holes, and a qcow2 inside is converted',
  async (method, pack) => {
    const { admit, data, library, file, leftovers, space } = await doorRig()
    const image = sampleDisk(file('sample'))
    writeFileSync(file('in'), pack(file('sample')))
    const progress = vi.fn()
    const raw = await admit('in', {}, { progress })
    expect(library.get(raw)).toMatchObject({ format: 'raw', origin: { format: 'raw', compression: method } })
    expect(readFileSync(data.image(raw)).equals(image)).toBe(true)
    if (method !== 'bzip2') expect(statSync(data.image(raw)).blocks * 512).toBeLessThan(6 * MiB)
    expect(progress).toHaveBeenCalled()
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', file('sample'), file('sample.qcow2'))
    writeFileSync(file('in'), pack(file('sample.qcow2')))
    const qcow2 = await admit('in')
    expect(library.get(qcow2)).toMatchObject({ format: 'qcow2', origin: { format: 'qcow2', compression: method } })
    expect(leftovers().toSorted()).toEqual([raw, qcow2].toSorted())
    expect(space.outstandingBytes).toBe(0)
  },
)

it.each(PACKERS)('%s: cut off, or with an archive or a hostile disk inside, nothing stays', async (_, pack) => {
  const { admit, file, leftovers, space } = await doorRig()
  sampleDisk(file('sample'))
  writeFileSync(file('in'), pack(file('sample')).subarray(0, 5000))
  await expect(admit('in')).rejects.toMatchObject({
    code: 'image_refused',
    message: expect.stringContaining('cut off'),
  })
  writeFileSync(file('inner'), pack(file('sample')))
  writeFileSync(file('in'), pack(file('inner')))
  await expect(admit('in')).rejects.toMatchObject({ code: 'unsupported_format' })
  qemuImg('create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw', file('evil'), '1M')
  writeFileSync(file('in'), pack(file('evil')))
  await expect(admit('in')).rejects.toMatchObject({ code: 'image_has_backing' })
  expect(leftovers()).toEqual([])
  expect(space.outstandingBytes).toBe(0)
})
