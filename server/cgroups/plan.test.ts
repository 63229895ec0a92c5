import { expect, test } from 'vitest'
import { specOf } from '#server/vm/testing/lab.ts'
import { type Base, chooseBase, guestsMemoryMax, headroomMiB, planLimits, v1Controllers, whyMissing } from './plan.ts'

const spec = { ...specOf(), memoryMiB: 1024 }
const files = (change: Partial<typeof spec> = {}, accelerator: 'kvm' | 'tcg' = 'kvm') =>
  Object.fromEntries(planLimits({ ...spec, ...change }, accelerator).map(({ file, content }) => [file, content]))

const V2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n'
const host = { mountinfo: V2, own: '0::/system.slice/x.service\n', isRoot: true, hasSystemd: true, setting: 'auto' }
const placeOf = (base: Base) => (base.kind === 'found' ? base.guests : base.reason)

test('weights and limits are written as the kernel takes them, and no limit as “max”', () => {
  expect(files({ cpuWeight: 25, cpuLimit: 1.5, ioWeight: 400 })).toMatchObject({
    ...{ 'cpu.weight': '25', 'cpu.max': '150000 100000', 'io.weight': 'default 400' },
  })
  expect(files({ cpuLimit: null, memoryCap: false })).toMatchObject({ 'cpu.max': 'max 100000', 'memory.max': 'max' })
})

test('the limit of memory leaves QEMU room of its own, more with more disks, memory to plug and translated code', () => {
  const capMiB = (change: Partial<typeof spec> = {}, accelerator?: 'kvm' | 'tcg') =>
    Number(files(change, accelerator)['memory.max']) / 2 ** 20
  expect(capMiB()).toBe(1024 + headroomMiB(spec, 'kvm'))
  expect(headroomMiB(spec, 'kvm')).toBeGreaterThanOrEqual(384)
  // QEMU's cache of translations alone takes up to 256 MiB.
  expect(headroomMiB(spec, 'tcg') - headroomMiB(spec, 'kvm')).toBeGreaterThanOrEqual(256)
  expect(capMiB({ memoryMaxMiB: 4096 })).toBeGreaterThan(4096 + 384)
})

test('there is room for every thread that QEMU may start: CPUs and 64 workers for each loop', () => {
  expect(Number(files({ maxCpus: 64 })['pids.max'])).toBeGreaterThan(64 + 64)
})

test('the host keeps a twentieth of its memory from all guests together, in whole MiB', () => {
  expect(guestsMemoryMax(8 * 2 ** 30)).toBe(7782 * 2 ** 20)
})

test('under systemd guests get groups only where they were handed over: by name, or beside a subgroup of our own', () => {
  expect(placeOf(chooseBase(host))).toContain('handed no control group over')
  expect(placeOf(chooseBase({ ...host, own: '0::/system.slice/x.service/dashboard\n' }))).toBe(
    '/sys/fs/cgroup/system.slice/x.service/guests',
  )
  expect(placeOf(chooseBase({ ...host, setting: '/guestdeck.slice/guests' }))).toBe(
    '/sys/fs/cgroup/guestdeck.slice/guests',
  )
  // Somebody's folder of that name is nobody's unit.
  expect(placeOf(chooseBase({ ...host, own: '0::/user.slice/dashboard\n' }))).toContain('handed no control group over')
})

test('without systemd root makes a group of its own; others, and who switches it off, are told why there is none', () => {
  expect(placeOf(chooseBase({ ...host, hasSystemd: false }))).toBe('/sys/fs/cgroup/guestdeck')
  expect(placeOf(chooseBase({ ...host, hasSystemd: false, isRoot: false }))).toContain('not root')
  expect(placeOf(chooseBase({ ...host, setting: 'off' }))).toContain('switched off')
  expect(placeOf(chooseBase({ ...host, mountinfo: '1 2 0:3 / /proc rw - proc proc rw\n' }))).toContain('no cgroup v2')
  const hybrid = '31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n'
  expect(placeOf(chooseBase({ ...host, hasSystemd: false, mountinfo: hybrid }))).toBe(
    '/sys/fs/cgroup/unified/guestdeck',
  )
})

test('a missing controller is told apart: in the old hierarchy, not in this kernel, not to be switched on', () => {
  const v1 = v1Controllers(
    '#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\nblkio\t7\t2\t1\npids\t0\t1\t1\n',
  )
  expect([...v1]).toEqual(['cpu', 'blkio'])
  expect(whyMissing(['cpu'], new Set(), v1)).toContain('cgroup v1')
  expect(whyMissing(['io'], new Set(), v1)).toContain('cgroup v1')
  expect(whyMissing(['pids'], new Set(), v1)).toContain('gives no controller')
  expect(whyMissing(['memory'], new Set(['memory']), v1)).toContain('could not be switched on')
  // One sentence for each reason, not for each controller.
  expect(whyMissing(['cpu', 'memory', 'pids', 'io'], new Set(['memory']), v1)).toBe(
    'On this host the controllers “cpu” and “io” are in cgroup v1. The controller “memory” could not be switched on for guests. This kernel or the group above gives no controller “pids”.',
  )
})
