/** Volumes and pools by the whole engine, with real qemu-img and, where a guest matters, real QEMU. */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SnapshotInput } from '#lib/schema/snapshot.ts'
import { PoolInput, VolumeInput, VolumeMove } from '#lib/schema/storage.ts'
import { GIB } from '#lib/units.ts'
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
  now,
  poolRoot,
  until,
  update,
  upload,
} from './test-rig.ts'

const volumes = () => now.engine.volumes
const pools = () => now.engine.pools
const LIMITS = {
  ...{ bytesPerSecond: 0, readBytesPerSecond: 0, writeBytesPerSecond: 0, iops: 500, readIops: 0, writeIops: 0 },
  ...{ bytesPerSecondMax: 0, iopsMax: 0, burstSeconds: 1 },
}
let made = 0
async function makePool(more: object = {}) {
  made += 1
  const path = join(poolRoot, `p${made}`)
  mkdirSync(path, { mode: 0o755 })
  chmodSync(path, 0o755)
  const pool = await pools().create(ADMIN, PoolInput.parse({ name: `pool ${made}`, path, reserveBytes: 0, ...more }))
  return { pool, path }
}
const blank = (name: string, more: object = {}) =>
  volumes().create(ANN, VolumeInput.parse({ name, sizeGiB: 1, ...more }))
const of = async (id: string) => (await volumes().view(ADMIN, id)).volume
const finished = async (job: { id: string }) => {
  const end = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ state }) => !['queued', 'running'].includes(state),
    60_000,
  )
  expect(end.error).toBeUndefined()
  return end
}
/** The one file a disk has, if it has one. */
const headOf = (id: string) => {
  const head = now.store.get<{ head: string }>('volume', id)?.value.head ?? ''
  const layer = now.store.get<{ file: string; poolId: string; uid: number | null }>('layer', head)?.value
  if (layer === undefined) throw new Error('no layer')
  const pool = now.store.get<{ path: string }>('pool', layer.poolId)?.value.path ?? data.root
  return { path: join(pool, layer.file), uid: layer.uid }
}
const qemuIo = (file: string, format: string, ...commands: string[]) =>
  execFileSync('qemu-io', ['-f', format, ...commands.flatMap((c) => ['-c', c]), file], { encoding: 'utf8' })
const holds = (file: string, format: string, byte: number, range: string) =>
  expect(qemuIo(file, format, `read -P ${byte} ${range}`)).not.toContain('verification failed')

