import { expect, it } from 'vitest'
import { guestIdentity } from './identity.ts'

const WHOLE = { uid: '         0          0 4294967295\n', gid: '         0          0 4294967295\n' }
const CONTAINER = { uid: '         0     100000      65536\n', gid: '         0     100000      65536\n' }
const TINY = { uid: '         0       1000          1\n', gid: '         0       1000          1\n' }

it('every VM gets a uid of its own and never one that is taken', () => {
  const identity = guestIdentity(true, WHOLE)
  const taken = new Set<number>()
  for (let n = 0; n < 100; n++) {
    const uid = identity.allocate(taken)
    expect(uid).not.toBeNull()
    expect(taken.has(uid ?? 0)).toBe(false)
    expect(uid).not.toBe(identity.readersGid)
    taken.add(uid ?? 0)
  }
})

it('ids lie outside of what people, services and containers use', () => {
  const { readersGid } = guestIdentity(true, WHOLE)
  expect(readersGid).toBeGreaterThan(2_000_200_000)
  expect(readersGid).toBeLessThan(2_147_352_576 - 1_000_000)
})

it('in a container that maps few ids a smaller range is taken, and with one id guests share ours', () => {
  expect(guestIdentity(true, CONTAINER).readersGid).toBe(50_000)
  const tiny = guestIdentity(true, TINY)
  expect(tiny.allocate(new Set())).toBeNull()
  expect(tiny.launchUser(null, 108, [])).toBeNull()
  expect(tiny.summary).toContain('root')
})

it('no guest is in the dashboard’s group or has the number of a layer’s, nor ever will', () => {
  for (const ids of [WHOLE, CONTAINER]) {
    const identity = guestIdentity(true, ids)
    const { dashboardGid, readersGid } = identity
    const first = identity.allocate(new Set()) ?? 0
    const all = Array.from({ length: (dashboardGid ?? 0) - first }, (_, n) => first + n)
    const guests = all.filter((id) => identity.isGuest(id))
    const layers = all.filter((id) => identity.isLayerGroup(id))
    expect([...guests, ...layers]).toEqual(all)
    for (const id of [readersGid, dashboardGid, 0, 1000])
      expect([identity.isGuest(id ?? 0), identity.isLayerGroup(id ?? 0)]).toEqual([false, false])
    expect(identity.allocate(new Set(guests))).toBeNull()
    const last = layers.pop()
    expect(identity.allocateLayerGroup(new Set(layers))).toBe(last)
    expect(identity.allocateLayerGroup(new Set([...layers, last ?? 0]))).toBeNull()
  }
  expect([guestIdentity(false), guestIdentity(true, TINY)].map(({ dashboardGid }) => dashboardGid)).toEqual([
    null,
    null,
  ])
})

it('the KVM group is given only when asked for', () => {
  const identity = guestIdentity(true, WHOLE)
  expect(identity.launchUser(2_070_000_007, null, [])?.groups).toEqual([identity.readersGid])
  expect(identity.launchUser(2_070_000_007, 108, [])).toEqual({
    uid: 2_070_000_007,
    gid: 2_070_000_007,
    groups: [identity.readersGid, 108],
  })
})

it('without root nobody changes user', () => {
  const identity = guestIdentity(false)
  expect(identity.allocate(new Set())).toBeNull()
  expect(identity.readersGid).toBeNull()
})
