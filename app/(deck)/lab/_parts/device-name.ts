/** Devices of the host as bookings name them. */
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { BookableDevice } from '#lib/schema/lab.ts'

/** The same device, the same text. */
export function keyOf(device: BookableDevice): string {
  switch (device.type) {
    case 'pci':
      return device.address
    case 'mdev':
      return device.uuid
    case 'usb-id':
      return `${device.vendor}:${device.product}`
    case 'usb-port':
      return `${device.hostBus}-${device.hostPort}`
  }
}

export interface Choice {
  readonly device: BookableDevice
  readonly name: string
}

/** What of the host a guest could be given. */
export function choicesOf({ pci, usb, mdev }: HostDevices): Choice[] {
  const words = (...parts: readonly (string | null)[]) => parts.filter((part) => part !== null && part !== '').join(' ')
  return [
    ...pci
      .filter(({ isBridge, bootVga }) => !isBridge && !bootVga)
      .map(({ address, deviceName, className }) => ({
        device: { type: 'pci' as const, address },
        name: words(deviceName ?? className, address),
      })),
    ...usb
      .filter(({ isHub }) => !isHub)
      .map(({ vendorId, productId, vendorName, productName }) => ({
        device: { type: 'usb-id' as const, vendor: vendorId, product: productId },
        name: words(vendorName, productName, `${vendorId}:${productId}`),
      })),
    ...mdev.instances.map(({ uuid, type }) => ({ device: { type: 'mdev' as const, uuid }, name: words(type, uuid) })),
  ]
}
