/** Screens, input, sound, channels, shares and watchdogs, as a real guest on the compiled command line sees them. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureDeviceGuest } from '#e2e/guests/build.ts'
import { ensureBiosDeviceGuest } from '#e2e/guests/elf-kernel.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { Line } from '#e2e/guests/plain-qemu.ts'
import { connectUnix } from '#server/platform/sockets.ts'
import { CompiledGuest } from '#server/testing/compiled-guest.ts'
import { channelSocket } from './devices/console.ts'

/** Software emulation on a busy machine: generous, and only ever waited for in full when something is wrong. */
const BOOT_TIMEOUT_MS = 170_000
const TEST_TIMEOUT_MS = 240_000

let kernel: { kernel: string; initrd: string; commandLine: string }
beforeAll(async () => {
  kernel = await ensureBiosDeviceGuest()
})

const small = (more = '') => ({
  guest: 'linux',
  accelerator: 'tcg',
  memoryMiB: 384,
  cpus: 1,
  networks: [],
  agentChannel: false,
  rng: false,
  spareRootPorts: 0,
  directKernel: {
    kernel: kernel.kernel,
    initrd: kernel.initrd,
    commandLine: `${kernel.commandLine} ${more}`.trim(),
  },
})

/** Debian 12 has QEMU's own, in C; later releases the one in Rust. */
function installedVirtiofsd() {
  const rust = '/usr/libexec/virtiofsd'
  return existsSync(rust)
    ? { path: rust, dialect: 'rust' as const }
    : { path: '/usr/lib/qemu/virtiofsd', dialect: 'c' as const }
}

/** A boot for each `describe`, with what its tests need. */
function booted(spec: () => object): { guest: () => CompiledGuest; shell: () => GuestShell } {
  let guest: CompiledGuest | undefined
  let shell: GuestShell | undefined
  beforeAll(async () => {
    guest = await CompiledGuest.start(spec(), { tools: { virtiofsd: installedVirtiofsd() } })
    shell = await guest.boot(BOOT_TIMEOUT_MS)
  }, BOOT_TIMEOUT_MS)
  afterAll(() => guest?.[Symbol.asyncDispose]())
  const made = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error('the guest did not boot')
    return value
  }
  return { guest: () => made(guest), shell: () => made(shell) }
}

const CONNECTORS = 'cd /sys/class/drm; for c in card0-*; do echo "$c $(cat $c/status) $(head -n 1 $c/modes)"; done'
const INPUTS = 'cat /proc/bus/input/devices'
/** What the firmware or the driver shows on the screen, in pixels. */
const screenSize = async (guest: CompiledGuest) => {
  const file = join(guest.input.paths.dir, 'screen.ppm')
  await guest.qmp.execute('screendump', { filename: file })
  return /^P6\s+(\d+)\s+(\d+)/.exec(readFileSync(file).subarray(0, 32).toString('latin1'))?.slice(1).map(Number)
}

