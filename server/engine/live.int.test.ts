/** What can change on a running guest changes at once: a real guest says what it has, after each change of its definition. */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { ensureBiosDeviceGuest } from '#e2e/guests/elf-kernel.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { VmSpecPatch } from '#lib/schema/vm-spec.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { vmRunPaths } from '#server/paths.ts'
import { connectQmp } from '#server/qmp/client.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import { ADMIN, create, data, imageDir, isRoot, now, runDir, shareDir, until, update, upload } from './test-rig.ts'

let directKernel: { kernel: string; initrd: string; commandLine: string }

beforeAll(async () => {
  const guest = await ensureBiosDeviceGuest()
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

const NO_LIMITS = {
  bytesPerSecond: 0,
  readBytesPerSecond: 0,
  writeBytesPerSecond: 0,
  iops: 0,
  readIops: 0,
  writeIops: 0,
  bytesPerSecondMax: 0,
  iopsMax: 0,
  burstSeconds: 1,
}

const updateLater = (id: string, patch: object) =>
  now.engine.vms.update(ADMIN, id, VmSpecPatch.parse(patch), null, { apply: 'next-start' })

/** QEMU's own word, over its second monitor. */
async function askQemu(id: string, command: string, args: object): Promise<unknown> {
  const qmp = await connectQmp(vmRunPaths(runDir, id).qmpRescue, { timeoutMs: 10_000 })
  try {
    return await qmp.execute(command, args as never)
  } finally {
    qmp.close()
  }
}

const view = (id: string) => now.engine.vms.view(ADMIN, id)

/** A guest on a busy machine may take longer to let go than it is waited for; then it is done when it does. */
const nothingPending = (id: string) =>
  until(
    async () => (await view(id)).pending,
    (pending) => pending.length === 0,
    60_000,
  )

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

  // It grows, and the guest sees it at once, also of the disk it was started with.
  changed = await update(ADMIN, id, {
    disks: changed.spec.disks.map((disk) => (disk.device === 'disk' ? { ...disk, sizeGiB: disk.sizeGiB + 1 } : disk)),
  })
  expect(changed.pending).toEqual([])
  await shell.until('cat /sys/block/vda/size /sys/block/vdb/size', /^4194304\s+6291456$/)

  // And back.
  const larger = { ...first, sizeGiB: 2 }
  changed = await update(ADMIN, id, { disks: [larger], networks: [card] })
  await nothingPending(id)
  await shell.until('ls /sys/block | grep -c vdb', /^0$/)
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
  await until(
    () => now.supervisor.runtime(id).live,
    (shown) => shown?.vcpus === 2 && shown.memoryMiB >= 384 + 256 + 256,
  )
  const grown = await until(memoryMiB, (mib) => mib >= before + 500)
  changed = await update(ADMIN, id, { dimms: [], virtioMem: { sizeMiB: 512, requestedMiB: 0 } })
  await nothingPending(id)
  await until(memoryMiB, (mib) => mib <= grown - 500)

  // Under emulation no QEMU survives that a CPU goes and comes back: it is left for later.
  changed = await update(ADMIN, id, { cpus: 1 })
  expect(changed.pending).toMatchObject([{ path: '/cpus', live: 2, next: 1, waiting: 'restart' }])
  await update(ADMIN, id, { cpus: 2 })

  // USB and channels.
  changed = await update(ADMIN, id, {
    inputs: [{ type: 'mouse' }, { type: 'keyboard', bus: 'virtio' }],
    channels: [{ name: 'org.example.port' }, { device: 'virtconsole' }],
    disks: [larger, { device: 'disk', bus: 'nvme', sizeGiB: 1 }],
    networks: [card, { model: 'e1000e' }, { model: 'usb-net' }],
  })
  expect(changed.pending).toEqual([])
  await shell.until('ls /sys/block', /nvme0n1/)
  await shell.until('ls /dev', /hvc0/)
  await shell.until('ls /sys/class/net | wc -l', /^4$/)
  await shell.until('lsusb', /QEMU USB Mouse/)
  await shell.until('ls /dev/virtio-ports', /org\.example\.port/)
  changed = await update(ADMIN, id, { inputs: [], channels: [], disks: [larger], networks: [card] })
  await nothingPending(id)
  await shell.until('lsusb | grep -c Mouse', /^0$/)
  await shell.until('ls /dev/virtio-ports | grep -c example', /^0$/)

  // Settings.
  changed = await update(ADMIN, id, { networks: [{ id: card?.id, link: false }], balloonTargetMiB: 300 })
  expect(changed.pending).toEqual([])
  await shell.until('cat /sys/class/net/eth0/carrier', /^0$/)
  // 84 MiB in pages of 4 KiB. MemTotal stays: the balloon gives way when the guest runs out of memory.
  await shell.until('grep balloon_inflate /proc/vmstat', / 21504$/)
})

