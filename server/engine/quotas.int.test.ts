/** Quotas on the whole engine: every way to more passes the same check, and of two that race for the rest one wins. */
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { BackupOptions } from '#lib/schema/backup.ts'
import { CloneInput } from '#lib/schema/clone.ts'
import type { Job } from '#lib/schema/job.ts'
import type { QuotaItem } from '#lib/schema/quota.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { ADMIN, ANN, bootDisk, create, now, until, update, upload } from './test-rig.ts'
import type { Caller } from './types.ts'

const MIB = 2 ** 20
const SMALL = { memoryMiB: 64, cpus: 1, display: 'none', networks: [], disks: [] }
let ann: Caller

beforeAll(() => {
  const { access } = now.engine
  ann = { ...ANN, grants: access.grantsOf(ANN.userId) }
})
afterEach(() => limit(null))

const limit = (limits: { [K in QuotaItem]?: number } | null) =>
  now.engine.usage.setQuota(ADMIN, { type: 'person', id: ANN.userId }, limits)
const usage = async () => {
  const { holders } = await now.engine.usage.view(ADMIN)
  const mine = holders.find(({ id }) => id === ANN.userId)
  if (mine === undefined) throw new Error('ann is not among the holders')
  return mine
}
const ended = (job: Job) =>
  until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    60_000,
  )
const exceeded = (item: QuotaItem) => ({ code: 'quota_exceeded', details: { item } })
/** How many were let through; the others were refused for this quota. */
const won = (results: readonly PromiseSettledResult<unknown>[], item: QuotaItem) => {
  for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject(exceeded(item))
  return results.filter(({ status }) => status === 'fulfilled').length
}
/** With a boot sector, by which it is known. */
const disk = (sizeMiB: number) => {
  const image = Buffer.alloc(sizeMiB * MIB)
  bootDisk().copy(image)
  return image
}
const session = (sizeBytes: number) =>
  now.engine.transfers.uploadCreate(ann, { name: 'a.img', sizeBytes, sha256: null, lastModifiedMs: null })

test('uploads take their room in the library before their first byte, and together no more than there is', async () => {
  await limit({ libraryMiB: 3, uploads: 2 })
  expect(won(await Promise.allSettled([session(2 * MIB), session(2 * MIB)]), 'libraryMiB')).toBe(1)
  expect(await usage()).toMatchObject({ used: { libraryMiB: 2, uploads: 1 } })
  // Of the other kind, with and without a length.
  const image = disk(2)
  await expect(upload(ann, image)).rejects.toMatchObject({
    ...exceeded('libraryMiB'),
    message: expect.stringMatching(/may have 3 MiB in the image library.*2 are in use.*2 more.*Delete an image/s),
  })
  const endless = Readable.from([image], { objectMode: false })
  await expect(now.engine.images.upload(ann, { name: 'b.img' }, endless, null)).rejects.toMatchObject(
    exceeded('libraryMiB'),
  )
  await session(MIB)
  await limit({ libraryMiB: 30, uploads: 2 })
  await expect(session(MIB)).rejects.toMatchObject(exceeded('uploads'))
  await expect(
    now.engine.transfers.download(ann, { url: 'https://9.9.9.9/a.img', mirrors: [] } as never),
  ).rejects.toMatchObject(exceeded('uploads'))
  expect((await usage()).freeable).toContainEqual(
    expect.objectContaining({ how: 'cancel-uploads', count: 2, bytes: 3 * MIB }),
  )
  for (const { id } of (await now.engine.transfers.uploadList(ann)).items)
    await now.engine.transfers.uploadDelete(ann, id)
  expect(await usage()).toMatchObject({ used: { libraryMiB: 0, uploads: 0 } })
})

test('what grows when it is unpacked is judged by what lies in the library, and nothing of a refused one stays', async () => {
  const packed = gzipSync(disk(4))
  await limit({ libraryMiB: 3 })
  await expect(upload(ann, packed, 'a.img.gz')).rejects.toMatchObject(exceeded('libraryMiB'))
  expect((await now.engine.images.list(ann)).items).toEqual([])
  await limit({ libraryMiB: 4 })
  await upload(ann, packed, 'a.img.gz')
  expect(await usage()).toMatchObject({ used: { libraryMiB: 4, uploads: 0 } })
  expect((await usage()).freeable).toContainEqual(
    expect.objectContaining({ how: 'delete-images', count: 1, bytes: 4 * MIB }),
  )
})

test('a disk of one’s own given to a VM counts once; to make, copy or enlarge one passes the same check', async () => {
  await limit({ diskGiB: 3 })
  const own = await now.engine.volumes.create(ann, { name: 'own', sizeGiB: 2, format: 'qcow2' } as never)
  const { id } = await create(ann, { ...SMALL, name: 'holder' })
  await now.engine.volumes.attach(ann, own.id, id)
  expect(await usage()).toMatchObject({ used: { diskGiB: 2 } })
  const more = { diskGiB: 3 }
  await expect(now.engine.volumes.grow(ann, own.id, 4)).rejects.toMatchObject(exceeded('diskGiB'))
  const { spec } = await now.engine.vms.view(ann, id)
  await expect(update(ann, id, { disks: [...spec.disks, { device: 'disk', sizeGiB: 2 }] })).rejects.toMatchObject(
    exceeded('diskGiB'),
  )
  await now.engine.volumes.detach(ann, own.id)
  await expect(now.engine.volumes.grow(ann, own.id, 4)).rejects.toMatchObject(exceeded('diskGiB'))
  await expect(
    now.engine.volumes.create(ann, { name: 'two', sizeGiB: 2, format: 'qcow2' } as never),
  ).rejects.toMatchObject(exceeded('diskGiB'))
  await expect(now.engine.volumes.copy(ann, own.id, { name: 'copy' } as never)).rejects.toMatchObject(
    exceeded('diskGiB'),
  )
  expect(await usage()).toMatchObject({ used: { diskGiB: 2 }, limits: more })
})

