/** A change of a running guest as the engine hands it to the supervisor. */
import type { GuestDevice } from '#lib/schema/vm-devices.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { LaunchPlan, LaunchUser, PlannedHelper, PlannedTap } from '#server/spec/types.ts'

export interface LiveChange {
  readonly next: VmSpec
  /** Only changes of these fields; all when left out. */
  readonly fields?: ReadonlySet<keyof VmSpec>
  /** False under TCG, which does not survive that a CPU goes and comes back. */
  readonly canUnplugCpus: boolean
  /** Who QEMU and its helpers run as. */
  readonly user: LaunchUser | null
  /** The plan a definition would be started with, for the same machine as runs. @throws EngineError bad_input */
  readonly compile: (spec: VmSpec) => LaunchPlan
  /** Stores the definition. Called when all steps are done; when it throws they are taken back. */
  readonly commit: () => void
}

/** What a device needs on the host beside QEMU. Bound to the VM and its user. */
export interface HostSide {
  /** @throws NetworkFault */
  makeTap(tap: PlannedTap): Promise<void>
  /** Idempotent. @throws NetworkFault */
  removeTap(name: string): Promise<void>
  /** @throws NetworkFault */
  limitTap(name: string, limit: PlannedTap['rateLimit']): Promise<void>
  /** Returns once it listens. @throws HostFault */
  startHelper(helper: PlannedHelper): Promise<void>
  /** Idempotent; never throws. */
  stopHelper(id: string): Promise<void>
}

/** A device as QEMU has it, without what only the definition knows. */
export type FoundDevice = Omit<GuestDevice, 'field' | 'state'>
