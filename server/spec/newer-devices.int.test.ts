/** Devices that QEMU 7.2 does not have, as a guest on a newer QEMU sees them. */
import { beforeAll, expect, it } from 'vitest'
import { ensureDeviceGuest } from '#e2e/guests/build.ts'
import { CompiledGuest } from '#server/testing/compiled-guest.ts'
import { ensureQemu, type UnpackedQemu } from '#server/testing/qemu-versions.ts'
import { capabilitiesOf } from './test-support.ts'

const DOWNLOAD_TIMEOUT_MS = 600_000
/** Software emulation on a busy machine: generous, and only ever waited for in full when something is wrong. */
const BOOT_TIMEOUT_MS = 170_000

let qemu: UnpackedQemu
let directKernel: { kernel: string; initrd: string; commandLine: string }
beforeAll(async () => {
  qemu = await ensureQemu('10.0')
  directKernel = await ensureDeviceGuest()
}, DOWNLOAD_TIMEOUT_MS)

it('virtio-sound and a touch screen are on their buses', async () => {
  await using guest = await CompiledGuest.start(
    {
      guest: 'linux',
      accelerator: 'tcg',
      memoryMiB: 384,
      networks: [],
      display: 'none',
      usbInput: false,
      directKernel,
      sound: 'virtio-sound',
      inputs: [{ type: 'multitouch', bus: 'virtio' }],
    },
    { capabilities: { ...capabilitiesOf('10.0'), binary: qemu.binary } },
  )
  const shell = await guest.boot(BOOT_TIMEOUT_MS)
  // Debian's kernel has no driver for this card: the bus tells of it.
  expect(await shell.output('lspci')).toMatch(/ 0401\d\d 1af4:1059 /m)
  expect(await shell.output('cat /proc/bus/input/devices')).toContain('Name="QEMU Virtio MultiTouch"')
}, 300_000)
