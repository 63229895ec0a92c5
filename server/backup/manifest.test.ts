import { describe, expect, test } from 'vitest'
import { type Manifest, parseManifest } from './manifest.ts'

const ID = '01890000-0000-7000-8000-00000000000a'
const disk = {
  ...{ device: 'disk0', file: 'disk-disk0.qcow2', format: 'qcow2', kind: 'full', changedBytes: null },
  ...{ sizeBytes: 10, sha256: '0'.repeat(64), virtualSizeBytes: 1024 },
}
const good = {
  ...{ format: 'guestdeck-backup', version: 1, id: ID, vm: { id: ID, name: 'web' }, ownerId: ID },
  ...{ createdAt: '2026-11-27T02:00:00.000Z', kind: 'full', parent: null, running: true, frozen: false },
  ...{ compression: 'zstd', bitmap: `gd-${ID}`, scheduleId: null, spec: {}, nvram: null, tpm: [], left: [] },
  disks: [disk],
}
const parse = (change: object) => parseManifest(JSON.stringify({ ...good, ...change }))

test('a manifest as it is written is read', () => {
  expect((parse({}) as Manifest).disks).toHaveLength(1)
})

describe('a manifest is refused, with the reason,', () => {
  test.each([
    ['that is no JSON', '{', /not JSON/],
    ['of something else', JSON.stringify({ ...good, format: 'other' }), /format/],
    ['of a later version', JSON.stringify({ ...good, version: 2 }), /version/],
    ['with a field nobody knows', JSON.stringify({ ...good, hook: '/bin/sh' }), /whole/],
    [
      'with an incremental disk and no parent',
      JSON.stringify({ ...good, kind: 'incremental', disks: [{ ...disk, kind: 'incremental' }] }),
      /parent/,
    ],
    [
      'that stands on itself',
      JSON.stringify({ ...good, kind: 'incremental', parent: ID, disks: [{ ...disk, kind: 'incremental' }] }),
      /itself/,
    ],
    [
      'with a size that is no size',
      JSON.stringify({ ...good, disks: [{ ...disk, virtualSizeBytes: 2 ** 60 }] }),
      /virtualSizeBytes/,
    ],
    ['with more disks than there can be', JSON.stringify({ ...good, disks: Array(65).fill(disk) }), /disks/],
    ['with one disk twice', JSON.stringify({ ...good, disks: [disk, { ...disk, file: 'other.qcow2' }] }), /twice/],
    ['with one file twice', JSON.stringify({ ...good, disks: [disk, { ...disk, device: 'disk1' }] }), /twice/],
  ])('%s', (_, text, why) => {
    expect(parseManifest(text)).toMatch(why)
  })

  test.each([
    '../secret',
    '/etc/passwd',
    'a/b',
    '..',
    '.hidden',
    '-rf',
    'x\u0000',
    'x\n',
    '',
    'a'.repeat(81),
    'manifest.json',
    'json:{}',
  ])('that names the file %j', (file) => {
    expect(parse({ disks: [{ ...disk, file }] })).toBeTypeOf('string')
  })
})
