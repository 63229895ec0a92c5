/** What the parts of defining VMs share. */
import type { SeedInput } from '#lib/schema/seed.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { ImageLibrary } from '#server/images/library.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'
import type { SharedDisks } from '#server/storage/shared-disks.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { VmFiles } from '#server/storage/vm-files.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Supervisor } from '#server/vm/types.ts'
import type { CapabilitySource } from './deps.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Launcher } from './launch.ts'
import type { Seeds } from './seeds.ts'
import type { StartAdmission } from './start-admission.ts'
import type { Caller } from './types.ts'
import type { RunningVm, VmAuthority } from './vm-authority.ts'
import type { VmDisks } from './vm-disks.ts'
import type { VmPlaces } from './vm-place.ts'
import type { VmClaim, VmRecord, VmRecords } from './vm-records.ts'

/** A VM with the definition of another. */
export interface DerivedVm {
  spec(known: DeriveFacts): VmSpec
  readonly seed: SeedInput | undefined
  /** The VM it is made of: it goes to the same project, where that is allowed. */
  readonly from: string
  /**
   * Makes its files in the directory that is there. What is made is registered with `undo`.
   * @returns what to store with it, in the same transaction
   */
  fill(target: VmClaim, undo: AsyncDisposableStack): Promise<() => void>
  /** Sentence for the log. */
  readonly done: string
  /** What was promised for it is let go in one step with its own check. */
  readonly letGo?: () => void
}

export interface DeriveFacts {
  readonly nextMac: () => string
  readonly nextCid: () => number
}

export interface DefineDeps {
  readonly records: VmRecords
  readonly supervisor: Supervisor
  readonly library: ImageLibrary
  readonly files: VmFiles
  readonly volumes: Volumes
  readonly disks: VmDisks
  readonly shared: SharedDisks
  readonly seeds: Seeds
  readonly space: SpaceLedger
  readonly identity: GuestIdentity
  readonly capabilities: CapabilitySource
  readonly launcher: Launcher
  readonly journal: Journal
  readonly locks: KeyedLock
  readonly authority: VmAuthority
  readonly places: VmPlaces
  /** Project that a VM is in; null: in none. */
  readonly projectOf: (vmId: string) => string | null
  /** Stores that a new VM belongs to a project, within the transaction that stores the VM. */
  readonly place: (vmId: string, projectId: string) => void
  readonly admission: Pick<StartAdmission, 'grow'>
  /** Whether a running guest may be given these devices of the host now. @throws EngineError conflict */
  readonly assertMayPlug: (ownerId: string, spec: VmSpec, launched: VmSpec) => void
  /** Running VMs but the one given: what they hold of the host. */
  readonly runningBut: (vmId: string, caller: Caller) => readonly RunningVm[]
  /** Port the dashboard listens on, which no guest may take. */
  readonly dashboardPort: () => number
  /** After the definition is stored; null: it has gone. */
  readonly onChange: (record: VmRecord, gone: boolean) => void
  readonly now?: () => Date
}
