/** Clones and templates on real files and guests that are off or run from them. */
import { execFileSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { beforeEach, expect, it } from 'vitest'
import { CloneInput } from '#lib/schema/clone.ts'
import { SnapshotInput } from '#lib/schema/snapshot.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import {
  ADMIN,
  ANN,
  anotherRun,
  BEN,
  bootDisk,
  create,
  data,
  EYE,
  isRoot,
  nothingMade,
  now,
  until,
  update,
  upload,
} from './test-rig.ts'
import type { Caller } from './types.ts'

const clone = async (who: Caller, id: string, input: unknown) => {
  const job = await now.engine.clones.clone(who, id, CloneInput.parse(input))
  return until(
    () => now.engine.jobs.view(who, job.id),
    ({ state }) => !['queued', 'running'].includes(state),
    60_000,
  )
}
const view = (id: string | null, who = ADMIN): Promise<Vm> => now.engine.vms.view(who, id ?? '')
const byName = async (name: string): Promise<Vm> => {
  const found = (await now.engine.vms.list(ADMIN)).items.find((vm) => vm.name === name)
  if (found === undefined) throw new Error(`there is no ${name}`)
  return found
}
const headOf = (vmId: string, device: string): string => {
  const volume = now.store
    .list<{ vm: { id: string; device: string } | null; head: string }>('volume')
    .find(({ value }) => value.vm?.id === vmId && value.vm.device === device)
  if (volume === undefined) throw new Error('no volume')
  return volume.value.head
}
const fileOf = (vmId: string, device: string): string => {
  const layer = now.store.get<{ file: string }>('layer', headOf(vmId, device))
  return `${data.root}/${layer?.value.file}`
}
/** What the guest would read, by way of the names written in the files: as an operator would look. */
const read = (path: string, at: string, bytes: number) =>
  execFileSync('qemu-io', ['-r', '-f', 'qcow2', '-c', `read -v ${at} ${bytes}`, path]).toString()
