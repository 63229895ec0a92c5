/** Snapshots of real guests, through the whole engine: what the guest itself says of its memory and disks afterwards. */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { ensureGuestKernel, KERNEL_COMMAND_LINE } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import { ADMIN, ANN, BEN, create, data, EYE, imageDir, now, until, update } from './test-rig.ts'

let directKernel: { kernel: string; initrd: string; commandLine: string }

beforeAll(async () => {
  const guest = await ensureGuestKernel('cloud')
  mkdirSync(imageDir, { recursive: true, mode: 0o755 })
  chmodSync(imageDir, 0o755)
  directKernel = {
    commandLine: KERNEL_COMMAND_LINE,
    kernel: join(imageDir, 'vmlinuz'),
    initrd: join(imageDir, 'initrd'),
  }
  for (const [from, to] of [
    [guest.vmlinuz, directKernel.kernel],
    [guest.initrd, directKernel.initrd],
  ] as const) {
    copyFileSync(from, to)
    chmodSync(to, 0o644)
  }
})

const snaps = () => now.engine.snapshots
const list = (id: string) => snaps().list(ADMIN, id)

/** The job's end. @throws Error with its message when it failed */
async function done(job: Job): Promise<string> {
  const last = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    90_000,
  )
  if (last.state !== 'done') throw new Error(`${last.state}: ${last.error?.message}`)
  return last.result ?? ''
}
const take = async (id: string, input: object = {}) => done(await snaps().create(ADMIN, id, SnapshotInput.parse(input)))
const goBack = async (id: string, snapshotId: string, input: object = {}) =>
  done(await snaps().revert(ADMIN, id, snapshotId, SnapshotRevertInput.parse(input)))
const drop = async (id: string, snapshotId: string) => done(await snaps().delete(ADMIN, id, snapshotId))

const make = (input: object = {}) =>
  create(ADMIN, {
    name: 'snap',
    directKernel,
    memoryMiB: 160,
    cpuModel: 'qemu64',
    display: 'none',
    disks: [{ device: 'disk', sizeGiB: 1 }],
    networks: [],
    ...input,
  })
async function shellOf(id: string): Promise<GuestShell> {
  const hub = now.supervisor.serialHub(id)
  if (hub === null) throw new Error('no serial line')
  return GuestShell.over(new HubLine(hub))
}
async function boot(input: object = {}): Promise<{ vm: Vm; shell: GuestShell }> {
  const made = await make(input)
  const vm = await now.engine.vms.start(ADMIN, made.id)
  return { vm, shell: await shellOf(made.id) }
}
const state = async (id: string) => (await now.engine.vms.view(ADMIN, id)).state
/** Of the part the tests write to: reading all of it would take a guest under emulation minutes. */
const sum = (shell: GuestShell, disk: string) => shell.output(`dd if=/dev/${disk} bs=64k count=64 2>/dev/null | md5sum`)
const fill = (shell: GuestShell, disk: string, seek: number) =>
  shell.output(`dd if=/dev/urandom of=/dev/${disk} bs=64k count=8 seek=$((${seek}*8)) conv=fsync 2>/dev/null`)
const layerFiles = () => (existsSync(data.layersDir) ? readdirSync(data.layersDir) : [])

