/** Host devices: what the definition alone can get wrong. What the host has and who else has it is the engine's to check. */
import type { HostDevice, VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf } from '../bus.ts'
import { hostDeviceDriver } from '../devices/host-devices.ts'
import { bad, claims, type NeededType, type SpecProblem } from './problem.ts'

/** Two entries with the same key are the same thing on the host. */
export function hostDeviceKey(device: HostDevice): string {
  switch (device.type) {
    case 'usb-id':
      return `usb ${device.vendor}:${device.product}`
    case 'usb-port':
      return `usb port ${device.hostBus}-${device.hostPort}`
    case 'pci':
      return `pci ${device.address}`
    case 'mdev':
      return `mdev ${device.uuid}`
  }
}

export function checkHostDevices(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const claim = claims<string>()
  spec.hostDevices.forEach((device, n) => {
    const at = `hostDevices.${n}`
    if (claim(hostDeviceKey(device), at) !== null)
      problems.push(bad(`${at}.type`, 'This device of the host is in the list already.'))
    if ('rootPort' in device && familyOf(spec.machine) === 'microvm')
      problems.push(bad(`${at}.type`, 'microvm has no PCI bus; PCI devices need another machine type.'))
  })
  return problems
}

export function hostDeviceTypes(spec: VmSpec): NeededType[] {
  return spec.hostDevices.map((device, n) => [hostDeviceDriver(device), `hostDevices.${n}.type`])
}
