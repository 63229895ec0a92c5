/** An OVA becomes images and a draft, all at once or not at all. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { Appliance } from '#lib/schema/appliance.ts'
import { ovf, tar } from '#server/interop/ova/testing/forge.ts'
import { doorRig, MiB } from './testing/door-rig.ts'
import { qemuImg, rawDisk } from './testing/forge.ts'

const hash = (algorithm: string, bytes: Buffer) => createHash(algorithm).update(bytes).digest('hex')

/** A disk of 8 MiB, raw in `sample` and stream-optimised as an OVA carries it. */
function vmdk(file: (name: string) => string): Buffer {
  const image = rawDisk(8 * MiB)
  randomBytes(MiB).copy(image, 2 * MiB)
  writeFileSync(file('sample'), image)
  qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', file('sample'), file('sample.vmdk'))
  return readFileSync(file('sample.vmdk'))
}

it('the disk becomes an image with every byte, the description a draft that names it', async () => {
  const { admit, data, library, store, file, leftovers, space } = await doorRig()
  const disk = vmdk(file)
  const text = ovf()
  const manifest = Buffer.from(`SHA256(box.ovf)= ${hash('sha256', text)}\nSHA1(disk.vmdk)= ${hash('sha1', disk)}\n`)
  const archive = tar([
    { name: 'box.ovf', content: text },
    { name: 'box.mf', content: manifest },
    { name: 'disk.vmdk', content: disk },
  ])
  writeFileSync(file('in'), archive)
  const id = await admit('in', { name: 'box.ova' })
  expect(leftovers()).toEqual([id])
  expect(space.outstandingBytes).toBe(0)
  const document = library.get(id)
  expect(document).toMatchObject({
    name: 'box disk.vmdk',
    format: 'qcow2',
    sha256: hash('sha256', disk),
    origin: { format: 'vmdk' },
    appliance: expect.any(String),
  })
  execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', file('sample'), data.image(id)])
  const appliance = Appliance.parse(store.get('appliance', document?.appliance ?? '')?.value)
  expect(appliance).toMatchObject({ images: [id], draft: { cpus: 2, disks: [{ image: id }, { device: 'cdrom' }] } })
  expect(appliance.report.some(({ fate }) => fate === 'dropped')).toBe(true)
})

it('a disk that is not what the manifest says, a hostile disk, and an archive that is no appliance leave nothing', async () => {
  const { admit, library, store, file, leftovers, space } = await doorRig()
  const disk = vmdk(file)
  const text = ovf()
  qemuImg('create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw', file('evil'), '1M')
  const second = {
    files: '<File ovf:href="disk.vmdk" ovf:id="file1"/><File ovf:href="evil" ovf:id="file2"/>',
    disks:
      '<Disk ovf:capacity="1" ovf:diskId="d1" ovf:fileRef="file1"/><Disk ovf:capacity="1" ovf:diskId="d2" ovf:fileRef="file2"/>',
  }
  const wrong = Buffer.from(`SHA256(disk.vmdk)= ${'0'.repeat(64)}\n`)
  for (const [members, code] of [
    [
      [
        { name: 'b.ovf', content: text },
        { name: 'b.mf', content: wrong },
        { name: 'disk.vmdk', content: disk },
      ],
      'checksum_mismatch',
    ],
    // The first disk is good and already converted when the second is refused.
    [
      [
        { name: 'b.ovf', content: ovf(second) },
        { name: 'disk.vmdk', content: disk },
        { name: 'evil', content: readFileSync(file('evil')) },
      ],
      'image_has_backing',
    ],
    [[{ name: 'disk.vmdk', content: disk }], 'import_refused'],
    [[{ name: 'b.ovf', content: text }], 'import_refused'],
    [
      [
        { name: 'b.ovf', content: ovf({ before: '<!DOCTYPE x>' }) },
        { name: 'disk.vmdk', content: disk },
      ],
      'dtd_forbidden',
    ],
    [[{ name: '../b.ovf', content: text }], 'import_refused'],
  ] as const) {
    writeFileSync(file('in'), tar(members))
    await expect(admit('in')).rejects.toMatchObject({ code })
    expect(leftovers()).toEqual([])
  }
  expect(library.all()).toEqual([])
  expect(store.list('appliance')).toEqual([])
  expect(space.outstandingBytes).toBe(0)
})
