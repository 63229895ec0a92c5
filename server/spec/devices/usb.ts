/**
 * The USB controller, there when something is plugged into it.
 *
 * QEMU's docs/system/devices/usb.rst and hw/usb (hcd-xhci-pci.c, hcd-xhci-nec.c, hcd-ehci-pci.c, hcd-uhci.c). An EHCI
 * controller drives high-speed devices only, so three UHCI companions share its ports, as on the real ICH9
 * (docs/config/ich9-ehci-uhci.cfg).
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf, slotPlace } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { type Json, jsonOption } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

/** The bus USB devices are plugged into. */
export const USB_BUS = `${QEMU_IDS.usb}.0`

/** Fields that ask for a USB controller, in the order of the spec. */
export function usbUsers(spec: VmSpec): string[] {
  return [
    ...spec.disks.flatMap((drive, n) => (drive.bus === 'usb' ? [`disks.${n}.bus`] : [])),
    ...spec.networks.flatMap((card, n) => (card.model === 'usb-net' ? [`networks.${n}.model`] : [])),
    ...(spec.usbInput ? ['usbInput'] : []),
    ...spec.inputs.flatMap((device, n) => (device.bus === 'usb' ? [`inputs.${n}.bus`] : [])),
    ...spec.hostDevices.flatMap((device, n) =>
      device.type === 'usb-id' || device.type === 'usb-port' ? [`hostDevices.${n}.type`] : [],
    ),
  ]
}

/** How many ports the chosen controller has: what `port` of a USB device may be. */
export function usbPortCount(spec: Pick<VmSpec, 'usbController' | 'usbPorts'>): number {
  switch (spec.usbController) {
    case 'qemu-xhci':
    case 'nec-usb-xhci':
      return spec.usbPorts
    case 'ehci':
      return 6
    case 'uhci':
      return 2
    case 'none':
      return 0
  }
}

/** QEMU's ports of each kind when nothing is said. */
const XHCI_DEFAULT_PORTS = 4

/** Devices the controller is made of: the one with the ports first. */
export function usbControllerDrivers(spec: Pick<VmSpec, 'usbController'>): string[] {
  switch (spec.usbController) {
    case 'qemu-xhci':
    case 'nec-usb-xhci':
      return [spec.usbController]
    case 'ehci':
      return ['ich9-usb-ehci1', 'ich9-usb-uhci1', 'ich9-usb-uhci2', 'ich9-usb-uhci3']
    case 'uhci':
      return ['piix3-usb-uhci']
    case 'none':
      return []
  }
}

const ABOUT = {
  'qemu-xhci': { what: 'A USB 3 controller.', why: 'Drives every speed, and costs no CPU time while nothing moves.' },
  'nec-usb-xhci': {
    what: 'A USB 3 controller as NEC made it.',
    why: 'For systems that know only this one, such as Windows 7 with its driver.',
  },
  ehci: {
    what: 'A USB 2 controller (ICH9).',
    why: 'For systems without a driver for USB 3. It wakes the host often, so an idle guest costs some CPU time.',
  },
  uhci: {
    what: 'A USB 1 controller (PIIX3) with two ports.',
    why: 'For systems older than USB 2. Slow, and it wakes the host a thousand times a second.',
  },
} as const

export function usbControllerOptions({ spec }: CompileInput): PlannedOption[] {
  if (usbUsers(spec).length === 0 || spec.usbController === 'none' || familyOf(spec.machine) === 'microvm') return []
  const group = 'input'
  const field = '/usbController'
  const place = slotPlace(spec, 'usb')
  const about = { group, ...ABOUT[spec.usbController], origin: 'default', field } as const
  const [driver = '', ...companions] = usbControllerDrivers(spec)
  if (companions.length === 0) {
    const isXhci = spec.usbController !== 'uhci'
    const ports: Readonly<Record<string, Json>> =
      isXhci && spec.usbPorts !== XHCI_DEFAULT_PORTS ? { p2: spec.usbPorts, p3: spec.usbPorts } : {}
    return [jsonOption('-device', { driver, id: QEMU_IDS.usb, ...place, ...ports }, about)]
  }
  const at = (fn: number) => ('bus' in place ? { bus: place.bus, addr: `${place.addr}.0x${fn}` } : {})
  return [
    jsonOption('-device', { driver, id: QEMU_IDS.usb, ...at(7) }, about),
    ...companions.map((companion, n) =>
      jsonOption(
        '-device',
        {
          driver: companion,
          id: `${QEMU_IDS.usb}.uhci${n + 1}`,
          ...at(n),
          ...(n === 0 ? { multifunction: true } : {}),
          masterbus: USB_BUS,
          firstport: n * 2,
        },
        {
          ...about,
          what: `Drives the slow devices on ports ${n * 2 + 1} and ${n * 2 + 2} of the USB 2 controller.`,
          why: 'A USB 2 controller leaves keyboards, tablets and the like to a companion, as in real computers.',
        },
      ),
    ),
  ]
}