describe('virtio-vga with two outputs, virtio and USB input, HD Audio, channels, shares, a watchdog', () => {
  const root = mkdtempSync(join(tmpdir(), 'gs-'))
  const dir = (name: string) => join(root, name)
  for (const name of ['fast', 'fast, read-only', 'nine', 'nine, read-only']) {
    mkdirSync(dir(name))
    writeFileSync(join(dir(name), 'greeting'), `hello from ${name}\n`)
  }
  afterAll(() => rmSync(root, { recursive: true }))
  const { guest, shell } = booted(() => ({
    ...small(),
    display: 'virtio-vga',
    displayHeads: 2,
    displayResolution: { width: 1152, height: 864 },
    usbController: 'qemu-xhci',
    inputs: [
      { type: 'tablet', bus: 'virtio' },
      { type: 'keyboard', bus: 'virtio' },
      { type: 'mouse', bus: 'virtio' },
      { type: 'mouse', port: 15 },
    ],
    sound: 'hda',
    clipboard: true,
    agentChannel: true,
    channels: [
      { id: 'com2', device: 'isa-serial' },
      { id: 'chat', device: 'virtserialport', name: 'org.example.chat' },
      { id: 'sensor', name: 'org.example.sensor', backend: 'log' },
      { id: 'hvc', device: 'virtconsole' },
    ],
    watchdog: { model: 'i6300esb', action: 'pause' },
    shares: [
      { tag: 'fast', source: dir('fast'), readOnly: false },
      { tag: 'fast-ro', source: dir('fast, read-only') },
      { tag: 'nine', driver: '9p', source: dir('nine'), readOnly: false },
      { tag: 'nine-ro', driver: '9p', source: dir('nine, read-only') },
    ],
    properties: { input0: { event_idx: false }, kbd0: { serial: 'set, by hand' } },
  }))

  it('the card has two outputs, the first with a monitor of the chosen size', async () => {
    expect(await shell().output('lspci')).toMatch(/ 030000 1af4:1050 .* virtio-pci\/virtio_gpu$/m)
    const connectors = await shell().output(CONNECTORS)
    expect(connectors).toMatch(/^card0-Virtual-1 connected 1152x864$/m)
    expect(connectors).toMatch(/^card0-Virtual-2 disconnected/m)
    expect(await screenSize(guest())).toEqual([1152, 864])
  })

  it('every pointer and keyboard is there, on its bus', async () => {
    const inputs = await shell().output(INPUTS)
    for (const name of ['Tablet', 'Keyboard', 'Mouse']) expect(inputs).toContain(`Name="QEMU Virtio ${name}"`)
    for (const name of ['Tablet', 'Keyboard', 'Mouse']) expect(inputs).toContain(`Name="QEMU QEMU USB ${name}"`)
    expect(inputs).toContain('AT Translated Set 2 keyboard')
    expect(await shell().output('cat /sys/bus/usb/devices/usb1/maxchild /sys/bus/usb/devices/usb2/maxchild')).toBe(
      '15\n15',
    )
    await shell().until('cat /sys/bus/usb/devices/1-15/product', /^QEMU USB Mouse$/)
  })

  it('properties set by hand reach the device', async () => {
    expect(await shell().output('cat /sys/bus/usb/devices/1-2/serial')).toBe('set, by hand')
    const path = '/machine/peripheral/input0'
    expect(await guest().qmp.execute('qom-get', { path, property: 'event_idx' })).toBe(false)
  })

  it('the sound card plays and records', async () => {
    await shell().until('cat /proc/asound/cards', /HDA Intel/)
    const pcm = await shell().output('cat /proc/asound/pcm')
    expect(pcm).toMatch(/playback 1/)
    expect(pcm).toMatch(/capture 1/)
  })

  const socketOf = async (id: string) => {
    const { paths, spec } = guest().input
    const channel = spec.channels.find((each) => each.id === id)
    if (channel === undefined) throw new Error(`there is no channel ${id}`)
    return new Line(await connectUnix(channelSocket(paths, channel)))
  }

  it.each([
    ['COM2', 'com2', '/dev/ttyS1', 'stty -F /dev/ttyS1 raw -echo; '],
    ['a port found by its name', 'chat', '/dev/virtio-ports/org.example.chat', ''],
  ])('a socket carries text both ways: %s', async (_, id, device, prepare) => {
    await shell().until(`ls ${device}`, /^\/dev/)
    const line = await socketOf(id)
    const answer = shell().output(`${prepare}exec 5<>${device}; echo ready >&5; read -r word <&5; echo "$word"`)
    await line.expect(/ready/, 60_000)
    line.send('a-word-from-the-host\n')
    expect(await answer).toBe('a-word-from-the-host')
    line.close()
  })

  it('a further virtio console carries a shell', async () => {
    const second = await GuestShell.over(await socketOf('hvc'), 100_000)
    expect(await second.output('readlink /proc/$$/fd/0')).toBe('/dev/hvc0')
    second.close()
  })

  it('a channel that is only kept holds the end of what the guest sent', async () => {
    const port = '/dev/virtio-ports/org.example.sensor'
    // Twice what is kept: neither the guest nor the host's memory minds.
    await shell().output(`yes 20.5 | head -c 2000000 >${port}; echo 21.5 degrees >${port}`, 120_000)
    const kept = String(
      await guest().qmp.execute('ringbuf-read', { device: 'sensor.chr', size: 2 ** 21, format: 'utf8' }),
    )
    expect(kept.length).toBeGreaterThan(2 ** 19)
    expect(kept.length).toBeLessThanOrEqual(2 ** 20)
    expect(kept).toMatch(/21\.5 degrees\n$/)
  })

  it('the agent answers on port 1 while others are there', async () => {
    const line = new Line(await connectUnix(guest().input.paths.agent))
    line.send('{"execute":"guest-ping"}\n')
    await line.expect(/\{"return": ?\{\}\}/, 60_000)
    line.close()
  })

  it.each([
    ['virtiofs', 'fast', 'fast', ''],
    ['9p', 'nine', 'nine', '-o trans=virtio,version=9p2000.L'],
  ])('a folder shared by %s is read and written', async (type, tag, name, options) => {
    const at = `/tmp/${tag}`
    await shell().output(`mkdir ${at} && mount -t ${type} ${options} ${tag} ${at}`)
    expect(await shell().output(`cat ${at}/greeting`)).toBe(`hello from ${name}`)
    await shell().output(`echo from the guest >${at}/answer && mkdir ${at}/inner && mv ${at}/answer ${at}/inner/`)
    expect(readFileSync(join(dir(name), 'inner/answer'), 'utf8')).toBe('from the guest\n')
    // The parent of a mount's root is outside of the mount.
    expect(await shell().output(`ls ${at}/..`)).not.toContain('nine, read-only')
  })

  it.each([
    ['virtiofs', 'fast-ro', 'fast, read-only', ''],
    ['9p', 'nine-ro', 'nine, read-only', '-o trans=virtio,version=9p2000.L'],
  ])('a folder shared read-only by %s is read and not written', async (type, tag, name, options) => {
    const at = `/tmp/${tag}`
    await shell().output(`mkdir ${at} && mount -t ${type} ${options} ${tag} ${at}`)
    expect(await shell().output(`cat ${at}/greeting`)).toBe(`hello from ${name}`)
    const { status, output } = await shell().run(`echo x >${at}/greeting`)
    expect(status).not.toBe(0)
    expect(output).toMatch(/Read-only file system/)
    expect((await shell().run(`rm ${at}/greeting`)).status).not.toBe(0)
    expect(readFileSync(join(dir(name), 'greeting'), 'utf8')).toBe(`hello from ${name}\n`)
  })

  // Last: the guest stands still afterwards.
  it('a watchdog that nobody winds up pauses the guest', async () => {
    await shell().until('ls /dev/watchdog', /watchdog/)
    shell().send('watchdog -F -T 2 -t 600 /dev/watchdog\n')
    expect((await guest().event('WATCHDOG', 120_000)).data).toMatchObject({ action: 'pause' })
    expect(await guest().qmp.execute('query-status')).toMatchObject({ status: 'watchdog', running: false })
  })
})

