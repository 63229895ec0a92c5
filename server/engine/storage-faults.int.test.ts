/** Storage that goes, is held by others or runs full in the middle of work: what is refused, told, and left as it was. */
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { CloneInput } from '#lib/schema/clone.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { PoolInput, VolumeInput } from '#lib/schema/storage.ts'
import { GIB } from '#lib/units.ts'
import {
  ADMIN,
  ANN,
  bootDisk,
  create,
  data,
  isRoot,
  now,
  options,
  poolRoot,
  until,
  update,
  upload,
} from './test-rig.ts'

const MiB = 2 ** 20
// Half a minute otherwise.
options.poolTimes = { refreshMs: 1000 }
const mounts: string[] = []
afterAll(() => {
  for (const dir of mounts) execFileSync('umount', ['-l', dir])
})

const volumes = () => now.engine.volumes
const blank = (name: string, more: object = {}) =>
  volumes().create(ANN, VolumeInput.parse({ name, sizeGiB: 1, ...more }))
const of = async (id: string) => (await volumes().view(ADMIN, id)).volume
const fileOf = (id: string): string => {
  const head = now.store.get<{ head: string }>('volume', id)?.value.head ?? ''
  const layer = now.store.get<{ file: string; poolId: string }>('layer', head)?.value
  if (layer === undefined) throw new Error('no layer')
  return join(now.store.get<{ path: string }>('pool', layer.poolId)?.value.path ?? data.root, layer.file)
}
const ended = (job: { id: string }) =>
  until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    90_000,
  )
const qemuIo = (file: string, format: string, command: string) =>
  execFileSync('qemu-io', ['-f', format, '-c', command, file], { encoding: 'utf8' })
const refused = (code: string) => expect.objectContaining({ code })

test('the file below a running disk goes: told at the next look, the guest goes on, a start is refused (F31)', async () => {
  const image = await upload(ANN, bootDisk())
  const vm = await create(ANN, {
    name: 'over',
    memoryMiB: 32,
    networks: [],
    disks: [{ device: 'disk', id: 'a', image: image.id, sizeGiB: 1 }],
  })
  await now.engine.vms.start(ANN, vm.id)
  rmSync(data.image(image.id))
  const [need] = await until(
    async () => (await now.engine.pools.needs(ANN)).items,
    (items) => items.length > 0,
    60_000,
  )
  expect(need).toMatchObject({ kind: 'volume', vmId: vm.id, title: expect.stringContaining('over') })
  expect(need?.detail).toMatch(/could not be started again/)
  expect((await now.engine.vms.view(ANN, vm.id)).state).toBe('running')
  await now.engine.vms.poweroff(ANN, vm.id)
  await expect(now.engine.vms.start(ANN, vm.id)).rejects.toMatchObject({
    code: 'image_missing',
    field: 'disks.0.image',
  })
})

