/** Clones of guests that run: the moment, and what happens to the source. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { CloneInput } from '#lib/schema/clone.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { listNodes } from '#server/snapshots/live.ts'
import { openStore } from '#server/store/sqlite.ts'
import { ANN, anotherRun, create, data, nothingMade, now, until } from './test-rig.ts'

const clone = async (id: string, input: unknown) => {
  const job = await now.engine.clones.clone(ANN, id, CloneInput.parse(input))
  return until(
    () => now.engine.jobs.view(ANN, job.id),
    ({ state }) => !['queued', 'running'].includes(state),
    60_000,
  )
}
const byName = async (name: string): Promise<Vm> => {
  const found = (await now.engine.vms.list(ANN)).items.find((vm) => vm.name === name)
  if (found === undefined) throw new Error(`there is no ${name}`)
  return found
}
const fileOf = (vmId: string, device: string): string => {
  const volume = now.store
    .list<{ vm: { id: string; device: string } | null; head: string }>('volume')
    .find(({ value }) => value.vm?.id === vmId && value.vm.device === device)
  const layer = now.store.get<{ file: string }>('layer', volume?.value.head ?? '')
  return `${data.root}/${layer?.value.file}`
}
const read = (path: string, at: string) =>
  execFileSync('qemu-io', ['-r', '-U', '-f', 'qcow2', '-c', `read -v ${at} 16`, path]).toString()
const write = (path: string, at: string, pattern: string) =>
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} ${at} 64k`, path])
/** Writes by the running guest's own QEMU, through the guest's own device. */
const writeLive = (vmId: string, device: string, at: string, pattern: string) =>
  now.supervisor.work(vmId, async (guest) => {
    for (const what of [`write -P ${pattern} ${at} 64k`, 'flush']) {
      const line = `qemu-io -d /machine/peripheral/${device}/virtio-backend "${what}"`
      expect(await guest.ask('human-monitor-command', { 'command-line': line })).toBe('')
    }
  })

