import { describe, expect, it } from 'vitest'
import { StoredVmSpec } from '../schema/vm-spec/upgrade.ts'
import { VmSpec, VmSpecPatch } from '../schema/vm-spec.ts'
import { pendingChanges } from './pending.ts'
import { revertPatch } from './revert.ts'

const plainCard = {
  id: 'net0',
  model: 'virtio-net' as const,
  mac: '52:54:00:00:00:01',
  network: 'user' as const,
  restrict: false,
  forwards: [],
  rootPort: 0,
}
const spec = StoredVmSpec.parse({
  name: 'demo',
  description: '',
  tags: [],
  guest: 'linux',
  cpus: 2,
  cpuModel: 'auto',
  memoryMiB: 1024,
  accelerator: 'auto',
  machine: 'pc-q35-7.2',
  firmware: 'bios',
  disks: [],
  networks: [plainCard],
  display: 'std',
  usbInput: true,
  serial: true,
  rng: true,
  balloon: true,
  agentChannel: true,
  spareRootPorts: 4,
  clock: 'utc',
  autostart: false,
})
const [card] = spec.networks
if (card === undefined) throw new Error('broken fixture')
const second = { ...card, id: 'net1', mac: '52:54:00:00:00:02', rootPort: 1 }

describe('revertPatch', () => {
  const changes: [title: string, next: VmSpec][] = [
    ['a changed number', { ...spec, memoryMiB: 2048 }],
    ['a changed device', { ...spec, networks: [{ ...card, restrict: true }] }],
    ['an added device', { ...spec, networks: [card, second] }],
    ['a removed device', { ...spec, networks: [] }],
    ['properties of a device', { ...spec, properties: { net0: { tx_burst: 64 } } }],
    ['an exchanged device', { ...spec, networks: [second] }],
  ]
  it.each(changes)('taking back every pending change leads to what runs: %s', (_, next) => {
    let stored = next
    for (let rounds = 0; pendingChanges(spec, stored).length > 0; rounds += 1) {
      expect(rounds).toBeLessThan(5)
      const [change] = pendingChanges(spec, stored)
      const patch = change === undefined ? null : revertPatch(stored, change)
      expect(VmSpecPatch.safeParse(patch).success).toBe(true)
      stored = VmSpec.parse({ ...stored, ...patch })
    }
    expect(pendingChanges(spec, stored)).toEqual([])
  })

  it('a pointer to no field of the spec has no patch', () => {
    expect(revertPatch(spec, { path: '/nonsense', live: 1 })).toBeNull()
    expect(revertPatch(spec, { path: '', live: 1 })).toBeNull()
  })
})
