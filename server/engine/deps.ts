/** What the engine is joined from. Everything here is an interface; `server/main.ts` puts the real parts in. */
import type { AcceleratorVerdict, CapabilitiesView, DeviceType, Host } from '#lib/schema/host.ts'
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { AcceleratorChoice } from '#lib/schema/vm-spec.ts'
import type { Access } from '#server/access/access.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import type { Config } from '#server/config.ts'
import type { ConsoleRooms, Tickets } from '#server/console/types.ts'
import type { EventHub } from '#server/events/hub.ts'
import type { LabClock } from '#server/lab/time.ts'
import type { DataPaths } from '#server/paths.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'
import type { Store } from '#server/store/types.ts'
import type { Supervisor } from '#server/vm/types.ts'
import type { FileHelperDeps } from './file-helpers.ts'
import type { LabTimes } from './lab.ts'
import type { SeedTimes } from './seed-use.ts'

export interface CapabilitySource {
  /** Of the configured binary; asks QEMU only when the binary changed, else costs one stat. */
  current(): Promise<QemuCapabilities>
}

export interface AcceleratorSource {
  /** The latest verdict, without asking anything; null before the first. */
  verdict(): AcceleratorVerdict | null
  /** What a VM that asks for `choice` would run on now. Pure over the latest verdict. */
  decide(choice: AcceleratorChoice): { readonly kind: 'kvm' | 'tcg' | null; readonly reason: string }
  /** Called when a new verdict is there. Returns the unsubscribe function. */
  onChange(listener: () => void): () => void
}

/** What only the engine knows of the host page. */
export interface HostFacts {
  readonly counts: Host['counts']
  readonly promised: { readonly cpus: number; readonly memoryMiB: number; readonly diskBytes: number }
  readonly isolation: Host['isolation']
}

interface HostSource {
  view(facts: HostFacts, options: { refresh: boolean }): Promise<Host>
  capabilities(): Promise<CapabilitiesView>
  deviceType(type: string): Promise<DeviceType>
  devices(options: { details: boolean }): Promise<HostDevices>
}

interface EngineLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface EngineDeps {
  /** Projects, shares and roles; made over `store` when left out. */
  readonly access?: Access
  readonly config: Config
  readonly data: DataPaths
  readonly store: Store
  readonly supervisor: Supervisor
  readonly tickets: Tickets
  readonly rooms: ConsoleRooms
  readonly hub: EventHub
  readonly capabilities: CapabilitySource
  readonly accelerator: AcceleratorSource
  readonly host: HostSource
  readonly identity: GuestIdentity
  readonly log: EngineLog
  /** Port the dashboard listens on, where that is not the configured one (0 means any). */
  readonly listenPort?: () => number
  /** When a seed counts as used; only tests set it. */
  readonly seedTimes?: SeedTimes
  /** Lower bound of the disk reserve, bytes; only tests on small file systems set it. */
  readonly minimumReserveBytes?: number
  /** Clock of schedules, leases and how long recordings are kept, and how often leases are looked at; only tests set them. */
  readonly labClock?: LabClock
  readonly labTimes?: LabTimes
  /** Another look at the host, and less patience, in tests. */
  readonly fileHelpers?: Pick<FileHelperDeps, 'find' | 'giveUpMs'>
  /** How often pools and files are looked at and how long a look at a pool may take, milliseconds; for tests. */
  readonly poolTimes?: { readonly everyMs?: number; readonly lookMs?: number; readonly refreshMs?: number }
}
