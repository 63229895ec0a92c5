/**
 * Pointers and keyboards: those of `usbInput`, and further ones on USB or virtio.
 *
 * QEMU's hw/usb/dev-hid.c and hw/input/virtio-input-hid.c. An absolute pointer (tablet) is what VNC needs, because the
 * browser knows only where its own pointer is.
 */
import type { InputDevice, VmSpec } from '#lib/schema/vm-spec.ts'
import { socketName, socketPlace, virtioDriver } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'
import { USB_BUS } from './usb.ts'

const USB_DRIVERS = { tablet: 'usb-tablet', keyboard: 'usb-kbd', mouse: 'usb-mouse' } as const

/** QEMU's driver; null for a touch screen on USB, which QEMU has not. */
export function inputDriver(spec: Pick<VmSpec, 'machine'>, device: InputDevice): string | null {
  if (device.bus === 'virtio') return virtioDriver(spec, `virtio-${device.type}`)
  return device.type === 'multitouch' ? null : USB_DRIVERS[device.type]
}

const WHAT = {
  tablet: 'a tablet, a pointer that knows where on the screen it is',
  keyboard: 'a keyboard',
  mouse: 'a mouse, a pointer that knows only how far it moved',
  multitouch: 'a touch screen for several fingers',
} as const

const WHY = {
  usb: 'Every system has a driver for USB input devices.',
  virtio: 'Costs less than USB: no controller has to be polled. The guest needs the virtio-input driver.',
} as const

/** `-device` of one further input device. */
function inputDevice(spec: Pick<VmSpec, 'machine'>, device: InputDevice) {
  return {
    driver: inputDriver(spec, device) ?? '',
    id: device.id,
    ...(device.bus === 'virtio'
      ? socketPlace(spec, device.rootPort ?? 0)
      : { bus: USB_BUS, port: String(device.port ?? 0) }),
  }
}

export function inputOptions({ spec }: CompileInput): PlannedOption[] {
  const group = 'input'
  const field = '/usbInput'
  return [
    ...(spec.usbInput
      ? [
          jsonOption(
            '-device',
            { driver: 'usb-tablet', id: QEMU_IDS.tablet, bus: USB_BUS, port: '1' },
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
            { driver: 'usb-kbd', id: QEMU_IDS.keyboard, bus: USB_BUS, port: '2' },
            {
              group,
              what: 'A USB keyboard.',
              why: spec.ps2
                ? 'For systems without a driver for the old PS/2 keyboard, which is there as well.'
                : 'The only keyboard: the PS/2 one was left out.',
              origin: 'default',
              field,
            },
          ),
        ]
      : []),
    ...spec.inputs.map((device, index) =>
      jsonOption('-device', inputDevice(spec, device), {
        group,
        what: `The input device ${device.id}: ${WHAT[device.type]}, on ${
          device.bus === 'usb' ? `USB port ${device.port}` : socketName(spec, device.rootPort ?? 0)
        }.`,
        why: WHY[device.bus],
        origin: 'choice',
        field: `/inputs/${index}`,
      }),
    ),
  ]
}
