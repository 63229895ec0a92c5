import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureDeviceGuest } from './build.ts'
import { GuestShell } from './guest-shell.ts'
import { PlainQemu } from './plain-qemu.ts'

const device = (properties: object) => ['-device', JSON.stringify(properties)]
const MIB = 2 ** 20

describe('the guest for device tests', () => {
  let guest: PlainQemu
  let shell: GuestShell
  beforeAll(async () => {
    const { kernel, initrd, commandLine } = await ensureDeviceGuest()
    guest = PlainQemu.start([
      ...['-kernel', kernel, '-initrd', initrd, '-append', commandLine],
      ...['-accel', 'tcg,tb-size=512'],
      ...['-m', 'size=384M,slots=2,maxmem=2G', '-smp', '1,sockets=2,maxcpus=2'],
      ...device({ driver: 'pcie-root-port', id: 'rp0', chassis: 1 }),
      ...device({ driver: 'pcie-root-port', id: 'rp1', chassis: 2 }),
      ...['-object', JSON.stringify({ 'qom-type': 'memory-backend-ram', id: 'm0', size: 256 * MIB })],
      ...device({ driver: 'virtio-mem-pci', id: 'vm0', memdev: 'm0' }),
      ...['-blockdev', JSON.stringify({ driver: 'null-co', 'node-name': 'n0', size: MIB, 'read-zeroes': true })],
      ...device({ driver: 'nvme', drive: 'n0', serial: 'nvme-serial' }),
      ...['-netdev', 'user,id=u0', ...device({ driver: 'e1000e', netdev: 'u0', mac: '52:54:00:00:00:01' })],
      ...device({ driver: 'qxl-vga' }),
      ...device({ driver: 'qemu-xhci', id: 'usb' }),
      ...device({ driver: 'usb-tablet', bus: 'usb.0' }),
      ...['-audiodev', 'none,id=a0', ...device({ driver: 'AC97', audiodev: 'a0' })],
      ...device({ driver: 'i6300esb' }),
    ])
    shell = await GuestShell.over(await guest.connect('ser'))
  })
  afterAll(async () => {
    shell?.close()
    await guest?.stop()
  })

  const qmp = async (execute: string, args: object) => {
    const [reply] = await guest.qmp({ execute, arguments: args })
    expect(reply).toHaveProperty('return')
  }

  it('has a driver for everything on its buses', async () => {
    const pci = await shell.output('lspci')
    for (const line of [
      / 010802 1b36:0010 .* nvme$/m,
      / 078000 1af4:1003 .* virtio-pci\/virtio_console$/m,
      / 020000 8086:10d3 .* e1000e$/m,
      / 030000 1b36:0100 1af4:1100 qxl$/m,
      / 040100 8086:2415 .* snd_intel8x0$/m,
      / 0c0330 1b36:000d .* xhci_hcd$/m,
      / 088000 8086:25ab .* i6300ESB timer$/m,
    ]) {
      expect(pci).toMatch(line)
    }
    await shell.until('lsusb', /^\S+ 0627:0001 \d+ usbhid QEMU USB Tablet$/m)
    await shell.until('cat /sys/block/nvme0n1/device/serial', /^nvme-serial/)
    await shell.until('cat /proc/asound/cards', /Intel 82801AA-ICH/)
    await shell.until('ip -o -4 address', /10\.0\.2\.15/)
  })

  it('takes processors, memory, network cards, USB devices and ports into use that are plugged in', async () => {
    await qmp('device_add', { driver: 'max-x86_64-cpu', id: 'c1', 'socket-id': 1, 'core-id': 0, 'thread-id': 0 })
    await qmp('object-add', { 'qom-type': 'memory-backend-ram', id: 'd0', size: 128 * MIB })
    await qmp('device_add', { driver: 'pc-dimm', id: 'dimm0', memdev: 'd0' })
    await qmp('qom-set', { path: '/machine/peripheral/vm0', property: 'requested-size', value: 256 * MIB })
    await qmp('netdev_add', { type: 'user', id: 'u1' })
    await qmp('device_add', { driver: 'virtio-net-pci', id: 'nic1', netdev: 'u1', bus: 'rp0' })
    await qmp('device_add', { driver: 'usb-kbd', id: 'kbd', bus: 'usb.0' })
    await qmp('chardev-add', { id: 'null0', backend: { type: 'null', data: {} } })
    await qmp('device_add', { driver: 'virtserialport', id: 'port', chardev: 'null0', name: 'org.example.port' })

    await shell.until('cat /sys/devices/system/cpu/online', /^0-1$/)
    await shell.until('ip -o -4 address', /10\.0\.2\.15.*10\.0\.2\.15/s)
    await shell.until('lsusb', /usbhid QEMU USB Keyboard$/m)
    await shell.until('ls /dev/virtio-ports', /org\.example\.port/)
    // 384 MiB less what the kernel keeps, 128 MiB and 256 MiB more.
    await shell.until("awk '/MemTotal/{print ($2 > 640 * 1024)}' /proc/meminfo", /^1$/)
  })

  it('reports output and status of any command, and ends one that takes too long', async () => {
    expect(await shell.run('printf "%s\\n" "it\'s" \'$HOME\\\'\nls /none')).toEqual({
      output: "it's\n$HOME\\\nls: /none: No such file or directory",
      status: 1,
    })
    const long = 'x'.repeat(3000)
    expect(await shell.output(`echo ${long}é`)).toBe(`${long}é`)
    await expect(shell.run('sleep 1000', 1_000)).rejects.toThrow('"sleep 1000" did not end')
    expect(await shell.run('exit 3')).toEqual({ output: '', status: 3 })
  })
})
