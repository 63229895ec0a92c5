import { describe, expect, it } from 'vitest'
import { isMountPoint, type JudgeFacts, judgePool, parseLook, reserveOf } from './pool-state.ts'
import { sumVolumes, worstCaseOfFile } from './volume-sums.ts'

const GIB = 2 ** 30
const LOOK = { totalBytes: 100 * GIB, freeBytes: 50 * GIB, fileSystem: 'ext2/ext3', writable: true, markId: 'a' }
const facts = (change: Partial<JudgeFacts>): JudgeFacts => ({
  ...{ id: 'a', name: 'nas', builtIn: false, path: '/srv/nas', mounted: true, mustBeMounted: false },
  ...{ reserveBytes: 5 * GIB, look: LOOK },
  ...change,
})
const stateOf = (change: Partial<JudgeFacts>) => judgePool(facts(change)).state

describe('a pool', () => {
  it.each([
    ['ok', {}],
    ['low', { look: { ...LOOK, freeBytes: 4 * GIB } }],
    ['full', { look: { ...LOOK, freeBytes: 1000 } }],
    ['read-only', { look: { ...LOOK, writable: false } }],
    ['missing', { look: { ...LOOK, markId: null } }],
    ['missing', { look: { ...LOOK, markId: 'another' } }],
    ['missing', { look: 'There is no directory.' }],
    ['missing', { mustBeMounted: true, mounted: false }],
    ['unreachable', { look: null }],
  ] as const)('is %s where it was seen so', (state, change) => {
    expect(stateOf(change)).toBe(state)
    expect(judgePool(facts(change)).advice === '').toBe(state === 'ok')
  })

  it('needs no mark when it is the data directory', () => {
    expect(stateOf({ builtIn: true, look: { ...LOOK, markId: null } })).toBe('ok')
  })

  it('keeps what was set free, else 5 % and at least the minimum', () => {
    expect(reserveOf(1000 * GIB, null, 5 * GIB)).toBe(50 * GIB)
    expect(reserveOf(10 * GIB, null, 5 * GIB)).toBe(5 * GIB)
    expect(reserveOf(10 * GIB, 0, 5 * GIB)).toBe(0)
  })

  it('is a mount point by the kernel’s list alone, spaces included', () => {
    const info = '29 1 0:26 / / rw - ext4 /dev/a rw\n30 29 0:27 / /srv/my\\040nas rw - nfs4 x rw'
    expect(isMountPoint('/srv/my nas', info)).toBe(true)
    expect(isMountPoint('/srv', info)).toBe(false)
  })

  it('whose look is garbled is not guessed at', () => {
    expect(parseLook('room 4096 100 50\ntype tmpfs\nwritable yes\nmark {"guestdeckPool":"nonsense"}')).toMatchObject({
      ...{ totalBytes: 409_600, freeBytes: 204_800, writable: true, markId: null },
    })
    for (const text of ['', 'room x y z', 'room 0 1 1', 'room 4096 -1 5']) expect(parseLook(text)).toBeNull()
  })
})

it('what several disks stand on counts for none of them, and the worst case of each is its full size', () => {
  const layer = (id: string, parent: string | null) =>
    ({
      id,
      poolId: 'p',
      file: id,
      format: 'qcow2',
      sizeBytes: GIB,
      parent: parent === null ? null : { layer: parent },
    }) as never
  const volume = (id: string, head: string) => ({ id, head, poolId: 'p', sizeBytes: GIB }) as never
  const bytes: Record<string, number> = { base: 500, a: 10, b: 20, b0: 7 }
  const sums = sumVolumes({
    volumes: [volume('A', 'a'), volume('B', 'b')],
    layers: new Map(
      [layer('base', null), layer('a', 'base'), layer('b0', 'base'), layer('b', 'b0')].map((one: { id: string }) => [
        one.id,
        one as never,
      ]),
    ),
    holdsSnapshots: () => false,
    allocated: (id) => bytes[id] ?? null,
  })
  expect(sums.get('A')).toMatchObject({ allocatedBytes: 10, layers: 2, worstCaseBytes: worstCaseOfFile(GIB, 'qcow2') })
  expect(sums.get('B')).toMatchObject({
    allocatedBytes: 27,
    layers: 3,
    worstCaseBytes: worstCaseOfFile(GIB, 'qcow2') + 7,
  })
  expect(worstCaseOfFile(GIB, 'raw')).toBe(GIB)
})
