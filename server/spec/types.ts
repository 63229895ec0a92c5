/** Input and output of the pure command-line compiler. No I/O, clock, environment or randomness behind these. */
import type { CommandOption } from '#lib/schema/command-line.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'

/** A disk or CD file as it lies on the host, resolved by the engine before compiling. */
export interface ResolvedDrive {
  /** Device id in the spec. */
  readonly id: string
  /** Whole chain, top first. Empty for a CD drive without a medium. Every path absolute. */
  readonly chain: readonly {
    readonly path: string
    readonly format: 'raw' | 'qcow2'
    readonly readOnly: boolean
    /** Read now, and written when a snapshot is deleted and the layer above is merged into it. */
    readonly canMerge?: boolean
  }[]
}

/** Absolute paths and ids of one launch, all from `server/paths.ts`. */
export interface LaunchPaths {
  /** The VM's run directory. Sockets of channels (`v2.sock`, `com1.sock`), shares (`fs3.sock`), TPM (`tpm.sock`). */
  readonly dir: string
  /** The VM's data directory; TPM state lies in `tpm/` below it. */
  readonly data: string
  readonly pidfile: string
  readonly qmp: string
  /** Second monitor, for adoption and rescue while the first is held. */
  readonly qmpRescue: string
  readonly vnc: string
  readonly serial: string
  readonly agent: string
  /** qcow2 copy of the UEFI variables; used when firmware is `uefi`. */
  readonly nvram: string
}

/** Which uid and groups QEMU runs as; null when the dashboard is not root and QEMU shares its user. */
export interface LaunchUser {
  readonly uid: number
  readonly gid: number
  /** Supplementary group ids: kvm, and the group that may read library images. */
  readonly groups: readonly number[]
}

export interface CompileInput {
  /** The VM's id; QEMU's -name and -uuid. */
  readonly vmId: string
  readonly spec: VmSpec
  readonly capabilities: QemuCapabilities
  /** Decided by the engine from the verdict; never `auto`. */
  readonly accelerator: { readonly kind: 'kvm' | 'tcg'; readonly reason: string }
  readonly paths: LaunchPaths
  readonly drives: readonly ResolvedDrive[]
  readonly user: LaunchUser | null
  readonly tools: LaunchTools
  /** Locks QEMU in with bubblewrap; null or left out: it is not, because it has a user of its own or cannot be. */
  readonly confinement?: Confinement | null
  /** Seconds since 1970 at which the guest's clock starts; used when it has an offset. */
  readonly startSeconds: number
  readonly host: LaunchHost
  /** What tells this guest from its copies and from its own past; left out: its id does. */
  readonly generation?: string
  /** How the VM's UEFI variables were made; null or left out: unknown. */
  readonly nvram?: { readonly secureBoot: boolean } | null
}

/** Where bubblewrap is, and what QEMU sees besides its own directories and drives. */
export interface Confinement {
  readonly bwrap: string
  /** Directories and files; those that are not there are left out at the start. */
  readonly readable: readonly string[]
  readonly writable: readonly string[]
}

/** What of the host a launch depends on. Facts left out are unknown, and nothing is refused for them. */
export interface LaunchHost {
  /** Host devices QEMU would abort without. */
  readonly vhostNet: boolean
  readonly vhostVsock: boolean
  /** Numbers of the CPUs that are online. */
  readonly cpus?: readonly number[]
  /** Numbers of the NUMA nodes that have memory. */
  readonly memoryNodes?: readonly number[]
  /** Pages of each size in the kernel's pools; null: the kernel has no such pool. */
  readonly hugePages?: { readonly [S in '2M' | '1G']: { readonly total: number; readonly free: number } | null }
  /** What local time is ahead of UTC now. */
  readonly utcOffsetSeconds?: number
}

/** Host tools present, absolute paths or null. */
export interface LaunchTools {
  readonly setpriv: string | null
  readonly prlimit: string | null
  readonly swtpm: string | null
  /** Debian 12 ships the C daemon, newer ones the Rust one; their options differ. */
  readonly virtiofsd: { readonly path: string; readonly dialect: 'c' | 'rust' } | null
}

/** An option without the `changed` mark, which only the engine can set. */
export type PlannedOption = Omit<CommandOption, 'changed'>

export interface LaunchPlan {
  readonly binary: string
  /** Prefix programs with their arguments, outermost first: prlimit, setpriv, sh for the umask. */
  readonly wrapper: readonly PlannedOption[]
  /** Sorted by a fixed order of groups; ids explicit; argv is an ABI guarded by golden files. */
  readonly options: readonly PlannedOption[]
  /** Daemons that must listen before QEMU starts and end with it: swtpm, virtiofsd. */
  readonly helpers: readonly PlannedHelper[]
  /** Taps to be made on host bridges before QEMU starts, and removed after it. */
  readonly taps: readonly PlannedTap[]
  /** Monitor commands run in this order once QEMU answers and before the guest executes; a refused one fails the launch. */
  readonly commands: readonly PlannedCommand[]
  /** Virtual CPUs to be bound once their threads exist. */
  readonly pins: readonly { readonly vcpu: number; readonly hostCpus: string }[]
  /** Seconds since 1970 that a clock with an offset was counted from; null in records of older releases. */
  readonly startSeconds: number | null
  /** Things worth telling the operator before the start, as sentences. */
  readonly warnings: readonly string[]
}

/** A daemon of one VM, run by QEMU's user. */
export interface PlannedHelper {
  /** QEMU's id of the device it serves: `tpm0`, `share0`. */
  readonly id: string
  readonly kind: 'swtpm' | 'virtiofsd'
  /** Program and arguments, shown and explained like QEMU's own. */
  readonly option: PlannedOption
  /** Unix socket it listens on; QEMU is started once it is there. */
  readonly socket: string
  /** Directories it needs, made 0700 for QEMU's user. */
  readonly dirs: readonly string[]
}

/** What no option can say: the state of a network cable, for one. Shown beside the command line. */
export interface PlannedCommand {
  readonly execute: string
  readonly arguments: { readonly [name: string]: string | number | boolean }
  /** What it does, as a sentence. */
  readonly what: string
  /** JSON pointer of the spec field behind it. */
  readonly field: string
}

export interface PlannedTap {
  /** Card in the spec. */
  readonly card: string
  /** Interface name, at most 15 bytes, from the VM's id. */
  readonly name: string
  readonly bridge: string
  /** Several queue pairs: the tap must be made with IFF_MULTI_QUEUE. */
  readonly multiQueue: boolean
  readonly mtu: number | null
  readonly rateLimit: { readonly inKBps: number | null; readonly outKBps: number | null } | null
}

export interface CompileProblem {
  /** Dotted path into the spec. */
  readonly field: string
  readonly message: string
}

export type CompileResult =
  | { readonly ok: true; readonly plan: LaunchPlan }
  | { readonly ok: false; readonly problems: readonly CompileProblem[] }

/** Random and host facts `normalize` needs, handed in so that it stays pure. */
export interface NormalizeFacts {
  readonly capabilities: QemuCapabilities
  /** Known library images by id. */
  readonly images: ReadonlyMap<
    string,
    {
      kind: 'iso' | 'disk'
      virtualSizeBytes: number
      guest: VmSpec['guest'] | null
      /** Firmware it starts from; left out or empty: not known. */
      bootModes?: readonly ('bios' | 'uefi')[]
    }
  >
  /** One fresh unicast MAC per call. */
  readonly nextMac: () => string
  /** Ids no new device gets: a running guest still has devices of these names. */
  readonly heldIds?: ReadonlySet<string>
}
