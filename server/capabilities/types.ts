/**
 * What one QEMU binary can do, as found by asking a throw-away process of it (`probe.ts`), cached by path, size and mtime.
 * Serialisable: the golden tests keep captured instances of QEMU 7.2, 10.0 and 11.1 in `__fixtures__/`.
 */
export interface MachineType {
  readonly name: string
  readonly alias: string | null
  readonly isDefault: boolean
  readonly deprecated: boolean
  readonly maxCpus: number
  readonly defaultCpuType: string | null
}

export interface CpuModel {
  readonly name: string
  readonly deprecated: boolean
  /** Features missing to run it under KVM on this host (`unavailable-features`). Meaningful for KVM only. */
  readonly unavailableFeatures: readonly string[]
  /** Features TCG of this build does not emulate; the model runs without them. */
  readonly unavailableUnderTcg?: readonly string[]
}

export interface DeviceProperty {
  readonly name: string
  readonly type: string
  readonly description: string | null
  readonly default: string | number | boolean | null
}

export interface QemuCapabilities {
  readonly binary: string
  /** `major.minor.micro`. */
  readonly version: string
  readonly package: string
  /** Default alias first. Names such as `pc-q35-7.2`. */
  readonly machines: readonly MachineType[]
  readonly cpuModels: readonly CpuModel[]
  /** Device and object type names from `qom-list-types`, sorted. */
  readonly types: readonly string[]
  /** Properties of the devices the compiler uses, by device name. */
  readonly deviceProperties: { readonly [device: string]: readonly DeviceProperty[] }
  /** Command names of `query-qmp-schema`, sorted. */
  readonly commands: readonly string[]
  /** Event names, sorted. */
  readonly events: readonly string[]
  /**
   * Facts about the schema that code branches on, by name; a version number is never compared.
   * Each is derived in `probe.ts` from `query-qmp-schema`, `query-command-line-options` or `qom-list-types`.
   */
  readonly features: {
    readonly runWith: boolean
    readonly jobDismiss: boolean
    readonly queryAccelerators: boolean
    readonly netdevStream: boolean
    readonly chardevReconnectMs: boolean
    readonly screendumpPng: boolean
    readonly displayReload: boolean
  }
  readonly accelerators: readonly ('kvm' | 'tcg')[]
  readonly seccomp: boolean
  /** Firmware files found, absolute paths; null when missing. `vars` is the pristine template. */
  readonly uefi: { readonly code: string; readonly vars: string; readonly format: 'raw' | 'qcow2' } | null
}