const write = (path: string, at: string, pattern: string) =>
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} ${at} 64k`, path])

const NO_SMBIOS = { manufacturer: null, product: null, version: null, sku: null, family: null, oemStrings: [] }
let source: Vm
beforeEach(async () => {
  source = await create(ANN, {
    name: 'web',
    memoryMiB: 32,
    networks: [{ forwards: [{ protocol: 'tcp', hostPort: 20022, guestPort: 22 }] }],
    disks: [
      { id: 'a', device: 'disk', sizeGiB: 20 },
      { id: 'b', device: 'disk', sizeGiB: 1 },
    ],
  })
  write(fileOf(source.id, 'a'), '1M', '0x11')
})

it('makes linked clones that share what was written and none of what is written afterwards', async () => {
  const first = await clone(ANN, source.id, { name: 'one' })
  expect(first).toMatchObject({ state: 'done', target: { type: 'vm', id: source.id } })
  const one = await view(first.result)
  expect(one).toMatchObject({
    name: 'one',
    owner: { id: ANN.userId },
    origin: { kind: 'linked', vmId: source.id, name: 'web', snapshot: null },
  })
  expect(one.spec.networks[0]?.mac).not.toBe(source.spec.networks[0]?.mac)
  expect(one.spec.networks[0]?.forwards).toEqual([])
  expect(read(fileOf(one.id, 'a'), '1M', 16)).toContain('11 11 11 11')

  write(fileOf(source.id, 'a'), '1M', '0x22')
  write(fileOf(one.id, 'a'), '2M', '0x33')
  expect(read(fileOf(source.id, 'a'), '2M', 16)).toContain('00 00 00 00')
  expect(read(fileOf(one.id, 'a'), '1M', 16)).toContain('11 11 11 11')
  if (isRoot) {
    const base = statSync(`${data.layersDir}/${readdirSync(data.layersDir)[0]}`)
    expect(base.mode & 0o137).toBe(0)
  }

  // The second of what is as before stands on the same file; after a write it needs a file of its own.
  const layers = () => now.store.list('layer').length
  const before = layers()
  await clone(ANN, one.id, { name: 'two', kind: 'linked' })
  expect(layers()).toBe(before + 3)
  await clone(ANN, one.id, { name: 'three' })
  expect(layers()).toBe(before + 5)
  const three = await byName('three')
  expect(read(fileOf(three.id, 'a'), '2M', 16)).toContain('33 33 33 33')

  // All of them start, from each file the other guests share.
  for (const name of ['web', 'one', 'two', 'three']) await now.engine.vms.start(ANN, (await byName(name)).id)
  const facts = await now.engine.clones.facts(ANN, source.id)
  expect(facts.standing.vms.map(({ name }) => name).sort()).toEqual(['one', 'three', 'two'])
  for (const name of ['web', 'one', 'two', 'three']) await now.engine.vms.poweroff(ANN, (await byName(name)).id)

  // Those below may go before those above.
  await now.engine.vms.delete(ANN, source.id, null, 'delete')
  expect(read(fileOf(three.id, 'a'), '1M', 16)).toContain('11 11 11 11')
  await now.engine.vms.delete(ANN, one.id, null, 'delete')
  expect(read(fileOf(three.id, 'a'), '2M', 16)).toContain('33 33 33 33')
  await now.engine.vms.delete(ANN, three.id, null, 'delete')
  await now.engine.vms.delete(ANN, (await byName('two')).id, null, 'delete')
  expect(now.store.list('layer')).toEqual([])
  expect(readdirSync(data.layersDir)).toEqual([])
  expect(now.store.list('lineage')).toEqual([])
  nothingMade()
})

it('makes full clones that stand alone, of UEFI guests with their variables', async () => {
  const image = await upload(ANN, bootDisk())
  const efi = await create(ANN, {
    name: 'efi',
    memoryMiB: 64,
    firmware: 'uefi',
    smbios: { ...NO_SMBIOS, serial: 'S1' },
    disks: [{ id: 'a', device: 'disk', image: image.id, sizeGiB: 1 }],
  })
  write(fileOf(efi.id, 'a'), '4M', '0x44')
  write(data.nvram(efi.id), '0', '0x55')
  const done = await clone(ANN, efi.id, { kind: 'full', name: 'copy of {name}', count: 2, firstIndex: 7 })
  expect(done).toMatchObject({ state: 'done', progress: 1 })
  const copy = await byName('copy of efi-7')
  expect(copy).toMatchObject({ origin: { kind: 'full' }, spec: { smbios: { serial: null } } })
  const path = fileOf(copy.id, 'a')
  expect(execFileSync('qemu-img', ['info', '-f', 'qcow2', path]).toString()).not.toContain('backing')
  expect(read(path, '0', 16)).toContain('ba f8 03')
  expect(read(path, '4M', 16)).toContain('44 44 44 44')
  expect(read(data.nvram(copy.id), '0', 16)).toContain('55 55 55 55')
  await now.engine.vms.delete(ANN, efi.id, null, 'delete')
  await now.engine.images.delete(ANN, image.id)
  expect(read(path, '0', 16)).toContain('ba f8 03')
  await now.engine.vms.start(ANN, copy.id)
  expect((await byName('copy of efi-8')).spec.disks[0]).toMatchObject({ image: null })
})

it('has templates, which are not started, whose disks stay, and which stay as long as clones stand on them', async () => {
  await expect(now.engine.clones.setTemplate(BEN, source.id, { template: true })).rejects.toMatchObject({
    code: 'not_found',
  })
  const template = await now.engine.clones.setTemplate(ANN, source.id, { template: true })
  expect(template).toMatchObject({ template: { by: 'ann' }, actions: { start: { allowed: false } } })
  await expect(now.engine.vms.start(ANN, source.id)).rejects.toMatchObject({ code: 'wrong_state' })
  await expect(update(ANN, source.id, { disks: [] })).rejects.toMatchObject({ code: 'conflict', field: 'disks' })
  expect((await update(ANN, source.id, { memoryMiB: 48 })).spec.memoryMiB).toBe(48)

  // One name is taken: told, and the rest is made.
  await create(ANN, { name: 'web-2', memoryMiB: 32 })
  const job = await clone(ANN, source.id, { name: '{name}-{index}', count: 3, start: true })
  expect(job).toMatchObject({ state: 'failed', error: { message: expect.stringContaining('2 of 3') } })
  expect(job.error?.message).toContain('web-2')
  const web3 = await byName('web-3')
  expect(web3).toMatchObject({ state: 'running', spec: { memoryMiB: 48 }, origin: { name: 'web' } })
  // A template gets no new layer for itself.
  expect(now.store.list('layer')).toHaveLength(6)

  const mine = await clone(ADMIN, source.id, { name: 'adas' })
  await expect(now.engine.vms.delete(ANN, source.id, null, 'delete')).rejects.toMatchObject({
    code: 'in_use',
    message: expect.stringMatching(/^3 linked clones stand .*web-1, web-3, 1 more/),
    details: { others: 1 },
  })
  await expect(now.engine.clones.setTemplate(ANN, source.id, { template: false })).rejects.toMatchObject({
    code: 'in_use',
  })

  await anotherRun(() => {})
  expect((await view(source.id)).template).toMatchObject({ by: 'ann' })
  await now.engine.vms.delete(ADMIN, mine.result ?? '', null, 'delete')
  for (const name of ['web-1', 'web-3']) {
    await now.engine.vms.poweroff(ANN, (await byName(name)).id)
    await now.engine.vms.delete(ANN, (await byName(name)).id, null, 'delete')
  }
  const back = await now.engine.clones.setTemplate(ANN, source.id, { template: false })
  expect(back.template).toBeUndefined()
  await now.engine.vms.start(ANN, source.id)
})

it('refuses what cannot be cloned, and hides what the caller may not see', async () => {
  const refused = (who: Caller, id: string, input: object) =>
    expect(now.engine.clones.clone(who, id, CloneInput.parse({ name: 'x', ...input }))).rejects
  await refused(BEN, source.id, {}).toMatchObject({ code: 'not_found' })
  await refused(ANN, source.id, { name: 'web' }).toMatchObject({ code: 'name_taken', field: 'name' })
  await refused(ANN, source.id, { name: 'a{name}{', count: 1 }).toMatchObject({ code: 'bad_input', field: 'name' })
  await refused(ANN, source.id, { snapshot: source.id }).toMatchObject({ code: 'not_found' })
  await update(ANN, source.id, {
    disks: [
      { id: 'a', device: 'disk' },
      { id: 'b', device: 'disk' },
      { id: 'c', device: 'disk', sizeGiB: 1, shared: true, serial: 'both', cache: 'none' },
    ],
  })
  await refused(ANN, source.id, {}).toMatchObject({ code: 'conflict', message: expect.stringContaining('“c”') })
  const facts = await now.engine.clones.facts(EYE, source.id)
  expect(facts.linked).toMatchObject({ allowed: false })
  expect(facts.notes).toContain('Port forwards are left out: a host port leads to one VM only.')
})

it('makes a VM of what a disk was at a snapshot, and the snapshot stays what it was', async () => {
  const take = await now.engine.snapshots.create(ANN, source.id, SnapshotInput.parse({ name: 'before', kind: 'disk' }))
  await until(
    () => now.engine.jobs.view(ANN, take.id),
    ({ endedAt }) => endedAt !== null,
    60_000,
  )
  const snapshot = (await now.engine.snapshots.list(ANN, source.id)).items[0]?.id ?? ''
  write(fileOf(source.id, 'a'), '1M', '0x22')
  for (const kind of ['linked', 'full'] as const) {
    const made = await clone(ANN, source.id, { name: `then-${kind}`, kind, snapshot })
    expect(made.error).toBeUndefined()
    expect(read(fileOf(made.result ?? '', 'a'), '1M', 16)).toContain('11 11 11 11')
    write(fileOf(made.result ?? '', 'a'), '1M', '0x33')
  }
  expect(read(fileOf(source.id, 'a'), '1M', 16)).toContain('22 22 22 22')
  const again = await clone(ANN, source.id, { name: 'again', kind: 'full', snapshot })
  expect(read(fileOf(again.result ?? '', 'a'), '1M', 16)).toContain('11 11 11 11')
  await expect(
    now.engine.clones.clone(BEN, source.id, CloneInput.parse({ name: 'x', snapshot })),
  ).rejects.toMatchObject({ code: 'not_found' })
})

it('is not linked to disks that hold snapshots inside: those would be cut off', async () => {
  const take = await now.engine.snapshots.create(ANN, source.id, SnapshotInput.parse({ name: 'in', kind: 'memory' }))
  const taken = await until(
    () => now.engine.jobs.view(ANN, take.id),
    ({ endedAt }) => endedAt !== null,
    60_000,
  )
  expect(taken.error).toBeUndefined()
  write(fileOf(source.id, 'a'), '1M', '0x22')
  await expect(
    now.engine.clones.clone(ANN, source.id, CloneInput.parse({ name: 'x', kind: 'linked' })),
  ).rejects.toMatchObject({
    code: expect.stringMatching(/conflict|wrong_state/),
    message: expect.stringContaining('snapshot'),
  })
  expect((await now.engine.clones.facts(ANN, source.id)).linked.allowed).toBe(false)
  const snapshot = (await now.engine.snapshots.list(ANN, source.id)).items[0]?.id ?? ''
  const made = await clone(ANN, source.id, { name: 'then', kind: 'full', snapshot })
  expect(made.error).toBeUndefined()
  expect(read(fileOf(made.result ?? '', 'a'), '1M', 16)).toContain('11 11 11 11')
})
