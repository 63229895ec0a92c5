/** Clones, snapshots and growth on one chain of files, in the orders that random histories found to go wrong. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CloneInput } from '#lib/schema/clone.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { ADMIN, create, data, now, until, update } from './test-rig.ts'

async function done(job: Job): Promise<string> {
  const last = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
  if (last.state !== 'done') throw new Error(`${last.title}: ${last.error?.message}`)
  return last.result ?? ''
}
const take = async (id: string, kind: 'disk' | 'memory') =>
  done(await now.engine.snapshots.create(ADMIN, id, SnapshotInput.parse({ kind })))
const goBack = async (id: string, snapshot: string) =>
  done(await now.engine.snapshots.revert(ADMIN, id, snapshot, SnapshotRevertInput.parse({})))
const drop = async (id: string, snapshot: string) => done(await now.engine.snapshots.delete(ADMIN, id, snapshot))
const clone = async (id: string, input: object) =>
  done(await now.engine.clones.clone(ADMIN, id, CloneInput.parse({ name: `clone-${Math.random()}`, ...input })))

function headOf(vmId: string): string {
  const volume = now.store
    .list<{ vm: { id: string } | null; head: string }>('volume')
    .find(({ value }) => value.vm?.id === vmId)
  return join(data.root, now.store.get<{ file: string }>('layer', volume?.value.head ?? '')?.value.file ?? '')
}
const io = (path: string, ...commands: string[]) =>
  execFileSync('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path], {
    encoding: 'utf8',
  })
/** Patterns by place in MiB. */
const expectContent = (vmId: string, content: Record<number, number>) =>
  expect(
    io(headOf(vmId), ...Object.entries(content).map(([place, byte]) => `read -P ${byte} ${place}M 1M`)),
  ).not.toMatch(/failed/i)
const sizeOf = (path: string): number =>
  JSON.parse(execFileSync('qemu-img', ['info', '-U', '--output=json', path], { encoding: 'utf8' }))['virtual-size']
async function write(vmId: string, place: number, byte: number): Promise<void> {
  await now.supervisor.work(vmId, async (guest) => {
    for (const what of [`write -P ${byte} ${place}M 1M`, 'flush']) {
      const line = `qemu-io -d /machine/peripheral/disk0/virtio-backend "${what}"`
      expect(await guest.ask('human-monitor-command', { 'command-line': line })).toBe('')
    }
  })
}
const make = (sizeGiB = 1) =>
  create(ADMIN, {
    ...{ name: 'source', memoryMiB: 16, accelerator: 'tcg', firmware: 'bios', display: 'none', networks: [] },
    disks: [{ device: 'disk', sizeGiB }],
  })
const grow = async (id: string, sizeGiB: number) => {
  const [disk] = (await now.engine.vms.view(ADMIN, id)).spec.disks
  await update(ADMIN, id, { disks: [{ ...disk, sizeGiB }] })
}

test('a guest whose files became everybody’s while it runs goes on with snapshots, merges, clones and going back', async () => {
  const { id } = await make()
  await now.engine.vms.start(ADMIN, id)
  await write(id, 1, 1)
  const first = await clone(id, { kind: 'linked' })
  await write(id, 2, 2)
  const below = await take(id, 'disk')
  await write(id, 3, 3)
  const second = await clone(id, { kind: 'linked' })
  await write(id, 4, 4)
  const above = await take(id, 'disk')
  await write(id, 5, 5)
  const third = await clone(id, { kind: 'linked', snapshot: below })
  await write(id, 6, 6)
  const top = await take(id, 'disk')
  await drop(id, above)
  await write(id, 7, 7)
  await drop(id, top)
  await now.engine.vms.poweroff(ADMIN, id)
  expectContent(id, { 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7 })
  expectContent(first, { 1: 1, 2: 0 })
  expectContent(second, { 3: 3, 4: 0 })
  expectContent(third, { 2: 2, 3: 0 })
  await goBack(id, below)
  expectContent(id, { 1: 1, 2: 2, 3: 0 })
  for (const vm of [first, second, third, id]) await now.engine.vms.delete(ADMIN, vm, null, 'delete')
})

test('a clone of a snapshot inside a disk is as large as the disk was then, whether it grew or shrank since', async () => {
  const { id } = await make()
  io(headOf(id), 'write -P 1 1M 1M')
  const small = await take(id, 'memory')
  await grow(id, 3)
  io(headOf(id), 'write -P 2 2500M 1M')
  const large = await take(id, 'memory')
  io(headOf(id), 'write -P 3 1M 1M')
  const ofSmall = await clone(id, { kind: 'full', snapshot: small })
  const ofLarge = await clone(id, { kind: 'full', snapshot: large })
  await goBack(id, small)
  const again = await clone(id, { kind: 'full', snapshot: large })
  for (const vm of [ofLarge, again]) {
    expect(sizeOf(headOf(vm))).toBe(3 * 2 ** 30)
    expectContent(vm, { 1: 1, 2500: 2 })
  }
  expect(sizeOf(headOf(ofSmall))).toBe(2 ** 30)
  expectContent(ofSmall, { 1: 1 })
  // Nothing of the copies in between is left.
  expect(now.store.list<{ file: string }>('layer')).toHaveLength(4)
  for (const vm of [ofSmall, ofLarge, again, id]) await now.engine.vms.delete(ADMIN, vm, null, 'delete')
})

test('a linked clone reads all that its base stands on, as its own user, and the source goes on with what it shares', async () => {
  const { id } = await make()
  io(headOf(id), 'write -P 1 1M 1M')
  const first = await take(id, 'disk')
  // Once of a head that nothing was written to, once of one that was, once of the guest that runs.
  const clones = [await clone(id, { kind: 'linked' })]
  io(headOf(id), 'write -P 2 2M 1M')
  const second = await take(id, 'disk')
  io(headOf(id), 'write -P 3 3M 1M')
  clones.push(await clone(id, { kind: 'linked' }))
  const third = await take(id, 'disk')
  clones.push(await clone(id, { kind: 'linked', snapshot: second }))
  await now.engine.vms.start(ADMIN, id)
  clones.push(await clone(id, { kind: 'linked' }))
  for (const one of [...clones, id]) {
    if (one !== id) await now.engine.vms.start(ADMIN, one)
    expect((await now.engine.vms.view(ADMIN, one)).state).toBe('running')
  }
  // Its files are everybody's to read by now and its own user may not write them: deleting leaves them as they are.
  for (const snapshot of [second, first, third]) await drop(id, snapshot)
  for (const one of [...clones, id]) await now.engine.vms.poweroff(ADMIN, one)
  expectContent(id, { 1: 1, 2: 2, 3: 3 })
  const [ofFirst = '', ofSecond = '', ofSnapshot = '', ofRunning = ''] = clones
  expectContent(ofFirst, { 1: 1, 2: 0 })
  expectContent(ofSecond, { 1: 1, 2: 2, 3: 3 })
  expectContent(ofSnapshot, { 1: 1, 2: 2, 3: 0 })
  expectContent(ofRunning, { 1: 1, 2: 2, 3: 3 })
  await now.engine.vms.start(ADMIN, id)
  for (const vm of [...clones, id]) {
    if (vm === id) await now.engine.vms.poweroff(ADMIN, id)
    await now.engine.vms.delete(ADMIN, vm, null, 'delete')
  }
})
