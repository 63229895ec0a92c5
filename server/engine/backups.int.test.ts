/** Backups of real guests: full and incremental under writes, over a restart, restored, merged, pruned. */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { ensureGuestKernel, KERNEL_COMMAND_LINE } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { BackupOptions } from '#lib/schema/backup.ts'
import type { Job } from '#lib/schema/job.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import { ADMIN, ANN, BEN, create, data, imageDir, now, runDir, until, upload } from './test-rig.ts'

const MIB = 2 ** 20
let directKernel: { kernel: string; initrd: string; commandLine: string }

beforeAll(async () => {
  const guest = await ensureGuestKernel('cloud')
  mkdirSync(imageDir, { recursive: true, mode: 0o755 })
  directKernel = {
    kernel: join(imageDir, 'vmlinuz'),
    initrd: join(imageDir, 'initrd'),
    commandLine: KERNEL_COMMAND_LINE,
  }
  for (const [from, to] of [
    [guest.vmlinuz, directKernel.kernel],
    [guest.initrd, directKernel.initrd],
  ] as const) {
    copyFileSync(from, to)
    chmodSync(to, 0o644)
  }
})

const backups = () => now.engine.backups
const options = (input: object = {}) => BackupOptions.parse({ freeze: false, ...input })

async function finish(job: Job): Promise<Job> {
  return await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
}
async function done(job: Job): Promise<string> {
  const ended = await finish(job)
  expect(ended).toMatchObject({ state: 'done' })
  return ended.result ?? ''
}
const backUp = async (vmId: string, input: object = {}) => {
  const id = await done(await backups().create(ADMIN, vmId, options(input)))
  return backups().view(ADMIN, id)
}

async function boot(id: string): Promise<GuestShell> {
  await now.engine.vms.start(ADMIN, id)
  const hub = now.supervisor.serialHub(id)
  if (hub === null) throw new Error('no serial line')
  return GuestShell.over(new HubLine(hub))
}
const off = (id: string) =>
  until(
    () => now.engine.vms.view(ADMIN, id),
    ({ state }) => state === 'off' || state === 'crashed',
    60_000,
  )

/** Random bytes at a place of the guest's disk. */
const write = (shell: GuestShell, atMiB: number, countMiB: number) =>
  shell.output(
    `dd if=/dev/urandom of=/dev/vda bs=1M seek=${atMiB} count=${countMiB} conv=notrunc,fsync 2>/dev/null; echo ok`,
  )
const sum = (shell: GuestShell, atMiB: number, countMiB: number) =>
  shell.output(`dd if=/dev/vda bs=1M skip=${atMiB} count=${countMiB} 2>/dev/null | md5sum | cut -c1-32`)

/** The first file of a VM's disk, read with everything below it. */
function compare(one: string, other: string): string {
  return execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', one, other], { encoding: 'utf8' })
}
const headOf = (vmId: string) => {
  const layer = now.store
    .list<{ vm: { id: string } | null; head: string }>('volume')
    .find(({ value }) => value.vm?.id === vmId)
  const file = now.store.get<{ file: string }>('layer', layer?.value.head ?? '')?.value.file ?? ''
  return join(data.root, file)
}

afterEach(async () => {
  for (const { id } of (await backups().list(ADMIN, {})).items.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1)))
    await done(await backups().delete(ADMIN, id, { dependents: 'refuse' }))
  expect((await backups().list(ADMIN, {})).items).toEqual([])
})