describe('a pool', () => {
  it('is a directory that the administrator of the host allows, marked, and never inside another or ourselves', async () => {
    const { pool, path } = await makePool()
    expect(pool).toMatchObject({ state: 'ok', builtIn: false, path, capacity: { fileSystem: expect.any(String) } })
    expect(readdirSync(path).sort()).toEqual(['guestdeck-pool.json', 'layers'])
    const refused = async (given: object) =>
      pools()
        .create(ADMIN, PoolInput.parse({ name: 'other', path: join(poolRoot, 'x'), ...given }))
        .then(
          () => 'made',
          (error: { code: string }) => error.code,
        )
    expect(await refused({ path: '/etc' })).toBe('forbidden')
    expect(await refused({ path: `${poolRoot}/../etc` })).toBe('bad_input')
    expect(await refused({ path: data.root })).toBe('forbidden')
    expect(await refused({})).toBe('bad_input')
    expect(await refused({ path: join(path, 'layers') })).toBe('conflict')
    expect(await refused({ name: pool.name.toUpperCase() })).toBe('name_taken')
    mkdirSync(join(poolRoot, 'x'), { mode: 0o755 })
    expect(await refused({ mustBeMounted: true })).toBe('bad_input')
    if (isRoot) {
      chmodSync(join(poolRoot, 'x'), 0o700)
      expect(await refused({})).toBe('bad_input')
    }
    rmSync(join(poolRoot, 'x'), { recursive: true })
  })

  it('whose mark has gone is missing: nothing is written there, and others are not affected', async () => {
    const { pool, path } = await makePool()
    const disk = await blank('on it', { poolId: pool.id })
    const vm = await create(ANN, {
      name: 'there',
      memoryMiB: 32,
      networks: [],
      disks: [{ device: 'disk', volume: disk.id }],
    })
    const mark = join(path, 'guestdeck-pool.json')
    const text = execFileSync('cat', [mark])
    rmSync(mark)
    expect(await pools().check(ADMIN, pool.id)).toMatchObject({
      state: 'missing',
      advice: expect.stringContaining('Mount'),
    })
    await expect(blank('another', { poolId: pool.id })).rejects.toMatchObject({ code: 'pool_unavailable' })
    await expect(now.engine.vms.start(ANN, vm.id)).rejects.toMatchObject({ code: 'volume_missing', field: 'disks.0' })
    expect((await pools().needs(ADMIN)).items.map(({ kind }) => kind).sort()).toEqual(['pool', 'volume'])
    // Somebody who may not mend the pool hears of their own disk alone, and no path of the host.
    const told = (await pools().needs(ANN)).items
    expect(told).toHaveLength(1)
    await blank('elsewhere')
    expect(readdirSync(join(path, 'layers'))).toHaveLength(1)
    writeFileSync(mark, text)
    expect(await pools().check(ADMIN, pool.id)).toMatchObject({ state: 'ok' })
    expect((await now.engine.vms.start(ANN, vm.id)).state).toBe('running')
  })

  it('goes only when nothing is in it; what was there stays', async () => {
    const { pool, path } = await makePool()
    const disk = await blank('last', { poolId: pool.id })
    await expect(pools().delete(ADMIN, pool.id)).rejects.toMatchObject({ code: 'in_use' })
    await volumes().delete(ANN, disk.id)
    await expect(pools().delete(ADMIN, pool.id)).rejects.toMatchObject({ code: 'in_use', message: /trash/ })
    await volumes().emptyTrash(ANN)
    writeFileSync(join(path, 'mine'), '')
    await pools().delete(ADMIN, pool.id)
    expect(readdirSync(path)).toEqual(['mine'])
  })
})

