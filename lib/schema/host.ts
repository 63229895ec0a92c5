/** The host and its virtualization stack, layer by layer, with evidence. */
import * as z from 'zod'

/** One checked fact on the way to the verdict. */
export const EvidenceStep = z
  .strictObject({
    id: z.enum(['cpu-flags', 'kvm-module', 'kvm-device', 'kvm-permission', 'qemu-kvm', 'guest-code']),
    title: z.string(),
    state: z.enum(['ok', 'failed', 'unknown', 'skipped']),
    /** What was seen, in words: the flag found, the mode of the device node, QEMU's message. */
    seen: z.string(),
    /** How to mend it; empty when ok. */
    advice: z.string(),
  })
  .meta({ id: 'EvidenceStep' })
export type EvidenceStep = z.output<typeof EvidenceStep>

export const AcceleratorVerdict = z
  .strictObject({
    /** `usable`: guest code really ran under KVM. `unusable`: KVM opens but cannot run a guest. `absent`: no KVM. `denied`: no permission. */
    kvm: z.enum(['usable', 'unusable', 'absent', 'denied']),
    /** What `auto` takes on this host. */
    auto: z.enum(['kvm', 'tcg']),
    summary: z.string(),
    evidence: z.array(EvidenceStep),
    /** How long the guest-code probe took, milliseconds; null when skipped. */
    probeMs: z.number().nullable(),
    checkedAt: z.iso.datetime(),
    /** What `GUESTDECK_ACCEL` allows `auto` to choose from. */
    policy: z.enum(['auto', 'kvm', 'tcg']),
  })
  .meta({ id: 'AcceleratorVerdict' })
export type AcceleratorVerdict = z.output<typeof AcceleratorVerdict>

export const ReadinessItem = z
  .strictObject({
    id: z.string(),
    title: z.string(),
    /** What it is for, in one sentence. */
    purpose: z.string(),
    need: z.enum(['required', 'optional', 'pick-one']),
    /** Items of one pick-one group share this name. */
    group: z.string().nullable(),
    state: z.enum(['ok', 'missing', 'broken', 'unknown']),
    version: z.string().nullable(),
    detail: z.string(),
    /** Distribution package names that bring it. */
    packages: z.array(z.string()),
    /** Shell command that mends this line; null when nothing to mend or unknown. */
    command: z.string().nullable(),
  })
  .meta({ id: 'ReadinessItem' })
export type ReadinessItem = z.output<typeof ReadinessItem>

/** One layer of the stack as the host page draws it. */
export const StackLayer = z
  .strictObject({
    id: z.enum(['hardware', 'kvm', 'qemu', 'virtio', 'guestdeck']),
    title: z.string(),
    state: z.enum(['ok', 'warning', 'failed', 'unknown']),
    version: z.string().nullable(),
    /** What this layer is, for someone who never heard of it. */
    explains: z.string(),
    detail: z.string(),
  })
  .meta({ id: 'StackLayer' })
export type StackLayer = z.output<typeof StackLayer>

export const Capacity = z
  .strictObject({
    cpus: z.strictObject({ total: z.int(), model: z.string(), load: z.number(), promised: z.int() }),
    memory: z.strictObject({ totalMiB: z.number(), availableMiB: z.number(), promisedMiB: z.number() }),
    disk: z.strictObject({ totalBytes: z.number(), freeBytes: z.number(), promisedBytes: z.number() }),
  })
  .meta({ id: 'Capacity' })
export type Capacity = z.output<typeof Capacity>

/** How browsers reach the dashboard. */
export const Connection = z
  .strictObject({
    scheme: z.enum(['http', 'https']),
    /** `proxy`: other machines, through trusted reverse proxies alone. */
    reach: z.enum(['loopback', 'network', 'proxy']),
    certificate: z
      .strictObject({
        origin: z.enum(['self-signed', 'files', 'acme']),
        names: z.array(z.string()),
        issuer: z.string(),
        selfSigned: z.boolean(),
        /** SHA-256, `AB:CD:…`. */
        fingerprint: z.string(),
        expiresAt: z.iso.datetime(),
      })
      .nullable(),
    state: z.enum(['ok', 'warning', 'failed']),
    /** One or two sentences: what it is, and what to do when it is not well. */
    summary: z.string(),
  })
  .meta({ id: 'Connection' })
export type Connection = z.output<typeof Connection>

export const Host = z
  .strictObject({
    hostname: z.string(),
    os: z.string(),
    kernel: z.string(),
    uptimeSeconds: z.number(),
    guestdeckVersion: z.string(),
    /** Whether QEMU runs under a user of its own (dashboard is root) or shares ours. */
    isolation: z.strictObject({ privileged: z.boolean(), summary: z.string() }),
    connection: Connection,
    accelerator: AcceleratorVerdict,
    stack: z.array(StackLayer),
    readiness: z.array(ReadinessItem),
    /** One command that installs everything missing; null when nothing is. */
    installCommand: z.string().nullable(),
    capacity: Capacity,
    counts: z.strictObject({ vms: z.int(), running: z.int() }),
  })
  .meta({ id: 'Host' })
