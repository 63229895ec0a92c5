/**
 * The VM definition as the operator sees it: what is wanted, never what runs.
 *
 * `VmSpecInput` is what create accepts (everything but the name may be omitted);
 * `VmSpec` is the complete stored form, where every choice is visible. `server/spec/normalize.ts`
 * turns the one into the other from the guest kind and the capabilities of the installed QEMU. Families of devices
 * are in `vm-spec/`; definitions stored by older releases are completed in `vm-spec/upgrade.ts`.
 */
import * as z from 'zod'
import {
  Channel,
  DeviceProperties,
  Display,
  HostDevice,
  HostDeviceInput,
  InputDevice,
  Resolution,
  SerialDevice,
  Share,
  Sound,
  UsbController,
  Vsock,
  Watchdog,
} from './vm-spec/devices.ts'
import { CdromInput, DiskInput, Drive } from './vm-spec/drives.ts'
import {
  CpuFlag,
  CpuPin,
  CpuTopology,
  Dimm,
  DirectKernel,
  Firmware,
  MachineInput,
  MachineName,
  NumaNode,
  Smbios,
  Tpm,
  VirtioMem,
} from './vm-spec/machine.ts'
import { NetworkCard } from './vm-spec/networks.ts'

export { DeviceId, RootPort } from './vm-spec/common.ts'
export * from './vm-spec/devices.ts'
export * from './vm-spec/drives.ts'
export * from './vm-spec/machine.ts'
export * from './vm-spec/networks.ts'

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

/** Which defaults suit the guest. `other` is the safe choice for anything unknown. */
export const GuestKind = z.enum(['linux', 'windows', 'bsd', 'other']).meta({ id: 'GuestKind' })
export type GuestKind = z.output<typeof GuestKind>

export const AcceleratorChoice = z.enum(['auto', 'kvm', 'tcg']).meta({ id: 'AcceleratorChoice' })
export type AcceleratorChoice = z.output<typeof AcceleratorChoice>

