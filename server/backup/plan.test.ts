import { describe, expect, test } from 'vitest'
import { bitmapOf } from './layout.ts'
import { type Candidate, type DiskFacts, planBackup, staleBitmaps } from './plan.ts'

const A = '01890000-0000-7000-8000-00000000000a'
const B = '01890000-0000-7000-8000-00000000000b'
const auto = { mode: 'auto', fullEvery: 5 } as const

const bitmap = (id: string, change: object = {}) => ({
  name: bitmapOf(id),
  count: 65_536,
  usable: true,
  busy: false,
  ...change,
})
const disk = (device: string, bitmaps: ReturnType<typeof bitmap>[], change: Partial<DiskFacts> = {}): DiskFacts => ({
  device,
  node: { virtualSizeBytes: 2 ** 30, bitmaps },
  canKeepBitmap: true,
  ...change,
})
const candidate = (id: string, devices = ['d'], chainLength = 1, virtualSizeBytes = 2 ** 30): Candidate =>
  ({
    manifest: { id, disks: devices.map((device) => ({ device, virtualSizeBytes })) },
    chainLength,
    // Only these fields are looked at.
  }) as unknown as Candidate

describe('a backup is incremental', () => {
  test('on the newest backup that the disks still count from', () => {
    const plan = planBackup([disk('d', [bitmap(A)])], [candidate(B), candidate(A)], auto)
    expect(plan).toEqual({ parent: A, disks: [{ device: 'd', kind: 'incremental', changedBytes: 65_536 }], why: null })
  })
  test('for the disks that were in the parent; a new one is copied whole', () => {
    const plan = planBackup([disk('d', [bitmap(A)]), disk('e', [])], [candidate(A)], auto)
    expect(plan.disks.map(({ kind }) => kind)).toEqual(['incremental', 'full'])
  })
  test('of a disk that has grown', () => {
    expect(planBackup([disk('d', [bitmap(A)])], [candidate(A, ['d'], 1, 2 ** 29)], auto).parent).toBe(A)
  })
})

describe('a backup is full, and says why,', () => {
  test.each([
    [
      'when a bitmap was not written back',
      [disk('d', [bitmap(A, { usable: false })])],
      [candidate(A)],
      /without closing/,
    ],
    ['when nothing counts from an earlier one', [disk('d', [])], [candidate(A)], /do not remember/],
    ['of raw disks', [disk('d', [], { canKeepBitmap: false })], [candidate(A)], /Raw disks/],
    ['when many stand on the last full one', [disk('d', [bitmap(A)])], [candidate(A, ['d'], 6)], /5 incremental/],
    ['when the disk has shrunk', [disk('d', [bitmap(A)])], [candidate(A, ['d'], 1, 2 ** 31)], /do not remember/],
  ] as const)('%s', (_, disks, candidates, why) => {
    const plan = planBackup(disks, candidates, auto)
    expect(plan.parent).toBeNull()
    expect(plan.disks.every(({ kind }) => kind === 'full')).toBe(true)
    expect(plan.why).toMatch(why)
  })
  test('but for the first, and when that was asked for', () => {
    expect(planBackup([disk('d', [])], [], auto).why).toBeNull()
    expect(planBackup([disk('d', [bitmap(A)])], [candidate(A)], { ...auto, mode: 'full' })).toMatchObject({
      parent: null,
      why: null,
    })
  })
})

test('bitmaps of older backups go, those of other targets and other people’s stay', () => {
  const others = { ...bitmap(A), name: 'libvirt-1' }
  const stale = staleBitmaps({ bitmaps: [bitmap(A), bitmap(B), others] }, B, () => false)
  expect(stale).toEqual([bitmapOf(A)])
  expect(staleBitmaps({ bitmaps: [bitmap(A)] }, B, (id) => id === A)).toEqual([])
  expect(staleBitmaps({ bitmaps: [bitmap(A, { busy: true })] }, B, () => false)).toEqual([])
})
