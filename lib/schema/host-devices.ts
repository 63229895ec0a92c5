/** What of the host's own hardware could be given to a guest, and what stands in the way. */
import * as z from 'zod'

/** Whether a device can be handed to a guest as it is now. */
const Assignable = {
  assignable: z.boolean(),
  /** Why not, in one sentence; null when it can be. */
  reason: z.string().nullable(),
}

export const PciDevice = z
  .strictObject({
    /** Domain, bus, slot and function: `0000:03:00.0`. */
    address: z.string(),
    /** Class, subclass and interface, six hexadecimal digits: `030000`. */
    classCode: z.string(),
    className: z.string(),
    /** Four hexadecimal digits. */
    vendorId: z.string(),
    deviceId: z.string(),
    /** Null when pci.ids is not installed or does not know it. */
    vendorName: z.string().nullable(),
    deviceName: z.string().nullable(),
    /** Kernel driver bound to it; null when none. */
    driver: z.string().nullable(),
    /** Null without an IOMMU. */
    iommuGroup: z.int().nullable(),
    /** Devices that go along: the others of the group, bridges aside. Addresses. */
    groupWith: z.array(z.string()),
    isBridge: z.boolean(),
    /** The display the firmware started with. */
    bootVga: z.boolean(),
    /** What the host uses it for now, in words: `eth0 (up)`, `nvme0n1 (mounted at /)`. */
    usedFor: z.array(z.string()),
    numaNode: z.int().nullable(),
    /** Virtual functions it can have and has; null when it has no such ability. */
    sriov: z.strictObject({ total: z.int(), functions: z.array(z.string()) }).nullable(),
    /** Address of the physical function this one is a virtual function of. */
    physicalFunction: z.string().nullable(),
    ...Assignable,
  })
  .meta({ id: 'PciDevice' })
export type PciDevice = z.output<typeof PciDevice>

export const UsbDevice = z
  .strictObject({
    /** Bus and ports on the way: `1-4.2`. Stays with the socket, whatever is plugged in. */
    path: z.string(),
    bus: z.int(),
    /** Ports from the root hub, as QEMU's `hostport`: `4.2`. Empty for a root hub. */
    port: z.string(),
    /** Number on the bus; changes with every plugging. */
    address: z.int(),
    /** Four hexadecimal digits. */
    vendorId: z.string(),
    productId: z.string(),
    /** As the device calls itself, else by usb.ids; null when neither tells. */
    vendorName: z.string().nullable(),
    productName: z.string().nullable(),
    speedMbps: z.number().nullable(),
    isHub: z.boolean(),
    /** What it does, by its interfaces: `keyboard`, `storage`, `audio`. */
    kinds: z.array(z.string()),
    /** Kernel drivers bound to its interfaces. */
    drivers: z.array(z.string()),
    usedFor: z.array(z.string()),
    ...Assignable,
  })
  .meta({ id: 'UsbDevice' })
export type UsbDevice = z.output<typeof UsbDevice>

export const MdevType = z
  .strictObject({
    /** PCI address or name of the device that is divided. */
    parent: z.string(),
    id: z.string(),
    name: z.string().nullable(),
    description: z.string().nullable(),
    available: z.int(),
  })
  .meta({ id: 'MdevType' })
export type MdevType = z.output<typeof MdevType>

export const MdevInstance = z
  .strictObject({
    uuid: z.string(),
    parent: z.string().nullable(),
    type: z.string().nullable(),
    iommuGroup: z.int().nullable(),
  })
  .meta({ id: 'MdevInstance' })
export type MdevInstance = z.output<typeof MdevInstance>

export const HugePages = z
  .strictObject({
    sizeKiB: z.int(),
    total: z.int(),
    free: z.int(),
    nodes: z.array(z.strictObject({ node: z.int(), total: z.int(), free: z.int() })),
  })
  .meta({ id: 'HugePages' })
export type HugePages = z.output<typeof HugePages>

export const NumaNode = z
  .strictObject({
    node: z.int(),
    cpus: z.array(z.int()),
    memoryMiB: z.number(),
    freeMiB: z.number(),
    /** To every node in their order; 10 is itself. */
    distances: z.array(z.int()),
  })
  .meta({ id: 'NumaNode' })
export type NumaNode = z.output<typeof NumaNode>

/** One logical processor, for pinning. */
export const HostCpu = z
  .strictObject({
    cpu: z.int(),
    online: z.boolean(),
    /** Null when offline: the kernel then does not tell. */
    socket: z.int().nullable(),
    core: z.int().nullable(),
    /** The logical processors of its core, itself included. */
    threads: z.array(z.int()),
    node: z.int().nullable(),
    /** Taken out of the scheduler for others (`isolcpus`). */
    isolated: z.boolean(),
  })
  .meta({ id: 'HostCpu' })
export type HostCpu = z.output<typeof HostCpu>

export const KernelDevice = z
  .strictObject({
    id: z.enum(['kvm', 'tun', 'vhost-net', 'vhost-vsock', 'vfio']),
    path: z.string(),
    present: z.boolean(),
    /** Whether the user QEMU runs as may open it for reading and writing. */
    opens: z.boolean(),
    /** What it is for. */
    purpose: z.string(),
    detail: z.string(),
    /** Shell command that brings it; null when nothing to mend or unknown. */
    command: z.string().nullable(),
  })
  .meta({ id: 'KernelDevice' })
export type KernelDevice = z.output<typeof KernelDevice>

export const HostInterface = z
  .strictObject({
    name: z.string(),
    kind: z.enum(['bridge', 'tap', 'bond', 'vlan', 'physical', 'virtual', 'loopback']),
    up: z.boolean(),
    mac: z.string().nullable(),
    mtu: z.int().nullable(),
    /** The bridge or bond it belongs to. */
    master: z.string().nullable(),
    /** Of a bridge or bond: its members. */
    members: z.array(z.string()),
  })
  .meta({ id: 'HostInterface' })
export type HostInterface = z.output<typeof HostInterface>

export const HostDevices = z
  .strictObject({
    iommu: z.strictObject({
      enabled: z.boolean(),
      groups: z.int(),
      /** What was seen, and when it is off what to do about it. */
      reason: z.string(),
    }),
    pci: z.array(PciDevice),
    usb: z.array(UsbDevice),
    mdev: z.strictObject({ types: z.array(MdevType), instances: z.array(MdevInstance) }),
    hugePages: z.array(HugePages),
    numa: z.array(NumaNode),
    cpus: z.array(HostCpu),
    kernel: z.array(KernelDevice),
    interfaces: z.array(HostInterface),
  })
  .meta({ id: 'HostDevices' })
export type HostDevices = z.output<typeof HostDevices>
