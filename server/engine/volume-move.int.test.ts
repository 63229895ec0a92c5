/** A disk is moved between pools while its guest runs: real QEMU, which writes through the guest's own device. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { BackupOptions } from '#lib/schema/backup.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { PoolInput, VolumeMove } from '#lib/schema/storage.ts'
import { LOCAL_POOL_ID } from '#server/storage/pools.ts'
import { ADMIN, ANN, bootDisk, create, data, isRoot, now, poolRoot, until, update, upload } from './test-rig.ts'

const MIB = 2 ** 20
const LIMITS = {
  ...{ bytesPerSecond: 0, readBytesPerSecond: 0, writeBytesPerSecond: 0, iops: 5000, readIops: 0, writeIops: 0 },
  ...{ bytesPerSecondMax: 0, iopsMax: 0, burstSeconds: 1 },
}
let made = 0
async function makePool(prepare: (path: string) => void = () => {}) {
  made += 1
  const path = join(poolRoot, `m${made}`)
  mkdirSync(path, { mode: 0o755 })
  prepare(path)
  chmodSync(path, 0o755)
  const { id } = await now.engine.pools.create(ADMIN, PoolInput.parse({ name: `pool ${made}`, path, reserveBytes: 0 }))
  return { id, path, files: () => readdirSync(join(path, 'layers')) }
}
const ended = (job: Job) =>
  until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
const done = async (job: Job): Promise<string> => {
  const end = await ended(job)
  expect(end.error).toBeUndefined()
  expect(end.state).toBe('done')
  return end.result ?? ''
}
const move = (id: string, poolId: string, limitMiBps: number | null = null) =>
  now.engine.volumes.move(ANN, id, VolumeMove.parse({ poolId, limitMiBps }))
const diskOf = async (vmId: string, device = 'a') => {
  const found = (await now.engine.volumes.list(ANN)).items.find(({ vm }) => vm?.id === vmId && vm.device === device)
  if (found === undefined) throw new Error('no disk')
  return found
}
const fileOf = (volumeId: string): string => {
  const head = now.store.get<{ head: string }>('volume', volumeId)?.value.head ?? ''
  const layer = now.store.get<{ file: string; poolId: string }>('layer', head)?.value
  const pool = now.store.get<{ path: string }>('pool', layer?.poolId ?? '')?.value.path ?? data.root
  return join(pool, layer?.file ?? '')
}
/** By the running guest's own QEMU, through the guest's own device. */
const io = (vmId: string, ...commands: string[]) =>
  now.supervisor.work(vmId, async (guest) => {
    for (const command of commands) {
      const line = `qemu-io -d /machine/peripheral/a/virtio-backend "${command}"`
      expect(await guest.ask('human-monitor-command', { 'command-line': line })).toBe('')
    }
  })
const holds = (file: string, format: string, byte: number, range: string) =>
  expect(
    execFileSync('qemu-io', ['-r', '-U', '-f', format, '-c', `read -P ${byte} ${range}`, file], { encoding: 'utf8' }),
  ).not.toContain('verification failed')
const jobsOf = (vmId: string) => now.supervisor.work(vmId, (guest) => guest.ask('query-jobs'))
const openFiles = (vmId: string) =>
  now.supervisor.work(vmId, async (guest) => JSON.stringify(await guest.ask('query-named-block-nodes', { flat: true })))
const vmWith = (name: string, disk: object) =>
  create(ANN, { name, memoryMiB: 32, networks: [], disks: [{ id: 'a', device: 'disk', sizeGiB: 1, ...disk }] })

