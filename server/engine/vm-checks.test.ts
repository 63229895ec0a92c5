import { totalmem } from 'node:os'
import { expect, it } from 'vitest'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { checkAgainstOthers } from './vm-checks.ts'

const MAC = '52:54:00:00:00:01'
const spec = (name: string, extra: { mac?: string; ports?: [string, number][]; memoryMiB?: number } = {}): VmSpec =>
  ({
    name,
    memoryMiB: extra.memoryMiB ?? 64,
    dimms: [],
    virtioMem: null,
    disks: [],
    networks: [
      {
        mac: extra.mac ?? `52:54:00:00:01:0${name.length}`,
        forwards: (extra.ports ?? []).map(([protocol, hostPort]) => ({ protocol, hostPort, guestPort: 22 })),
      },
    ],
  }) as unknown as VmSpec
const other = { id: 'other', ownerId: 'ben', uid: null, spec: spec('ben’s own', { mac: MAC, ports: [['tcp', 2222]] }) }

const check =
  (candidate: VmSpec, ownerId = 'ann', selfId: string | null = null, sees = false) =>
  () =>
    checkAgainstOthers(candidate, { others: [other], ownerId, selfId, dashboardPort: 8686, canSee: () => sees })

it('a name is taken for its owner alone, whatever its case or width', () => {
  expect(check(spec('Ben’s Own'), 'ben')).toThrow(expect.objectContaining({ code: 'name_taken', field: 'name' }))
  expect(check(spec('ｂｅｎ’ｓ ｏｗｎ'), 'ben')).toThrow(expect.objectContaining({ code: 'name_taken' }))
  expect(check(spec('ben’s own'), 'ann')).not.toThrow()
})

it('a host port leads to one VM; the same number of the other protocol is free', () => {
  expect(check(spec('x', { ports: [['tcp', 2222]] }))).toThrow(
    expect.objectContaining({ code: 'port_in_use', field: 'networks.0.forwards.0.hostPort' }),
  )
  expect(check(spec('x', { ports: [['udp', 2222]] }))).not.toThrow()
})

it('who has it is said only to those who may see that VM', () => {
  expect(check(spec('x', { ports: [['tcp', 2222]] }), 'ann', null, true)).toThrow('ben’s own')
  expect(check(spec('x', { ports: [['tcp', 2222]] }), 'ann', null, false)).toThrow('another VM')
})

it('the dashboard keeps its own port, for TCP', () => {
  expect(check(spec('x', { ports: [['tcp', 8686]] }))).toThrow(expect.objectContaining({ code: 'port_in_use' }))
  expect(check(spec('x', { ports: [['udp', 8686]] }))).not.toThrow()
})

it('a MAC address belongs to one card of the host', () => {
  expect(check(spec('x', { mac: MAC }))).toThrow(expect.objectContaining({ code: 'conflict', field: 'networks.0.mac' }))
})

it('a VM never stands in its own way', () => {
  expect(check(other.spec, 'ben', 'other')).not.toThrow()
})

it('more memory than the host has is refused', () => {
  expect(check(spec('x', { memoryMiB: 2 ** 30 }))).toThrow(expect.objectContaining({ field: 'memoryMiB' }))
})

it('a vsock address belongs to one VM of the host', () => {
  const withCid = (cid: number) => ({ ...spec('x'), vsock: { cid } })
  const holder = { ...other, spec: { ...other.spec, vsock: { cid: 42 } } }
  const against = (candidate: VmSpec) => () =>
    checkAgainstOthers(candidate, {
      others: [holder],
      ownerId: 'ann',
      selfId: null,
      dashboardPort: 8686,
      canSee: () => true,
    })
  expect(against(withCid(42))).toThrow(expect.objectContaining({ code: 'conflict', field: 'vsock.cid' }))
  expect(against(withCid(43))).not.toThrow()
})

it('memory that is plugged in counts towards what the host has', () => {
  const gib = 1024
  const hugeMiB = Math.floor(totalmem() / 2 ** 20) - 64
  const plugged = (more: Partial<VmSpec>) => check({ ...spec('x', { memoryMiB: hugeMiB }), ...more } as VmSpec)
  expect(plugged({})).not.toThrow()
  expect(plugged({ dimms: [{ id: 'dimm0', sizeMiB: gib }] })).toThrow(
    expect.objectContaining({ code: 'bad_input', field: 'dimms' }),
  )
  expect(plugged({ virtioMem: { sizeMiB: gib, requestedMiB: gib } })).toThrow(
    expect.objectContaining({ code: 'bad_input', field: 'virtioMem.requestedMiB' }),
  )
  // Room alone takes nothing.
  expect(plugged({ virtioMem: { sizeMiB: gib, requestedMiB: 0 } })).not.toThrow()
})