test('a disk becomes smaller never but by going back to a snapshot in its file, and larger not while another program has it open (I18)', async () => {
  const vm = await create(ANN, {
    name: 'sizes',
    memoryMiB: 32,
    networks: [],
    disks: [{ device: 'disk', id: 'a', sizeGiB: 2 }],
  })
  const size = (sizeGiB: number) => update(ANN, vm.id, { disks: [{ device: 'disk', id: 'a', sizeGiB }] })
  const disk = (await volumes().list(ANN)).items.find((volume) => volume.vm?.id === vm.id)
  const id = disk?.id ?? ''
  for (const running of [false, true]) {
    if (running) await now.engine.vms.start(ANN, vm.id)
    await expect(size(1)).rejects.toEqual(refused('conflict'))
    await expect(volumes().grow(ANN, id, 1)).rejects.toEqual(refused('conflict'))
  }
  // On a running guest QEMU makes it larger, and the file is nobody else's to touch.
  expect((await volumes().grow(ANN, id, 3)).sizeBytes).toBe(3 * GIB)
  const taken = await now.engine.snapshots.create(ANN, vm.id, SnapshotInput.parse({ name: 'in', kind: 'memory' }))
  expect(await ended(taken)).toMatchObject({ state: 'done' })
  await size(4)
  await now.engine.vms.poweroff(ANN, vm.id)
  expect((await volumes().grow(ANN, id, 5)).sizeBytes).toBe(5 * GIB)
  const { result } = await ended(taken)
  const back = await now.engine.snapshots.revert(ANN, vm.id, result ?? '', SnapshotRevertInput.parse({}))
  expect(await ended(back)).toMatchObject({ state: 'done' })
  await now.engine.vms.poweroff(ANN, vm.id)
  expect((await of(id)).sizeBytes).toBe(3 * GIB)
  expect(qemuIo(fileOf(id), 'qcow2', 'length')).toContain('3 GiB')

  const free = await blank('held')
  const other = spawn('qemu-io', ['-f', 'qcow2', fileOf(free.id)], { stdio: ['pipe', 'ignore', 'ignore'] })
  try {
    await until(
      () =>
        volumes()
          .grow(ANN, free.id, 2)
          .catch((error: unknown) => error),
      (outcome) => outcome instanceof Error,
    ).then((error) => expect(error).toMatchObject({ code: 'in_use', message: expect.stringContaining('open') }))
  } finally {
    other.stdin?.end('quit\n')
    await new Promise((resolve) => other.once('exit', resolve))
  }
})

test('what is in use is not removed, and no name is taken twice, whatever is under way (D07, I19, I20)', async () => {
  const image = await upload(ANN, bootDisk(), 'used.img')
  const vm = await create(ANN, {
    name: 'uses',
    memoryMiB: 32,
    networks: [],
    disks: [{ device: 'disk', id: 'a', image: image.id, sizeGiB: 1 }],
  })
  await expect(now.engine.images.delete(ANN, image.id)).rejects.toEqual(refused('in_use'))
  const disk = (await volumes().list(ANN)).items.find((volume) => volume.vm?.id === vm.id)
  await expect(volumes().delete(ANN, disk?.id ?? '')).rejects.toEqual(refused('in_use'))
  const second = await create(ANN, { name: 'second', memoryMiB: 32, networks: [], disks: [] })
  await expect(volumes().attach(ANN, disk?.id ?? '', second.id)).rejects.toEqual(refused('in_use'))
  const taken = update(ANN, second.id, { disks: [{ device: 'disk', volume: disk?.id }] })
  await expect(taken).rejects.toEqual(refused('in_use'))

  const one = await blank('one')
  const two = await blank('two')
  qemuIo(fileOf(one.id), 'qcow2', 'write -P 7 0 64M')
  qemuIo(fileOf(two.id), 'qcow2', 'write -P 9 0 1M')
  for (const name of ['two', 'TWO']) {
    await expect(volumes().copy(ANN, one.id, { name })).rejects.toEqual(refused('name_taken'))
    await expect(volumes().rename(ANN, one.id, name)).rejects.toEqual(refused('name_taken'))
  }
  await expect(now.engine.clones.clone(ANN, vm.id, CloneInput.parse({ name: 'uses' }))).rejects.toEqual(
    refused('name_taken'),
  )
  expect(qemuIo(fileOf(two.id), 'qcow2', 'read -P 9 0 1M')).not.toContain('verification failed')

  const job = await volumes().convert(ANN, one.id, 'raw')
  await expect(volumes().delete(ANN, one.id)).rejects.toEqual(refused('in_use'))
  await expect(volumes().attach(ANN, one.id, vm.id)).rejects.toEqual(refused('in_use'))
  expect(await ended(job)).toMatchObject({ state: 'done' })
  expect(qemuIo(fileOf(one.id), 'raw', 'read -P 7 0 64M')).not.toContain('verification failed')
})

