/**
 * The number by which a guest knows that it is a copy or went back in time (VM generation ID): a new one in each clone,
 * after each way back, and none without that. A real Linux says that it took note.
 */
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { ensureGuestKernel, KERNEL_COMMAND_LINE } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { BackupOptions } from '#lib/schema/backup.ts'
import { CloneInput } from '#lib/schema/clone.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import { ADMIN, anotherRun, create, imageDir, now, until, update } from './test-rig.ts'

let directKernel: { kernel: string; initrd: string; commandLine: string }
beforeAll(async () => {
  // The kernel for clouds has no driver for it.
  const guest = await ensureGuestKernel('generic')
  mkdirSync(imageDir, { recursive: true, mode: 0o755 })
  chmodSync(imageDir, 0o755)
  const [kernel, initrd] = [join(imageDir, 'vmlinuz'), join(imageDir, 'initrd')]
  directKernel = { kernel, initrd, commandLine: KERNEL_COMMAND_LINE }
  copyFileSync(guest.vmlinuz, kernel)
  copyFileSync(guest.initrd, initrd)
  for (const file of [kernel, initrd]) chmodSync(file, 0o644)
})

async function done(job: Job): Promise<string> {
  const last = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
  if (last.state !== 'done') throw new Error(`${last.state}: ${last.error?.message}`)
  return last.result ?? ''
}
const take = async (id: string, input: object) =>
  done(await now.engine.snapshots.create(ADMIN, id, SnapshotInput.parse(input)))
const goBack = async (id: string, snapshotId: string, input: object = {}) =>
  done(await now.engine.snapshots.revert(ADMIN, id, snapshotId, SnapshotRevertInput.parse(input)))
/** What the next start gives the guest; null: nothing. */
async function planned(id: string): Promise<string | null> {
  const { options } = await now.engine.vms.commandLine(ADMIN, id, { of: 'next' })
  const device = options.map(({ argv }) => argv[1] ?? '').find((value) => value.includes('"vmgenid"'))
  return device === undefined ? null : JSON.parse(device).guid
}
/** What QEMU gives it. */
const given = (id: string) =>
  now.supervisor.work(id, async (guest) => {
    const answer = await guest.ask('query-vm-generation-id')
    return (answer as { guid: string }).guid
  })
async function shellOf(id: string): Promise<GuestShell> {
  const hub = now.supervisor.serialHub(id)
  if (hub === null) throw new Error('no serial line')
  return GuestShell.over(new HubLine(hub), 180_000)
}
const small = { memoryMiB: 32, display: 'none', networks: [], disks: [{ device: 'disk', sizeGiB: 1 }] } as const

test('a generation ID is in the guest, and going back to a snapshot makes Linux draw new random numbers', async () => {
  const { id } = await create(ADMIN, {
    ...{ ...small, name: 'linux', memoryMiB: 192, directKernel, cpuModel: 'qemu64', firmware: 'bios' },
  })
  await now.engine.vms.start(ADMIN, id)
  const shell = await shellOf(id)
  const first = await given(id)
  expect(first).toBe(await planned(id))
  const REFILLED = 'crng reseeded due to virtual machine fork'
  expect(await shell.output('dmesg')).not.toContain(REFILLED)
  const snapshot = await take(id, { name: 'then', kind: 'memory' })
  expect(await given(id)).toBe(first)
  await goBack(id, snapshot)
  const second = await given(id)
  expect(second).not.toBe(first)
  const back = await shellOf(id)
  await back.until('dmesg', new RegExp(REFILLED))
  // Once more: neither the first nor the second.
  await goBack(id, snapshot)
  expect([first, second]).not.toContain(await given(id))
  await (await shellOf(id)).until('dmesg', new RegExp(REFILLED))
  await now.engine.vms.poweroff(ADMIN, id)
})

test('a clone, a restored VM and a VM that went back have generation IDs of their own; a start or a restart of the dashboard changes none', async () => {
  const { id } = await create(ADMIN, { ...small, name: 'source' })
  const seen = new Set([await planned(id)])
  /** @returns it, after looking that nobody had it before */
  const fresh = async (vmId: string) => {
    const guid = await planned(vmId)
    expect(guid).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    expect(seen).not.toContain(guid)
    seen.add(guid)
    return guid
  }
  const first = await planned(id)
  await now.engine.vms.start(ADMIN, id)
  expect(await given(id)).toBe(first)
  await now.engine.vms.poweroff(ADMIN, id)
  const clone = await done(
    await now.engine.clones.clone(ADMIN, id, CloneInput.parse({ name: 'clone', kind: 'linked' })),
  )
  await fresh(clone)

  const backup = await done(
    await now.engine.backups.create(ADMIN, id, BackupOptions.parse({ freeze: false, compression: 'none' })),
  )
  const restored = await done(await now.engine.backups.restore(ADMIN, backup, { as: 'new', name: 'restored' }))
  await fresh(restored)
  expect(await planned(id)).toBe(first)
  await done(await now.engine.backups.restore(ADMIN, backup, { as: 'in-place' }))
  await fresh(id)

  const snapshot = await take(id, { name: 'then', kind: 'disk' })
  await goBack(id, snapshot)
  const last = await fresh(id)
  await anotherRun(() => {})
  expect(await planned(id)).toBe(last)

  // Without the device there is nothing to tell.
  await update(ADMIN, id, { generationId: false })
  expect(await planned(id)).toBeNull()
})
