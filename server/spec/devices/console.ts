/** Screen, pointer and keyboard, serial console. */
import { QEMU_IDS, SLOTS } from '../ids.ts'
import { escapeCommas, jsonOption, option, socketChardev } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

export function displayOptions({ spec, paths }: CompileInput): PlannedOption[] {
  const group = 'display'
  const field = '/display'
  const noWindow = option(['-display', 'none'], {
    group,
    what: 'Opens no window on the host.',
    why: 'The screen is shown in the browser.',
    origin: 'plumbing',
  })
  if (spec.display === 'none') return [noWindow]
  return [
    jsonOption(
      '-device',
      {
        driver: spec.display === 'virtio-vga' ? 'virtio-vga' : 'VGA',
        id: QEMU_IDS.video,
        bus: 'pcie.0',
        addr: SLOTS.video,
      },
      {
        group,
        what:
          spec.display === 'virtio-vga'
            ? 'A virtio graphics card that is also a plain VGA card until the guest loads its driver.'
            : "QEMU's standard VGA card.",
        why:
          spec.display === 'virtio-vga'
            ? 'Works in every boot loader, and modern guests can follow the size of the window.'
            : 'Every system has a driver for it.',
        origin: 'default',
        field,
      },
    ),
    noWindow,
    option(['-vnc', `unix:${escapeCommas(paths.vnc)},id=${QEMU_IDS.vnc},display=${QEMU_IDS.video},share=ignore`], {
      group,
      what: 'Offers the screen over VNC on a socket that only the dashboard can open; viewers share it.',
      why: 'Viewers come through the dashboard, which checks who they are. No network port is opened, and no viewer can cut off another.',
      origin: 'security',
      field,
    }),
  ]
}

export function inputOptions({ spec }: CompileInput): PlannedOption[] {
  if (!spec.usbInput) return []
  const group = 'input'
  const field = '/usbInput'
  return [
    jsonOption(
      '-device',
      { driver: 'qemu-xhci', id: QEMU_IDS.usb, bus: 'pcie.0', addr: SLOTS.usb },
      {
        group,
        what: 'A USB 3 controller.',
        why: 'The tablet and the keyboard are plugged into it.',
        origin: 'default',
        field,
      },
    ),
    jsonOption(
      '-device',
      { driver: 'usb-tablet', id: QEMU_IDS.tablet, bus: `${QEMU_IDS.usb}.0`, port: '1' },
      {
        group,
        what: 'A USB tablet: a pointer that knows where on the screen it is.',
        why: "A mouse only knows how far it moved, so its pointer would drift away from the browser's.",
        origin: 'default',
        field,
      },
    ),
    jsonOption(
      '-device',
      { driver: 'usb-kbd', id: QEMU_IDS.keyboard, bus: `${QEMU_IDS.usb}.0`, port: '2' },
      {
        group,
        what: 'A USB keyboard.',
        why: 'For systems without a driver for the old PS/2 keyboard, which is there as well.',
        origin: 'default',
        field,
      },
    ),
  ]
}

export function serialOptions({ spec, paths }: CompileInput): PlannedOption[] {
  if (!spec.serial) return []
  const group = 'serial'
  const field = '/serial'
  return [
    socketChardev(QEMU_IDS.serialChardev, paths.serial, {
      group,
      what: 'The far end of the serial line: a socket that only the dashboard can open.',
      why: 'The dashboard reads it all the time and keeps what it said, so that a line nobody watches never stops the guest.',
      origin: 'plumbing',
      field,
    }),
    jsonOption(
      '-device',
      { driver: 'isa-serial', id: QEMU_IDS.serialPort, chardev: QEMU_IDS.serialChardev, index: 0 },
      {
        group,
        what: 'The first serial port (COM1, ttyS0).',
        why: 'A text console that works before any driver does, and when the screen does not.',
        origin: 'default',
        field,
      },
    ),
  ]
}
