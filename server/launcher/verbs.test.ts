import { expect, test } from 'vitest'
import { permissionsOf, Shape } from './shapes.ts'
import { LaunchRequest, OwnRequest, PamRequest, PinRequest, SignalRequest, TapRequest } from './verbs.ts'

const own = (path: string, as: unknown) => OwnRequest.safeParse({ path, as, sync: false }).success
const VM = '01890a5d-ac96-774b-bcce-b302099a8057'

test('a file is handed over by an absolute path without steps back', () => {
  const as = { kind: 'guest-file', uid: 2_070_000_001 }
  expect(own('/var/lib/guestdeck/vms/a/disk0.qcow2', as)).toBe(true)
  for (const path of ['disk0.qcow2', '', '/a/../etc/shadow', '/a/./b', '/a\0b', '/..'])
    expect(own(path, as), path).toBe(false)
})

test('nothing is ever handed to root, to all, or with a mode of one’s choice', () => {
  for (const as of [
    { kind: 'guest-file', uid: 0 },
    { kind: 'guest-file', uid: -1 },
    { kind: 'guest-file', uid: 0xffff_ffff },
    { kind: 'guest-file', uid: 1.5 },
    { kind: 'readers-file', readersGid: 0, holder: null },
    { kind: 'everybody' },
    { uid: 1, gid: 1, mode: 0o4755 },
  ])
    expect(own('/a', as), JSON.stringify(as)).toBe(false)
})

test('no shape lets everybody in, or sets a user', () => {
  const dashboard = { uid: 7, gid: 8 }
  const shapes: Shape[] = [
    { kind: 'guest-file', uid: 100 },
    { kind: 'guest-dir', uid: 100 },
    { kind: 'guest-passage', uid: 100 },
    { kind: 'readers-file', readersGid: 200, holder: 100 },
    { kind: 'readers-shared', readersGid: 200 },
    { kind: 'readers-passage', readersGid: 200 },
    { kind: 'dashboard-file' },
    { kind: 'dashboard-dir' },
  ]
  expect(shapes.map(({ kind }) => kind)).toEqual(Shape.options.map((option) => option.shape.kind.value))
  for (const shape of shapes) expect(permissionsOf(shape, dashboard).mode & 0o5007, shape.kind).toBe(0)
  // What all guests may pass or read they cannot change, but for what they share on purpose.
  for (const shape of shapes.filter(({ kind }) => kind !== 'readers-shared')) {
    const { gid, mode } = permissionsOf(shape, dashboard)
    if (gid === 200) expect(mode & 0o020, shape.kind).toBe(0)
  }
})

test('a signal names a process for good, and only ends it', () => {
  const ask = { pid: 5, startTime: 7, target: { kind: 'qemu', vmId: VM }, signal: 'SIGKILL' }
  const isFine = (change: object) => SignalRequest.safeParse({ ...ask, ...change }).success
  expect(isFine({})).toBe(true)
  for (const change of [
    { pid: 1 },
    { pid: 0 },
    { pid: -5 },
    { signal: 'SIGSTOP' },
    { target: { kind: 'any' } },
    { startTime: undefined },
  ])
    expect(isFine(change), JSON.stringify(change)).toBe(false)
})

test('a tap has a name of ours, a bridge no option, and never root as its user', () => {
  const tap = { card: 'net0', name: 'gdabc0', bridge: 'br0', multiQueue: false, mtu: null, rateLimit: null }
  const user = { uid: 100, gid: 100, groups: [200] }
  const isFine = (change: object, who: object | null = user) =>
    TapRequest.safeParse({ tap: { ...tap, ...change }, user: who }).success
  expect(isFine({})).toBe(true)
  expect(isFine({}, null)).toBe(true)
  for (const change of [
    { name: 'eth0' },
    { name: 'gd/../x' },
    { bridge: '-batch' },
    { bridge: 'br0 up' },
    { mtu: 1 },
    { mtu: 1e6 },
  ])
    expect(isFine(change), JSON.stringify(change)).toBe(false)
  expect(isFine({}, { ...user, uid: 0 })).toBe(false)
  expect(isFine({}, { ...user, groups: [0] })).toBe(false)
})

test('PAM is asked one question at a time, about somebody whose name is no option', () => {
  const isFine = (change: object) =>
    PamRequest.safeParse({ service: 'login', name: 'ann', password: 'x', ...change }).success
  expect(isFine({})).toBe(true)
  for (const change of [
    { name: '-v' },
    { name: 'a\nb' },
    { password: 'a\nb' },
    { password: '' },
    { service: '../su' },
    { service: '-v' },
  ])
    expect(isFine(change), JSON.stringify(change)).toBe(false)
})

test('CPUs are numbers and ranges, no further words for taskset', () => {
  const ask = { pid: 5, startTime: 7, vmId: VM, tid: 6, cpus: '0-3,8' }
  const isFine = (change: object) => PinRequest.safeParse({ ...ask, ...change }).success
  expect(isFine({})).toBe(true)
  for (const change of [
    { cpus: '-a' },
    { cpus: '' },
    { cpus: '0 1' },
    { cpus: '0,' },
    { tid: 1 },
    { tid: 0 },
    { vmId: 'x' },
  ])
    expect(isFine(change), JSON.stringify(change)).toBe(false)
})

test('a command line is words, and there is a program', () => {
  expect(LaunchRequest.safeParse({ argv: ['/usr/bin/true', ''], log: '/r/log' }).success).toBe(true)
  for (const argv of [[], ['/usr/bin/true', 'a\0b'], '/usr/bin/true'])
    expect(LaunchRequest.safeParse({ argv, log: '/r/log' }).success).toBe(false)
})
