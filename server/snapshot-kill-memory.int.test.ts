/**
 * kill -9 of the dashboard and of QEMU at named points of a snapshot with memory: afterwards it is whole, absent or
 * marked, the others are as they were, and the disks are of one moment.
 */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import type { Snapshot } from '#lib/schema/snapshot.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { Dashboard, expectContent, fileOf } from '#server/testing/dashboard.ts'

const DEVICES = ['a', 'b']
interface List {
  readonly items: Snapshot[]
  readonly current: string | null
}

/** A guest without a system, whose disks are written through its own QEMU, and a snapshot `zero` of it running. */
async function makeGuest(deck: Dashboard) {
  const { id } = await deck.ask<Vm>('POST', '/vms', {
    ...{ name: 'survivor', memoryMiB: 32, accelerator: 'tcg', firmware: 'bios', display: 'none', networks: [] },
    // With one it would go back in another QEMU.
    generationId: false,
    disks: DEVICES.map((device) => ({ id: device, device: 'disk', sizeGiB: 1 })),
  })
  const list = () => deck.ask<List>('GET', `/vms/${id}/snapshots`)
  const guest = {
    id,
    list,
    names: async () => (await list()).items.map(({ name, state }) => `${name} ${state}`),
    idOf: async (name: string) => (await list()).items.find((one) => one.name === name)?.id ?? name,
    begin: (name: string) => deck.ask('POST', `/vms/${id}/snapshots`, { name, kind: 'memory' }),
    take: (name: string) => deck.done('POST', `/vms/${id}/snapshots`, { name, kind: 'memory' }),
    drop: async (name: string) => deck.done('DELETE', `/vms/${id}/snapshots/${await guest.idOf(name)}`),
    async write(atMiB: number, pattern: number) {
      for (const device of DEVICES) await deck.write(id, device, atMiB, pattern)
    },
    /** Patterns that both disks hold, once it is off. */
    async isLeftWith(...patterns: number[]) {
      await deck.poweroff(id)
      expectContent(id, DEVICES, patterns)
    },
    tags: () =>
      DEVICES.map((device) => execFileSync('qemu-img', ['snapshot', '-U', '-l', fileOf(id, device)]).toString()),
  }
  return guest
}

test('a dashboard that ends while memory is saved finds the snapshot whole or leaves nothing of it (F04, F49)', async () => {
  using deck = await Dashboard.start()
  const guest = await makeGuest(deck)
  await deck.start(guest.id)
  await guest.write(1, 0x11)
  await guest.take('zero')
  await guest.write(2, 0x22)

  // Not begun.
  await deck.dieAt({ at: '^> snapshot-save' }, () => guest.begin('one'))
  expect(await guest.names()).toEqual(['zero complete'])
  // Begun: QEMU goes on with it.
  await deck.dieAt({ at: '^< snapshot-save' }, () => guest.begin('two'))
  expect(await guest.names()).toEqual(['zero complete', 'two complete'])
  // Over and not yet known.
  await deck.dieAt({ at: '^\\+ snapshot complete' }, () => guest.begin('three'))
  expect(await guest.names()).toEqual(['zero complete', 'two complete', 'three complete'])
  expect(await deck.qmp(guest.id, 'query-jobs')).toEqual([])
  expect((await deck.vm(guest.id)).state).toBe('running')
  // While one is deleted: it is shown as what it is, and deleting goes on.
  await deck.dieAt({ at: '^< snapshot-delete' }, () => guest.drop('three'))
  expect(await guest.names()).toContain('three deleting')
  await guest.drop('three')

  await guest.write(3, 0x33)
  // Loading: what QEMU has begun is over when the next dashboard knows of it.
  const revert = async (name: string) =>
    deck.ask('POST', `/vms/${guest.id}/snapshots/${await guest.idOf(name)}/revert`, {})
  await deck.dieAt({ at: '^> snapshot-load' }, () => revert('zero'))
  expect((await deck.vm(guest.id)).state).toBe('running')
  await guest.isLeftWith(0x11, 0x22, 0x33)
  for (const at of ['^< snapshot-load', '^= meta snapshot-place$', '^> job-dismiss']) {
    await deck.start(guest.id)
    await guest.write(4, 0x44)
    // The second place that is stored is the new one.
    await deck.dieAt({ at, nth: at.startsWith('^=') ? 2 : 1 }, () => revert('two'))
    await deck.reaches(guest.id, 'running')
    expect((await guest.list()).current, at).toBe(await guest.idOf('two'))
    await guest.isLeftWith(0x11, 0x22, 0, 0)
  }
  // Loaded into a guest that was started for it.
  await deck.dieAt({ at: '^> cont' }, () => revert('zero'))
  await deck.reaches(guest.id, 'running')
  await guest.isLeftWith(0x11, 0, 0, 0)
  for (const name of ['zero', 'two']) await guest.drop(name)
  for (const tags of guest.tags()) expect(tags).not.toContain('gd-')
}, 600_000)

