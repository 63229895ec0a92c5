/**
 * Every QEMU that is supported does the same with the same definition: the engine starts a real guest, plugs devices in
 * and out, and the guest says so; a snapshot of it running brings it back to where it was; other machines start.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { ensureBiosDeviceGuest } from '#e2e/guests/elf-kernel.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { createCapabilitiesProbe } from '#server/capabilities/probe.ts'
import { vmRunPaths } from '#server/paths.ts'
import { connectQmp } from '#server/qmp/client.ts'
import { CompiledGuest } from '#server/testing/compiled-guest.ts'
import { ensureQemu } from '#server/testing/qemu-versions.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'

/** Emulation on a busy machine: only ever waited for in full when something is wrong. */
const TEST_TIMEOUT_MS = 300_000
const DOWNLOAD_TIMEOUT_MS = 600_000
const INSTALLED = process.env.GUESTDECK_QEMU ?? 'qemu-system-x86_64'

const SPEC = {
  name: 'matrix',
  guest: 'linux',
  cpus: 1,
  memoryMiB: 384,
  display: 'none',
  disks: [{ device: 'disk', sizeGiB: 1 }],
  watchdog: { model: 'i6300esb', action: 'none' },
  channels: [{ name: 'org.example.matrix' }],
}

const reference = () => {
  const file = new URL('../spec/__golden__/reference-desktop.json', import.meta.url)
  const { spec } = z.object({ spec: z.looseObject({}) }).parse(JSON.parse(readFileSync(file, 'utf8')))
  // Without KVM and without the host's bridge.
  return { ...spec, accelerator: 'tcg', networks: [{ model: 'virtio-net' }] }
}
/** Started with their CPUs stopped. */
const MACHINES: readonly (readonly [name: string, spec: () => object])[] = [
  ['the reference desktop', reference],
  [
    'pc',
    () => ({
      machine: 'pc',
      disks: [{ device: 'disk' }, { device: 'disk', bus: 'ide' }, { device: 'cdrom' }],
      networks: [{}, { model: 'e1000' }],
      sound: 'ac97',
      watchdog: { model: 'i6300esb', action: 'reset' },
      display: 'std',
    }),
  ],
  ['microvm', () => ({ machine: 'microvm', cpus: 2, disks: [{ device: 'disk' }], networks: [{}] })],
]

/** A job of QEMU's runs on its own: waited for, and its outcome told. @throws Error with QEMU's reason */
async function runJob(socket: string, command: string, args: { 'job-id': string }): Promise<void> {
  const qmp = await connectQmp(socket, { timeoutMs: 20_000 })
  try {
    await qmp.execute(command as 'query-jobs', args as never)
    const id = args['job-id']
    const job = async () => (await qmp.execute('query-jobs')).find((each) => each.id === id)
    await expect.poll(async () => (await job())?.status, { timeout: 120_000 }).toBe('concluded')
    expect((await job())?.error).toBeUndefined()
    await qmp.execute('job-dismiss', { id })
  } finally {
    qmp.close()
  }
}

describe.each(['installed', '10.0', '11.1'] as const)('QEMU %s', async (wanted) => {
  // An engine of its own, for this QEMU.
  vi.resetModules()
  const before = process.env.GUESTDECK_QEMU
  const unpacked = wanted === 'installed' ? null : await ensureQemu(wanted)
  const binary = unpacked?.binary ?? INSTALLED
  process.env.GUESTDECK_QEMU = binary
  const rig = await import('./test-rig.ts')
  if (before === undefined) delete process.env.GUESTDECK_QEMU
  else process.env.GUESTDECK_QEMU = before
  const { ADMIN, create, imageDir, runDir, update, until } = rig

  let directKernel: { kernel: string; initrd: string; commandLine: string }
  beforeAll(async () => {
    const guest = await ensureBiosDeviceGuest()
    mkdirSync(imageDir, { recursive: true, mode: 0o755 })
    chmodSync(imageDir, 0o755)
    directKernel = { ...guest, kernel: join(imageDir, 'vmlinuz'), initrd: join(imageDir, 'initrd') }
    for (const name of ['kernel', 'initrd'] as const) {
      copyFileSync(guest[name], directKernel[name])
      chmodSync(directKernel[name], 0o644)
    }
  }, DOWNLOAD_TIMEOUT_MS)

  test('starts a guest, plugs devices in and out, and goes back to a snapshot', {
    timeout: TEST_TIMEOUT_MS,
  }, async () => {
    const { id, spec } = await create(ADMIN, { ...SPEC, directKernel })
    const vm = await rig.now.engine.vms.start(ADMIN, id)
    if (unpacked !== null) expect(vm.live?.qemuVersion).toContain(unpacked.version)
    const hub = rig.now.supervisor.serialHub(id)
    if (hub === null) throw new Error('no serial line')
    const shell = await GuestShell.over(new HubLine(hub))
    expect(await shell.output('ls /sys/block')).not.toContain('vdb')

    const added = await update(ADMIN, id, {
      disks: [...spec.disks, { device: 'disk', sizeGiB: 2 }],
      networks: [...spec.networks, { model: 'e1000e' }],
      inputs: [{ type: 'mouse' }],
    })
    expect(added.pending).toEqual([])
    await shell.until('cat /sys/block/vdb/size', /^4194304$/)
    await shell.until('ls /sys/class/net', /eth1/)
    await shell.until('lsusb', /QEMU USB Mouse/)

    await update(ADMIN, id, { disks: spec.disks })
    await until(
      async () => (await rig.now.engine.vms.view(ADMIN, id)).pending,
      (pending) => pending.length === 0,
      60_000,
    )
    await shell.until('ls /sys/block | grep -c vdb', /^0$/)

    // The whole machine and its disk, as they are now.
    const remember = (word: string) => `echo ${word} >/tmp/word; echo ${word} | dd of=/dev/vda conv=fsync 2>/dev/null`
    const recall = 'echo 3 >/proc/sys/vm/drop_caches; cat /tmp/word; head -n 1 /dev/vda'
    await shell.output(remember('before'))
    const { qmpRescue } = vmRunPaths(runDir, id)
    const snapshot = { tag: 'here', vmstate: 'disk0.0', devices: ['disk0.0'] }
    await runJob(qmpRescue, 'snapshot-save', { 'job-id': 'save', ...snapshot })
    await shell.output(remember('after'))
    expect(await shell.output(recall)).toBe('after\nafter')
    await runJob(qmpRescue, 'snapshot-load', { 'job-id': 'load', ...snapshot })
    await until(
      () => rig.now.supervisor.runtime(id).state,
      (state) => state === 'running',
    )
    expect(await shell.output(recall)).toBe('before\nbefore')
    // What was plugged in is still there.
    expect(await shell.output('lsusb')).toMatch(/QEMU USB Mouse/)
    expect(await shell.output('ls /sys/class/net')).toMatch(/eth1/)
  })

  test.each(MACHINES)('takes %s as it is compiled', { timeout: TEST_TIMEOUT_MS }, async (_, spec) => {
    const capabilities = await createCapabilitiesProbe({ binary, cacheFile: null }).get()
    await using guest = await CompiledGuest.start(spec(), { capabilities })
    expect((await guest.qmp.execute('query-status')).status).toBe('prelaunch')
    const { qemu } = await guest.qmp.execute('query-version')
    expect(`${qemu.major}.${qemu.minor}.${qemu.micro}`).toBe(capabilities.version)
  })
})