describe('a volume', () => {
  it('is seen by its owner and administrators, and what it takes is told', async () => {
    const disk = await blank('mine')
    expect(disk).toMatchObject({ sizeBytes: GIB, vm: null, format: 'qcow2', problem: null, layers: 1 })
    expect(disk.allocatedBytes).toBeGreaterThan(0)
    expect(disk.worstCaseBytes).toBeGreaterThan(GIB)
    expect((await volumes().list(BEN)).items).toEqual([])
    await expect(volumes().view(BEN, disk.id)).rejects.toMatchObject({ code: 'not_found' })
    expect((await volumes().list(EYE)).items).toHaveLength(1)
    await expect(blank('Mine')).rejects.toMatchObject({ code: 'name_taken' })
    await expect(volumes().copy(ANN, disk.id, { name: 'MINE' })).rejects.toMatchObject({ code: 'name_taken' })
  })

  it('is copied, converted and compacted byte for byte, raw and over an image', async () => {
    const image = await upload(ANN, bootDisk())
    const vm = await create(ANN, {
      name: 'src',
      memoryMiB: 32,
      networks: [],
      disks: [{ device: 'disk', image: image.id, sizeGiB: 1 }],
    })
    const [disk] = (await volumes().list(ANN)).items
    if (disk === undefined) throw new Error('no disk')
    const file = data.disk(vm.id, 'disk0')
    qemuIo(file, 'qcow2', 'write -P 7 4M 3M', 'write -P 0 16M 16M')
    const copy = await finished(await volumes().copy(ANN, disk.id, { name: 'copied', format: 'raw' }))
    const raw = headOf(copy.result ?? '')
    expect(statSync(raw.path).size).toBe(GIB)
    execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', file, raw.path])
    // What I wrote of zeros takes no room any more, the base is not copied.
    const before = (await of(disk.id)).allocatedBytes ?? 0
    await finished(await volumes().compact(ANN, disk.id))
    const after = await of(disk.id)
    expect(after.allocatedBytes).toBeLessThan(before - 8 * 2 ** 20)
    expect(after.images.map(({ id }) => id)).toEqual([image.id])
    expect(existsSync(file)).toBe(false)
    execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', headOf(disk.id).path, raw.path])
    await finished(await volumes().convert(ANN, disk.id, 'raw'))
    expect(await of(disk.id)).toMatchObject({ format: 'raw', images: [], layers: 1 })
    execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', headOf(disk.id).path, raw.path])
    if (isRoot) expect(statSync(headOf(disk.id).path).uid).toBe(headOf(disk.id).uid)
    // And its guest still starts from it.
    await now.engine.vms.start(ANN, vm.id)
    await until(
      () => Buffer.from(now.supervisor.serialHub(vm.id)?.history().head ?? []).toString(),
      (text) => text.includes('Gd!'),
    )
    await expect(volumes().convert(ANN, disk.id, 'qcow2')).rejects.toMatchObject({ code: 'in_use' })
  })

  it('moves to another pool with all that it holds, and never while a guest writes to it unseen', async () => {
    const { pool, path } = await makePool()
    const disk = await blank('mover')
    qemuIo(headOf(disk.id).path, 'qcow2', 'write -P 9 1M 2M')
    const old = headOf(disk.id).path
    const job = await finished(await volumes().move(ANN, disk.id, VolumeMove.parse({ poolId: pool.id })))
    expect(job).toMatchObject({ kind: 'volume-move', target: { type: 'volume', id: disk.id } })
    expect((await of(disk.id)).pool.id).toBe(pool.id)
    expect(headOf(disk.id).path.startsWith(path)).toBe(true)
    holds(headOf(disk.id).path, 'qcow2', 9, '1M 2M')
    expect(existsSync(old)).toBe(false)
    await expect(volumes().move(ANN, disk.id, VolumeMove.parse({ poolId: pool.id }))).rejects.toMatchObject({
      code: 'conflict',
    })
  })

  it('that others stand on is neither deleted nor written', async () => {
    const disk = await blank('base')
    await expect(volumes().grow(ANN, disk.id, 2)).resolves.toMatchObject({ sizeBytes: 2 * GIB })
    await expect(volumes().grow(ANN, disk.id, 1)).rejects.toMatchObject({ code: 'conflict', message: /smaller/ })
    expect(qemuIo(headOf(disk.id).path, 'qcow2', 'length')).toContain('2 GiB')
  })

  it('taken out of a VM is kept when asked, in the trash otherwise, and comes back with its content', async () => {
    const vm = await create(ANN, {
      name: 'v',
      memoryMiB: 32,
      networks: [],
      disks: [
        { device: 'disk', sizeGiB: 1 },
        { device: 'disk', sizeGiB: 1 },
      ],
    })
    const [a, b] = (await volumes().list(ANN)).items
    if (a === undefined || b === undefined) throw new Error('no disks')
    for (const one of [a, b]) qemuIo(headOf(one.id).path, 'qcow2', 'write -P 5 0 1M')
    await expect(volumes().delete(ANN, a.id)).rejects.toMatchObject({ code: 'in_use' })
    expect(await volumes().detach(ANN, a.id)).toMatchObject({ vm: null, trashedAt: null })
    if (isRoot) expect(statSync(headOf(a.id).path)).toMatchObject({ uid: 0, mode: 0o100600 })
    await update(ANN, vm.id, { disks: [] })
    expect(await of(b.id)).toMatchObject({ vm: null, trashedFrom: 'v', goesAt: expect.any(String) })
    await expect(volumes().attach(ANN, b.id, vm.id)).rejects.toMatchObject({ code: 'conflict' })
    await volumes().restore(ANN, b.id)
    await volumes().attach(ANN, b.id, vm.id)
    expect(await of(b.id)).toMatchObject({ vm: { id: vm.id, device: 'disk0' }, trashedFrom: null })
    holds(headOf(b.id).path, 'qcow2', 5, '0 1M')
    if (isRoot) expect(statSync(headOf(b.id).path).uid).toBe(headOf(b.id).uid)
    // Of somebody else's there is nothing to attach; and one disk goes to one VM.
    await expect(create(BEN, { name: 'thief', disks: [{ device: 'disk', volume: a.id }] })).rejects.toMatchObject({
      code: 'not_found',
    })
    await expect(create(ANN, { name: 'two', disks: [{ device: 'disk', volume: b.id }] })).rejects.toMatchObject({
      code: 'in_use',
      field: 'disks.0.volume',
    })
    // A VM that goes leaves its disks in the trash, out of its directory, also when the dashboard ends at once.
    await now.engine.vms.delete(ANN, vm.id, null)
    expect(existsSync(data.vmDir(vm.id))).toBe(false)
    await anotherRun(() => {})
    expect(await of(b.id)).toMatchObject({ vm: null, trashedFrom: 'v' })
    holds(headOf(b.id).path, 'qcow2', 5, '0 1M')
    const left = await volumes().emptyTrash(ANN)
    expect(left).toEqual({ removed: 1, kept: 0 })
  })
})

