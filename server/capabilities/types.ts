/**
 * What one QEMU binary can do, as found by asking a throw-away process of it (`probe.ts`), cached by path, size and mtime;
 * and the files and programs of this host that guests are made with, looked up each time.
 * Serialisable: the golden tests keep captured instances of QEMU 7.2, 10.0 and 11.1 in `__fixtures__/`.
 */
export type MachineFamily = 'q35' | 'pc' | 'microvm'

export interface MachineType {
  readonly name: string
  readonly alias: string | null
  readonly isDefault: boolean
  readonly deprecated: boolean
  readonly maxCpus: number
  /** QOM type of the CPU it takes when none is named. */
  readonly defaultCpuType: string | null
  /** Null for machines that are none of the three, such as `isapc` and `x-remote`. */
  readonly family: MachineFamily | null
  readonly hotpluggableCpus: boolean
  /** Whether `-numa node,mem=` works; `memdev=` works on all but microvm. */
  readonly numaMemSupported: boolean
}

export interface CpuModel {
  readonly name: string
  readonly deprecated: boolean
  /** Features missing to run it under KVM on this host (`unavailable-features`). Meaningful for KVM only. */
  readonly unavailableFeatures: readonly string[]
  /** Features TCG of this build does not emulate; the model runs without them. */
  readonly unavailableUnderTcg?: readonly string[]
  /** QOM type for `device_add` of a CPU, such as `qemu64-x86_64-cpu`. */
  readonly typeName: string
  /** Whether the model stays the same between QEMU versions and hosts; `host` and `max` do not. */
  readonly migrationSafe: boolean
  /** The versioned model this name stands for; null when it is its own. */
  readonly aliasOf: string | null
}

/** One CPUID feature, in QEMU's preferred spelling (`sse4.1`, not `sse4_1`). */
export interface CpuFlag {
  readonly name: string
  /** Whether TCG of this build emulates it. */
  readonly tcg: boolean
  /** Whether KVM on this host can give it to a guest; null when KVM could not be asked. */
  readonly kvm: boolean | null
}

/** One property of a device, object or machine type, as `device-list-properties` and `qom-list-properties` give it. */
export interface DeviceProperty {
  readonly name: string
  /** QOM type: `bool`, `uint16`, `size`, `str`, `OnOffAuto`, `link<iothread>` … */
  readonly type: string
  readonly description: string | null
  readonly default: string | number | boolean | null
  /** The only values it takes; null for anything but an enumeration. */
  readonly values: readonly string[] | null
  /** Smallest and largest value of its QOM type, both included; null when not a number. The device may want less. */
  readonly min: number | null
  /** Never above 2^53-1, which a larger type is cut to. */
  readonly max: number | null
}

/** Two flash files: the code, read only, and the pristine store of variables that each guest gets a copy of. Absolute paths. */
export interface FlashFirmware {
  readonly code: string
  readonly vars: string
  readonly format: 'raw' | 'qcow2'
}

export interface SecureBootFirmware extends FlashFirmware {
  /** Whether `vars` has keys enrolled (Microsoft's, by the distribution), so that Secure Boot is on from the first start. */
  readonly enrolledKeys: boolean
  /** Whether the build keeps its variables in SMM, so that `-machine smm=on` and a secure pflash are needed. */
  readonly needsSmm: boolean
}

/** Absolute path and version of a program on this host; `version` is null when it does not tell. */
export interface HostTool {
  readonly path: string
  readonly version: string | null
}

/** Programs that stand beside a guest or prepare it; null when missing. */
export interface HostTools {
  readonly swtpm: HostTool | null
  readonly swtpmSetup: HostTool | null
  /** `c`: QEMU's own of up to 7.2 (`-o source=`); `rust`: the separate project (`--shared-dir`). */
  readonly virtiofsd: (HostTool & { readonly dialect: 'c' | 'rust' }) | null
  readonly ip: HostTool | null
  readonly tc: HostTool | null
  readonly taskset: HostTool | null
}