describe('with memory', () => {
  test('a guest goes on counting from where it was, with the disks of that moment, in place and after its power was cut', async () => {
    const { vm, shell } = await boot({
      // With one it would go back in another QEMU.
      generationId: false,
      disks: [
        { device: 'disk', sizeGiB: 1 },
        { device: 'disk', sizeGiB: 1 },
      ],
    })
    const { id } = vm
    await shell.output('(n=0; while :; do n=$((n+1)); echo $n >/tmp/n; sleep 0.1; done) >/dev/null 2>&1 & sleep 1')
    await fill(shell, 'vda', 0)
    await fill(shell, 'vdb', 0)
    const sums = [await sum(shell, 'vda'), await sum(shell, 'vdb')]
    const first = await take(id, { name: 'first', note: 'before the change' })
    expect(await state(id)).toBe('running')
    const { items, current, kind, create: offers } = await list(id)
    expect(items[0]).toMatchObject({
      ...{ id: first, name: 'first', state: 'complete', kind: 'memory', runState: 'running', consistency: 'memory' },
      ...{ note: 'before the change', parent: null },
    })
    expect(items[0]?.memoryBytes).toBeGreaterThan(1e6)
    expect([current, kind]).toEqual([first, 'memory'])
    // The other kind is refused, with what to do.
    expect(offers.disk.reason).toMatch(/delete them first/)
    await expect(take(id, { kind: 'disk' })).rejects.toThrow(/delete them first/)
    await expect(take(id, { name: 'first' })).rejects.toThrow(/called first already/)

    const at = Number(await shell.output('cat /tmp/n'))
    await fill(shell, 'vda', 0)
    await fill(shell, 'vdb', 3)
    expect(await sum(shell, 'vda')).not.toBe(sums[0])
    await shell.output('sleep 3; echo marker >/tmp/marker')

    await goBack(id, first)
    expect(await state(id)).toBe('running')
    // Its line editor was in the middle of waiting then, as it is now.
    const again = await shellOf(id)
    const n = Number(await again.output('cat /tmp/n'))
    expect(n).toBeLessThan(at + 25)
    await again.until('cat /tmp/n', new RegExp(`^(?!${n}$)`))
    expect((await again.run('cat /tmp/marker')).status).not.toBe(0)
    // What the guest has cached is of then as well; the disk itself is asked.
    await again.output('echo 3 >/proc/sys/vm/drop_caches')
    expect([await sum(again, 'vda'), await sum(again, 'vdb')]).toEqual(sums)

    // A second one below it, and back to the first from a VM that is off.
    const second = await take(id)
    await now.engine.vms.poweroff(ADMIN, id)
    await goBack(id, first)
    expect(await state(id)).toBe('running')
    const third = await shellOf(id)
    expect(Number(await third.output('cat /tmp/n'))).toBeLessThan(at + 100)
    expect(await sum(third, 'vdb')).toBe(sums[1])
    const tree = await list(id)
    expect(tree.items.map(({ id: one, parent }) => [one, parent])).toEqual([
      [first, null],
      [second, first],
    ])
    expect(tree.current).toBe(first)

    await drop(id, first)
    expect((await list(id)).items.map(({ id: one, parent }) => [one, parent])).toEqual([[second, null]])
    await now.engine.vms.poweroff(ADMIN, id)
    await drop(id, second)
    expect(await list(id)).toMatchObject({ items: [], current: null, kind: null })
    const tags = execFileSync('qemu-img', ['snapshot', '-l', data.disk(id, 'disk0')], { encoding: 'utf8' })
    expect(tags).not.toContain('gd-')
  })

  test('is refused for a device QEMU cannot save, naming it, and nothing is left', async () => {
    const { vm } = await boot({
      disks: [
        { device: 'disk', sizeGiB: 1 },
        { device: 'disk', sizeGiB: 1, bus: 'nvme' },
      ],
    })
    await expect(take(vm.id, { kind: 'memory' })).rejects.toThrow(/NVMe disk “disk1”/)
    expect((await list(vm.id)).items).toEqual([])
    expect((await list(vm.id)).create.disk.allowed).toBe(true)
  })
})