test('what needs no device to come or go changes in place; what fails leaves everything as it was', async () => {
  const iso = Buffer.alloc(64 * 1024, 0)
  // A volume descriptor is what makes an ISO (ECMA-119, 8.1).
  iso.write('\x01CD001\x01', 0x8000, 'latin1')
  const image = await upload(ADMIN, iso, 'tools.iso')
  const readMedium = 'dd if=/dev/sr0 bs=32k 2>/dev/null | wc -c'
  const { vm, shell } = await boot({
    disks: [
      { device: 'disk', sizeGiB: 1, bootIndex: 1 },
      { device: 'disk', bus: 'virtio-scsi', sizeGiB: 1, bootIndex: 2, throttle: { ...NO_LIMITS, iops: 500 } },
      { device: 'cdrom' },
    ],
    watchdog: { model: 'i6300esb', action: 'none' },
  })
  const { id } = vm
  const [first, second, cd] = vm.spec.disks
  const [card] = vm.spec.networks
  const ask = (command: string, args: object) => askQemu(id, command, args)

  // A medium comes and goes.
  await update(ADMIN, id, { disks: [first, second, { ...cd, image: image.id }] })
  await shell.until(readMedium, /^65536$/)
  // One that a program has open is locked in; that is said, and done once it lets go.
  await shell.output('sleep 600 </dev/sr0 >/dev/null 2>&1 & echo $! >/tmp/holder')
  let changed = await update(ADMIN, id, { disks: [first, second, { ...cd, image: null }] })
  expect(changed.pending).toMatchObject([
    { path: '/disks/2', waiting: 'guest', reason: expect.stringContaining('locked'), next: { image: null } },
  ])
  await shell.until(readMedium, /^65536$/)
  await shell.output('kill $(cat /tmp/holder)')
  await until(
    async () => (await update(ADMIN, id, {})).pending,
    (pending) => pending.length === 0,
    60_000,
  )
  await shell.until(readMedium, /^0$/)

  // Limits, boot order, watchdog, forwards: QEMU itself is asked.
  changed = await update(ADMIN, id, {
    disks: [
      { ...first, bootIndex: 2, throttle: { ...NO_LIMITS, bytesPerSecond: 1_000_000 } },
      { ...second, bootIndex: 1, throttle: { ...NO_LIMITS, iops: 200 } },
      { ...cd, image: null },
    ],
    watchdog: { model: 'i6300esb', action: 'pause' },
    networks: [{ ...card, forwards: [{ protocol: 'tcp', hostPort: 28_672, guestPort: 22 }] }],
  })
  expect(changed.pending).toEqual([])
  expect(await ask('qom-get', { path: '/objects/disk1.tg', property: 'limits' })).toMatchObject({ 'iops-total': 200 })
  expect(await ask('query-block', {})).toContainEqual(
    expect.objectContaining({
      qdev: expect.stringContaining('disk0'),
      inserted: expect.objectContaining({ bps: 1_000_000 }),
    }),
  )
  expect(await ask('qom-get', { path: '/machine/peripheral/disk0', property: 'bootindex' })).toBe(2)
  expect(await ask('human-monitor-command', { 'command-line': 'info usernet' })).toContain('28672')

  // A port that is taken: nothing of the change remains, not even what came before it.
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(28_673, '127.0.0.1', resolve))
  const before = await view(id)
  await expect(
    update(ADMIN, id, {
      disks: [...before.spec.disks, { device: 'disk', sizeGiB: 1, throttle: null }],
      networks: [
        { ...before.spec.networks[0], link: false, forwards: [] },
        { forwards: [{ protocol: 'tcp', hostPort: 28_673, guestPort: 22 }] },
      ],
    }),
  ).rejects.toMatchObject({ code: 'port_in_use', field: 'networks.1' })
  taken.close()
  await nothingPending(id)
  const after = await view(id)
  expect(after).toMatchObject({ revision: before.revision, spec: before.spec, pending: [] })
  await until(
    () => readdir(data.vmDir(id)),
    (files) => !files.includes('disk2.qcow2'),
  )
  expect(await ask('qom-list', { path: '/machine/peripheral' })).not.toContainEqual(
    expect.objectContaining({ name: 'disk2' }),
  )
  expect(await ask('human-monitor-command', { 'command-line': 'info usernet' })).toContain('28672')
  expect(await ask('human-monitor-command', { 'command-line': 'info network' })).not.toContain('net1')
  await shell.until('cat /sys/class/net/eth0/carrier', /^1$/)

  // Left for the next start, and taken up later by an empty change.
  const usb = { device: 'disk', bus: 'usb', sizeGiB: 1 }
  changed = await updateLater(id, {
    disks: [...before.spec.disks, usb, { device: 'cdrom', bus: 'usb', image: image.id }],
  })
  expect(changed.pending).toMatchObject([
    { path: '/disks/3', waiting: 'apply' },
    { path: '/disks/4', waiting: 'apply' },
  ])
  const shown = await now.engine.vms.previewChange(ADMIN, id, VmSpecPatch.parse({ memoryMiB: 512 }))
  expect(shown.changes.map(({ path, waiting }) => [path, waiting])).toEqual([
    ['/memoryMiB', 'restart'],
    ['/disks/3', 'apply'],
    ['/disks/4', 'apply'],
  ])
  expect(shown.commandLine.options.filter((option) => option.changed).map(({ group }) => group)).toContain('memory')
  changed = await update(ADMIN, id, { description: 'Only this.' })
  expect(changed.pending).toHaveLength(2)
  changed = await update(ADMIN, id, {})
  expect(changed.pending).toEqual([])
  await shell.until('cat /sys/block/*/device/model | grep -c HARDDISK', /^2$/)
  await shell.until('dd if=/dev/sr1 bs=32k 2>/dev/null | wc -c', /^65536$/)

  // QEMU's own view of all this, linked to the definition.
  const { items } = await now.engine.vms.devices(ADMIN, id)
  const device = (of: string) => items.find((item) => item.id === of)
  expect(device('disk0')).toMatchObject({ type: 'virtio-blk-pci', bus: 'pci', parent: 'rp0', field: '/disks/0' })
  expect(device('disk1')).toMatchObject({ type: 'scsi-hd', bus: 'scsi', parent: 'scsi0', field: '/disks/1' })
  expect(device('cd0')).toMatchObject({ type: 'ide-cd', bus: 'sata', field: '/disks/2', parent: '00:1f.2' })
  expect(device('disk2')).toMatchObject({
    type: 'usb-storage',
    bus: 'usb',
    parent: 'usb',
    field: '/disks/3',
    address: '3',
  })
  expect(device('rng0')).toMatchObject({ type: 'virtio-rng-pci', address: '00:0a.0', field: '/rng', state: 'running' })
  expect(device('net0')?.pci?.regions.length).toBeGreaterThan(0)
  expect(items.filter(({ bus }) => bus === 'cpu')).toMatchObject([{ field: '/cpus' }])
  const keys = new Set(items.map(({ key }) => key))
  for (const { parent } of items) expect(parent === null || keys.has(parent)).toBe(true)

  // All of it goes again.
  changed = await update(ADMIN, id, { disks: before.spec.disks })
  await nothingPending(id)
  await shell.until('ls /sys/block | grep -c sdb', /^0$/)
})

