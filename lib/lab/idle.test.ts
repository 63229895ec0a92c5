import { expect, test } from 'vitest'
import { AWAKE, countConnections, evidenceOf, type IdleLook, sumUp } from './idle.ts'

const REST = { cpuLoad: 0.1, bytesPerSecond: 2000 }
const look = (change: Partial<IdleLook> = {}): IdleLook => ({
  ...{ cpuLoad: 0.02, bytesPerSecond: 100, connections: 0, viewers: 0, ms: 30_000 },
  ...change,
})

test('time at rest is summed up from looks, with the most that was seen', () => {
  const sum = [look(), look({ cpuLoad: 0.08 }), look({ bytesPerSecond: 1500 })].reduce(
    (before, one) => sumUp(before, one, REST),
    AWAKE,
  )
  expect(sum).toEqual({ idleMs: 90_000, cpuLoad: 0.08, bytesPerSecond: 1500, countsConnections: true })
  expect(evidenceOf(sum)).toBe(
    'The CPU stayed at or below 8 % of one, at most 1.5 kB/s on its bridges, no open connection through its network, and nobody watched its consoles.',
  )
})

test.each([
  ['its CPU works', { cpuLoad: 0.11 }],
  ['its CPU is not known', { cpuLoad: null }],
  ['packets move', { bytesPerSecond: 2001 }],
  ['a connection is open', { connections: 1 }],
  ['somebody watches', { viewers: 1 }],
])('when %s it is awake, and the count begins anew', (_, change) => {
  const rested = sumUp(AWAKE, look({ ms: 86_400_000 }), REST)
  expect(sumUp(rested, look(change), REST)).toEqual(AWAKE)
})

test('a VM without a network is judged by the rest, and told so', () => {
  const sum = sumUp(AWAKE, look({ bytesPerSecond: null, connections: null }), REST)
  expect(sum.idleMs).toBe(30_000)
  expect(evidenceOf(sum)).toContain('no network that could be measured')
})

test('only established connections count', () => {
  const text = `Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  12       127.0.0.1 28672       10.0.2.15    22     0     0
  TCP[ESTABLISHED]   17       127.0.0.1 28672       10.0.2.15    22     0     0
  TCP[SYN_SENT]      18       10.0.2.15 40000    192.168.1.10   443     0     0
  UDP[236 sec]       21       10.0.2.15 40001         8.8.8.8    53     0     0
`
  expect(countConnections(text)).toBe(1)
  expect(countConnections('')).toBe(0)
})
