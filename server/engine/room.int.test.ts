/** A pool that runs full under a real guest that writes: told before, paused, explained, gone on, and not a byte lost. */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ensureGuestKernel, KERNEL_COMMAND_LINE } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { SnapshotInput } from '#lib/schema/snapshot.ts'
import { PoolInput } from '#lib/schema/storage.ts'
import { openFiles, setThreshold } from '#server/vm/block/write-threshold.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import {
  ADMIN,
  anotherRun,
  BEN,
  create,
  EYE,
  imageDir,
  isRoot,
  now,
  options,
  poolRoot,
  until,
  update,
} from './test-rig.ts'

const MiB = 2 ** 20
const root = join(poolRoot, 'small')
// What is told is told because a bell rang, not because somebody happened to look.
options.poolTimes = { everyMs: 3_600_000 }

let directKernel: { kernel: string; initrd: string; commandLine: string }

beforeAll(async () => {
  const guest = await ensureGuestKernel('cloud')
  mkdirSync(imageDir, { recursive: true, mode: 0o755 })
  chmodSync(imageDir, 0o755)
  const [kernel, initrd] = [join(imageDir, 'vmlinuz'), join(imageDir, 'initrd')]
  directKernel = { commandLine: KERNEL_COMMAND_LINE, kernel, initrd }
  for (const [from, to] of [
    [guest.vmlinuz, kernel],
    [guest.initrd, initrd],
  ] as const) {
    copyFileSync(from, to)
    chmodSync(to, 0o644)
  }
  if (!isRoot) return
  mkdirSync(root)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=0755', 'tmpfs', root])
})
afterAll(() => {
  if (isRoot) execFileSync('umount', ['-l', root])
})

const enlarge = (mib: number) => execFileSync('mount', ['-o', `remount,size=${mib}m`, root])
const view = (id: string) => now.engine.vms.view(ADMIN, id)
const needs = async (who = ADMIN) => (await now.engine.pools.needs(who)).items
const shellOf = (id: string): Promise<GuestShell> => {
  const hub = now.supervisor.serialHub(id)
  if (hub === null) throw new Error('no serial line')
  return GuestShell.over(new HubLine(hub))
}
const waitFor = (id: string, state: string) =>
  until(
    () => view(id),
    (vm) => vm.state === state && (state !== 'paused' || vm.diskPause !== undefined),
    120_000,
  )

/** The largest file a process may write, set as its own user: not everybody who is root may do it for others. */
function limitFiles(pid: number, bytes: number | 'unlimited'): void {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const [uid = '', gid = ''] = ['Uid', 'Gid'].map(
    (key) => new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? '',
  )
  const as = ['--reuid', uid, '--regid', gid, '--clear-groups']
  execFileSync('setpriv', [...as, 'prlimit', '--pid', String(pid), `--fsize=${bytes}:`])
}

/** Files that are written, by device, and the bell on each. */
async function bells(id: string): Promise<Record<string, number>> {
  const volumes = (await now.engine.volumes.list(ADMIN)).items.filter(({ vm }) => vm?.id === id)
  const open = await now.supervisor.work(id, openFiles)
  const found: Record<string, number> = {}
  for (const volume of volumes) {
    const { head } = now.store.get<{ head: string }>('volume', volume.id)?.value ?? { head: '' }
    const { file } = now.store.get<{ file: string }>('layer', head)?.value ?? { file: '' }
    found[volume.vm?.device ?? ''] = open.get(join(root, file))?.threshold ?? -1
  }
  return found
}
const ring = (id: string, devices: readonly string[]) =>
  until(
    () => bells(id),
    (found) => devices.every((device) => (found[device] ?? 0) > 0) && Object.keys(found).length === devices.length,
  )

