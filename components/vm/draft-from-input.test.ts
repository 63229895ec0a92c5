import { expect, test } from 'vitest'
import { fromInput } from './draft-from-input.ts'
import { type SpecInput, toInput } from './spec-draft.ts'

const keys = () => {
  let next = 0
  return () => `row-${next++}`
}

test('a draft of an appliance sends back what it said', () => {
  const input = {
    name: 'web',
    description: 'old server',
    guest: 'linux',
    cpus: 2,
    memoryMiB: 1024,
    firmware: 'uefi',
    disks: [
      { device: 'disk', image: '01890000-0000-7000-8000-000000000001', sizeGiB: 8, bus: 'virtio-scsi' },
      { device: 'cdrom', image: null },
    ],
    networks: [{ mac: '52:54:00:00:00:01', model: 'e1000', restrict: false, forwards: [] }],
    inputs: [{ kind: 'tablet' }],
  } as unknown as SpecInput
  expect(toInput(fromInput(input, keys()))).toEqual(input)
})

test('a card without an address gets one, and nothing else is made up', () => {
  const sent = toInput(fromInput({ name: 'a', networks: [{}] } as unknown as SpecInput, keys()))
  expect(Object.keys(sent).sort()).toEqual(['disks', 'name', 'networks'])
  expect(sent.networks?.[0]).toMatchObject({ mac: expect.stringMatching(/^52:54:00(:[0-9a-f]{2}){3}$/) })
})
