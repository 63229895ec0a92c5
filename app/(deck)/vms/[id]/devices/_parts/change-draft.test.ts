import { expect, test } from 'vitest'
import type { SpecDraft } from '#components/vm/spec-draft.ts'
import { countIn, indexIn, withAdded, withRemoved } from './change-draft.ts'
import { ADD_KINDS } from './entries.ts'

const draft: SpecDraft = {
  name: 'vm',
  scalars: { memoryMiB: 512, memoryMaxMiB: null, properties: { disk0: { 'queue-size': 64 }, net0: { x: 1 } } },
  drives: [{ key: 'disk0', id: 'disk0', device: 'disk', image: null, origin: 'own' }],
  cards: [{ key: 'net0', id: 'net0', mac: '52:54:00:00:00:01', restrict: false, forwards: [] }],
  lists: { inputs: [{ key: 'input0', fields: { id: 'input0' } }] },
}

test('every kind is added at the end of its own list', () => {
  const lists = ['disks', 'disks', 'networks', 'dimms', 'inputs', 'channels', 'shares', 'hostDevices'] as const
  ADD_KINDS.forEach((what, n) => {
    const list = lists[n] ?? 'disks'
    expect(countIn(withAdded(draft, what), list), what).toBe(countIn(draft, list) + 1)
  })
})

test('a memory module raises the maximum to what is needed, and leaves a larger one alone', () => {
  expect(withAdded(draft, 'dimm').scalars.memoryMaxMiB).toBe(512 + 1024)
  const roomy = { ...draft, scalars: { ...draft.scalars, memoryMaxMiB: 8192 } }
  expect(withAdded(roomy, 'dimm').scalars.memoryMaxMiB).toBe(8192)
})

test('what is removed takes its properties along and nothing else', () => {
  const without = withRemoved(draft, 'disks', 'disk0')
  expect(indexIn(without, 'disks', 'disk0')).toBe(-1)
  expect(without.scalars.properties).toEqual({ net0: { x: 1 } })
  expect(without.cards).toEqual(draft.cards)
  expect(countIn(withRemoved(draft, 'inputs', 'input0'), 'inputs')).toBe(0)
  expect(indexIn(withRemoved(draft, 'inputs', 'other'), 'inputs', 'input0')).toBe(0)
})
