/** Scalars that several device families share. */
import * as z from 'zod'

/** Identifier of a device inside one VM: stable for its life, becomes QEMU's own device id. */
export const DeviceId = z.string().regex(/^[a-z][a-z0-9-]{0,23}$/, 'a-z first, then a-z, 0-9, - (up to 24)')

/**
 * Socket a hot-pluggable PCI device sits on, pinned at creation, so that no device ever renumbers another and each can
 * be removed from the running guest. q35: PCIe root port N, function N%8 of slot 2+N/8. pc: slot 0x10+N of `pci.0`
 * (0 to 14). microvm has no PCI: the number only keeps the order.
 */
export const RootPort = z.int().min(0).max(31)

/** Port of the VM's USB controller, from 1. 1 and 2 belong to the tablet and the keyboard of `usbInput`. */
export const UsbPort = z.int().min(1).max(15)

/** 1 boots first; null: never booted from. Shared by drives and network cards. */
export const BootIndex = z.int().min(1).max(99).nullable()

/** Ranges such as `0-3,8`; at most 256 numbers below 1024. */
export const NumberList = z
  .string()
  .max(200)
  .regex(/^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$/, 'numbers and ranges, for example 0-3,8')

/** Absolute path on the host without control characters; who may name one is the engine's to check. */
export const HostPath = z
  .string()
  .max(1024)
  .regex(/^\/[^\u0000-\u001f\u007f]*$/, 'an absolute path')
