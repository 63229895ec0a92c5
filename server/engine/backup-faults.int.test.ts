/** Backups that go wrong: cancelled, out of space, tampered with, brought by somebody else, asked for by others. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { BackupOptions } from '#lib/schema/backup.ts'
import type { Job } from '#lib/schema/job.ts'
import { PoolInput } from '#lib/schema/storage.ts'
import { ADMIN, ANN, BEN, bootDisk, create, data, EYE, isRoot, now, poolRoot, until, upload } from './test-rig.ts'

const options = (input: object = {}) => BackupOptions.parse({ freeze: false, ...input })
const backups = () => now.engine.backups
const ended = (job: Job) =>
  until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
const done = async (job: Job): Promise<string> => {
  const end = await ended(job)
  expect(end).toMatchObject({ state: 'done' })
  return end.result ?? ''
}
const backUp = async (vmId: string, input: object = {}) => {
  const id = await done(await backups().create(ADMIN, vmId, options(input)))
  return backups().view(ADMIN, id)
}
const dirOf = (vmId: string, id = '') => join(data.root, 'backups', vmId, id)
/** 16 MiB of pattern at a place, while the guest is off. */
const dirty = (vmId: string, pattern: number, atMiB: number) =>
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} ${atMiB}M 16M`, data.disk(vmId, 'disk0')])

const vmOf = (name: string, extra: object = {}) =>
  create(ANN, { name, memoryMiB: 32, networks: [], disks: [{ device: 'disk', sizeGiB: 1 }], ...extra })

afterEach(async () => {
  for (const { id } of (await backups().list(ADMIN, {})).items)
    await done(await backups().delete(ADMIN, id, { dependents: 'refuse' }))
  rmSync(join(data.root, 'backups'), { recursive: true, force: true })
})

test('a backup that is cancelled leaves nothing, and the next one has all that changed', async () => {
  const vm = await vmOf('cut')
  dirty(vm.id, 1, 0)
  const full = await backUp(vm.id)
  dirty(vm.id, 2, 64)
  const job = await backups().create(ADMIN, vm.id, options({ limitMiBps: 1, compression: 'none' }))
  await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ doneBytes }) => (doneBytes ?? 0) > 0,
    60_000,
  )
  await now.engine.jobs.cancel(ADMIN, job.id)
  expect(await ended(job)).toMatchObject({ state: 'cancelled' })
  expect(readdirSync(dirOf(vm.id))).toEqual([full.id])

  const next = await backUp(vm.id)
  expect(next).toMatchObject({ kind: 'incremental', parent: full.id, changedBytes: 16 * 2 ** 20 })
  expect(
    execFileSync('qemu-img', ['compare', data.disk(vm.id, 'disk0'), join(dirOf(vm.id, next.id), 'disk-disk0.qcow2')], {
      encoding: 'utf8',
    }),
  ).toContain('identical')
  expect(next.left).toEqual([])
})

test.skipIf(!isRoot)(
  'a pool that runs full in the middle of a backup: no space, nothing left of it (F27)',
  async () => {
    const root = join(poolRoot, 'narrow')
    mkdirSync(root)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m,mode=0755', 'tmpfs', root])
    try {
      const pool = await now.engine.pools.create(
        ADMIN,
        PoolInput.parse({ name: 'narrow', path: root, reserveBytes: 0 }),
      )
      const vm = await vmOf('wide')
      dirty(vm.id, 1, 0)
      dirty(vm.id, 2, 32)
      const before = execFileSync('sha256sum', [data.disk(vm.id, 'disk0')], { encoding: 'utf8' })
      // Slowly, so that there is a middle.
      const slow = options({ pool: pool.id, limitMiBps: 4, compression: 'none' })
      const job = await backups().create(ADMIN, vm.id, slow)
      await until(
        () => now.engine.jobs.view(ADMIN, job.id),
        ({ doneBytes }) => (doneBytes ?? 0) > 0,
        60_000,
      )
      execFileSync('sh', ['-c', 'cat /dev/zero >"$1" 2>/dev/null || true', 'sh', join(root, 'ballast')])
      expect(await ended(job)).toMatchObject({ state: 'failed', error: { code: 'no_space' } })
      expect(readdirSync(join(root, 'backups', vm.id))).toEqual([])
      expect((await backups().list(ADMIN, {})).items).toEqual([])
      expect(execFileSync('sha256sum', [data.disk(vm.id, 'disk0')], { encoding: 'utf8' })).toBe(before)

      rmSync(join(root, 'ballast'))
      const whole = await backUp(vm.id, { pool: pool.id, compression: 'none' })
      expect(whole).toMatchObject({ kind: 'full' })
      await done(await backups().delete(ADMIN, whole.id, { dependents: 'refuse' }))
      await now.engine.pools.delete(ADMIN, pool.id)
    } finally {
      execFileSync('umount', ['-l', root])
    }
  },
)

test('a file that was changed since is found by the check, and never restored over what there is', async () => {
  const vm = await vmOf('proof')
  dirty(vm.id, 3, 0)
  const backup = await backUp(vm.id, { compression: 'none' })
  await done(await backups().verify(ADMIN, backup.id, { boot: false, waitSeconds: 2 }))
  expect(await backups().view(ADMIN, backup.id)).toMatchObject({ verified: { ok: true, booted: false } })
  const file = join(dirOf(vm.id, backup.id), 'disk-disk0.qcow2')
  const bytes = readFileSync(file)
  bytes.writeUInt8((bytes[bytes.length - 5] ?? 0) ^ 1, bytes.length - 5)
  writeFileSync(file, bytes)
  expect(await ended(await backups().verify(ADMIN, backup.id, { boot: false, waitSeconds: 2 }))).toMatchObject({
    state: 'failed',
    error: { code: 'checksum_mismatch' },
  })
  expect(await backups().view(ADMIN, backup.id)).toMatchObject({ verified: { ok: false } })

  // Cut off: seen without reading it.
  writeFileSync(file, bytes.subarray(0, 1000))
  const before = readFileSync(data.disk(vm.id, 'disk0'))
  await now.engine.backups.list(ADMIN, {})
  await until(
    () => backups().list(ADMIN, {}),
    ({ items }) => items[0]?.problem !== null,
    20_000,
  )
  await expect(backups().restore(ADMIN, backup.id, { as: 'in-place' })).rejects.toMatchObject({ code: 'image_refused' })
  expect(readFileSync(data.disk(vm.id, 'disk0')).equals(before)).toBe(true)
})

test('other people neither see, restore, check nor delete somebody’s backups; a viewer only looks', async () => {
  const vm = await vmOf('mine')
  const backup = await backUp(vm.id)
  expect((await backups().list(ANN, {})).items.map(({ id }) => id)).toEqual([backup.id])
  expect((await backups().list(EYE, {})).items).toHaveLength(1)
  expect((await backups().list(BEN, {})).items).toEqual([])
  const nothing = { code: 'not_found' }
  await expect(backups().list(BEN, { vm: vm.id })).rejects.toMatchObject(nothing)
  await expect(backups().create(BEN, vm.id, options())).rejects.toMatchObject(nothing)
  await expect(backups().view(BEN, backup.id)).rejects.toMatchObject(nothing)
  await expect(backups().update(BEN, backup.id, { keep: true })).rejects.toMatchObject(nothing)
  await expect(backups().delete(BEN, backup.id, { dependents: 'merge' })).rejects.toMatchObject(nothing)
  await expect(backups().restore(BEN, backup.id, { as: 'new', name: 'stolen' })).rejects.toMatchObject(nothing)
  await expect(backups().verify(BEN, backup.id, { boot: false, waitSeconds: 2 })).rejects.toMatchObject(nothing)
  await expect(backups().screenshot(BEN, backup.id)).rejects.toMatchObject(nothing)
  // A backup of a VM that has gone stays its owner's.
  await now.engine.vms.delete(ANN, vm.id, null)
  await expect(backups().view(BEN, backup.id)).rejects.toMatchObject(nothing)
  const back = await done(await backups().restore(ANN, backup.id, { as: 'new', name: 'back' }))
  expect(await now.engine.vms.view(ANN, back)).toMatchObject({ name: 'back' })
  await now.engine.vms.delete(ANN, back, null)
})

test('folders that somebody else made open nothing but their own files', async () => {
  const canary = join(data.root, 'canary')
  writeFileSync(canary, 'secret of the host')
  let connections = 0
  const listener = createServer(() => {
    connections += 1
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address = listener.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const vm = await vmOf('bait')
  const good = await backUp(vm.id, { compression: 'none' })
  const from = dirOf(vm.id, good.id)
  const ids = Array.from({ length: 7 }, (_, n) => `01890000-0000-7000-8000-00000000bad${n}`)
  const forge = (n: number, change: (manifest: Record<string, unknown>, dir: string) => void) => {
    const id = ids[n] ?? ''
    const dir = dirOf(vm.id, id)
    cpSync(from, dir, { recursive: true })
    const manifest = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8'))
    manifest.id = id
    change(manifest, dir)
    writeFileSync(join(dir, 'manifest.json'), JSON.stringify(manifest))
  }
  const disk = (dir: string) => join(dir, 'disk-disk0.qcow2')
  const header = (dir: string, args: string[]) => execFileSync('qemu-img', [...args, disk(dir)])
  const sizes = (manifest: Record<string, unknown>, dir: string) => {
    // Only the size is looked at beforehand.
    const [one] = manifest.disks as { sizeBytes: number }[]
    if (one) one.sizeBytes = readFileSync(disk(dir)).length
  }
  // Backing files: of the host, and over the network. Never followed: what is restored reads as zeros there.
  forge(0, (manifest, dir) => {
    header(dir, ['rebase', '-u', '-f', 'qcow2', '-b', canary, '-F', 'raw'])
    sizes(manifest, dir)
  })
  forge(1, (manifest, dir) => {
    header(dir, ['rebase', '-u', '-f', 'qcow2', '-b', `nbd://127.0.0.1:${port}/x`, '-F', 'raw'])
    sizes(manifest, dir)
  })
  // Data in another file: refused.
  forge(2, (manifest, dir) => {
    const bytes = readFileSync(disk(dir))
    bytes.writeBigUInt64BE(bytes.readBigUInt64BE(72) | 4n, 72)
    writeFileSync(disk(dir), bytes)
    sizes(manifest, dir)
  })
  // A link in the place of a disk, and a name that leads out.
  forge(3, (_, dir) => {
    rmSync(disk(dir))
    symlinkSync(canary, disk(dir))
  })
  forge(4, (manifest) => {
    const [one] = manifest.disks as { file: string }[]
    if (one) one.file = '../../../canary'
  })
  // Not qcow2 at all.
  forge(5, (_, dir) => writeFileSync(disk(dir), Buffer.alloc(readFileSync(disk(dir)).length, 'x')))
  // Fewer disks in the manifest than in the definition.
  forge(6, (manifest) => {
    manifest.disks = []
  })
  symlinkSync(data.root, join(data.root, 'backups', '01890000-0000-7000-8000-00000000feed'))
  mkdirSync(join(data.root, 'backups', 'not-a-vm'))

  const listed = await until(
    () => backups().list(ADMIN, {}),
    ({ items }) => items.length >= 7,
    30_000,
  )
  expect(listed.broken.map(({ folder }) => folder).sort()).toEqual([`${vm.id}/${ids[4]}`, 'not-a-vm'].sort())
  const problems = new Map(listed.items.map(({ id, problem }) => [id as string, problem]))
  expect(problems.get(ids[3] ?? '')).toMatch(/not a plain file/)

  const restored: string[] = []
  for (const n of [0, 1, 2, 5]) {
    const job = await ended(await backups().restore(ADMIN, ids[n] ?? '', { as: 'new', name: `forged${n}` }))
    if (job.state === 'done') restored.push(job.result ?? '')
    else expect(job).toMatchObject({ state: 'failed', error: { code: 'image_refused' } })
  }
  // Those with a name of a backing file are whole without it.
  expect(restored).toHaveLength(2)
  for (const id of restored) {
    const layer = now.store
      .list<{ vm: { id: string } | null; head: string }>('volume')
      .find(({ value }) => value.vm?.id === id)
    const file = now.store.get<{ file: string }>('layer', layer?.value.head ?? '')?.value.file ?? ''
    expect(readFileSync(join(data.root, file)).includes('secret of the host')).toBe(false)
    await now.engine.vms.delete(ADMIN, id, null)
  }
  expect((await now.engine.vms.list(ADMIN)).items.map(({ name }) => name)).toEqual(['bait'])
  expect(connections).toBe(0)
  expect(readFileSync(canary, 'utf8')).toBe('secret of the host')
  listener.close()
  rmSync(canary)
  for (const id of ids) rmSync(dirOf(vm.id, id), { recursive: true, force: true })
  await until(
    () => backups().list(ADMIN, {}),
    ({ items }) => items.length === 1,
    30_000,
  )
})