describe('pc with qxl, AC97, USB 2 and its companions', () => {
  const { guest, shell } = booted(() => ({
    ...small(),
    machine: 'pc',
    display: 'qxl',
    displayResolution: { width: 1024, height: 768 },
    displayMemoryMiB: 32,
    usbController: 'ehci',
    inputs: [{ type: 'mouse', bus: 'usb' }],
    sound: 'ac97',
    watchdog: { model: 'i6300esb', action: 'none' },
  }))

  it('everything is where the definition puts it', async () => {
    const pci = await shell().output('lspci')
    expect(pci).toMatch(/:02\.0 030000 1b36:0100 .* qxl$/m)
    expect(pci).toMatch(/:0b\.0 0c0300 8086:2934 .* uhci_hcd$/m)
    expect(pci).toMatch(/:0b\.2 0c0300 8086:2936 .* uhci_hcd$/m)
    expect(pci).toMatch(/:0b\.7 0c0320 8086:293a .* ehci-pci$/m)
    expect(pci).toMatch(/:0e\.0 040100 8086:2415 .* snd_intel8x0$/m)
    expect(pci).toMatch(/:0f\.0 088000 8086:25ab .* i6300ESB timer$/m)
  })

  it('one output, memory of the chosen size', async () => {
    expect(await shell().output(CONNECTORS)).toMatch(/^card0-Virtual-1 connected 1024x768$/m)
    const memory = { path: '/machine/peripheral/video0', property: 'vgamem_mb' }
    expect(await guest().qmp.execute('qom-get', memory)).toBe(32)
  })

  it('slow USB devices are driven by the companions', async () => {
    const usb = await shell().until('lsusb', /QEMU USB Mouse/)
    for (const name of ['Tablet', 'Keyboard', 'Mouse']) expect(usb).toMatch(new RegExp(`usbhid QEMU USB ${name}$`, 'm'))
  })

  it('the sound card is there', async () => {
    await shell().until('cat /proc/asound/cards', /Intel 82801AA-ICH/)
  })
})

