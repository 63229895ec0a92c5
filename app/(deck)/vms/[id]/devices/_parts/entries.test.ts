import { describe, expect, test } from 'vitest'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { PendingChange, Vm } from '#lib/schema/vm-state.ts'
import { type DeviceEntry, entriesOf, findDevice, MACHINE_PARTS, targetOf, targetOfField } from './entries.ts'

const disk = { id: 'disk0', device: 'disk' }
const cd = { id: 'cd0', device: 'cdrom' }
const card = { id: 'net0', model: 'virtio-net' }
/** Only what the functions look at. */
const spec = {
  disks: [disk, cd],
  networks: [card],
  inputs: [],
  dimms: [],
  channels: [],
  shares: [],
  hostDevices: [],
} as unknown as VmSpec
const vm = (pending: Partial<PendingChange>[], state: Vm['state'] = 'running') => ({
  spec,
  state,
  pending: pending.map((change) => ({
    live: null,
    next: null,
    reason: 'because',
    waiting: 'restart',
    ...change,
  })) as PendingChange[],
})
const devices = (pending: Partial<PendingChange>[], state?: Vm['state']) =>
  entriesOf(vm(pending, state))
    .flatMap(({ entries }) => entries)
    .filter((entry): entry is DeviceEntry => entry.kind === 'device')
const stateOf = (id: string, pending: Partial<PendingChange>[], state?: Vm['state']) =>
  devices(pending, state)
    .filter((entry) => entry.id === id)
    .map((entry) => entry.state)

describe('where a device stands', () => {
  test('runs when nothing waits, and says nothing of an off guest', () => {
    expect(devices([]).map(({ id, state, reason }) => [id, state, reason])).toEqual([
      ['disk0', 'running', null],
      ['cd0', 'running', null],
      ['net0', 'running', null],
    ])
    expect(stateOf('disk0', [], 'off')).toEqual(['off'])
    expect(stateOf('disk0', [], 'crashed')).toEqual(['off'])
  })

  test('a device the guest does not have yet is added later, or could be at once', () => {
    expect(stateOf('cd0', [{ path: '/disks/1', next: cd }])).toEqual(['added'])
    expect(stateOf('cd0', [{ path: '/disks/1', next: cd, waiting: 'apply' }])).toEqual(['ready'])
  })

  test('a device that differs changes later, could change at once, or waits for its medium', () => {
    expect(stateOf('disk0', [{ path: '/disks/0', live: disk, next: disk }])).toEqual(['changed'])
    expect(stateOf('disk0', [{ path: '/disks/0', live: disk, next: disk, waiting: 'apply' }])).toEqual(['changeReady'])
    expect(stateOf('cd0', [{ path: '/disks/1', live: cd, next: cd, waiting: 'guest' }])).toEqual(['medium'])
    expect(stateOf('net0', [{ path: '/properties/net0', live: {}, next: { x: 1 } }])).toEqual(['changed'])
  })

  test('several devices that only the guest still has are all listed after those of the definition', () => {
    const gone = (id: string, waiting: PendingChange['waiting']) => ({ path: '/networks/-', live: { id }, waiting })
    const listed = devices([gone('net1', 'guest'), gone('net2', 'restart'), gone('net3', 'apply')])
    expect(listed.map(({ id, state, isStored }) => [id, state, isStored]).slice(2)).toEqual([
      ['net0', 'running', true],
      ['net1', 'leaving', false],
      ['net2', 'removed', false],
      ['net3', 'removeReady', false],
    ])
    expect(new Set(listed.map(({ key }) => key)).size).toBe(listed.length)
  })
})

test('the address names a device, a part or something to add, and nothing else opens an editor', () => {
  const of = (query: string) => targetOf(new URLSearchParams(query))
  expect(of('device=disk0')).toEqual({ kind: 'device', id: 'disk0' })
  expect(of('part=cpu')).toEqual({ kind: 'part', part: 'cpu' })
  expect(of('add=disk')).toEqual({ kind: 'add', what: 'disk' })
  for (const query of ['', 'part=nonsense', 'add=nonsense', 'of=running']) expect(of(query)).toBeNull()
})

test('a pointer into the definition leads to the device or the part it belongs to', () => {
  expect(targetOfField(spec, '/disks/1')).toEqual({ kind: 'device', id: 'cd0' })
  expect(targetOfField(spec, '/properties/net0')).toEqual({ kind: 'device', id: 'net0' })
  expect(targetOfField(spec, '/rng')).toEqual({ kind: 'part', part: 'helpers' })
  for (const pointer of ['/disks/7', '/disks/-', '/nonsense']) expect(targetOfField(spec, pointer)).toBeNull()
  expect(findDevice(spec, 'net0')).toEqual({ list: 'networks', index: 0 })
  expect(findDevice(spec, 'net9')).toBeNull()
})

test('no field belongs to two parts', () => {
  const fields = Object.values(MACHINE_PARTS).flatMap((part): readonly string[] => part.fields)
  expect(new Set(fields).size).toBe(fields.length)
})
