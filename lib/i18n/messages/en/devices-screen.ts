import { defineMessages } from '../../define.ts'

/** What screen, input, sound and USB choices mean. Families and choices as in `lib/devices/catalogue.ts`. */
export const devicesScreen = defineMessages('devicesScreen', {
  display: {
    name: 'Graphics card',
    what: 'What draws the picture the console shows.',
    choices: {
      'virtio-vga': {
        name: 'virtio-vga',
        what: 'Paravirtual, with plain VGA until the guest’s driver takes over.',
        needs: 'Linux 4.4 or later; Windows gets the driver from the virtio CD and has VGA until then.',
        cost: 'Only changed parts are drawn; follows the size of the window.',
        why: 'Works from the first moment and gets better with the driver.',
      },
      'virtio-gpu': {
        name: 'virtio-gpu',
        what: 'Paravirtual without VGA.',
        needs: 'UEFI, and a guest with the driver.',
        cost: 'As virtio-vga; dark until the driver is there.',
      },
      std: {
        name: 'Standard VGA',
        what: 'Emulates a plain frame buffer with VGA.',
        needs: 'Nothing: every system draws on it.',
        cost: 'The whole picture is compared for changes; sizes are fixed.',
        why: 'Known to every system.',
      },
      qxl: {
        name: 'QXL',
        what: 'Paravirtual, made for SPICE, with VGA.',
        needs: 'Older Linux and Windows 7 have drivers; no longer developed.',
        cost: 'More than virtio-vga over VNC.',
      },
      ramfb: {
        name: 'ramfb',
        what: 'A bare frame buffer in the guest’s memory.',
        needs: 'UEFI.',
        cost: 'One fixed size; no VGA, no driver.',
      },
      bochs: {
        name: 'Bochs display',
        what: 'Standard VGA without the VGA part.',
        needs: 'UEFI or a guest with the bochs driver.',
        cost: 'As standard VGA, with less old hardware to attack.',
      },
      none: { name: 'None', what: 'Firmware and boot loader write to the serial console instead.' },
    },
  },
  displayHeads: { name: 'Monitors', what: 'Outputs of the card. virtio and QXL.' },
  displayResolution: { name: 'First size', what: 'What the card proposes to the guest; the guest may choose another.' },
  displayMemory: { name: 'Video memory', what: 'Memory of the card; empty is what QEMU chooses.' },
  usbInput: {
    name: 'USB tablet and keyboard',
    what: 'The pointer of the console.',
    choices: {
      on: {
        name: 'USB tablet and keyboard',
        what: 'A pointer that is where the browser’s is.',
        needs: 'A USB controller; every system since Windows 2000.',
        cost: 'USB polling, hardly noticed with xHCI.',
        why: 'Without the tablet the pointer drifts.',
      },
    },
  },
  inputType: {
    name: 'Input device',
    what: 'A further pointer or keyboard.',
    choices: {
      tablet: { name: 'Tablet', what: 'A pointer with absolute positions.' },
      keyboard: { name: 'Keyboard', what: 'A further keyboard.' },
      mouse: { name: 'Mouse', what: 'A pointer that only knows how far it moved.' },
      multitouch: { name: 'Touch screen', what: 'Several fingers. virtio only.' },
    },
  },
  inputBus: {
    name: 'Bus of an input device',
    what: 'How the guest finds it.',
    choices: {
      usb: {
        name: 'USB',
        what: 'As a real one would be plugged in.',
        needs: 'A USB controller.',
        cost: 'Polling.',
        why: 'Every system has the driver.',
      },
      virtio: {
        name: 'virtio',
        what: 'Paravirtual: events without polling.',
        needs: 'Linux 4.1 or later; Windows gets vioinput from the virtio CD.',
        cost: 'The least host CPU.',
      },
    },
  },
  ps2: {
    name: 'PS/2 keyboard and mouse',
    what: 'Those of the mainboard; boot loaders and old systems use them.',
    choices: { on: { name: 'PS/2', what: 'Keyboard and mouse of 1987.', needs: 'Nothing.', cost: 'None.' } },
  },
  usbController: {
    name: 'USB controller',
    what: 'What USB devices are plugged into.',
    choices: {
      'qemu-xhci': {
        name: 'xHCI (QEMU)',
        what: 'USB 3 with all speeds, made for virtual machines.',
        needs: 'Windows 8, Linux 2.6.31 or later.',
        cost: 'No polling while nothing moves.',
        why: 'One controller for everything, and it sleeps.',
      },
      'nec-usb-xhci': {
        name: 'xHCI (NEC)',
        what: 'USB 3 as NEC built it.',
        needs: 'Windows 7 with NEC’s driver.',
        cost: 'As xHCI.',
      },
      ehci: {
        name: 'EHCI (USB 2)',
        what: 'USB 2, with companions for slow devices.',
        needs: 'Windows XP or later.',
        cost: 'Polls a thousand times a second while something is plugged in.',
      },
      uhci: {
        name: 'UHCI (USB 1)',
        what: 'USB 1.1 of 1996.',
        needs: 'Windows 98 or later.',
        cost: 'Polls a thousand times a second; slow.',
      },
      none: { name: 'None', what: 'No USB; no tablet, and the pointer drifts.' },
    },
  },
  usbPorts: { name: 'USB ports', what: 'How many devices can be plugged into the controller.' },
  sound: {
    name: 'Sound card',
    what: 'What the guest plays on.',
    choices: {
      none: { name: 'None', what: 'A silent guest.', why: 'Servers need none.' },
      hda: {
        name: 'Intel HDA',
        what: 'Emulates the sound of the ICH9 chipset.',
        needs: 'Windows Vista, Linux: no extra driver.',
        cost: 'Wakes QEMU a hundred times a second while it plays.',
        why: 'Every desktop knows it.',
      },
      ac97: {
        name: 'AC97',
        what: 'Emulates the sound of 1999.',
        needs: 'Windows XP and older Linux.',
        cost: 'As HDA.',
      },
      'virtio-sound': {
        name: 'virtio-sound',
        what: 'Paravirtual.',
        needs: 'QEMU 8.2 and Linux 5.13 or later.',
        cost: 'The least host CPU.',
      },
    },
  },
  clipboard: {
    name: 'Clipboard',
    what: 'Text copied in the browser can be pasted in the guest, and back.',
    choices: {
      on: {
        name: 'Clipboard channel',
        what: 'QEMU’s own vdagent speaks to the agent in the guest.',
        needs: 'spice-vdagent in the guest, on its desktop.',
        cost: 'None; whoever sees the console can read what the guest copies.',
      },
    },
  },
})
