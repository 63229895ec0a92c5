import { describe, expect, it } from 'vitest'
import type { VmSpec, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { applyPatch, normalizeSpec } from './normalize.ts'
import { placeForRunning } from './place-live.ts'
import { capabilitiesOf, factsFor } from './test-support.ts'

const facts = { ...factsFor(capabilitiesOf('7.2')), heldIds: new Set(['disk1']) }
const disk = { device: 'disk', sizeGiB: 1 } as const
const running = normalizeSpec({ name: 'x', disks: [disk, { ...disk, id: 'disk1' }], networks: [{}] }, facts)
const place = (before: VmSpec, patch: VmSpecPatch, sockets: number) =>
  placeForRunning(applyPatch(before, patch, facts), before, patch, { spec: running, sockets })
const sockets = (spec: VmSpec) => spec.disks.map((drive) => ('rootPort' in drive ? drive.rootPort : null))

describe('a device that is added while the guest runs', () => {
  const [first] = running.disks
  // The definition has let go of disk1, the guest has not.
  const before: VmSpec = { ...running, disks: first ? [first] : [] }

  it('does not get the socket of one that the guest still holds', () => {
    expect(sockets(running)).toEqual([0, 1])
    const patch: VmSpecPatch = { disks: [...before.disks, { ...disk, id: 'disk7' }] }
    expect(sockets(applyPatch(before, patch, facts))).toEqual([0, 1])
    expect(sockets(place(before, patch, 6))).toEqual([0, 3])
  })

  it('stays where it was put when no socket is free, or its place was asked for', () => {
    const patch: VmSpecPatch = { disks: [...before.disks, { ...disk, id: 'disk7' }] }
    expect(sockets(place(before, patch, 3))).toEqual([0, 1])
    const asked: VmSpecPatch = { disks: [...before.disks, { ...disk, id: 'disk7', rootPort: 1 }] }
    expect(sockets(place(before, asked, 6))).toEqual([0, 1])
  })

  it('leaves every other device where it is, and gives each a socket of its own', () => {
    const patch: VmSpecPatch = { disks: [...before.disks, disk, disk], networks: [...before.networks, {}] }
    const placed = place(before, patch, 8)
    const all = [...sockets(placed), ...placed.networks.map((card) => card.rootPort)]
    expect(new Set(all).size).toBe(all.length)
    expect(all).not.toContain(1)
    expect(placed.disks[0]).toEqual(first)
    expect(placed.networks[0]).toEqual(before.networks[0])
  })
})