describe('of disks alone', () => {
  test('layers keep every byte through snapshot, revert and merge, while the guest runs and while it is off', async () => {
    const { vm, shell } = await boot()
    const { id } = vm
    await fill(shell, 'vda', 0)
    const one = await sum(shell, 'vda')
    const first = await take(id, { kind: 'disk', name: 'one' })
    await fill(shell, 'vda', 1)
    const two = await sum(shell, 'vda')
    const second = await take(id, { name: 'two' })
    await fill(shell, 'vda', 2)
    const three = await sum(shell, 'vda')
    expect((await list(id)).items.map(({ kind, state: s, runState }) => [kind, s, runState])).toEqual([
      ['disk', 'complete', 'running'],
      ['disk', 'complete', 'running'],
    ])
    // What runs is told by what a start would open: three layers.
    const line = await now.engine.vms.commandLine(ADMIN, id, { of: 'running' })
    expect(line.options.filter(({ argv }) => argv.join().includes('"node-name":"disk0.2"'))).toHaveLength(1)
    const next = await now.engine.vms.commandLine(ADMIN, id, { of: 'next' })
    expect(next.options.filter(({ changed }) => changed)).toEqual([])

    // The one in the middle goes while the guest writes: below the top, and then the top itself.
    await shell.output(
      '(while :; do dd if=/dev/urandom of=/dev/vda bs=64k count=1 seek=9000; done) >/dev/null 2>&1 & echo',
    )
    await drop(id, first)
    await shell.output('killall sh dd 2>/dev/null; true').catch(() => {})
    await shell.output('dd if=/dev/zero of=/dev/vda bs=64k count=1 seek=9000 conv=fsync 2>/dev/null')
    expect(await sum(shell, 'vda')).toBe(three)
    await goBack(id, second, { start: true })
    const back = await shellOf(id)
    expect(await sum(back, 'vda')).toBe(two)
    await fill(back, 'vda', 2)
    const four = await sum(back, 'vda')
    await drop(id, second)
    expect(await sum(back, 'vda')).toBe(four)
    await fill(back, 'vda', 5)
    const five = await sum(back, 'vda')
    expect(layerFiles()).toEqual([])
    expect(one).not.toBe(two)

    // The next start finds the same, from files that need nobody's help to be read.
    await now.engine.vms.poweroff(ADMIN, id)
    const off = await take(id, { kind: 'disk', name: 'off' })
    expect((await list(id)).items[0]).toMatchObject({ runState: 'off', consistency: 'off' })
    await now.engine.vms.start(ADMIN, id)
    const later = await shellOf(id)
    expect(await sum(later, 'vda')).toBe(five)
    await fill(later, 'vda', 7)
    const seven = await sum(later, 'vda')
    await now.engine.vms.poweroff(ADMIN, id)
    await drop(id, off)
    expect(layerFiles()).toEqual([])
    await now.engine.vms.start(ADMIN, id)
    expect(await sum(await shellOf(id), 'vda')).toBe(seven)
  })

  test('a disk can be plugged out after one was taken, comes back with it, and one plugged in since stays as a volume', async () => {
    const { vm, shell } = await boot({
      disks: [
        { device: 'disk', sizeGiB: 1 },
        { device: 'disk', sizeGiB: 1 },
      ],
    })
    const { id } = vm
    await fill(shell, 'vdb', 0)
    const kept = await sum(shell, 'vdb')
    const both = await take(id, { kind: 'disk', name: 'both' })
    const [disk0] = vm.spec.disks
    await update(ADMIN, id, { disks: [disk0] })
    await until(
      async () => (await now.engine.vms.view(ADMIN, id)).pending.length,
      (pending) => pending === 0,
      60_000,
    )
    await shell.until('ls /sys/block | grep -c vdb', /^0$/)
    await update(ADMIN, id, { disks: [disk0, { device: 'disk', id: 'extra', sizeGiB: 1 }] })
    await goBack(id, both, { start: true })
    const back = await shellOf(id)
    expect(await sum(back, 'vdb')).toBe(kept)
    expect((await now.engine.vms.view(ADMIN, id)).spec.disks.map((disk) => disk.id)).toEqual(['disk0', 'disk1'])
    const free = now.store
      .list<{ name: string; vm: object | null; trashedAt: string | null }>('volume')
      .filter(({ value }) => value.vm === null && value.trashedAt === null)
    expect(free.map(({ value }) => value.name)).toEqual([expect.stringContaining('extra')])
  })
})

test('who may see a VM may look at its snapshots, who may not change it gets a reason, others get nothing', async () => {
  const vm = await create(ANN, { name: 'hers', disks: [{ device: 'disk', sizeGiB: 1 }] })
  await snaps().create(ANN, vm.id, SnapshotInput.parse({ kind: 'disk' }))
  await until(
    async () => (await list(vm.id)).items[0]?.state,
    (reached) => reached === 'complete',
  )
  const shown = await snaps().list(EYE, vm.id)
  expect(shown.create.disk).toEqual({ allowed: false, reason: 'You may look but not change.' })
  const [only] = shown.items
  if (only === undefined) throw new Error('none')
  await expect(snaps().delete(EYE, vm.id, only.id)).rejects.toMatchObject({ code: 'forbidden' })
  await expect(snaps().list(BEN, vm.id)).rejects.toMatchObject({ code: 'not_found' })
  await expect(snaps().delete(BEN, vm.id, only.id)).rejects.toMatchObject({ code: 'not_found' })
  const change = { name: 'nicer', note: '<b>note</b>' }
  expect(await snaps().update(ANN, vm.id, only.id, change, only.revision)).toMatchObject(change)
  await expect(snaps().update(ANN, vm.id, only.id, change, only.revision)).rejects.toMatchObject({
    code: 'stale_revision',
  })
})