describe('virtio-gpu, a virtio console for the serial line, a NEC controller, the watchdog of the chipset', () => {
  const { guest, shell } = booted(() => ({
    ...small('console=hvc0'),
    display: 'virtio-gpu',
    displayHeads: 3,
    displayResolution: { width: 1600, height: 900 },
    serialDevice: 'virtconsole',
    usbController: 'nec-usb-xhci',
    usbPorts: 6,
    ps2: false,
    iommu: 'virtio',
    watchdog: { model: 'itco', action: 'reset' },
  }))

  it('the shell of the serial console runs on hvc0', async () => {
    expect(await shell().output('readlink /proc/$$/fd/0')).toBe('/dev/hvc0')
    expect(await shell().output('cat /sys/class/tty/console/active')).toContain('hvc0')
  })

  it('the card has three outputs and no VGA part', async () => {
    expect(await shell().output('lspci')).toMatch(/ 038000 1af4:1050 .* virtio-pci\/virtio_gpu$/m)
    const connectors = await shell().output(CONNECTORS)
    expect(connectors).toMatch(/^card0-Virtual-1 connected 1600x900$/m)
    expect(connectors).toMatch(/^card0-Virtual-3 disconnected/m)
    expect(await screenSize(guest())).toEqual([1600, 900])
  })

  it('the paravirtual IOMMU is there', async () => {
    expect(await shell().output('lspci')).toMatch(/^0000:00:\S+ 00ff00 1af4:1057 /m)
  })

  it('USB alone has a keyboard, on six ports', async () => {
    expect(await shell().output('lspci')).toMatch(/ 0c0330 1033:0194 .* xhci_hcd$/m)
    expect(await shell().output('cat /sys/bus/usb/devices/usb1/maxchild')).toBe('6')
    const inputs = await shell().output(INPUTS)
    expect(inputs).toContain('QEMU QEMU USB Keyboard')
    expect(inputs).not.toContain('AT Translated')
  })

  it('a watchdog that nobody winds up resets the guest', async () => {
    await shell().until('ls /dev/watchdog', /watchdog/)
    shell().send('watchdog -F -T 4 -t 600 /dev/watchdog\n')
    expect((await guest().event('WATCHDOG', 120_000)).data).toMatchObject({ action: 'reset' })
    await guest().event('RESET', 60_000)
  })
})

describe('screens for firmware and boot loaders', () => {
  it(
    'the standard card shows the chosen size, and has the memory for it',
    async () => {
      await using guest = await CompiledGuest.start({
        ...small(),
        display: 'std',
        displayResolution: { width: 1440, height: 900 },
        displayMemoryMiB: 64,
        usbController: 'uhci',
      })
      const shell = await guest.boot(BOOT_TIMEOUT_MS)
      expect(await shell.output(CONNECTORS)).toMatch(/^card0-Virtual-1 connected 1440x900$/m)
      expect(await screenSize(guest)).toEqual([1440, 900])
      const pci = await shell.output('lspci')
      expect(pci).toMatch(/:0b\.0 0c0300 8086:7020 .* uhci_hcd$/m)
      const size = 'set -- $(sed -n 1p /sys/bus/pci/devices/0000:00:01.0/resource); echo $((($2 - $1 + 1) >> 20))'
      expect(await shell.output(size)).toBe('64')
      await shell.until('lsusb', /usbhid QEMU USB Tablet$/m)
    },
    TEST_TIMEOUT_MS,
  )

  it(
    'the card without VGA is driven by its own driver; a serial port on a PCI card carries the console',
    async () => {
      await using guest = await CompiledGuest.start({
        ...small(),
        serialDevice: 'pci-serial',
        display: 'bochs',
        displayResolution: { width: 800, height: 600 },
        usbInput: false,
      })
      const shell = await guest.boot(BOOT_TIMEOUT_MS)
      const pci = await shell.output('lspci')
      expect(pci).toMatch(/ 038000 1234:1111 .* bochs-drm$/m)
      expect(pci).toMatch(/ 070002 1b36:0002 .* serial$/m)
      expect(await shell.output(CONNECTORS)).toMatch(/^card0-Virtual-1 connected 800x600$/m)
      expect(await screenSize(guest)).toEqual([800, 600])
    },
    TEST_TIMEOUT_MS,
  )

  it(
    'a frame buffer without any card shows what UEFI draws, and the guest takes it over',
    async () => {
      const forUefi = { ...small(), directKernel: await ensureDeviceGuest() }
      await using guest = await CompiledGuest.start({ ...forUefi, display: 'ramfb', firmware: 'uefi', usbInput: false })
      const shell = await guest.boot(BOOT_TIMEOUT_MS)
      expect(await shell.output('lspci')).not.toMatch(/ 03[0-9a-f]{4} /)
      expect(await shell.output('cat /proc/fb')).toMatch(/^0 /)
      const [width = 0, height = 0] = (await screenSize(guest)) ?? []
      expect(await shell.output('cat /sys/class/graphics/fb0/virtual_size')).toBe(`${width},${height}`)
    },
    TEST_TIMEOUT_MS,
  )
})
