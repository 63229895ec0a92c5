import { existsSync, statSync } from 'node:fs'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  AT_PROMPT,
  ensureGuestIso,
  ensureGuestKernel,
  ensureHaltRom,
  KERNEL_COMMAND_LINE,
  READY_TEXT,
} from './build.ts'
import { PlainQemu } from './plain-qemu.ts'

const BOOT_TIMEOUT_MS = 90_000
const UEFI_CODE = '/usr/share/OVMF/OVMF_CODE_4M.fd'
/** The devices of the default machine that a guest sees: SATA CD, virtio-vga, USB keyboard. */
const DEFAULT_DEVICES = ['-device', 'virtio-vga', '-device', 'qemu-xhci', '-device', 'usb-kbd', '-device', 'usb-tablet']

let guest: PlainQemu | undefined
afterEach(async () => {
  await guest?.stop()
  guest = undefined
})

async function booted(args: readonly string[], memoryMiB = 256) {
  guest = PlainQemu.start(args, memoryMiB)
  const serial = await guest.connect('ser')
  await serial.expect(new RegExp(`${READY_TEXT}[^]*${AT_PROMPT.source}`), BOOT_TIMEOUT_MS)
  return { guest, serial }
}

describe('the live ISO', () => {
  let iso: string
  beforeAll(async () => {
    iso = await ensureGuestIso()
  })
  const boot = () => booted([...DEFAULT_DEVICES, '-cdrom', iso])

  it('is small and anybody may read it', () => {
    const { size, mode } = statSync(iso)
    expect(size).toBeLessThan(60_000_000)
    expect(mode & 0o444).toBe(0o444)
  })

  it('runs commands typed on the serial line and on the screen, and ends by its own poweroff', async () => {
    const { guest, serial } = await boot()
    expect(await serial.command('echo $((6 * 7)); tty')).toBe('42\n/dev/ttyS0')
    expect(await serial.command('ls /dev/sr0 /dev/fb0 /dev/dri/card0')).toContain('/dev/sr0')

    const typed = 'echo typed $(tty) > /dev/ttyS0\n'
    await guest.qmp(...typed.split('').map((key) => ({ execute: 'send-key', arguments: { keys: qcodes(key) } })))
    await serial.expect(/typed \/dev\/tty1/, 20_000)

    serial.send('poweroff -f\n')
    expect(await guest.exited).toBe(0)
  })

  it.skipIf(!existsSync(UEFI_CODE))('boots under UEFI as well', async () => {
    const firmware = ['-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${UEFI_CODE}`]
    // GRUB takes a quarter of what UEFI leaves free, and must fit kernel and initramfs into it.
    const { serial } = await booted([...firmware, ...DEFAULT_DEVICES, '-cdrom', iso], 512)
    expect(await serial.command('ls -d /sys/firmware/efi')).toBe('/sys/firmware/efi')
  })
})

describe('the kernel for virtio machines', () => {
  const boot = async () => {
    const { vmlinuz, initrd } = await ensureGuestKernel('cloud')
    return booted(['-kernel', vmlinuz, '-initrd', initrd, '-append', KERNEL_COMMAND_LINE])
  }

  it('boots without firmware or disk and is switched off by the power button', async () => {
    const { guest, serial } = await boot()
    expect(await serial.command('uname -r')).toMatch(/cloud/)
    await guest.qmp({ execute: 'system_powerdown' })
    await serial.expect(/power button pressed/, 20_000)
    expect(await guest.exited).toBe(0)
  })

  it('answers through the guest agent and is switched off by it', async () => {
    const { guest } = await boot()
    const agent = await guest.connect('qga')
    agent.send('{"execute":"guest-get-osinfo"}\n')
    const [answer] = await agent.expect(/^\{"return".*$/m, 20_000)
    expect(JSON.parse(answer)).toMatchObject({ return: { id: 'testguest' } })
    agent.send('{"execute":"guest-shutdown"}\n')
    expect(await guest.exited).toBe(0)
  })
})

describe('the halting firmware', () => {
  it('runs, halts and stays', async () => {
    guest = PlainQemu.start(['-bios', ensureHaltRom()], 16)
    const halting = guest
    // QMP may answer before the vCPU has run its first instruction.
    const registers = async () =>
      JSON.stringify(
        await halting.qmp({ execute: 'human-monitor-command', arguments: { 'command-line': 'info registers' } }),
      )
    await expect.poll(registers, { timeout: 10_000 }).toMatch(/EIP=0000fff[12] .*HLT=1/)
  })
})

/** Keys of a US keyboard (QKeyCode of QEMU's ui.json) for the characters typed above. */
function qcodes(char: string): { type: 'qcode'; data: string }[] {
  const named: Record<string, string> = {
    ' ': 'spc',
    '\n': 'ret',
    '/': 'slash',
    $: 'shift+4',
    '(': 'shift+9',
    ')': 'shift+0',
    '>': 'shift+dot',
    S: 'shift+s',
  }
  return (named[char] ?? char).split('+').map((data) => ({ type: 'qcode', data }))
}
