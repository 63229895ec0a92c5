import { expect, it } from 'vitest'
import { cloneNames, proposedName } from '#lib/clones/names.ts'
import { cleanUpObstacle, cloneNotes, cloneObstacle, cloneSpec } from '#lib/clones/rules.ts'
import { VmSpec, VmSpecInput } from '#lib/schema/vm-spec.ts'
import { normalizeSpec } from '#server/spec/normalize.ts'
import { capabilitiesOf, DISK_ID, factsFor, ISO_ID } from '#server/spec/test-support.ts'

const spec = (input: object): VmSpec =>
  normalizeSpec(VmSpecInput.parse({ name: 'web', ...input }), factsFor(capabilitiesOf('7.2')))
const identity = () => {
  let mac = 0
  return { name: 'clone', nextMac: () => `52:54:00:00:00:0${++mac}`, nextCid: () => 77 }
}

it('names of several differ also where the pattern does not say how', () => {
  expect(cloneNames('web-{index}', 'x', 3, 2)).toEqual([
    { name: 'web-3', index: 3 },
    { name: 'web-4', index: 4 },
  ])
  expect(cloneNames('{name} b', 'x', 1, 1)).toEqual([{ name: 'x b', index: 1 }])
  expect(cloneNames('w', 'x', 1, 2).map(({ name }) => name)).toEqual(['w-1', 'w-2'])
  expect(cloneNames('{index}', 'x', 0, 1)[0]?.name).toBe('0')
  expect(cloneNames('{name}', 'x'.repeat(64), 1, 2)[0]?.name).toHaveLength(64)
})

it('a proposed name is one that is free, and never too long', () => {
  expect(proposedName('web', new Set())).toBe('web clone')
  expect(proposedName('Web', new Set(['web clone', 'web clone 2']))).toBe('Web clone 3')
  expect(proposedName('w'.repeat(64), new Set()).length).toBeLessThanOrEqual(64)
})

it('a clone has its own addresses and nothing that may be there only once; all else is the same', () => {
  const source = spec({
    networks: [{ forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }] }, {}],
    vsock: { cid: 9 },
    smbios: { manufacturer: 'M', product: null, version: null, serial: 'S', sku: null, family: null, oemStrings: [] },
    disks: [
      { device: 'disk', image: DISK_ID, serial: 'KEEP' },
      { device: 'cdrom', image: ISO_ID },
    ],
    tags: ['lab'],
  })
  const linked = cloneSpec(source, 'linked', identity())
  expect(VmSpec.parse(linked)).toEqual(linked)
  expect(linked.networks.map(({ mac }) => mac)).toEqual(['52:54:00:00:00:01', '52:54:00:00:00:02'])
  expect(linked.networks[0]?.forwards).toEqual([])
  expect(linked).toMatchObject({ name: 'clone', vsock: { cid: 77 }, smbios: { manufacturer: 'M', serial: null } })
  expect(linked.disks).toEqual(source.disks)
  expect(linked.tags).toEqual(['lab'])
  // A full copy stands on no image any more; what lies in the CD drive stays there.
  const [disk, cd] = cloneSpec(source, 'full', identity()).disks
  expect(disk).toMatchObject({ image: null, serial: 'KEEP' })
  expect(cd).toMatchObject({ image: ISO_ID })
  expect(cloneNotes(source)).toEqual([
    'Network cards get addresses of their own.',
    'Port forwards are left out: a host port leads to one VM only.',
    'The guest is told that it is a copy (VM generation ID), so that it draws random numbers of its own.',
    'It gets a vsock address of its own.',
    'The serial number of the mainboard is left out.',
  ])
})

it('snapshots inside disk files forbid freezing these files, and can be copied only while nobody writes them', () => {
  const subject = { spec: spec({}), snapshots: null, from: null, isOff: true }
  expect(cloneObstacle(subject, 'linked')).toBeNull()
  expect(cloneObstacle({ ...subject, snapshots: 'disk' }, 'linked')).toBeNull()
  expect(cloneObstacle({ ...subject, snapshots: 'memory' }, 'linked')).toMatch(/freeze/)
  expect(cloneObstacle({ ...subject, snapshots: 'memory' }, 'full')).toBeNull()
  expect(cloneObstacle({ ...subject, from: 'disk', isOff: false }, 'linked')).toBeNull()
  expect(cloneObstacle({ ...subject, from: 'memory' }, 'linked')).toMatch(/full clone/)
  expect(cloneObstacle({ ...subject, from: 'memory' }, 'full')).toBeNull()
  expect(cloneObstacle({ ...subject, from: 'memory', isOff: false }, 'full')).toMatch(/Shut the guest down/)
})

it('only what is Linux, on disks of its own, is cleaned up from outside, and only where the host can', () => {
  const disk = { disks: [{ device: 'disk', sizeGiB: 1 }] }
  expect(cleanUpObstacle(spec({ guest: 'linux', ...disk }), null)).toBeNull()
  expect(cleanUpObstacle(spec({ guest: 'other', ...disk }), null)).toBeNull()
  expect(cleanUpObstacle(spec({ guest: 'linux', ...disk }), 'libguestfs is missing.')).toBe('libguestfs is missing.')
  expect(cleanUpObstacle(spec({ guest: 'windows', ...disk }), null)).toContain('sysprep /generalize')
  expect(cleanUpObstacle(spec({ guest: 'bsd', ...disk }), null)).toContain('inside the guest')
  expect(cleanUpObstacle(spec({ guest: 'linux' }), null)).toContain('no disk')
})
