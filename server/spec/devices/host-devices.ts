/**
 * Devices of the host handed to the guest. QEMU's hw/usb/host-libusb.c and docs/system/devices/usb.rst; hw/vfio/pci.c and the
 * kernel's Documentation/driver-api/vfio.rst and vfio-mediated-device.rst.
 */
import type { HostDevice, VmSpec } from '#lib/schema/vm-spec.ts'
import { socketName, socketPlace } from '../bus.ts'
import { jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'
import { USB_BUS } from './usb.ts'

/** QEMU's driver. */
export const hostDeviceDriver = (device: Pick<HostDevice, 'type'>): string =>
  device.type === 'usb-id' || device.type === 'usb-port' ? 'usb-host' : 'vfio-pci'

/** `-device` of one host device. */
function hostDevice(spec: Pick<VmSpec, 'machine'>, device: HostDevice) {
  const driver = hostDeviceDriver(device)
  const { id } = device
  switch (device.type) {
    case 'usb-id':
      return {
        ...{ driver, id, bus: USB_BUS, port: String(device.port) },
        ...{ vendorid: Number.parseInt(device.vendor, 16), productid: Number.parseInt(device.product, 16) },
      }
    case 'usb-port':
      return {
        ...{ driver, id, bus: USB_BUS, port: String(device.port) },
        ...{ hostbus: device.hostBus, hostport: device.hostPort },
      }
    case 'pci':
      return { driver, id, ...socketPlace(spec, device.rootPort), host: device.address }
    case 'mdev':
      return { driver, id, ...socketPlace(spec, device.rootPort), sysfsdev: `/sys/bus/mdev/devices/${device.uuid}` }
  }
}

function about(spec: VmSpec, device: HostDevice): { what: string; why: string } {
  switch (device.type) {
    case 'usb-id':
      return {
        what: `The USB device ${device.vendor}:${device.product} of the host, on USB port ${device.port}.`,
        why: 'Whichever socket it is plugged into, now or later, the guest gets it. The host loses it meanwhile.',
      }
    case 'usb-port':
      return {
        what: `Whatever is plugged into port ${device.hostPort} of the host’s USB bus ${device.hostBus}, on USB port ${device.port}.`,
        why: 'The guest gets every device that is plugged in there. The host loses it meanwhile.',
      }
    case 'pci':
      return {
        what: `The PCI device ${device.address} of the host, on ${socketName(spec, device.rootPort)}.`,
        why: 'The guest drives the real device. The IOMMU keeps it to the guest’s memory, all of which stays in RAM meanwhile.',
      }
    case 'mdev':
      return {
        what: `A share of a host device (mediated device ${device.uuid}), on ${socketName(spec, device.rootPort)}.`,
        why: 'The host’s driver divides one device among several guests.',
      }
  }
}

export function hostDeviceOptions({ spec }: CompileInput): PlannedOption[] {
  return spec.hostDevices.map((device, index) =>
    jsonOption('-device', hostDevice(spec, device), {
      group: 'hostdevices',
      ...about(spec, device),
      origin: 'choice',
      field: `/hostDevices/${index}`,
    }),
  )
}

/** Before the privileges that allow it are gone: VFIO counts all of the guest's memory against this limit. */
export function lockedMemoryOptions({ spec, user }: CompileInput): PlannedOption[] {
  if (user === null || !spec.hostDevices.some((device) => hostDeviceDriver(device) === 'vfio-pci')) return []
  return [
    option(['/bin/sh', '-c', 'ulimit -l unlimited 2>/dev/null; exec "$@"', 'sh'], {
      group: 'process',
      what: 'Lets QEMU keep all of the guest’s memory in RAM, as far as the host allows it.',
      why: 'A real device reads and writes that memory by itself, so none of it may be swapped out.',
      origin: 'plumbing',
      field: '/hostDevices',
    }),
  ]
}
