/** USB controllers and what is plugged into them; pointers and keyboards. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf } from '../bus.ts'
import { inputDriver } from '../devices/input.ts'
import { usbControllerDrivers, usbPortCount, usbUsers } from '../devices/usb.ts'
import { usbPortOf } from './places.ts'
import { bad, everyDevice, type NeededType, type SpecProblem } from './problem.ts'

export function checkInput(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const users = usbUsers(spec)
  const [firstUser] = users
  if (familyOf(spec.machine) === 'microvm') {
    for (const field of users)
      problems.push(bad(field, 'microvm has no USB; use virtio devices, or choose another machine type.'))
  } else if (spec.usbController === 'none' && firstUser !== undefined) {
    for (const field of users) problems.push(bad(field, 'This is a USB device, and the VM has no USB controller.'))
  } else {
    const ports = usbPortCount(spec)
    for (const { device, at } of everyDevice(spec)) {
      const port = usbPortOf(device)
      if (port !== null && (port < 1 || port > ports))
        problems.push(
          bad(
            `${at}.port`,
            `The USB controller “${spec.usbController}” has the ports 1 to ${ports}; there is no port ${port}.`,
          ),
        )
    }
  }
  spec.inputs.forEach((device, n) => {
    if (inputDriver(spec, device) === null)
      problems.push(bad(`inputs.${n}.bus`, 'QEMU has touch screens on virtio only; choose the bus “virtio”.'))
    if (device.bus === 'virtio' && device.rootPort === null)
      problems.push(bad(`inputs.${n}.rootPort`, 'A virtio device needs a socket; leave it out to get a free one.'))
    if (device.bus === 'usb' && device.port === null)
      problems.push(bad(`inputs.${n}.port`, 'A USB device needs a port; leave it out to get a free one.'))
  })
  return problems
}

export function inputTypes(spec: VmSpec): NeededType[] {
  const hasUsb = usbUsers(spec).length > 0
  return [
    ...(hasUsb ? usbControllerDrivers(spec).map((driver): NeededType => [driver, 'usbController']) : []),
    ...(spec.usbInput ? (['usb-tablet', 'usb-kbd'] as const).map((type): NeededType => [type, 'usbInput']) : []),
    ...spec.inputs.flatMap((device, n): NeededType[] => {
      const driver = inputDriver(spec, device)
      return driver === null ? [] : [[driver, `inputs.${n}.type`]]
    }),
  ]
}