test('a QEMU that ends while memory is saved leaves a snapshot marked incomplete, which can only be deleted (F05)', async () => {
  using deck = await Dashboard.start()
  const guest = await makeGuest(deck)
  let pid = await deck.start(guest.id)
  await guest.write(1, 0x11)
  await guest.take('zero')
  await guest.write(2, 0x22)
  const listed = () => guest.tags().filter((tags) => tags.split('gd-').length > 2).length
  for (const isListed of [false, true]) {
    // Before QEMU has begun; and when the files list it already, though nobody has said that it is whole.
    if (!isListed) await deck.killAt({ at: '^> snapshot-save', pid }, () => guest.begin('one'))
    else
      await deck.holdAt(
        { at: '^< snapshot-save' },
        () => guest.begin('one'),
        async () => {
          await expect.poll(listed, { timeout: 90_000 }).toBe(2)
          process.kill(pid, 'SIGKILL')
        },
      )
    await deck.reaches(guest.id, 'crashed')
    await expect.poll(guest.names, { timeout: 90_000 }).toEqual(['zero complete', 'one incomplete'])
    expect(listed()).toBe(isListed ? 2 : 0)
    const { items } = await guest.list()
    expect(items[1]?.actions.revert).toMatchObject({ allowed: false })
    const refused = await deck.try('POST', `/vms/${guest.id}/snapshots/${items[1]?.id}/revert`, {})
    expect(refused.status).toBe(409)
    await guest.drop('one')
    expect(listed()).toBe(0)
    expectContent(guest.id, DEVICES, [0x11, 0x22])
    pid = await deck.start(guest.id)
  }
  // Both at once.
  await deck.holdAt(
    { at: '^< snapshot-save' },
    () => guest.begin('both'),
    async () => {
      process.kill(pid, 'SIGKILL')
      await deck.kill()
    },
  )
  await deck.again()
  expect(await guest.names()).toEqual(['zero complete', 'both incomplete'])
  await guest.drop('both')

  // While it loads: all disks are of the snapshot, or none is.
  for (const at of ['^> snapshot-load', '^< snapshot-load']) {
    pid = await deck.start(guest.id)
    await guest.write(3, 0x33)
    let job: { id: string } | null = null
    await deck.killAt({ at, pid }, async () => {
      job = await deck.ask('POST', `/vms/${guest.id}/snapshots/${await guest.idOf('zero')}/revert`, {})
    })
    expect((await deck.end(job as never)).error?.message).toMatch(/those of the snapshot, and the VM is off/)
    expectContent(guest.id, DEVICES, [0x11, 0, 0])
    expect((await guest.list()).current).toBe(await guest.idOf('zero'))
  }
}, 600_000)

test('off, a dashboard that ends between two disks finishes going back, and marks what it was making (F05, F49)', async () => {
  using deck = await Dashboard.start()
  const guest = await makeGuest(deck)
  await deck.start(guest.id)
  await guest.write(1, 0x11)
  await deck.poweroff(guest.id)
  await guest.take('off')
  await deck.start(guest.id)
  await guest.write(1, 0x22)
  await deck.poweroff(guest.id)
  await deck.dieAt({ at: '^run qemu-img snapshot', nth: 2 }, () => guest.begin('half'))
  expect(await guest.names()).toEqual(['off complete', 'half incomplete'])
  await guest.drop('half')
  const id = await guest.idOf('off')
  await deck.dieAt({ at: '^run qemu-img snapshot', nth: 2 }, () =>
    deck.ask('POST', `/vms/${guest.id}/snapshots/${id}/revert`, {}),
  )
  expectContent(guest.id, DEVICES, [0x11])
  expect((await guest.list()).current).toBe(id)
  await deck.dieAt({ at: '^run qemu-img snapshot', nth: 2 }, () => guest.drop('off'))
  expect(await guest.names()).toEqual(['off deleting'])
  await guest.drop('off')
  for (const tags of guest.tags()) expect(tags).not.toContain('gd-')
  expectContent(guest.id, DEVICES, [0x11])
}, 600_000)