it('a disk grows while its guest runs, and at once when it is off', async () => {
  const vm = await create(ANN, {
    name: 'grow',
    memoryMiB: 32,
    networks: [],
    disks: [{ device: 'disk', id: 'a', sizeGiB: 1, throttle: LIMITS }],
  })
  const grown = await update(ANN, vm.id, { disks: [{ device: 'disk', id: 'a', sizeGiB: 2 }] })
  expect(grown.spec.disks[0]).toMatchObject({ sizeGiB: 2 })
  await now.engine.vms.start(ANN, vm.id)
  const after = await update(ANN, vm.id, { disks: [{ device: 'disk', id: 'a', sizeGiB: 3 }] })
  expect(after.pending).toEqual([])
  const sizes = await now.supervisor.work(vm.id, async (work) => JSON.stringify(await work.ask('query-block')))
  expect(sizes).toContain(`"virtual-size":${3 * GIB}`)
  const [disk] = (await volumes().list(ANN)).items
  expect(disk?.sizeBytes).toBe(3 * GIB)
  await expect(update(ANN, vm.id, { disks: [{ device: 'disk', id: 'a', sizeGiB: 2 }] })).rejects.toMatchObject({
    field: 'disks.0.sizeGiB',
  })
})

it('a disk that holds snapshots with memory gets no new file, which would lose them', async () => {
  const vm = await create(ANN, { name: 'inside', memoryMiB: 32, networks: [], disks: [{ device: 'disk', sizeGiB: 1 }] })
  const disk = (await volumes().list(ANN)).items.find((volume) => volume.vm?.id === vm.id)
  const id = disk?.id ?? ''
  const { pool } = await makePool()
  await finished(await now.engine.snapshots.create(ANN, vm.id, SnapshotInput.parse({ name: 'in', kind: 'memory' })))
  for (const refused of [
    volumes().convert(ANN, id, 'raw'),
    volumes().compact(ANN, id),
    volumes().move(ANN, id, VolumeMove.parse({ poolId: pool.id })),
  ])
    await expect(refused).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('snapshots') })
  const snapshot = (await now.engine.snapshots.list(ANN, vm.id)).items[0]?.id ?? ''
  await finished(await now.engine.snapshots.delete(ANN, vm.id, snapshot))
  await finished(await volumes().compact(ANN, id))
})