it('a disk moves to another pool and back while its guest writes, with its limits, and is all the guest has open', async () => {
  const image = await upload(ANN, bootDisk())
  const vm = await vmWith('mover', { image: image.id, throttle: LIMITS, cache: 'none', discard: 'unmap' })
  const disk = await diskOf(vm.id)
  const pool = await makePool()
  await now.engine.vms.start(ANN, vm.id)
  await io(vm.id, 'write -P 1 4M 24M', 'flush')
  const old = fileOf(disk.id)

  const job = await move(disk.id, pool.id, 4)
  expect(job).toMatchObject({ kind: 'volume-move', target: { type: 'volume', id: disk.id }, cancellable: true })
  await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ doneBytes, endedAt }) => endedAt !== null || (doneBytes ?? 0) > 0,
  )
  // Nothing else may be done to it meanwhile, and what does so is told why.
  await expect(update(ANN, vm.id, { memoryMiB: 48 })).rejects.toMatchObject({
    code: 'vm_busy',
    message: expect.stringContaining('is being moved'),
  })
  await expect(move(disk.id, pool.id)).rejects.toMatchObject({ code: 'vm_busy' })
  for (let n = 0; n < 6; n += 1) await io(vm.id, `write -P ${20 + n} ${40 + n}M 1M`)
  await done(job)

  const file = fileOf(disk.id)
  expect(file.startsWith(pool.path)).toBe(true)
  expect(existsSync(old)).toBe(false)
  expect(await jobsOf(vm.id)).toEqual([])
  expect(await openFiles(vm.id)).not.toContain(old)
  expect(await now.engine.vms.view(ANN, vm.id)).toMatchObject({ state: 'running', pending: [] })
  expect((await now.engine.vms.commandLine(ANN, vm.id, { of: 'running' })).shell).toContain(file)
  // It has all now: the image is no longer below it.
  expect((await now.engine.volumes.view(ANN, disk.id)).chain).toMatchObject([{ writable: true, neededBy: [] }])
  await io(vm.id, 'write -P 3 60M 1M', 'flush')
  holds(file, 'qcow2', 1, '4M 24M')
  for (let n = 0; n < 6; n += 1) holds(file, 'qcow2', 20 + n, `${40 + n}M 1M`)
  holds(file, 'qcow2', 3, '60M 1M')

  // The disk of now is changed as any other: larger, moved back, taken out.
  await update(ANN, vm.id, { disks: [{ id: 'a', device: 'disk', sizeGiB: 2 }] })
  await done(await move(disk.id, LOCAL_POOL_ID))
  expect(pool.files()).toEqual([])
  const back = fileOf(disk.id)
  expect(back.startsWith(data.layersDir)).toBe(true)
  holds(back, 'qcow2', 3, '60M 1M')
  await now.engine.vms.poweroff(ANN, vm.id)
  expect(execFileSync('qemu-img', ['info', '-f', 'qcow2', back], { encoding: 'utf8' })).toContain('2 GiB')
  execFileSync('qemu-img', ['check', '-f', 'qcow2', back])
  expect((await now.engine.vms.start(ANN, vm.id)).state).toBe('running')
  await io(vm.id, 'read -P 3 60M 1M')
})

it('a move that is cancelled, or whose target is full, leaves the disk where it is and its guest running', async () => {
  const vm = await vmWith('stays', {})
  const disk = await diskOf(vm.id)
  const pool = await makePool((path) => {
    if (isRoot) execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m,mode=755', 'tmpfs', path])
  })
  await now.engine.vms.start(ANN, vm.id)
  await io(vm.id, 'write -P 5 0 24M', 'flush')
  const old = fileOf(disk.id)
  const begun = async (limitMiBps: number) => {
    const job = await move(disk.id, pool.id, limitMiBps)
    await until(
      () => now.engine.jobs.view(ADMIN, job.id),
      ({ doneBytes }) => (doneBytes ?? 0) > 0,
    )
    return job
  }
  const unchanged = async (byte: number) => {
    expect(fileOf(disk.id)).toBe(old)
    expect(pool.files()).toEqual([])
    expect(await jobsOf(vm.id)).toEqual([])
    expect(await openFiles(vm.id)).not.toContain(pool.path)
    expect(await now.engine.vms.view(ANN, vm.id)).toMatchObject({ state: 'running' })
    await io(vm.id, `write -P ${byte} 30M 1M`, 'flush')
    holds(old, 'qcow2', byte, '30M 1M')
    holds(old, 'qcow2', 5, '0 24M')
  }
  const first = await begun(1)
  expect(await now.engine.jobs.view(ADMIN, first.id)).toMatchObject({ totalBytes: expect.any(Number) })
  await now.engine.jobs.cancel(ADMIN, first.id)
  expect((await ended(first)).state).toBe('cancelled')
  await unchanged(6)
  if (!isRoot) return

  const second = await begun(8)
  // Somebody else fills it, and is told so as well.
  expect(spawnSync('dd', ['if=/dev/zero', `of=${join(pool.path, 'big')}`, 'bs=1M', 'count=64']).status).not.toBe(0)
  expect(await ended(second)).toMatchObject({ state: 'failed', error: { code: 'no_space' } })
  await unchanged(7)
  await now.engine.pools.delete(ADMIN, pool.id)
  execFileSync('umount', [pool.path])
})

