import { describe, expect, test } from 'vitest'
import type { VmSpec } from '../schema/vm-spec.ts'
import { blockedInWords, type SnapshotFacts, snapshotDisks, snapshotObstacles } from './rules.ts'

/** Only the fields the rules look at. */
const spec = (change: object): VmSpec =>
  ({
    disks: [{ id: 'disk0', device: 'disk', bus: 'virtio-blk', shared: false, readOnly: false }],
    shares: [],
    hostDevices: [],
    ...change,
  }) as unknown as VmSpec
const disk = (id: string, change: object = {}) => ({
  id,
  device: 'disk',
  bus: 'virtio-blk',
  shared: false,
  readOnly: false,
  ...change,
})
const running: SnapshotFacts = { isRunning: true, formats: new Map([['disk0', 'qcow2']]) }
const devices = (of: VmSpec, kind: 'memory' | 'disk', facts = running) =>
  snapshotObstacles(of, kind, facts).map(({ device }) => device)

describe('nothing is in the way', () => {
  test('of an ordinary guest', () => {
    expect(devices(spec({}), 'memory')).toEqual([])
    expect(devices(spec({}), 'disk')).toEqual([])
  })

  test('of devices without state, when only disks are taken or the guest is off', () => {
    const of = spec({
      disks: [disk('disk0', { bus: 'nvme' })],
      shares: [{ id: 'share0', driver: 'virtiofs', tag: 'home' }],
      hostDevices: [{ id: 'gpu0', type: 'pci' }],
    })
    expect(devices(of, 'disk')).toEqual([])
    expect(devices(of, 'memory', { ...running, isRunning: false })).toEqual([])
    expect(devices(of, 'memory')).toEqual(['disk0', 'share0', 'gpu0'])
  })

  test('of a disk that is only read', () => {
    const of = spec({ disks: [disk('disk0'), disk('disk1', { readOnly: true })] })
    expect(devices(of, 'memory')).toEqual([])
    expect(snapshotDisks(of).map(({ id }) => id)).toEqual(['disk0'])
  })
})

test('a shared disk is in the way of both kinds, a raw one of memory alone', () => {
  const of = spec({ disks: [disk('disk0'), disk('disk1', { shared: true }), disk('disk2')] })
  const facts: SnapshotFacts = {
    isRunning: false,
    formats: new Map([
      ['disk0', 'qcow2'],
      ['disk2', 'raw'],
    ]),
  }
  expect(devices(of, 'memory', facts)).toEqual(['disk1', 'disk2'])
  expect(devices(of, 'disk', facts)).toEqual(['disk1'])
})

test('a VM without a disk has nothing to go back to', () => {
  expect(snapshotObstacles(spec({ disks: [] }), 'disk', running)[0]?.sentence).toMatch(/no disk of its own/)
})

test('what QEMU names as not to be saved is told in words, and nothing of it is passed on unread', () => {
  expect(blockedInWords('non-migratable device: 0000:00:02.0/nvme')).toContain('(nvme)')
  expect(
    blockedInWords(
      "Migration is disabled when VirtFS export path '/srv/x' is mounted in the guest using mount_tag 'home'",
    ),
  ).toMatch(/“home” mounted/)
  expect(blockedInWords('non-migratable device: <b>/\u001b[31m')).not.toMatch(/[<\u001b]/)
})
