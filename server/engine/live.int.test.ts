/** What can change on a running guest changes at once: a real guest says what it has, after each change of its definition. */
import { chmodSync, copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { ensureDeviceGuest } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import { ADMIN, create, data, imageDir, now, until, update } from './test-rig.ts'

let directKernel: { kernel: string; initrd: string; commandLine: string }

beforeAll(async () => {
  const guest = await ensureDeviceGuest()
  mkdirSync(imageDir, { recursive: true, mode: 0o755 })
  chmodSync(imageDir, 0o755)
  directKernel = { ...guest, kernel: join(imageDir, 'vmlinuz'), initrd: join(imageDir, 'initrd') }
  for (const [from, to] of [
    [guest.kernel, directKernel.kernel],
    [guest.initrd, directKernel.initrd],
  ] as const) {
    copyFileSync(from, to)
    chmodSync(to, 0o644)
  }
})

const view = (id: string) => now.engine.vms.view(ADMIN, id)

async function boot(input: object): Promise<{ vm: Vm; shell: GuestShell }> {
  const made = await create(ADMIN, { name: 'live', directKernel, memoryMiB: 384, display: 'none', ...input })
  const vm = await now.engine.vms.start(ADMIN, made.id)
  const hub = now.supervisor.serialHub(vm.id)
  if (hub === null) throw new Error('no serial line')
  return { vm, shell: await GuestShell.over(new HubLine(hub)) }
}

const file = (vm: Vm, disk: string) => data.disk(vm.id, disk)

test('a running guest takes and gives back devices as its definition changes, and says so itself', async () => {
  const { vm, shell } = await boot({
    cpus: 1,
    maxCpus: 2,
    memoryMaxMiB: 2048,
    virtioMem: { sizeMiB: 512, requestedMiB: 0 },
    disks: [{ device: 'disk', sizeGiB: 1 }],
  })
  const { id } = vm
  expect(vm.pending).toEqual([])

  // A disk and a card more.
  const [first] = vm.spec.disks
  const [card] = vm.spec.networks
  let changed = await update(ADMIN, id, {
    disks: [first, { device: 'disk', sizeGiB: 2 }],
    networks: [card, { forwards: [{ protocol: 'tcp', hostPort: 28_671, guestPort: 22 }] }],
  })
  expect(changed.pending).toEqual([])
  await shell.until('cat /sys/block/vdb/size', /^4194304$/)
  await shell.until('ip -o link', /52:54:00.*52:54:00/s)
  expect(existsSync(file(vm, 'disk1'))).toBe(true)
  expect(now.supervisor.runtime(id).launchedPlan?.options.some((o) => o.group === 'disk1')).toBe(true)

  // And back.
  changed = await update(ADMIN, id, { disks: [first], networks: [card] })
  expect(changed.pending).toEqual([])
  await shell.until('ls /sys/block', /^(?![^]*vdb)/)
  await until(
    () => existsSync(file(vm, 'disk1')),
    (there) => !there,
  )

  // CPUs, memory.
  const memoryMiB = async () => Number(await shell.output("awk '/MemTotal/{print int($2/1024)}' /proc/meminfo"))
  const before = await memoryMiB()
  changed = await update(ADMIN, id, {
    cpus: 2,
    dimms: [{ sizeMiB: 256 }],
    virtioMem: { sizeMiB: 512, requestedMiB: 256 },
  })
  expect(changed.pending).toEqual([])
  await shell.until('cat /sys/devices/system/cpu/online', /^0-1$/)
  const grown = await until(memoryMiB, (mib) => mib >= before + 500)
  changed = await update(ADMIN, id, { dimms: [], virtioMem: { sizeMiB: 512, requestedMiB: 0 } })
  await until(
    () => view(id),
    (vm) => vm.pending.length === 0,
  )
  await until(memoryMiB, (mib) => mib <= grown - 500)

  // USB and channels.
  changed = await update(ADMIN, id, {
    inputs: [{ type: 'mouse' }],
    channels: [{ name: 'org.example.port' }],
  })
  expect(changed.pending).toEqual([])
  await shell.until('lsusb', /QEMU USB Mouse/)
  await shell.until('ls /dev/virtio-ports', /org\.example\.port/)
  changed = await update(ADMIN, id, { inputs: [], channels: [] })
  expect(changed.pending).toEqual([])
  await shell.until('lsusb', /^(?![^]*Mouse)/)
  await shell.until('ls /dev/virtio-ports', /^(?![^]*org\.example)/)

  // Settings.
  changed = await update(ADMIN, id, { networks: [{ id: card?.id, link: false }], balloonTargetMiB: 300 })
  expect(changed.pending).toEqual([])
  await shell.until('cat /sys/class/net/eth0/carrier', /^0$/)
  // 84 MiB in pages of 4 KiB. MemTotal stays: the balloon gives way when the guest runs out of memory.
  await shell.until('grep balloon_inflate /proc/vmstat', / 21504$/)
})
