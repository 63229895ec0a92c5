/** A system installed on emulated hardware is moved to virtio and back: it boots from its disk each time, with its data. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ensureDeviceIso } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { type Direction, PROBE_ID, planMove, type StepId } from '#lib/vm/virtio-assistant.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import { ADMIN, create, now, until, update, upload } from './test-rig.ts'

/** Software emulation on a busy machine: generous, and only ever waited for in full when something is wrong. */
const BOOT_TIMEOUT_MS = 170_000
const TEST_TIMEOUT_MS = 600_000

/** The live CD of the tests as a hard disk, which its boot sector allows. */
async function installedSystem(): Promise<Buffer> {
  const scratch = mkdtempSync(join(tmpdir(), 'gd-move-'))
  const file = join(scratch, 'system.qcow2')
  const { status, stderr } = spawnSync('qemu-img', [
    ...['convert', '-f', 'raw', '-O', 'qcow2', '--'],
    await ensureDeviceIso(),
    file,
  ])
  if (status !== 0) throw new Error(stderr.toString())
  const image = readFileSync(file)
  rmSync(scratch, { recursive: true })
  return image
}

const view = (id: string) => now.engine.vms.view(ADMIN, id)

async function start(id: string): Promise<GuestShell> {
  await now.engine.vms.start(ADMIN, id)
  const hub = now.supervisor.serialHub(id)
  if (hub === null) throw new Error('no serial line')
  return GuestShell.over(new HubLine(hub), BOOT_TIMEOUT_MS)
}

const powerOff = async (id: string) => {
  await now.engine.vms.poweroff(ADMIN, id)
  await until(
    async () => (await view(id)).state,
    (state) => state === 'off',
  )
}

/** Takes the step that is next, which must be this one. */
async function take(id: string, direction: Direction, step: StepId): Promise<void> {
  const { spec, revision } = await view(id)
  const next = planMove(spec, { direction, virtioDriverImage: null }).steps.find((each) => each.state === 'next')
  expect(next?.id).toBe(step)
  await update(ADMIN, id, next?.patch, revision)
}

const complete = async (id: string, direction: Direction) =>
  planMove((await view(id)).spec, { direction, virtioDriverImage: null }).complete

/** Somewhere behind what it boots from. */
const write = (disk: string) => `dd if=/dev/urandom of=/dev/${disk} bs=1M seek=900 count=4 && sync`
const read = (disk: string) => `dd if=/dev/${disk} bs=1M skip=900 count=4 2>/dev/null | sha256sum`
const CARD = 'cat /sys/class/net/eth0/address; basename $(readlink /sys/class/net/eth0/device/driver)'
/** virtio disks by what they call themselves: their letters follow the sockets. */
const BLOCK =
  'cd /sys/block; for disk in sd? vd?; do [ -e $disk ] && echo $disk $(cat $disk/serial 2>/dev/null); done; true'

test(
  'a guest moves to virtio step by step and back, and boots from the same disk each time',
  async () => {
    const image = await upload(ADMIN, await installedSystem(), 'system.qcow2')
    const { id, spec } = await create(ADMIN, {
      name: 'mover',
      guest: 'linux',
      machine: 'q35',
      memoryMiB: 512,
      cpus: 1,
      disks: [{ device: 'disk', bus: 'sata', image: image.id, sizeGiB: 1 }],
      networks: [{ model: 'e1000e' }],
      display: 'std',
    })
    const mac = spec.networks[0]?.mac

    // Emulated hardware; the small disk is plugged into the running guest, whose driver takes it.
    let shell = await start(id)
    await shell.until(CARD, new RegExp(`^${mac}\\s+e1000e$`))
    await shell.until(BLOCK, /^sda$/)
    await shell.output(write('sda'))
    const data = await shell.output(read('sda'))
    expect(data).toMatch(/^[0-9a-f]{64}/)
    await take(id, 'to-virtio', 'probe')
    expect((await view(id)).pending).toEqual([])
    await shell.until(BLOCK, new RegExp(`^sda\\s+vda ${PROBE_ID}$`))
    await powerOff(id)

    // Everything else, the boot disk last.
    await take(id, 'to-virtio', 'networks')
    await take(id, 'to-virtio', 'display')
    await take(id, 'to-virtio', 'boot-disk')
    shell = await start(id)
    const disk = /^(vd.) disk0$/m.exec(await shell.until(BLOCK, /^vd. disk0$/m))?.[1] ?? ''
    expect(await shell.output(read(disk))).toBe(data)
    await shell.until(CARD, new RegExp(`^${mac}\\s+virtio_net$`))
    expect(await shell.output('lspci')).toMatch(/1af4:1050/)
    await take(id, 'to-virtio', 'cleanup')
    await shell.until(BLOCK, new RegExp(`^${disk} disk0$`))
    expect(await complete(id, 'to-virtio')).toBe(true)
    await powerOff(id)

    // And back.
    for (const step of ['boot-disk', 'networks', 'display'] as const) await take(id, 'to-emulated', step)
    expect(await complete(id, 'to-emulated')).toBe(true)
    shell = await start(id)
    await shell.until(BLOCK, /^sda$/)
    expect(await shell.output(read('sda'))).toBe(data)
    await shell.until(CARD, new RegExp(`^${mac}\\s+e1000e$`))
  },
  TEST_TIMEOUT_MS,
)
