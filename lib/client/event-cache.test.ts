import { QueryClient } from '@tanstack/react-query'
import { beforeEach, expect, test } from 'vitest'
import type { DeckEvent } from '#lib/schema/event.ts'
import { applyEvent, upsert, without } from './event-cache.ts'
import { loadHistory } from './load-history.ts'

interface Thing {
  id: string
  name: string
}
let client: QueryClient
let seq = 0
const event = (part: Partial<DeckEvent>): DeckEvent => ({
  seq: ++seq,
  epoch: 'e1',
  kind: 'change',
  topic: 'vm',
  id: null,
  revision: null,
  at: new Date(seq * 1000).toISOString(),
  ...part,
})
const list = (key: string) => client.getQueryData<{ items: Thing[] }>([key, {}])?.items.map((item) => item.name)
const isStale = (...key: unknown[]) => client.getQueryState(key)?.isInvalidated

beforeEach(() => {
  client = new QueryClient()
  client.setQueryData(['vmList', {}], {
    items: [
      { id: 'a', name: 'one' },
      { id: 'b', name: 'two' },
    ],
  })
})

test('a changed VM replaces itself in place in the list and becomes the VM of its page', () => {
  applyEvent(client, event({ id: 'a', object: { id: 'a', name: 'ONE' } }))
  expect(list('vmList')).toEqual(['ONE', 'two'])
  expect(client.getQueryData(['vmView', { params: { id: 'a' } }])).toEqual({ id: 'a', name: 'ONE' })
})

test('rows that did not change keep their identity, so that they are not drawn again', () => {
  const before = client.getQueryData<{ items: Thing[] }>(['vmList', {}])?.items[1]
  applyEvent(client, event({ id: 'a', object: { id: 'a', name: 'ONE' } }))
  expect(client.getQueryData<{ items: Thing[] }>(['vmList', {}])?.items[1]).toBe(before)
})

test('a new VM is added, a gone one leaves, and its page is told to ask again', () => {
  client.setQueryData(['vmView', { params: { id: 'b' } }], { id: 'b', name: 'two' })
  applyEvent(client, event({ id: 'c', object: { id: 'c', name: 'three' } }))
  applyEvent(client, event({ kind: 'gone', id: 'b' }))
  expect(list('vmList')).toEqual(['one', 'three'])
  expect(isStale('vmView', { params: { id: 'b' } })).toBe(true)
})

test('a line of the log makes roles, groups and shares stale, so that open pages follow what others change', () => {
  const key = ['vmAccessView', { params: { id: 'a' } }]
  for (const one of [['roleList', {}], ['groupList', {}], key]) client.setQueryData(one, { items: [] })
  applyEvent(client, event({ topic: 'activity' }))
  for (const one of [['roleList', {}], ['groupList', {}], key]) expect(isStale(...one)).toBe(true)
})

test('an event before the first answer invents no list', () => {
  applyEvent(client, event({ topic: 'image', id: 'i', object: { id: 'i', name: 'iso' } }))
  expect(client.getQueryData(['imageList', {}])).toBeUndefined()
})

test('new jobs come first, as the API lists them', () => {
  client.setQueryData(['jobList', {}], { items: [{ id: 'old', name: 'old' }] })
  applyEvent(client, event({ topic: 'job', id: 'new', object: { id: 'new', name: 'new' } }))
  expect(list('jobList')).toEqual(['new', 'old'])
})

test('an answer that was on its way when the event came does not put the old state back', async () => {
  let answer: (value: { items: Thing[] }) => void = () => {}
  const fetching = client.fetchQuery({
    queryKey: ['vmList', {}],
    queryFn: () =>
      new Promise<{ items: Thing[] }>((resolve) => {
        answer = resolve
      }),
  })
  applyEvent(client, event({ id: 'a', object: { id: 'a', name: 'ONE' } }))
  answer({ items: [{ id: 'a', name: 'one' }] })
  await fetching
  await new Promise((resolve) => setTimeout(resolve))
  expect(list('vmList')).toEqual(['ONE'])
})

test('after a reset everything is stale; after hello nothing is', () => {
  applyEvent(client, event({ kind: 'hello', topic: null }))
  expect(isStale('vmList', {})).toBe(false)
  applyEvent(client, event({ kind: 'reset', topic: null }))
  expect(isStale('vmList', {})).toBe(true)
})

test('host, activity and people events make what is read from them stale', () => {
  for (const key of ['hostView', 'activityList', 'userList']) client.setQueryData([key, {}], {})
  applyEvent(client, event({ topic: 'host' }))
  applyEvent(client, event({ topic: 'activity' }))
  applyEvent(client, event({ topic: 'user' }))
  expect(['hostView', 'activityList', 'userList'].map((key) => isStale(key, {}))).toEqual([true, true, true])
})

test('a change without its object makes the list and the page ask', () => {
  client.setQueryData(['vmView', { params: { id: 'a' } }], { id: 'a', name: 'one' })
  applyEvent(client, event({ id: 'a' }))
  expect([isStale('vmList', {}), isStale('vmView', { params: { id: 'a' } })]).toEqual([true, true])
})

test('the load of a VM is remembered sample by sample, and anew for a new process', () => {
  const sample = (pid: number, cpuLoad: number | null) =>
    applyEvent(client, event({ id: 'a', object: { id: 'a', name: 'one', live: { pid, cpuLoad } } }))
  sample(1, null)
  sample(1, 0.5)
  sample(1, 0.7)
  expect(loadHistory('a')).toEqual([0.5, 0.7])
  sample(2, 0.1)
  expect(loadHistory('a')).toEqual([0.1])
  applyEvent(client, event({ id: 'a', object: { id: 'a', name: 'one' } }))
  expect(loadHistory('a')).toEqual([])
})

test('removing what is not there changes nothing', () => {
  const items = { items: [{ id: 'a' }] }
  expect(without(items, 'z')).toBe(items)
  expect(upsert(items, { id: 'b' }, 'front').items.map((item) => item.id)).toEqual(['b', 'a'])
})