export const VmSpec = z
  .strictObject({
    name: VmName,
    description: z.string().max(4096),
    tags: z.array(Tag).max(32),
    guest: GuestKind,
    autostart: z.boolean(),
    accelerator: AcceleratorChoice,

    // Mainboard and firmware
    machine: MachineName,
    firmware: Firmware,
    /** UEFI with enrolled keys: only signed boot loaders start. */
    secureBoot: z.boolean(),
    tpm: Tpm,
    /** Firmware offers its boot menu for a few seconds. */
    bootMenu: z.boolean(),
    smbios: Smbios.nullable(),
    clock: z.enum(['utc', 'localtime']),
    /** Added to the clock when the guest is powered on. */
    clockOffsetSeconds: z.int().min(-3_155_760_000).max(3_155_760_000),
    /** Tells Windows that it runs on a hypervisor it knows, which saves it work. Under KVM. */
    hyperv: z.boolean(),
    iommu: z.enum(['none', 'intel', 'virtio']),
    directKernel: DirectKernel.nullable(),
    /** PS/2 keyboard and mouse of the mainboard. */
    ps2: z.boolean(),
    /** Tells the host of a kernel panic in the guest. */
    pvpanic: z.boolean(),
    /** Tells the guest by a number (VM generation ID) that it is a copy, or went back in time. */
    generationId: z.boolean(),
    /** Empty sockets (PCIe root ports) kept for devices added while the guest runs. */
    spareRootPorts: z.int().min(0).max(16),

    // CPU
    /** Virtual CPUs at power-on. */
    cpus: z.int().min(1).max(255),
    /** Up to how many can be plugged while the guest runs; at least `cpus`. */
    maxCpus: z.int().min(1).max(255),
    /** Null: one socket of `maxCpus` cores. Otherwise sockets × cores × threads = `maxCpus`. */
    topology: CpuTopology.nullable(),
    /** `auto` (host's model under KVM, `max` under TCG) or a model name of this QEMU. */
    cpuModel: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
    cpuFlags: z.array(CpuFlag).max(128),
    pinning: z.array(CpuPin).max(255),
    numa: z.array(NumaNode).max(16),

    // Memory
    memoryMiB: z.int().min(16).max(16_777_216),
    /** Up to how much memory can be plugged in all (DIMMs and virtio-mem); null: none. More than `memoryMiB`. */
    memoryMaxMiB: z.int().min(16).max(16_777_216).nullable(),
    dimms: z.array(Dimm).max(16),
    virtioMem: VirtioMem.nullable(),
    hugePages: z.enum(['none', '2M', '1G']),
    balloon: z.boolean(),
    /** What the balloon leaves to the guest; null: all. */
    balloonTargetMiB: z.int().min(16).max(16_777_216).nullable(),
    freePageReporting: z.boolean(),

    // Its share of the host, where control groups are there
    /** Of the processors' time against other guests while all of it is wanted; everybody's is 100. */
    cpuWeight: z.int().min(1).max(10_000),
    /** At most the time of so many processors; null: of as many as it has. */
    cpuLimit: z.number().min(0.05).max(1024).nullable(),
    /** Of the disks' time against other guests; everybody's is 100. */
    ioWeight: z.int().min(1).max(10_000),
    /** QEMU gets the guest's memory and what it needs itself, and no more. */
    memoryCap: z.boolean(),

    // Drives and networks
    disks: z.array(Drive).max(30),
    networks: z.array(NetworkCard).max(8),

    // Screen, input, sound
    display: Display,
    /** Monitors of the graphics card (virtio and qxl). */
    displayHeads: z.int().min(1).max(16),
    displayResolution: Resolution.nullable(),
    /** Memory of the graphics card; null: QEMU's choice. */
    displayMemoryMiB: z.int().min(1).max(512).nullable(),
    /** USB tablet and keyboard. Without the tablet the pointer drifts from the browser's. */
    usbInput: z.boolean(),
    inputs: z.array(InputDevice).max(8),
    usbController: UsbController,
    /** USB 2 and USB 3 ports each (xHCI). */
    usbPorts: z.int().min(4).max(15),
    sound: Sound,
    /** Text copied in the browser can be pasted in the guest and back (needs spice-vdagent there). */
    clipboard: z.boolean(),

    // Channels and helpers
    serial: z.boolean(),
    serialDevice: SerialDevice,
    channels: z.array(Channel).max(16),
    /** virtio-serial channel for qemu-guest-agent. */
    agentChannel: z.boolean(),
    vsock: Vsock.nullable(),
    rng: z.boolean(),
    watchdog: Watchdog.nullable(),
    shares: z.array(Share).max(8),
    hostDevices: z.array(HostDevice).max(16),

    // For those who know QEMU
    properties: DeviceProperties,
    /** Appended as they are; administrators only, behind GUESTDECK_ALLOW_RAW_ARGS. */
    rawArgs: z.array(z.string().min(1).max(1024)).max(64),
  })
  .meta({ id: 'VmSpec' })
export type VmSpec = z.output<typeof VmSpec>

/** Elements of a list as create and change take them: `id` and places may be left out. */
const partialOf = <S extends z.ZodRawShape>(shape: S) => z.strictObject(shape).partial()

/** What create takes. The smallest is a name; the rest gets the default that suits the guest. */
export const VmSpecInput = z
  .strictObject({
    ...VmSpec.partial().shape,
    name: VmName,
    machine: MachineInput.optional(),
    disks: z
      .array(z.discriminatedUnion('device', [DiskInput, CdromInput]))
      .max(30)
      .optional(),
    networks: z.array(partialOf(NetworkCard.shape)).max(8).optional(),
    inputs: z
      .array(partialOf({ ...InputDevice.shape }))
      .max(8)
      .optional(),
    dimms: z.array(partialOf(Dimm.shape)).max(16).optional(),
    channels: z.array(partialOf(Channel.shape)).max(16).optional(),
    shares: z.array(partialOf(Share.shape)).max(8).optional(),
    hostDevices: z.array(HostDeviceInput).max(16).optional(),
  })
  .meta({ id: 'VmSpecInput' })
export type VmSpecInput = z.output<typeof VmSpecInput>

/** What change takes: any subset of create's fields; lists replace whole lists, elements keep their `id`. */
export const VmSpecPatch = z.strictObject({ ...VmSpecInput.partial().shape }).meta({ id: 'VmSpecPatch' })
export type VmSpecPatch = z.output<typeof VmSpecPatch>
