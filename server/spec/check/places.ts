/** Names and places that no two devices may share: ids, sockets, USB ports. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf, SOCKETS, socketName } from '../bus.ts'
import { isReservedId } from '../ids.ts'
import { bad, claims, everyDevice, type SpecProblem } from './problem.ts'

/** Every device has its own id, socket and USB port; in the order of the spec. */
export function checkPlaces(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const claimId = claims<string>()
  const claimSocket = claims<number>()
  const claimUsbPort = claims<number>()
  const sockets = SOCKETS[familyOf(spec.machine)]
  if (spec.usbInput) for (const port of [1, 2]) claimUsbPort(port, 'usbInput')
  for (const { device, at } of everyDevice(spec)) {
    if (isReservedId(device.id))
      problems.push(bad(`${at}.id`, `"${device.id}" is a name that the VM's own hardware has; choose another.`))
    else if (claimId(device.id, `${at}.id`) !== null)
      problems.push(bad(`${at}.id`, `Two devices are called "${device.id}"; each needs its own.`))
    if ('rootPort' in device && device.rootPort !== null) {
      if (device.rootPort >= sockets)
        problems.push(
          bad(`${at}.rootPort`, `${spec.machine} has the sockets 0 to ${sockets - 1}; leave it out to get a free one.`),
        )
      else if (claimSocket(device.rootPort, `${at}.rootPort`) !== null) {
        const place = socketName(spec, device.rootPort)
        problems.push(bad(`${at}.rootPort`, `${place} already holds another device; leave it out to get a free one.`))
      }
    }
    const usbPort = usbPortOf(device)
    if (usbPort !== null && claimUsbPort(usbPort, `${at}.port`) !== null)
      problems.push(
        bad(`${at}.port`, `USB port ${usbPort} already holds another device; leave it out to get a free one.`),
      )
  }
  return problems
}

type Device = ReturnType<typeof everyDevice>[number]['device']

/** Port of the VM's USB controller a device is plugged into; null when it is no USB device. */
export function usbPortOf(device: Device): number | null {
  if (!('port' in device) || device.port === null) return null
  if ('type' in device) {
    if (device.type === 'usb-id' || device.type === 'usb-port') return device.port
    return 'bus' in device && device.bus === 'usb' ? device.port : null
  }
  if ('bus' in device) return device.bus === 'usb' ? device.port : null
  return 'model' in device && device.model === 'usb-net' ? device.port : null
}