test('a backup is started in isolation, its screen is kept with it, and nothing of the try remains', async () => {
  const image = await upload(ADMIN, bootDisk())
  const vm = await create(ADMIN, {
    name: 'shown',
    memoryMiB: 32,
    guest: 'other',
    disks: [{ device: 'disk', image: image.id, sizeGiB: 1, bus: 'sata', bootIndex: 1 }],
  })
  const backup = await backUp(vm.id)
  const before = readFileSync(join(dirOf(vm.id, backup.id), 'disk-disk0.qcow2'))
  await done(await backups().verify(ADMIN, backup.id, { boot: true, waitSeconds: 20 }))
  const seen = await backups().view(ADMIN, backup.id)
  expect(seen.verified).toMatchObject({ ok: true, booted: true })
  const png = await backups().screenshot(ADMIN, backup.id)
  expect(png.subarray(1, 4).toString()).toBe('PNG')
  // The firmware's words: a blank screen of this size packs to a few hundred bytes.
  expect(png.length).toBeGreaterThan(1000)
  expect(existsSync(data.proof(backup.id))).toBe(false)
  expect(readFileSync(join(dirOf(vm.id, backup.id), 'disk-disk0.qcow2')).equals(before)).toBe(true)
  expect((await now.engine.vms.list(ADMIN)).items).toHaveLength(1)
})

