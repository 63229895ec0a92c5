/**
 * kill -9 of the dashboard and of QEMU at named points of a snapshot of disks alone, of its merge and of the deletion of a
 * VM: afterwards each is whole, absent or marked, and the guest reads what it wrote.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Snapshot } from '#lib/schema/snapshot.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { Dashboard, expectContent } from '#server/testing/dashboard.ts'
import { dir } from '#server/testing/process-rig.ts'

const DEVICES = ['a', 'b']
interface List {
  readonly items: Snapshot[]
  readonly current: string | null
}

/** A guest without a system, whose disks are written through its own QEMU. */
async function makeGuest(deck: Dashboard) {
  const { id } = await deck.ask<Vm>('POST', '/vms', {
    ...{ name: 'survivor', memoryMiB: 32, accelerator: 'tcg', firmware: 'bios', display: 'none', networks: [] },
    disks: DEVICES.map((device) => ({ id: device, device: 'disk', sizeGiB: 1 })),
  })
  const list = () => deck.ask<List>('GET', `/vms/${id}/snapshots`)
  const idOf = async (name: string) => (await list()).items.find((one) => one.name === name)?.id ?? name
  let next = 1
  const written: number[] = []
  return {
    id,
    list,
    names: async () => (await list()).items.map(({ name, state }) => `${name} ${state}`),
    begin: (name: string) => deck.ask('POST', `/vms/${id}/snapshots`, { name, kind: 'disk' }),
    take: (name: string) => deck.done('POST', `/vms/${id}/snapshots`, { name, kind: 'disk' }),
    drop: async (name: string) => deck.done('DELETE', `/vms/${id}/snapshots/${await idOf(name)}`),
    revert: async (name: string, input: object = {}) =>
      deck.ask('POST', `/vms/${id}/snapshots/${await idOf(name)}/revert`, input),
    /** The next MiB of both disks. */
    async write() {
      for (const device of DEVICES) await deck.write(id, device, next, next)
      written.push(next)
      next += 1
    },
    /** Both disks hold all that was written so far, or only the first parts of it. */
    async holds(parts = written.length) {
      await deck.poweroff(id)
      expectContent(
        id,
        DEVICES,
        written.map((pattern, at) => (at < parts ? pattern : 0)),
      )
    },
    parts: () => written.length,
    /** What came after the first parts is gone. */
    forget(parts: number) {
      written.length = parts
      next = parts + 1
    },
  }
}
const layers = () => readdirSync(join(dir, 'd/layers')).length

test('a dashboard that ends while a guest goes over to new layers knows afterwards which it writes (F04, F49)', async () => {
  using deck = await Dashboard.start()
  const guest = await makeGuest(deck)
  await deck.start(guest.id)
  await guest.write()
  // Nothing but its name stored; layers made, not gone over to: nothing of it is left.
  for (const at of ['^= snapshot creating', '^> transaction']) {
    await deck.dieAt({ at }, () => guest.begin('no'))
    expect(await guest.names()).toEqual([])
    expect(layers()).toBe(0)
  }
  await guest.write()
  // Gone over to, and not stored.
  await deck.dieAt({ at: '^< transaction' }, () => guest.begin('one'))
  expect(await guest.names()).toEqual(['one complete'])
  await guest.write()
  await guest.take('two')
  await guest.write()

  // A layer in the middle goes: while it is copied, and when QEMU let go of it and nobody stored that.
  await deck.dieAt({ at: '^< block-commit' }, () => guest.drop('one'))
  expect(await guest.names()).toEqual(['one deleting', 'two complete'])
  await deck.dieAt({ at: '^\\+ layer' }, () => guest.drop('one'))
  await guest.write()
  await guest.drop('one')
  expect(await guest.names()).toEqual(['two complete'])
  // The topmost goes: the guest stands still until it is stored that it did, and goes on then.
  await deck.dieAt({ at: '^> job-complete' }, () => guest.drop('two'))
  await deck.reaches(guest.id, 'running')
  await guest.write()
  await deck.dieAt({ at: '^\\+ layer' }, () => guest.drop('two'))
  await deck.reaches(guest.id, 'running')
  await guest.write()
  expect(await deck.qmp(guest.id, 'query-jobs')).toEqual([])
  await guest.holds()
  // Both again, of a VM that is off.
  await guest.drop('two')
  expect([await guest.names(), layers()]).toEqual([[], 0])
  await guest.holds()
  await guest.take('off')
  await deck.start(guest.id)
  await guest.write()
  await guest.holds()
  await deck.dieAt({ at: '^run qemu-img commit' }, () => guest.drop('off'))
  expect(await guest.names()).toEqual(['off deleting'])
  await guest.holds()
  await deck.dieAt({ at: '^\\+ layer' }, () => guest.drop('off'))
  await guest.holds()
  await guest.drop('off')
  await guest.holds()
  expect([await guest.names(), layers()]).toEqual([[], 0])

  // Going back: every disk, or after the next start of the dashboard.
  await guest.take('back')
  const kept = guest.parts()
  await deck.start(guest.id)
  await guest.write()
  await deck.dieAt({ at: '^\\+ volume' }, () => guest.revert('back'))
  await guest.holds(kept)
  guest.forget(kept)
  expect((await guest.list()).items.map(({ state }) => state)).toEqual(['complete'])

  // The whole VM is deleted: it is there with all it has, or gone with all of it.
  await deck.dieAt({ at: '^- vm$' }, () => deck.ask('DELETE', `/vms/${guest.id}?disks=delete`))
  expect(await guest.names()).toEqual(['back complete'])
  await guest.holds()
  await deck.dieAt({ at: '^- (volume|layer)$' }, () => deck.ask('DELETE', `/vms/${guest.id}?disks=delete`))
  expect(await deck.items('/vms')).toEqual([])
  expect(existsSync(join(dir, 'd/vms', guest.id))).toBe(false)
}, 600_000)

test('a QEMU that ends while it goes over or merges loses nothing, and what was begun is marked and can be deleted (F05)', async () => {
  using deck = await Dashboard.start()
  const guest = await makeGuest(deck)
  let pid = await deck.start(guest.id)
  await guest.write()
  await guest.take('zero')
  for (const at of ['^> transaction', '^< transaction']) {
    await guest.write()
    await deck.killAt({ at, pid }, () => guest.begin('one'))
    await deck.reaches(guest.id, 'crashed')
    // Once QEMU has said that it went over, the disks are whole whatever becomes of it.
    const state = at.startsWith('^>') ? 'incomplete' : 'complete'
    await expect.poll(guest.names, { timeout: 90_000 }).toEqual(['zero complete', `one ${state}`])
    pid = await deck.start(guest.id)
    await guest.write()
    await guest.holds()
    await guest.drop('one')
    await guest.holds()
    pid = await deck.start(guest.id)
  }
  for (const at of ['^< block-commit', '^< job-complete']) {
    await guest.write()
    await deck.killAt({ at, pid }, () => guest.drop('zero').catch(() => {}))
    await deck.reaches(guest.id, 'crashed')
    await guest.holds()
    expect(await guest.names()).toEqual(['zero deleting'])
    pid = await deck.start(guest.id)
  }
  await guest.drop('zero')
  await guest.holds()
  expect([await guest.names(), layers()]).toEqual([[], 0])
}, 600_000)
