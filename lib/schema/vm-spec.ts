/**
 * The VM definition as the operator sees it: what is wanted, never what runs.
 *
 * `VmSpecInput` is what create accepts (everything but the name may be omitted);
 * `VmSpec` is the complete stored form, where every choice is visible. `server/spec/normalize.ts`
 * turns the one into the other from the guest kind and the capabilities of the installed QEMU.
 */
import * as z from 'zod'
import { ImageId } from './ids.ts'

/**
 * A name for people, never a file name and never on a command line (QEMU gets the id).
 * Letters and digits of any script, then also spaces and a few marks; no control, format or
 * separator characters, nothing that HTML, shells or QEMU's option parser give a meaning to.
 */
export const VmName = z
  .string()
  .max(64, 'at most 64 characters')
  .regex(
    /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._()#@+-]*$/u,
    'starts with a letter or digit; then letters, digits, spaces and . _ ( ) # @ + - only',
  )
  .refine((s) => !s.endsWith(' '), 'must not end with a space')
  .meta({ id: 'VmName' })

/** Short free label used for grouping and search. */
export const Tag = z.string().regex(/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,31}$/u, 'letters, digits, . _ - (up to 32)')

/** Identifier of a device inside one VM: stable for its life, becomes QEMU's own device id. */
export const DeviceId = z.string().regex(/^[a-z][a-z0-9-]{0,23}$/, 'a-z first, then a-z, 0-9, - (up to 24)')

/** Which defaults suit the guest. `other` is the safe choice for anything unknown. */
export const GuestKind = z.enum(['linux', 'windows', 'bsd', 'other']).meta({ id: 'GuestKind' })
export type GuestKind = z.output<typeof GuestKind>

export const AcceleratorChoice = z.enum(['auto', 'kvm', 'tcg']).meta({ id: 'AcceleratorChoice' })
export type AcceleratorChoice = z.output<typeof AcceleratorChoice>

export const Firmware = z.enum(['bios', 'uefi']).meta({ id: 'Firmware' })
export type Firmware = z.output<typeof Firmware>

/**
 * PCIe root port a hot-pluggable device sits on, pinned at creation: port N is always function N%8 of slot 2+N/8,
 * so no device ever renumbers another and each can later be removed from the running guest.
 */
export const RootPort = z.int().min(0).max(31)

/** Hard disk on virtio-blk. Blank when `image` is null; otherwise a copy-on-write overlay of that library image. */
export const DiskDevice = z.strictObject({
  id: DeviceId,
  device: z.literal('disk'),
  bus: z.enum(['virtio-blk']),
  /** Virtual size in GiB. With an image: at least the image's size. */
  sizeGiB: z.int().min(1).max(65_536),
  image: ImageId.nullable(),
  /** 1 boots first. Null: never booted from. */
  bootIndex: z.int().min(1).max(99).nullable(),
  rootPort: RootPort,
})

/** CD/DVD drive on SATA (AHCI). An empty drive has image null. */
export const CdromDevice = z.strictObject({
  id: DeviceId,
  device: z.literal('cdrom'),
  bus: z.enum(['sata']),
  image: ImageId.nullable(),
  bootIndex: z.int().min(1).max(99).nullable(),
  /** Port on the q35 built-in AHCI controller, 0 to 5. */
  port: z.int().min(0).max(5),
})

export const Drive = z.discriminatedUnion('device', [DiskDevice, CdromDevice]).meta({ id: 'Drive' })
export type Drive = z.output<typeof Drive>

/** Unicast MAC, lower case. The first octet's multicast bit must be clear. */
export const MacAddress = z
  .string()
  .regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/, 'unicast MAC address, lower case, for example 52:54:00:12:34:56')

/** One TCP or UDP port of the host's loopback that leads to a port of the guest. */
export const PortForward = z.strictObject({
  protocol: z.enum(['tcp', 'udp']),
  hostPort: z.int().min(1024, 'ports below 1024 are reserved for the host').max(65_535),
  guestPort: z.int().min(1).max(65_535),
})

export const NetworkCard = z
  .strictObject({
    id: DeviceId,
    model: z.enum(['virtio-net']),
    mac: MacAddress,
    /** QEMU's own user-mode network: outgoing connections through the dashboard host, no set-up, no privileges. */
    network: z.enum(['user']),
    /** True: the guest reaches nothing at all, only port forwards lead in. */
    restrict: z.boolean(),
    forwards: z.array(PortForward).max(32),
    rootPort: RootPort,
  })
  .meta({ id: 'NetworkCard' })
export type NetworkCard = z.output<typeof NetworkCard>

export const Display = z.enum(['virtio-vga', 'std', 'none']).meta({ id: 'Display' })

export const VmSpec = z
  .strictObject({
    name: VmName,
    description: z.string().max(4096),
    tags: z.array(Tag).max(32),
    guest: GuestKind,
    /** Virtual CPUs, presented as one socket of that many cores. */
    cpus: z.int().min(1).max(255),
    /** `auto` (host's model under KVM, `max` under TCG) or a model name of this QEMU. */
    cpuModel: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
    memoryMiB: z.int().min(16).max(16_777_216),
    accelerator: AcceleratorChoice,
    /** Versioned q35 machine type, for example `pc-q35-7.2`; decided once at creation. */
    machine: z.string().regex(/^pc-q35-[0-9]+\.[0-9]+(\.[0-9]+)?$/),
    firmware: Firmware,
    disks: z.array(Drive).max(30),
    networks: z.array(NetworkCard).max(8),
    display: Display,
    /** USB tablet and keyboard on an xHCI controller. Without the tablet the pointer drifts from the browser's. */
    usbInput: z.boolean(),
    serial: z.boolean(),
    rng: z.boolean(),
    balloon: z.boolean(),
    /** virtio-serial channel for qemu-guest-agent. */
    agentChannel: z.boolean(),
    /** Empty PCIe root ports kept for devices added while the guest runs. */
    spareRootPorts: z.int().min(0).max(16),
    clock: z.enum(['utc', 'localtime']),
    autostart: z.boolean(),
  })
  .meta({ id: 'VmSpec' })
export type VmSpec = z.output<typeof VmSpec>

const DiskInput = z.strictObject({
  ...DiskDevice.partial().shape,
  device: z.literal('disk'),
})
const CdromInput = z.strictObject({
  ...CdromDevice.partial().shape,
  device: z.literal('cdrom'),
})

/** What create takes. The smallest is a name; the rest gets the default that suits the guest. */
export const VmSpecInput = z
  .strictObject({
    ...VmSpec.partial().shape,
    name: VmName,
    disks: z
      .array(z.discriminatedUnion('device', [DiskInput, CdromInput]))
      .max(30)
      .optional(),
    networks: z.array(z.strictObject(NetworkCard.partial().shape)).max(8).optional(),
  })
  .meta({ id: 'VmSpecInput' })
export type VmSpecInput = z.output<typeof VmSpecInput>

/** What change takes: any subset of create's fields; lists replace whole lists, elements keep their `id`. */
export const VmSpecPatch = z.strictObject({ ...VmSpecInput.partial().shape }).meta({ id: 'VmSpecPatch' })
export type VmSpecPatch = z.output<typeof VmSpecPatch>