it('a running guest is cloned as of one moment, linked and full, and goes on writing elsewhere', async () => {
  const source = await create(ANN, {
    name: 'busy',
    memoryMiB: 64,
    firmware: 'uefi',
    networks: [],
    disks: [
      { id: 'a', device: 'disk', sizeGiB: 1 },
      { id: 'b', device: 'disk', sizeGiB: 1 },
    ],
  })
  write(fileOf(source.id, 'a'), '1M', '0x11')
  await now.engine.vms.start(ANN, source.id)
  await writeLive(source.id, 'b', '1M', '0x12')

  // A full one while the guest writes: nothing of what came after its moment.
  const job = now.engine.clones.clone(ANN, source.id, CloneInput.parse({ name: 'full', kind: 'full' }))
  const { id } = await job
  await until(
    () => now.engine.vms.view(ANN, source.id),
    (vm) => vm.work !== undefined || vm.state !== 'running',
  )
  for (let n = 0; n < 5; n += 1) {
    await writeLive(source.id, 'b', `${4 + n}M`, '0x44')
    await sleep(20)
  }
  const done = await until(
    () => now.engine.jobs.view(ANN, id),
    ({ state }) => !['queued', 'running'].includes(state),
    60_000,
  )
  expect(done.error).toBeUndefined()
  expect(done).toMatchObject({ state: 'done' })
  const full = await byName('full')
  expect(read(fileOf(full.id, 'a'), '1M')).toContain('11 11 11 11')
  const present = [0, 1, 2, 3, 4].map((n) => read(fileOf(full.id, 'b'), `${4 + n}M`).includes('44 44 44 44'))
  // Whatever the moment was: writes are there up to it, and none after.
  expect(present.toSorted((x, y) => Number(y) - Number(x))).toEqual(present)
  expect(execFileSync('qemu-img', ['info', '-f', 'qcow2', fileOf(full.id, 'a')]).toString()).not.toContain('backing')
  await now.supervisor.work(source.id, async (guest) => {
    expect((await listNodes(guest)).filter((node) => node['node-name'].startsWith('gdc'))).toEqual([])
    expect(await guest.ask('query-jobs')).toEqual([])
  })

  expect(await clone(source.id, { name: 'linked' })).toMatchObject({ state: 'done' })
  const linked = await byName('linked')
  expect((await byName('busy')).state).toBe('running')
  await writeLive(source.id, 'a', '1M', '0x22')
  await writeLive(source.id, 'b', '2M', '0x23')
  expect(read(fileOf(linked.id, 'a'), '1M')).toContain('11 11 11 11')
  expect(read(fileOf(linked.id, 'b'), '1M')).toContain('12 12 12 12')
  expect(read(fileOf(linked.id, 'b'), '2M')).toContain('00 00 00 00')
  expect(existsSync(data.nvram(linked.id))).toBe(true)
  // Two levels, both of guests that run.
  await now.engine.vms.start(ANN, linked.id)
  await writeLive(linked.id, 'a', '3M', '0x33')
  expect(await clone(linked.id, { name: 'second', count: 2 })).toMatchObject({ state: 'done' })
  expect(read(fileOf((await byName('second-2')).id, 'a'), '3M')).toContain('33 33 33 33')

  const refused = await clone(source.id, { name: 'late', kind: 'full' })
  if (refused.state === 'failed') expect(refused.error?.message).toContain('linked clones were made')

  // What the guest wrote in its new files is there at its next start.
  await now.engine.vms.poweroff(ANN, source.id)
  await until(
    () => readdirSync(data.vmDir(source.id)),
    (names) => !names.includes('a.qcow2'),
  )
  expect(read(fileOf(source.id, 'b'), '2M')).toContain('23 23 23 23')
  await now.engine.vms.start(ANN, source.id)
  await now.engine.vms.start(ANN, full.id)

  for (const name of ['busy', 'linked', 'full']) await now.engine.vms.poweroff(ANN, (await byName(name)).id)
  for (const name of ['linked', 'second-1', 'busy', 'full', 'second-2', ...(refused.state === 'done' ? ['late'] : [])])
    await now.engine.vms.delete(ANN, (await byName(name)).id, null, 'delete')
  expect(now.store.list('layer')).toEqual([])
  nothingMade()
})

it('a dashboard that ended between QEMU and its store finds the guest on the new files', async () => {
  const source = await create(ANN, {
    name: 'cut',
    memoryMiB: 32,
    networks: [],
    disks: [{ id: 'a', device: 'disk', sizeGiB: 1 }],
  })
  await now.engine.vms.start(ANN, source.id)
  await writeLive(source.id, 'a', '1M', '0x11')
  // As if killed right after the transaction: the store never hears of it.
  const volumes = now.store.list<{ vm: { id: string } | null }>('volume')
  const before = volumes.find(({ value }) => value.vm?.id === source.id)
  const layers = now.store.list('layer')
  const busyKey = `vm-busy:${source.id}`
  let note: unknown = null
  const unwatch = now.store.watch('meta', ({ key }) => {
    if (key === busyKey) note = now.store.get('meta', busyKey)?.value ?? note
  })
  expect(await clone(source.id, { name: 'gone' })).toMatchObject({ state: 'done' })
  unwatch()
  await now.engine.vms.delete(ANN, (await byName('gone')).id, null, 'delete')
  await writeLive(source.id, 'a', '2M', '0x22')
  await anotherRun(() => {
    const store = openStore(data)
    store.put('volume', before?.key ?? '', before?.value)
    for (const { key, value } of layers) store.put('layer', key, value)
    store.put('meta', busyKey, note)
    store.close()
  })
  expect(read(fileOf(source.id, 'a'), '2M')).toContain('22 22 22 22')
  await now.engine.vms.poweroff(ANN, source.id)
  await now.engine.vms.start(ANN, source.id)
  expect(read(fileOf(source.id, 'a'), '1M')).toContain('11 11 11 11')
})