export interface QemuFeatures {
  readonly runWith: boolean
  readonly jobDismiss: boolean
  readonly queryAccelerators: boolean
  readonly netdevStream: boolean
  readonly chardevReconnectMs: boolean
  readonly screendumpPng: boolean
  readonly displayReload: boolean
  /** `-chardev socket,reconnect=` in seconds. At least one of this and `chardevReconnectMs`. */
  readonly chardevReconnect: boolean
  /** The same of `-netdev stream`; 7.2 has neither. */
  readonly netdevReconnect: boolean
  readonly netdevReconnectMs: boolean
  /** Chardev backend `qemu-vdagent`: clipboard between VNC and the guest. */
  readonly vdagent: boolean
  /** `-spice` was built in. */
  readonly spice: boolean
  /** Block filter `throttle`. */
  readonly throttleFilter: boolean
  /** `aio=io_uring` for files. */
  readonly ioUring: boolean
  readonly snapshotSave: boolean
  readonly blockLatencyHistogram: boolean
  /** A failed `device_del` is told by the event DEVICE_UNPLUG_GUEST_ERROR. */
  readonly unplugGuestError: boolean
  /** `iothread-vq-mapping` of virtio-blk: queues spread over several I/O threads. */
  readonly iothreadVqMapping: boolean
  /** Whether a CPU can be taken away under TCG without corrupting QEMU's memory. See `features.ts`. */
  readonly cpuUnplugUnderTcgIsSafe: boolean
  /** `-netdev passt`. */
  readonly netdevPasst: boolean
  /** `-tpmdev emulator`, which speaks to swtpm. */
  readonly tpmEmulator: boolean
  /** `memory-backend-memfd`: shared guest memory without a file, for vhost-user devices. */
  readonly memoryMemfd: boolean
  /** Object `thread-context`: threads that allocate memory are pinned. */
  readonly threadContext: boolean
  /** Object `iommufd`, the successor of VFIO's own container. */
  readonly iommufd: boolean
}

export interface QemuCapabilities {
  readonly binary: string
  /** `major.minor.micro`. */
  readonly version: string
  readonly package: string
  /** Default alias first. Names such as `pc-q35-7.2`. */
  readonly machines: readonly MachineType[]
  /** Properties of the newest machine of each family, for `-machine`; empty for a family this build lacks. No defaults. */
  readonly machineProperties: { readonly [F in MachineFamily]: readonly DeviceProperty[] }
  readonly cpuModels: readonly CpuModel[]
  /** CPUID features by name, sorted. */
  readonly cpuFlags: readonly CpuFlag[]
  /** Properties of a CPU that are no CPUID feature: Hyper-V enlightenments (`hv-…`), `migratable`, `kvm-pv-…`, `pmu` … */
  readonly cpuProperties: readonly DeviceProperty[]
  /** Device and object type names from `qom-list-types`, sorted. */
  readonly types: readonly string[]
  /** Types for `-object`, sorted. */
  readonly objectTypes: readonly string[]
  /** Properties of the devices and objects the product uses, by type; those this build lacks are absent. */
  readonly deviceProperties: { readonly [device: string]: readonly DeviceProperty[] }
  /** Command names of `query-qmp-schema`, sorted. */
  readonly commands: readonly string[]
  /** Event names, sorted. */
  readonly events: readonly string[]
  /**
   * Facts about the schema that code branches on, by name; a version number is never compared.
   * Each is derived in `features.ts` from `query-qmp-schema`, `query-command-line-options` or `qom-list-types`.
   */
  readonly features: QemuFeatures
  /** Names this build knows, sorted. A driver that is a module may still be missing from the host. */
  readonly backends: {
    readonly netdev: readonly string[]
    readonly chardev: readonly string[]
    readonly blockdev: readonly string[]
    readonly audiodev: readonly string[]
    readonly display: readonly string[]
    readonly tpm: readonly string[]
  }
  readonly accelerators: readonly ('kvm' | 'tcg')[]
  readonly seccomp: boolean
  /** Directories QEMU searches for its firmware, in its order. */
  readonly dataDirs: readonly string[]
  /** Firmware files found, absolute paths; null when missing. `vars` is the pristine template. */
  readonly uefi: FlashFirmware | null
  /** UEFI with Secure Boot; null when missing. With enrolled keys where there is such a build. */
  readonly secureBoot: SecureBootFirmware | null
  /** Firmware of `-machine microvm`: SeaBIOS is used with ACPI, qboot without. Absolute paths; null when missing. */
  readonly microvmFirmware: { readonly bios: string | null; readonly qboot: string | null }
  readonly tools: HostTools
  /** CD image with the virtio drivers for Windows, where the distribution installed one. */
  readonly virtioWinIso: string | null
}
