/** Files made to fill disks or to reach elsewhere: security.md I01 to I14. Canaries are watched throughout. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { forgeL2Bomb } from './testing/bomb.ts'
import { doorRig, MiB } from './testing/door-rig.ts'
import { qemuImg } from './testing/forge.ts'

const LIMIT = 24 * MiB

it('a qcow2 of 200 KB whose tables all name one cluster is stopped at the limit (I12)', async () => {
  const { admit, file, leftovers, space } = await doorRig()
  forgeL2Bomb(file('in'), file('seed'), 8)
  expect(statSync(file('in')).size).toBeLessThan(MiB)
  await expect(admit('in', { maxBytes: LIMIT })).rejects.toMatchObject({
    code: 'image_refused',
    message: expect.stringContaining('24 MiB'),
  })
  expect(leftovers()).toEqual([])
  expect(space.outstandingBytes).toBe(0)
})

it.each([
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
] as const)('a %s bomb is stopped at the limit (I12)', async (_, pack) => {
  const { admit, file, leftovers, space } = await doorRig()
  writeFileSync(file('in'), pack(Buffer.alloc(2 * LIMIT, 'bomb ')))
  await expect(admit('in', { maxBytes: LIMIT })).rejects.toMatchObject({
    code: 'image_refused',
    message: expect.stringContaining('24 MiB'),
  })
  expect(leftovers()).toEqual([])
  expect(space.outstandingBytes).toBe(0)
})

it('no reference in an image is followed, whatever it says: not one canary is touched (I01, I02, I04, I06, I08)', async () => {
  const { admit, file, leftovers } = await doorRig()
  let touched = 0
  const canary = createServer((socket) => {
    touched += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
  const { port } = canary.address() as AddressInfo
  writeFileSync(file('secret'), Buffer.alloc(MiB, 'secret'))
  const before = createHash('sha256')
    .update(readFileSync(file('secret')))
    .digest('hex')
  const vmdk = (extent: string, more = '') => {
    qemuImg('create', '-q', '-f', 'vmdk', file('base.vmdk'), '8M')
    const image = readFileSync(file('base.vmdk'))
    const text = image
      .toString('latin1', 512, 512 + 20 * 512)
      .replace(/\0+$/, '')
      .replace(/^RW .*$/m, extent)
    image.fill(0, 512, 512 + 20 * 512)
    image.write(text + more, 512, 'latin1')
    writeFileSync(file('in'), image)
  }
  const qcow2 = (...options: string[]) => qemuImg('create', '-q', '-f', 'qcow2', ...options, file('in'), '1M')
  const forgeries: (() => void)[] = [
    ...[
      file('secret'),
      '../secret',
      `nbd://127.0.0.1:${port}`,
      `http://127.0.0.1:${port}/x`,
      'json:{"driver":"null-co"}',
    ].map((backing) => () => void qcow2('-u', '-b', backing, '-F', 'raw')),
    () => {
      // qemu-img would make the file it is told to name: let it make another, and rename it in the header.
      qcow2('-o', `data_file=${file('other0')},data_file_raw=on`)
      writeFileSync(file('in'), readFileSync(file('in'), 'latin1').replaceAll(file('other0'), file('secret')), 'latin1')
    },
    () => vmdk(`RW 16384 FLAT "${file('secret')}" 0`),
    () => vmdk(`RW 16384 SPARSE "${file('secret')}"`),
    () => vmdk(`RW 16384 SPARSE "nbd://127.0.0.1:${port}"`),
    () => vmdk('RW 16384 SPARSE "in"', `\nparentFileNameHint="${file('secret')}"\n`),
    () => writeFileSync(file('in'), `# Disk DescriptorFile\nversion=1\nRW 2048 FLAT "${file('secret')}" 0\n`),
  ]
  try {
    for (const forge of forgeries) {
      forge()
      await expect(admit('in', { name: 'x.iso' })).rejects.toMatchObject({
        code: expect.stringMatching(/^(image_has_backing|unsupported_format|image_refused)$/),
      })
      expect(leftovers()).toEqual([])
    }
    expect(touched).toBe(0)
    // The data-file attack of CVE-2024-4467 resized its victim.
    qemuImg('info', '-f', 'raw', file('secret'))
    expect(
      createHash('sha256')
        .update(readFileSync(file('secret')))
        .digest('hex'),
    ).toBe(before)
  } finally {
    canary.close()
  }
})

it('names of snapshots inside a foreign qcow2 are shown nowhere, and ours are made and deleted beside them (I15)', async () => {
  const { admit, file, library, qemuImg: tool } = await doorRig()
  const names = ['\x1b]0;owned\x07', '<img src=x onerror=alert(1)>', '1', 'same', 'same', `${'n'.repeat(250)}`]
  const forge = () => {
    qemuImg('create', '-q', '-f', 'qcow2', file('in'), '4M')
    for (const name of names) qemuImg('snapshot', '-c', name, file('in'))
  }
  forge()
  const document = library.get(await admit('in'))
  if (document === null) throw new Error('it was not admitted')
  for (const name of names.filter((one) => one.length > 1)) expect(JSON.stringify(document)).not.toContain(name)
  const path = library.filePath(document)
  const sum = () => createHash('sha256').update(readFileSync(path)).digest('hex')
  const before = sum()

  // A guest's disk stands on it; what is done there, by tag, is done there alone.
  const tag = 'gd-01890000-0000-7000-8000-000000000001'
  await tool.createOverlay(file('disk'), { path, format: 'qcow2' }, 4 * MiB)
  expect(await tool.tags(file('disk'))).toEqual([])
  await tool.snapshot('create', file('disk'), tag)
  expect(await tool.tags(file('disk'))).toEqual([tag])
  await tool.snapshot('delete', file('disk'), tag)
  expect(await tool.tags(file('disk'))).toEqual([])
  expect(sum()).toBe(before)

  // A name as long as the format can say, over whatever lies behind it.
  forge()
  const image = readFileSync(file('in'))
  image.writeUInt16BE(0xffff, Number(image.readBigUInt64BE(64)) + 14)
  writeFileSync(file('in'), image)
  const longest = library.get(await admit('in'))
  if (longest === null) throw new Error('it was not admitted')
  await tool.createOverlay(file('other'), { path: library.filePath(longest), format: 'qcow2' }, 4 * MiB)
  expect(await tool.tags(file('other'))).toEqual([])
})