test.skipIf(!isRoot)(
  'a pool that runs full warns before, pauses its guest, and the guest goes on when there is room, nothing lost (F24, F25)',
  async () => {
    const pool = await now.engine.pools.create(ADMIN, PoolInput.parse({ name: 'small', path: root, reserveBytes: 0 }))
    const made = await create(ADMIN, {
      name: 'writer',
      directKernel,
      memoryMiB: 192,
      cpuModel: 'qemu64',
      display: 'none',
      networks: [],
      disks: [{ device: 'disk', id: 'a', sizeGiB: 1, pool: pool.id, detectZeroes: 'off' }],
    })
    const { id } = made
    await now.engine.vms.start(ADMIN, id)
    let shell = await shellOf(id)

    // A bell hangs on each file that is written: of the first disk, of one plugged in, of layers put on top of both.
    await ring(id, ['a'])
    const { spec } = await view(id)
    await update(ADMIN, id, { disks: [...spec.disks, { device: 'disk', id: 'b', sizeGiB: 1, pool: pool.id }] })
    await ring(id, ['a', 'b'])
    const job = await now.engine.snapshots.create(ADMIN, id, SnapshotInput.parse({ name: 's', kind: 'disk' }))
    await until(
      () => now.engine.jobs.view(ADMIN, job.id),
      ({ state }) => state === 'done',
      60_000,
    )
    await ring(id, ['a', 'b'])
    // And again after the dashboard was away.
    await now.supervisor.work(id, async (work) => {
      for (const { node } of (await openFiles(work)).values()) await setThreshold(work, node, 0)
    })
    await anotherRun(() => {})
    await ring(id, ['a', 'b'])
    expect(await needs()).toEqual([])

    // The guest writes nearly all there is: told to those who see the guest, and to nobody else.
    shell = await shellOf(id)
    await shell.output('head -c 1048576 /dev/urandom >/tmp/r; md5sum </tmp/r')
    const write = (disk: string, mib: number, seek: number) =>
      `(for i in $(seq ${mib}); do cat /tmp/r; done) | dd of=/dev/${disk} bs=1M seek=${seek} conv=fsync iflag=fullblock 2>/dev/null`
    await shell.run(write('vda', 49, 0), 120_000)
    const [told] = await until(
      () => needs(EYE),
      (found) => found.some(({ kind }) => kind === 'room'),
      60_000,
    )
    expect(told).toMatchObject({ title: expect.stringMatching(/^writer: disk [ab]/), poolId: pool.id, vmId: id })
    expect(told?.detail).toMatch(/filling: \d+ MiB are free/)
    expect(await needs(BEN)).toEqual([])
    expect((await view(id)).state).toBe('running')

    // More than there is.
    await shell.output(`(${write('vdb', 40, 0)}; echo $? >/tmp/done) >/dev/null 2>&1 &`)
    const paused = await waitFor(id, 'paused')
    expect(paused.stateDetail).toMatch(
      /“[ab]” cannot be written: the storage pool small is full .* once 16 MiB are free/,
    )
    expect(paused.diskPause).toMatchObject({
      ...{ resumesItself: true, heldBy: null },
      disks: [{ cause: 'room', pool: { id: pool.id, name: 'small' }, neededBytes: 16 * MiB }],
    })
    expect((await needs(EYE)).map(({ kind }) => kind)).toContain('paused')
    // Going on without room stops it again.
    await now.engine.vms.resume(ADMIN, id)
    await waitFor(id, 'paused')

    // Somebody wants it to stay so: it does, also when there is room, and whichever dashboard looks.
    expect((await view(id)).actions.pause?.allowed).toBe(true)
    expect((await now.engine.vms.pause(ADMIN, id)).diskPause).toMatchObject({ resumesItself: false, heldBy: 'ada' })
    await anotherRun(() => enlarge(128))
    expect((await waitFor(id, 'paused')).diskPause).toMatchObject({ heldBy: 'ada', disks: [{ cause: 'room' }] })
    expect((await now.engine.pools.check(ADMIN, pool.id)).capacity?.freeBytes).toBeGreaterThan(60 * MiB)
    expect((await view(id)).diskPause?.heldBy).toBe('ada')
    await now.engine.vms.resume(ADMIN, id)
    shell = await shellOf(id)
    await shell.until('cat /tmp/done', /^0$/, 120_000)
    expect((await view(id)).diskPause).toBeUndefined()

    // Full again; with room it goes on by itself.
    await shell.output(`rm /tmp/done; (${write('vda', 60, 49)}; echo $? >/tmp/done) >/dev/null 2>&1 &`)
    await waitFor(id, 'paused')
    enlarge(256)
    await waitFor(id, 'running')
    await until(
      async () => (await now.engine.activity(ADMIN, { limit: 100 })).items.map(({ text }) => text),
      (lines) => lines.some((text) => /^writer: went on by itself: \d+ MiB are free/.test(text)),
    )
    await shell.until('cat /tmp/done', /^0$/, 120_000)

    // A file that must not grow, although there is room: the guest waits as well, for a person.
    const { pid } = (await view(id)).live ?? { pid: 0 }
    const { items } = await now.engine.volumes.list(ADMIN)
    const head = now.store.get<{ head: string }>('volume', items.find(({ vm }) => vm?.device === 'b')?.id ?? '')?.value
      .head
    const file = now.store.get<{ file: string }>('layer', head ?? '')?.value.file ?? ''
    limitFiles(pid, statSync(join(root, file)).size + 2 * MiB)
    await shell.output(`rm /tmp/done; (${write('vdb', 8, 40)}; echo $? >/tmp/done) >/dev/null 2>&1 &`)
    const limited = await waitFor(id, 'paused')
    expect(limited.diskPause).toMatchObject({ resumesItself: false, disks: [{ device: 'b', cause: 'limit' }] })
    limitFiles(pid, 'unlimited')
    await now.engine.vms.resume(ADMIN, id)
    await shell.until('cat /tmp/done', /^0$/, 120_000)

    // What the guest wrote is what it reads, from the disks and not from its memory.
    await shell.output('echo 3 >/proc/sys/vm/drop_caches')
    const sum = (command: string) => shell.output(`${command} | md5sum`)
    const times = (n: number) => sum(`(for i in $(seq ${n}); do cat /tmp/r; done)`)
    expect(await sum('dd if=/dev/vda bs=1M count=109 2>/dev/null')).toBe(await times(109))
    expect(await sum('dd if=/dev/vdb bs=1M count=48 2>/dev/null')).toBe(await times(48))
    // A guest that a person paused is nobody else's to resume.
    expect((await now.engine.vms.pause(ADMIN, id)).diskPause).toBeUndefined()
    await now.engine.pools.check(ADMIN, pool.id)
    expect(await view(id)).toMatchObject({ state: 'paused', runState: 'paused' })
    await now.engine.vms.poweroff(ADMIN, id)
    execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', join(root, file)])
  },
  400_000,
)