test('a folder and a card on a bridge come and go, and what they need on the host comes and goes with them', async (context) => {
  const bridge = `gdt${process.pid % 100_000}`
  const ip = (...args: string[]) => spawnSync('ip', args, { encoding: 'utf8' })
  const hasBridge = ip('link', 'add', bridge, 'type', 'bridge').status === 0
  if (!hasBridge || !isRoot) return context.skip('this host lets us make no bridge')
  ip('link', 'set', bridge, 'up')
  // As most systems have it, for the time of the test: guests' users open their taps through it.
  const tun = '/dev/net/tun'
  const { mode } = statSync(tun)
  chmodSync(tun, 0o666)
  try {
    for (const name of ['first', 'second']) {
      mkdirSync(join(shareDir, name), { recursive: true })
      writeFileSync(join(shareDir, name, 'who'), name)
      chmodSync(join(shareDir, name), 0o777)
    }
    chmodSync(shareDir, 0o755)
    const share = (name: string) => ({ tag: name, source: join(shareDir, name), driver: 'virtiofs', readOnly: false })
    const { vm, shell } = await boot({ shares: [share('first')] })
    const { id } = vm
    const read = (tag: string) => `mkdir -p /mnt/${tag}; mount -t virtiofs ${tag} /mnt/${tag}; cat /mnt/${tag}/who`
    await shell.until(read('first'), /^first$/)
    const taps = () => JSON.parse(ip('-json', 'link', 'show', 'master', bridge).stdout || '[]') as { ifname: string }[]

    const card = { network: 'bridge', bridge, rateLimit: { inKBps: 1000, outKBps: null } }
    let changed = await update(ADMIN, id, {
      shares: [...vm.spec.shares, share('second')],
      networks: [...vm.spec.networks, card],
    })
    expect(changed.pending).toEqual([])
    await shell.until(read('second'), /^second$/)
    await shell.until('ls /sys/class/net', /eth1/)
    const [tap] = taps()
    expect(tap?.ifname).toMatch(/^gd/)
    const limit = () => spawnSync('tc', ['qdisc', 'show', 'dev', tap?.ifname ?? ''], { encoding: 'utf8' }).stdout
    expect(limit()).toMatch(/tbf.*rate 8Mbit/)

    const cards = changed.spec.networks
    changed = await update(ADMIN, id, {
      networks: [cards[0], { ...cards[1], rateLimit: { inKBps: 2000, outKBps: null } }],
    })
    expect(changed.pending).toEqual([])
    expect(limit()).toMatch(/tbf.*rate 16Mbit/)

    // A bridge that is not there: nothing comes of it.
    await expect(
      update(ADMIN, id, { networks: [...changed.spec.networks, { network: 'bridge', bridge: 'gdnowhere' }] }),
    ).rejects.toMatchObject({ field: 'networks.2' })
    expect((await view(id)).pending).toEqual([])

    await shell.output('umount /mnt/second')
    changed = await update(ADMIN, id, { shares: vm.spec.shares, networks: vm.spec.networks })
    await nothingPending(id)
    expect(taps()).toEqual([])
    expect(now.supervisor.runtime(id).launchedPlan).toMatchObject({ taps: [], helpers: [{ id: 'share0' }] })
    await shell.until('cat /mnt/first/who', /^first$/)
  } finally {
    chmodSync(tun, mode)
    ip('link', 'del', bridge)
  }
})
