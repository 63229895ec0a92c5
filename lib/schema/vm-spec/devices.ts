/** Screen, sound, input, channels, host devices: everything else on the bus. */
import * as z from 'zod'
import { DeviceId, HostPath, RootPort, UsbPort } from './common.ts'

export const Display = z
  .enum(['virtio-vga', 'virtio-gpu', 'std', 'qxl', 'ramfb', 'bochs', 'none'])
  .meta({ id: 'Display' })
export type Display = z.output<typeof Display>

/** What the card tells the guest at first; the guest may choose another. */
export const Resolution = z.strictObject({ width: z.int().min(320).max(8192), height: z.int().min(200).max(8192) })

/** Pointer or keyboard besides those of `usbInput` and the PS/2 ones of the mainboard. */
export const InputDevice = z.strictObject({
  id: DeviceId,
  type: z.enum(['tablet', 'keyboard', 'mouse', 'multitouch']),
  bus: z.enum(['usb', 'virtio']),
  /** Of virtio; null on USB. */
  rootPort: RootPort.nullable(),
  /** USB port; null on virtio. */
  port: UsbPort.nullable(),
})
export type InputDevice = z.output<typeof InputDevice>

/** `hda` is ich9-intel-hda with a duplex codec. */
export const Sound = z.enum(['none', 'hda', 'ac97', 'virtio-sound'])

export const UsbController = z.enum(['qemu-xhci', 'nec-usb-xhci', 'ehci', 'uhci', 'none'])

/** What carries the serial console: COM1, a PCI card, or virtio's hvc0. */
export const SerialDevice = z.enum(['isa-serial', 'pci-serial', 'virtconsole'])

/** A further line between guest and host. `socket`: unix socket in the run directory; `log`: only recorded there. */
export const Channel = z.strictObject({
  id: DeviceId,
  device: z.enum(['isa-serial', 'virtserialport', 'virtconsole']),
  /** Name the guest finds a virtserialport by (/dev/virtio-ports/NAME); null for the others. */
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
    .nullable(),
  backend: z.enum(['socket', 'log']),
  /** COM port 1 to 3 (isa-serial) or virtio-serial port number 2 to 30; pinned. */
  port: z.int().min(1).max(30),
})
export type Channel = z.output<typeof Channel>

/** Address of the guest on the host's vsock; unique on the host. Needs /dev/vhost-vsock. */
export const Vsock = z.strictObject({ cid: z.int().min(3).max(4_294_967_294) })

export const Watchdog = z.strictObject({
  model: z.enum(['i6300esb', 'itco']),
  action: z.enum(['reset', 'shutdown', 'poweroff', 'pause', 'inject-nmi', 'none']),
})

/** Directory of the host that the guest may mount by `tag`; named by an administrator. */
export const Share = z.strictObject({
  id: DeviceId,
  driver: z.enum(['virtiofs', '9p']),
  tag: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,30}$/, 'letters, digits, . _ - (up to 31)'),
  source: HostPath,
  readOnly: z.boolean(),
  rootPort: RootPort,
})
export type Share = z.output<typeof Share>

const Hex4 = z.string().regex(/^[0-9a-f]{4}$/, 'four hexadecimal digits')

/** Any device with this vendor and product, whenever it is plugged in. */
const UsbById = z.strictObject({
  id: DeviceId,
  type: z.literal('usb-id'),
  vendor: Hex4,
  product: Hex4,
  port: UsbPort,
})
/** Whatever is plugged into this port of the host. */
const UsbByPort = z.strictObject({
  id: DeviceId,
  type: z.literal('usb-port'),
  hostBus: z.int().min(1).max(255),
  hostPort: z.string().regex(/^[0-9]{1,3}(\.[0-9]{1,3}){0,5}$/, 'a port path, for example 1.4'),
  port: UsbPort,
})
const PciByAddress = z.strictObject({
  id: DeviceId,
  type: z.literal('pci'),
  address: z.string().regex(/^[0-9a-f]{4}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]$/, 'for example 0000:03:00.0'),
  rootPort: RootPort,
})
const MdevByUuid = z.strictObject({
  id: DeviceId,
  type: z.literal('mdev'),
  uuid: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  rootPort: RootPort,
})

/** A device of the host handed to the guest; administrators only. */
export const HostDevice = z
  .discriminatedUnion('type', [UsbById, UsbByPort, PciByAddress, MdevByUuid])
  .meta({ id: 'HostDevice' })
export type HostDevice = z.output<typeof HostDevice>

/** Id and place may be left out. */
export const HostDeviceInput = z.discriminatedUnion('type', [
  UsbById.partial({ id: true, port: true }),
  UsbByPort.partial({ id: true, port: true }),
  PciByAddress.partial({ id: true, rootPort: true }),
  MdevByUuid.partial({ id: true, rootPort: true }),
])

/** Properties QEMU offers beyond the fields above, by device id; names and types from `device-list-properties`. */
export const DeviceProperties = z.record(
  DeviceId,
  z.record(
    z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/),
    z.union([
      z.boolean(),
      z.number(),
      z
        .string()
        .max(256)
        .regex(/^[\x20-\x7e]*$/),
    ]),
  ),
)
export type DeviceProperties = z.output<typeof DeviceProperties>