test('a schedule backs up, keeps what its retention says and what that stands on, and tells when it fails', async () => {
  const vm = await vmOf('nightly')
  const schedule = await backups().createSchedule(ANN, vm.id, {
    cron: '0 2 * * *',
    timeZone: 'UTC',
    retention: { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 },
    options: options(),
    paused: false,
  })
  now.store.put('user', ANN.userId, { id: ANN.userId, name: ANN.name, role: ANN.role })
  const lastRun = async () => (await backups().schedules(ANN, {})).items[0]?.lastRun ?? null
  const runs = async () => {
    const before = await lastRun()
    await backups().runSchedule(ANN, schedule.id)
    return until(lastRun, (run) => run !== null && run.endedAt !== null && run.startedAt !== before?.startedAt, 60_000)
  }
  expect(await runs()).toMatchObject({ result: 'ok' })
  dirty(vm.id, 1, 0)
  expect(await runs()).toMatchObject({ result: 'ok' })
  const forecast = await backups().forecast(ANN, schedule.id)
  expect(forecast.items.map(({ keep, why }) => [keep, why])).toEqual([
    [true, ['last']],
    [true, ['needed']],
  ])
  const mine = await backUp(vm.id, { mode: 'full' })
  await expect(backups().forecast(BEN, schedule.id)).rejects.toMatchObject({ code: 'not_found' })
  expect((await backups().list(ANN, {})).concerns).toEqual([])
  // In the name of a person who has gone, nothing is done any more.
  now.store.delete('user', ANN.userId)
  expect(await runs()).toMatchObject({ result: 'failed' })
  expect((await backups().list(ANN, {})).concerns).toMatchObject([{ kind: 'failed' }])
  now.store.put('user', ANN.userId, { id: ANN.userId, name: ANN.name, role: ANN.role })
  await backups().deleteSchedule(ANN, schedule.id, null)
  expect((await backups().view(ANN, mine.id)).id).toBe(mine.id)
})
