/** Operations: the host. */
import * as z from 'zod'
import { CapabilitiesView, DeviceType, DeviceTypeName, Host } from '../../schema/host.ts'
import { HostDevices } from '../../schema/host-devices.ts'
import { type Operation, op } from '../operation.ts'

export const hostOperations = {
  hostView: op({
    method: 'GET',
    path: '/host',
    summary: 'Capacity, accelerator verdict with evidence, readiness',
    privilege: 'host.view',
    query: z.strictObject({ refresh: z.enum(['true', 'false']).optional() }),
    response: Host,
  }),
  capabilitiesView: op({
    method: 'GET',
    path: '/capabilities',
    summary: 'What the installed QEMU offers',
    privilege: 'host.view',
    response: CapabilitiesView,
  }),
  deviceTypeView: op({
    method: 'GET',
    path: '/capabilities/devices/:type',
    summary: 'Every property of one device, object or machine type of the installed QEMU',
    privilege: 'host.view',
    params: z.strictObject({ type: DeviceTypeName }),
    response: DeviceType,
    errors: ['launch_failed'],
  }),
  hostDeviceList: op({
    method: 'GET',
    path: '/host/devices',
    summary: "The host's own hardware: PCI and USB devices, IOMMU groups, huge pages, NUMA, CPUs, interfaces",
    privilege: 'host.view',
    response: HostDevices,
  }),
} as const satisfies Record<string, Operation>