test('full and incremental backups of a running guest restore to the same bytes, also over a restart', async () => {
  const vm = await create(ADMIN, {
    name: 'kept',
    directKernel,
    memoryMiB: 192,
    cpuModel: 'qemu64',
    display: 'none',
    networks: [],
    disks: [{ device: 'disk', sizeGiB: 1 }],
  })
  let shell = await boot(vm.id)
  await write(shell, 10, 24)
  const first = await sum(shell, 10, 24)

  // Under writes elsewhere.
  await shell.output(
    '(i=0; while [ ! -e /stop ]; do dd if=/dev/urandom of=/dev/vda bs=64k seek=$((9600+i%64)) count=1 conv=notrunc,fsync 2>/dev/null; i=$((i+1)); done; touch /stopped) & echo',
  )
  const full = await backUp(vm.id)
  expect(full).toMatchObject({ kind: 'full', parent: null, running: true, problem: null, frozen: false })
  await shell.output('touch /stop; while [ ! -e /stopped ]; do sleep 0.1; done; echo ok')
  await backUp(vm.id)

  await write(shell, 100, 16)
  const second = await sum(shell, 100, 16)
  const one = await backUp(vm.id)
  expect(one.kind).toBe('incremental')
  expect(one.changedBytes).toBeGreaterThanOrEqual(16 * MIB)
  expect(one.changedBytes).toBeLessThanOrEqual(1.2 * 16 * MIB)

  // What changed is remembered while the guest is off.
  await now.engine.vms.shutdown(ADMIN, vm.id)
  await off(vm.id)
  shell = await boot(vm.id)
  await write(shell, 200, 4)
  // Zeros are a change as well.
  await shell.output('dd if=/dev/zero of=/dev/vda bs=1M seek=12 count=2 conv=notrunc,fsync 2>/dev/null; echo ok')
  const third = await sum(shell, 10, 24)
  expect(third).not.toBe(first)
  const two = await backUp(vm.id, { compression: 'none' })
  expect(two).toMatchObject({ kind: 'incremental', parent: one.id, compression: 'none' })
  await now.engine.vms.shutdown(ADMIN, vm.id)
  await off(vm.id)
  const offOne = await backUp(vm.id)
  expect(offOne).toMatchObject({ kind: 'incremental', parent: two.id, running: false })
  expect(offOne.changedBytes).toBeLessThanOrEqual(2 * MIB)

  // Plain qemu-img reads the chain by the names in the files.
  const dir = join(data.root, 'backups', vm.id, offOne.id)
  expect(compare(headOf(vm.id), join(dir, 'disk-disk0.qcow2'))).toContain('identical')

  // As a new VM, with addresses of its own; and at an earlier point.
  const copyId = await done(await backups().restore(ADMIN, offOne.id, { as: 'new', name: 'copy' }))
  expect(compare(headOf(vm.id), headOf(copyId))).toContain('identical')
  const copy = await boot(copyId)
  expect(await sum(copy, 10, 24)).toBe(third)
  expect(await sum(copy, 100, 16)).toBe(second)
  await now.engine.vms.poweroff(ADMIN, copyId)

  // In place, at the first point, while what was there stays until the new is whole.
  await expect(
    backups()
      .restore(ADMIN, full.id, { as: 'in-place' })
      .then(() => now.engine.vms.start(ADMIN, vm.id)),
  ).rejects.toMatchObject({ code: 'vm_busy' })
  await until(
    () => now.engine.jobs.list(ADMIN),
    ({ items }) => items.every(({ endedAt }) => endedAt !== null),
    120_000,
  )
  shell = await boot(vm.id)
  expect(await sum(shell, 10, 24)).toBe(first)
  await now.engine.vms.poweroff(ADMIN, vm.id)
  await off(vm.id)
  const afterRestore = await backUp(vm.id)
  expect(afterRestore.kind).toBe('full')

  // One in the middle is merged into what stands on it, which then still holds the same bytes.
  await expect(backups().delete(ADMIN, one.id, { dependents: 'refuse' })).rejects.toMatchObject({ code: 'in_use' })
  await done(await backups().delete(ADMIN, one.id, { dependents: 'merge' }))
  const merged = await backups().view(ADMIN, two.id)
  expect(merged).toMatchObject({ problem: null, kind: 'incremental' })
  await done(await backups().verify(ADMIN, offOne.id, { boot: false, waitSeconds: 5 }))
  expect(compare(headOf(copyId), join(dir, 'disk-disk0.qcow2'))).toContain('identical')
  await done(await backups().delete(ADMIN, full.id, { dependents: 'merge' }))
  expect(compare(headOf(copyId), join(dir, 'disk-disk0.qcow2'))).toContain('identical')
  expect(existsSync(join(runDir, full.id))).toBe(false)
  expect(readdirSync(join(data.root, 'backups', vm.id)).some((name) => /\.(part|gone)$/.test(name))).toBe(false)
}, 300_000)
void upload
void ANN
void BEN
