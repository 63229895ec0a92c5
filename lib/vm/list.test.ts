import { expect, test } from 'vitest'
import type { ReadinessItem } from '../schema/host.ts'
import type { VmSpec } from '../schema/vm-spec.ts'
import type { Vm, VmState } from '../schema/vm-state.ts'
import { VmState as VmStates } from '../schema/vm-state.ts'
import { allowedAction } from './actions.ts'
import { capacityShares } from './capacity.ts'
import { primaryAction } from './primary-action.ts'
import { groupReadiness } from './readiness.ts'
import { revertPatch } from './revert.ts'
import { sortVms } from './sort.ts'

const vm = (name: string, state: VmState = 'off', cpuLoad: number | null = null) =>
  ({
    id: name,
    name,
    state,
    since: '2026-11-23T00:00:00Z',
    spec: {},
    live: cpuLoad === null ? undefined : { cpuLoad },
  }) as unknown as Vm
const names = (vms: Vm[]) => vms.map((item) => item.name)

test('names sort as people count: web-2 before web-10', () => {
  const list = [vm('web-10'), vm('Web-1'), vm('web-2')]
  expect(names(sortVms(list, 'name', false))).toEqual(['Web-1', 'web-2', 'web-10'])
  expect(names(sortVms(list, 'name', true))).toEqual(['web-10', 'web-2', 'Web-1'])
})

test('by state, what needs looking at comes first; equals stay in order of name either way', () => {
  const list = [vm('b'), vm('a'), vm('c', 'running'), vm('d', 'crashed')]
  expect(names(sortVms(list, 'state', false))).toEqual(['d', 'c', 'a', 'b'])
  expect(names(sortVms(list, 'state', true))).toEqual(['a', 'b', 'c', 'd'])
})

test('by load, what is off counts as less than idle', () => {
  expect(names(sortVms([vm('off'), vm('idle', 'running', 0), vm('busy', 'running', 1)], 'cpu', true))).toEqual([
    'busy',
    'idle',
    'off',
  ])
})

test('the button offered for a state is always one the state allows', () => {
  for (const state of VmStates.options) {
    if (state === 'starting' || state === 'saving' || state === 'migrating') continue
    expect(allowedAction(state, primaryAction({ state })).allowed, state).toBe(true)
  }
})

const spec = {
  memoryMiB: 2048,
  disks: [
    { id: 'disk0', image: null },
    { id: 'cd0', image: 'b' },
  ],
} as unknown as VmSpec

test('taking back a change restores the running value and leaves the rest of a list alone', () => {
  expect(revertPatch(spec, { path: '/memoryMiB', live: 1024 })).toEqual({ memoryMiB: 1024 })
  expect(revertPatch(spec, { path: '/disks/1/image', live: 'a' })).toEqual({
    disks: [
      { id: 'disk0', image: null },
      { id: 'cd0', image: 'a' },
    ],
  })
  expect(spec.disks[1]).toEqual({ id: 'cd0', image: 'b' })
})

test('a pointer to no field of the definition takes nothing back', () => {
  expect(revertPatch(spec, { path: '', live: 1 })).toBeNull()
  expect(revertPatch(spec, { path: '/nope', live: 1 })).toBeNull()
})

test('a capacity bar never passes its end, and promises count beyond what is used', () => {
  expect(capacityShares(2, 6, 8)).toEqual({ used: 0.25, promised: 0.5, full: false })
  expect(capacityShares(6, 2, 8)).toEqual({ used: 0.75, promised: 0, full: false })
  expect(capacityShares(9, 99, 8)).toEqual({ used: 1, promised: 0, full: true })
  expect(capacityShares(1, 1, 0)).toEqual({ used: 0, promised: 0, full: false })
})

test('readiness lists required first, then each choice, then optional, and what is missing before what is there', () => {
  const item = (id: string, need: ReadinessItem['need'], state: ReadinessItem['state'], group: string | null = null) =>
    ({ id, need, state, group }) as ReadinessItem
  const groups = groupReadiness([
    item('tpm', 'optional', 'missing'),
    item('ovmf', 'pick-one', 'ok', 'UEFI'),
    item('edk2', 'pick-one', 'missing', 'UEFI'),
    item('qemu', 'required', 'ok'),
    item('bwrap', 'required', 'missing'),
  ])
  expect(groups.map(({ need, name, items }) => [need, name, items.map(({ id }) => id)])).toEqual([
    ['required', null, ['bwrap', 'qemu']],
    ['pick-one', 'UEFI', ['edk2', 'ovmf']],
    ['optional', null, ['tpm']],
  ])
})
