import { beforeEach, expect, it } from 'vitest'
import { guestIdentity } from './identity.ts'
import { createLayerReaders } from './layer-readers.ts'
import type { LayerDocument, VolumeDocument } from './volume-documents.ts'

const WHOLE = { uid: '0 0 4294967295\n', gid: '0 0 4294967295\n' }
const identity = guestIdentity(true, WHOLE)
const DATE = '2026-01-01T00:00:00.000Z'

let layers: Map<string, LayerDocument>
let volumes: Map<string, VolumeDocument>
let states: Map<string, 'off' | 'starting' | 'up'>
let groups: Map<string, number[]>
/** What was done to files, in order. */
let done: [string, number | null][]
let broken: boolean
let warned: string[]
let readers: ReturnType<typeof createLayerReaders>

const layer = (id: string, uid: number | null, parent: string | null) =>
  layers.set(id, {
    ...{ v: 1, id, poolId: 'local', file: id, format: 'qcow2', sizeBytes: 1, uid, state: 'ready', createdAt: DATE },
    parent: parent === null ? null : { layer: parent },
  })
const alter = (id: string, change: Partial<LayerDocument>) => {
  const found = layers.get(id)
  if (found === undefined) throw new Error('there is no such layer')
  layers.set(id, { ...found, ...change })
  return { ...found, ...change }
}
const volume = (id: string, vm: string | null, head: string) =>
  volumes.set(id, {
    ...{ v: 1, id, name: id, poolId: 'local', ownerId: 'ann', head, sizeBytes: 1, createdAt: DATE, trashedAt: null },
    vm: vm === null ? null : { id: vm, device: 'a' },
  })
const start = async (vm: string) => {
  states.set(vm, 'starting')
  const given = await readers.admit(vm)
  groups.set(vm, given)
  states.set(vm, 'up')
  return given
}
const gidOf = (id: string) => layers.get(id)?.gid ?? null

beforeEach(() => {
  ;[layers, volumes, states, groups] = [new Map(), new Map(), new Map(), new Map()]
  ;[done, warned, broken] = [[], [], false]
  readers = createLayerReaders({
    identity,
    volumes: {
      all: () => [...volumes.values()],
      get: (id) => volumes.get(id) ?? null,
      ofVm: (vmId) => [...volumes.values()].filter(({ vm }) => vm?.id === vmId),
      layer: (id) => layers.get(id) ?? null,
      readerGids: () => [...layers.values()].flatMap(({ gid }) => gid ?? []),
      async setReaders(id, gid) {
        await new Promise(setImmediate)
        if (broken) throw new Error('the storage refuses')
        done.push([id, gid])
        return alter(id, { gid })
      },
    },
    stateOf: (vm) => states.get(vm) ?? 'off',
    groupsOf: (vm) => groups.get(vm) ?? null,
    warn: (message) => warned.push(message),
  })
  layer('base', null, null)
  for (const [n, vm] of ['one', 'two', 'three'].entries()) {
    layer(`top-${vm}`, 2_070_000_001 + n, 'base')
    volume(`disk-${vm}`, vm, `top-${vm}`)
  }
})

it('what several disks stand on gets a group when the first of them starts, and the others are put in it', async () => {
  const [gid, ...more] = await start('one')
  expect(identity.isLayerGroup(gid ?? 0)).toBe(true)
  expect(more).toEqual([])
  expect(await start('two')).toEqual([gid])
  expect(readers.groups('three')).toEqual([gid])
  expect(done).toEqual([['base', gid]])
})

it('guests that start at the same time are in the same group', async () => {
  const [one, two, three] = await Promise.all([start('one'), start('two'), start('three')])
  expect(one).toHaveLength(1)
  expect([two, three]).toEqual([one, one])
  expect(done).toHaveLength(1)
})

it('each layer has a group of its own, which no other has', async () => {
  layer('other', null, null)
  layer('top-four', 2_070_000_009, 'other')
  volume('disk-four', 'four', 'top-four')
  const [one, four] = [await start('one'), await start('four')]
  expect(one).not.toEqual(four)
})

it('a file stays readable for all while a guest runs that was started without its group', async () => {
  states.set('two', 'up')
  expect(await start('one')).toEqual([])
  expect(done).toEqual([])
  // One that was started without it remains so, though it starts again right now.
  states.set('two', 'starting')
  expect(await start('two')).toEqual([])
  states.set('one', 'off')
  states.set('two', 'off')
  const [gid] = await start('three')
  expect(gidOf('base')).toBe(gid)
  expect(await start('one')).toEqual([gid])
})

it('for a guest that runs nothing is closed, whoever asks', async () => {
  states.set('one', 'up')
  expect(await readers.admit('one')).toEqual([])
  expect(done).toEqual([])
})

it('a guest that is given a disk while it runs may read what that stands on, and so may all', async () => {
  const [gid] = await start('one')
  layer('free', null, 'base')
  volume('extra', 'stranger', 'free')
  states.set('stranger', 'up')
  groups.set('stranger', [])
  await readers.letIn('stranger', 'extra')
  expect(gidOf('base')).toBeNull()
  expect(gidOf('free')).toBeNull()
  // Those in the group already need nothing done for them.
  alter('base', { gid: gid ?? null })
  done = []
  volume('extra', 'one', 'top-two')
  await readers.letIn('one', 'extra')
  expect(done).toEqual([])
})

it('a guest’s own files and unfinished ones are left alone', async () => {
  alter('base', { state: 'making' })
  expect(await start('one')).toEqual([])
  layer('base', 2_070_000_042, null)
  expect(await start('two')).toEqual([])
  expect(done).toEqual([])
})

it('storage that refuses keeps no guest from starting', async () => {
  broken = true
  expect(await start('one')).toEqual([])
  expect(warned).toHaveLength(1)
  broken = false
  states.set('one', 'off')
  expect(await start('two')).toHaveLength(1)
})