test.skipIf(!isRoot)(
  'a pool that runs full in the middle of a copy or a clone: no space, nothing left of it (F27)',
  async () => {
    const root = join(poolRoot, 'cramped')
    mkdirSync(root)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=320m,mode=0755', 'tmpfs', root])
    mounts.push(root)
    chmodSync(root, 0o755)
    const pool = await now.engine.pools.create(ADMIN, PoolInput.parse({ name: 'cramped', path: root, reserveBytes: 0 }))
    const source = await blank('source')
    qemuIo(fileOf(source.id), 'qcow2', 'write -P 7 0 256M')
    const before = execFileSync('sha256sum', [fileOf(source.id)], { encoding: 'utf8' })
    const parts = () => (existsSync(join(root, 'layers')) ? readdirSync(join(root, 'layers')) : [])

    // More than is there to begin with is refused before anything is written.
    execFileSync('fallocate', ['-l', String(128 * MiB), join(root, 'ballast')])
    const early = await ended(await volumes().copy(ANN, source.id, { name: 'copy', poolId: pool.id }))
    expect(early).toMatchObject({ state: 'failed', error: { code: 'no_space' } })
    rmSync(join(root, 'ballast'))

    // Somebody else takes the room while it is being written.
    const job = await volumes().copy(ANN, source.id, { name: 'copy', poolId: pool.id })
    await until(parts, (names) => names.length > 0)
    execFileSync('sh', ['-c', 'head -c 320M /dev/zero >"$1" 2>/dev/null || true', 'sh', join(root, 'ballast')])
    const late = await ended(job)
    expect(late).toMatchObject({ state: 'failed', error: { code: 'no_space' } })
    expect(parts()).toEqual([])
    expect((await volumes().list(ANN)).items.map(({ name }) => name)).toEqual(['source'])
    expect(execFileSync('sha256sum', [fileOf(source.id)], { encoding: 'utf8' })).toBe(before)

    // The same of a VM that is cloned: in full, into the pool its disk is in.
    rmSync(join(root, 'ballast'))
    const vm = await create(ANN, {
      ...{ name: 'original', memoryMiB: 32, networks: [] },
      disks: [{ device: 'disk', id: 'a', sizeGiB: 1, pool: pool.id }],
    })
    const own = parts()
    qemuIo(join(root, 'layers', own[0] ?? ''), 'qcow2', 'write -P 8 0 128M')
    const cloning = await now.engine.clones.clone(ANN, vm.id, CloneInput.parse({ kind: 'full', name: 'second' }))
    await until(parts, (names) => names.length > own.length)
    execFileSync('sh', ['-c', 'head -c 320M /dev/zero >"$1" 2>/dev/null || true', 'sh', join(root, 'ballast')])
    expect(await ended(cloning)).toMatchObject({ state: 'failed', error: { code: 'no_space' } })
    expect(parts()).toEqual(own)
    expect((await now.engine.vms.list(ADMIN)).items.map(({ name }) => name)).toEqual(['original'])
    expect(qemuIo(join(root, 'layers', own[0] ?? ''), 'qcow2', 'read -P 8 0 128M')).not.toContain('verification failed')
    await now.engine.vms.delete(ANN, vm.id, null)
    const [disk] = (await volumes().list(ANN)).items.filter(({ id }) => id !== source.id)
    if (disk !== undefined) await volumes().delete(ANN, disk.id)
    expect((await volumes().emptyTrash(ADMIN)).kept).toBe(0)

    rmSync(join(root, 'ballast'))
    const again = await ended(await volumes().copy(ANN, source.id, { name: 'copy', poolId: pool.id }))
    expect(again).toMatchObject({ state: 'done' })
    execFileSync('qemu-img', [
      'compare',
      '-q',
      '-f',
      'qcow2',
      '-F',
      'qcow2',
      fileOf(source.id),
      fileOf(again.result ?? ''),
    ])
  },
)