export type Host = z.output<typeof Host>

/** Whether this host can give a guest something that takes more than QEMU, and what to do when not. */
export const Offer = z
  .strictObject({
    available: z.boolean(),
    /** One sentence; null when available. */
    reason: z.string().nullable(),
    /** Distribution package names that bring it; empty when none does. */
    packages: z.array(z.string()),
    /** Shell command that mends it; null when nothing to mend or unknown. */
    command: z.string().nullable(),
  })
  .meta({ id: 'Offer' })
export type Offer = z.output<typeof Offer>

/** One property of a device, object, machine or CPU type, as QEMU tells it. */
export const DeviceProperty = z
  .strictObject({
    name: z.string(),
    /** QOM type: `bool`, `uint16`, `size`, `str`, `OnOffAuto`, `link<iothread>` and so on. */
    type: z.string(),
    description: z.string().nullable(),
    default: z.union([z.string(), z.number(), z.boolean()]).nullable(),
    /** The only values it takes; null for anything but an enumeration. */
    values: z.array(z.string()).nullable(),
    /** Range of the type, both ends included; null when not a number. The device may want less. */
    min: z.number().nullable(),
    max: z.number().nullable(),
  })
  .meta({ id: 'DeviceProperty' })
export type DeviceProperty = z.output<typeof DeviceProperty>

/** A QOM type name, or one of `q35`, `pc`, `microvm` and `cpu` for the mainboards and the CPU. */
export const DeviceTypeName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/)

export const DeviceType = z
  .strictObject({ type: z.string(), properties: z.array(DeviceProperty) })
  .meta({ id: 'DeviceType' })
export type DeviceType = z.output<typeof DeviceType>

const flag = z.boolean()

/** What the installed QEMU offers, reduced to what forms need. */
export const CapabilitiesView = z
  .strictObject({
    qemuVersion: z.string(),
    binary: z.string(),
    machines: z.array(
      z.strictObject({
        name: z.string(),
        isDefault: z.boolean(),
        deprecated: z.boolean(),
        maxCpus: z.int(),
        /** Null for machines that are none of the three. */
        family: z.enum(['q35', 'pc', 'microvm']).nullable(),
        hotpluggableCpus: z.boolean(),
      }),
    ),
    cpuModels: z.array(
      z.strictObject({
        name: z.string(),
        deprecated: z.boolean(),
        /** Features the model wants and this host cannot give, under the accelerator `auto` takes. */
        missing: z.array(z.string()),
        /** The versioned model this name stands for; null when it is its own. */
        aliasOf: z.string().nullable(),
        /** Whether it stays the same between QEMU versions and hosts; `host` and `max` do not. */
        migrationSafe: z.boolean(),
      }),
    ),
    /** CPU features for single switches; `given`: whether the accelerator `auto` takes can provide it. */
    cpuFlags: z.array(z.strictObject({ name: z.string(), given: z.boolean() })),
    /** Hyper-V enlightenments this QEMU knows, such as `hv-vapic`. They need KVM. */
    hyperv: z.array(z.string()),
    /** Device and object types of this build. */
    devices: z.array(z.string()),
    /** Device and object types whose properties are known without asking QEMU anew. */
    described: z.array(z.string()),
    backends: z.strictObject({
      netdev: z.array(z.string()),
      chardev: z.array(z.string()),
      blockdev: z.array(z.string()),
      audiodev: z.array(z.string()),
      tpm: z.array(z.string()),
    }),
    /** What forms branch on. */
    features: z.strictObject({
      vdagent: flag,
      spice: flag,
      throttleFilter: flag,
      ioUring: flag,
      iothreadVqMapping: flag,
      netdevStream: flag,
      netdevPasst: flag,
      tpmEmulator: flag,
      memoryMemfd: flag,
      iommufd: flag,
      snapshotSave: flag,
      /** Under KVM always; under TCG only where QEMU survives it. By the accelerator `auto` takes. */
      cpuUnplug: flag,
    }),
    firmware: z.strictObject({ bios: z.boolean(), uefi: z.boolean(), secureBoot: z.boolean(), microvm: z.boolean() }),
    /** What takes more than QEMU. */
    offers: z.strictObject({
      uefi: Offer,
      secureBoot: Offer,
      microvm: Offer,
      tpm: Offer,
      virtiofs: Offer,
      /** A CD with the virtio drivers for Windows, installed by the distribution. */
      virtioWin: Offer,
      vsock: Offer,
      vhostNet: Offer,
      /** Taps and bridges of the host. */
      bridge: Offer,
      rateLimit: Offer,
      cpuPinning: Offer,
      pciPassthrough: Offer,
      usbPassthrough: Offer,
    }),
    accelerators: z.array(z.enum(['kvm', 'tcg'])),
  })
  .meta({ id: 'CapabilitiesView' })
export type CapabilitiesView = z.output<typeof CapabilitiesView>
