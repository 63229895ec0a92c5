import { expect, test } from 'vitest'
import { EventHub, RING_BYTES, RING_EVENTS } from './hub.ts'

const seqs = (events: readonly { event: { seq: number } }[] | null) => events?.map((e) => e.event.seq) ?? null

test('events are numbered without gaps and carry the epoch', () => {
  const hub = new EventHub()
  const seen: number[] = []
  hub.subscribe((e) => seen.push(e.event.seq))
  for (let i = 0; i < 3; i++) hub.publish('vm', 'a', i + 1, { i })
  expect(seen).toEqual([1, 2, 3])
  expect(hub.seq).toBe(3)
  expect(JSON.parse(hub.publish('vm', 'a', 9, { x: 1 }).text)).toMatchObject({
    seq: 4,
    epoch: hub.epoch,
    kind: 'change',
    topic: 'vm',
    id: 'a',
    revision: 9,
    object: { x: 1 },
  })
})

test('a reader that reconnects gets exactly what it missed', () => {
  const hub = new EventHub()
  for (let i = 0; i < 10; i++) hub.publish('vm', 'a', null)
  expect(seqs(hub.replay({ epoch: hub.epoch, seq: 7 }))).toEqual([8, 9, 10])
  expect(seqs(hub.replay({ epoch: null, seq: 10 }))).toEqual([])
  expect(seqs(hub.replay({ epoch: hub.epoch, seq: 0 }))).toHaveLength(10)
})

test('another epoch or a number from the future cannot be resumed', () => {
  const hub = new EventHub()
  hub.publish('vm', 'a', null)
  expect(hub.replay({ epoch: 'other', seq: 0 })).toBeNull()
  expect(hub.replay({ epoch: hub.epoch, seq: 2 })).toBeNull()
})

test('the ring forgets the oldest by number', () => {
  const hub = new EventHub()
  for (let i = 0; i < RING_EVENTS * 3; i++) hub.publish('vm', 'a', null)
  expect(hub.replay({ epoch: hub.epoch, seq: RING_EVENTS * 2 - 1 })).toBeNull()
  expect(hub.replay({ epoch: hub.epoch, seq: RING_EVENTS * 2 })).toHaveLength(RING_EVENTS)
})

test('the ring forgets the oldest by size', () => {
  const hub = new EventHub()
  const big = 'x'.repeat(RING_BYTES / 4)
  for (let i = 0; i < 8; i++) hub.publish('vm', 'a', null, big)
  expect(hub.replay({ epoch: hub.epoch, seq: 0 })).toBeNull()
  expect(seqs(hub.replay({ epoch: hub.epoch, seq: 5 }))).toEqual([6, 7, 8])
})

test('a listener that throws is reported and the others still hear', () => {
  const errors: unknown[] = []
  const hub = new EventHub((e) => errors.push(e))
  const heard: number[] = []
  hub.subscribe(() => {
    throw new Error('bad listener')
  })
  const off = hub.subscribe((e) => heard.push(e.event.seq))
  hub.publish('host', null, null)
  off()
  hub.publish('host', null, null)
  expect(heard).toEqual([1])
  expect(errors).toHaveLength(2)
})