it('the next backup after a move, live or not, still copies only what changed', async () => {
  const vm = await vmWith('kept', {})
  const disk = await diskOf(vm.id)
  const pool = await makePool()
  await now.engine.vms.start(ANN, vm.id)
  await io(vm.id, 'write -P 1 0 8M', 'flush')
  const backUp = async () => {
    const options = BackupOptions.parse({ freeze: false, compression: 'none' })
    const id = await done(await now.engine.backups.create(ADMIN, vm.id, options))
    return now.engine.backups.view(ADMIN, id)
  }
  const full = await backUp()
  await io(vm.id, 'write -P 2 100M 2M')
  await done(await move(disk.id, pool.id))
  await io(vm.id, 'write -P 3 200M 2M', 'flush')
  const second = await backUp()
  expect(second).toMatchObject({ kind: 'incremental', parent: full.id, changedBytes: 4 * MIB })
  await io(vm.id, 'write -P 4 300M 2M', 'flush')
  await now.engine.vms.poweroff(ANN, vm.id)
  await done(await move(disk.id, LOCAL_POOL_ID))
  const third = await backUp()
  expect(third).toMatchObject({ kind: 'incremental', parent: second.id, changedBytes: 2 * MIB })
  const file = join(data.root, 'backups', vm.id, third.id, 'disk-a.qcow2')
  expect(execFileSync('qemu-img', ['compare', fileOf(disk.id), file], { encoding: 'utf8' })).toContain('identical')
  for (const { id } of [third, second, full])
    await done(await now.engine.backups.delete(ADMIN, id, { dependents: 'refuse' }))
})

it('a disk with snapshots moves without them: they stay where they are, and going back to one brings it there', async () => {
  const vm = await vmWith('past', {})
  const disk = await diskOf(vm.id)
  const pool = await makePool()
  await now.engine.vms.start(ANN, vm.id)
  await io(vm.id, 'write -P 1 0 2M', 'flush')
  const taken = []
  for (const name of ['one', 'two']) {
    const input = SnapshotInput.parse({ name, kind: 'disk' })
    taken.push(await done(await now.engine.snapshots.create(ANN, vm.id, input)))
    await io(vm.id, `write -P ${taken.length + 1} 0 1M`, 'flush')
  }
  await done(await move(disk.id, pool.id))
  holds(fileOf(disk.id), 'qcow2', 3, '0 1M')
  holds(fileOf(disk.id), 'qcow2', 1, '1M 1M')
  expect((await now.engine.volumes.view(ANN, disk.id)).chain).toHaveLength(1)
  // A frozen layer that the guest has no longer open is merged by a tool.
  await done(await now.engine.snapshots.delete(ANN, vm.id, taken[1] ?? ''))
  await io(vm.id, 'read -P 3 0 1M', 'read -P 1 1M 1M')
  const revert = SnapshotRevertInput.parse({ start: true })
  await done(await now.engine.snapshots.revert(ANN, vm.id, taken[0] ?? '', revert))
  await io(vm.id, 'read -P 1 0 2M')
  expect((await diskOf(vm.id)).pool.id).toBe(LOCAL_POOL_ID)
  expect(pool.files()).toEqual([])
  await now.engine.vms.poweroff(ANN, vm.id)
  await done(await now.engine.snapshots.delete(ANN, vm.id, taken[0] ?? ''))
  writeFileSync(join(pool.path, 'mine'), '')
})