test('many clones at once fit all together or are refused before the first; of two such orders one wins', async () => {
  const { id } = await create(ann, { ...SMALL, name: 'pattern', disks: [{ device: 'disk', sizeGiB: 1 }] })
  await limit({ vms: 4 })
  const order = (name: string, count: number) =>
    now.engine.clones.clone(ann, id, CloneInput.parse({ name, kind: 'full', count }))
  await expect(order('n', 4)).rejects.toMatchObject({ ...exceeded('vms'), details: { used: 1, asked: 4 } })
  const orders = await Promise.allSettled([order('a', 2), order('b', 2)])
  expect(won(orders, 'vms')).toBe(1)
  for (const one of orders)
    if (one.status === 'fulfilled') expect(await ended(one.value)).toMatchObject({ state: 'done' })
  // The two that were made, and nothing of what was promised, is counted.
  expect(await usage()).toMatchObject({ used: { vms: 3, diskGiB: 3 } })
})

test('a snapshot whose definition takes more than there is now is not gone back to, nor is the present kept beyond the quota', async () => {
  const { id } = await create(ann, { ...SMALL, name: 'past', cpus: 4, disks: [{ device: 'disk', sizeGiB: 1 }] })
  const taken = await ended(await now.engine.snapshots.create(ann, id, SnapshotInput.parse({ kind: 'disk' })))
  await update(ann, id, { cpus: 1 })
  const back = (input: object) =>
    now.engine.snapshots.revert(ann, id, taken.result ?? '', SnapshotRevertInput.parse(input))
  await limit({ vcpus: 3 })
  await expect(back({ definition: 'restore' })).rejects.toMatchObject(exceeded('vcpus'))
  await limit({ vcpus: 4, snapshots: 1 })
  await expect(back({ definition: 'restore', keepPresent: true })).rejects.toMatchObject(exceeded('snapshots'))
  expect(await ended(await back({ definition: 'restore' }))).toMatchObject({ state: 'done' })
  expect(await usage()).toMatchObject({ used: { vcpus: 4, snapshots: 1 } })
})

test('a running guest is given no more than its owner may run, and of two that ask at once one gets it', async () => {
  const made = await Promise.all(
    ['one', 'two'].map((name) =>
      create(ann, { ...SMALL, name, maxCpus: 4, memoryMaxMiB: 1024, networks: [{}], display: 'std' }),
    ),
  )
  for (const { id } of made) await now.engine.vms.start(ann, id)
  const [{ id } = { id: '' }] = made
  await limit({ runningVcpus: 3 })
  const grown = await Promise.allSettled(made.map((vm) => update(ann, vm.id, { cpus: 2 })))
  expect(won(grown, 'runningVcpus')).toBe(1)
  expect(await usage()).toMatchObject({ used: { runningVcpus: 3, runningMemoryMiB: 128 } })
  await limit({ runningMemoryMiB: 200 })
  await expect(update(ann, id, { dimms: [{ sizeMiB: 128 }] })).rejects.toMatchObject(exceeded('runningMemoryMiB'))
  await limit({ ports: 1 })
  const { spec } = await now.engine.vms.view(ann, id)
  const [card] = spec.networks
  const forward = (hostPort: number) => ({ protocol: 'tcp', hostPort, guestPort: 22 })
  await expect(
    update(ann, id, { networks: [{ ...card, forwards: [forward(28_101), forward(28_102)] }] }),
  ).rejects.toMatchObject(exceeded('ports'))
  await limit({ consoles: 1 })
  const look = () => now.engine.vms.consoleTicket(ann, id, { kind: 'vnc', mode: 'view', presence: false })
  await look()
  await expect(look()).rejects.toMatchObject(exceeded('consoles'))
  await expect(now.engine.vms.view(ann, id)).resolves.toMatchObject({ state: 'running' })
  // Whoever looks sees what would be given back, and by what.
  const { freeable } = await usage()
  expect(freeable.map(({ how }) => how)).toEqual(['shut-down', 'close-consoles'])
  expect(freeable[0]).toMatchObject({ count: 2, vcpus: 3, memoryMiB: 128 })
})

test('backups count where they lie, also those of a VM that has gone, and who has no room left makes none', async () => {
  const vm = await create(ann, { ...SMALL, name: 'kept twice', disks: [{ device: 'disk', sizeGiB: 1 }] })
  const { backups } = now.engine
  const make = () => backups.create(ann, vm.id, BackupOptions.parse({}))
  await limit({ backupGiB: 0 })
  await expect(make()).rejects.toMatchObject({
    ...exceeded('backupGiB'),
    message: expect.stringMatching(/Delete a backup/),
  })
  await limit({ backupGiB: 1 })
  expect(await ended(await make())).toMatchObject({ state: 'done' })
  const { used, freeable } = await usage()
  expect(used.backupGiB).toBeGreaterThan(0)
  // What was held for it is let go: it counts once.
  expect(used.backupGiB).toBeLessThan(0.01)
  expect(freeable).toContainEqual(expect.objectContaining({ how: 'delete-backups', count: 1 }))
  await now.engine.vms.delete(ann, vm.id, null)
  expect((await usage()).used.backupGiB).toBe(used.backupGiB)
  const [mine] = (await backups.list(ann, {})).items.filter((backup) => backup.vm.id === vm.id)
  await ended(await backups.delete(ann, mine?.id ?? '', { dependents: 'refuse' }))
  expect((await usage()).used.backupGiB).toBe(0)
})
