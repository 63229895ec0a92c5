/** The supervisor as the engine sees it. One mailbox per VM inside; guest events before requests. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { VmExit, VmLive, VmState } from '#lib/schema/vm-state.ts'
import type { ConsoleSources } from '#server/console/types.ts'
import type { LaunchPlan, LaunchUser } from '#server/spec/types.ts'
import type { FoundDevice, LiveChange } from './hotplug/types.ts'
import type { GuestWork } from './work.ts'

/** Saved memory a start goes on from, instead of booting. */
export interface MemoryLoad {
  readonly tag: string
  readonly jobId: string
  /** Disks that hold the tag; the first holds the memory as well. */
  readonly devices: readonly string[]
  /** The UEFI variables hold it too. */
  readonly nvram: boolean
  /** False: it stays paused. */
  readonly goesOn: boolean
}

/** Everything one start needs, resolved beforehand by the engine. */
export interface PreparedLaunch {
  readonly vmId: string
  readonly spec: VmSpec
  readonly plan: LaunchPlan
  readonly user: LaunchUser | null
  readonly accelerator: { readonly kind: 'kvm' | 'tcg'; readonly reason: string }
  /** Files that must exist and be unlocked, checked just before the spawn: path → what to call it in messages. */
  readonly files: ReadonlyMap<string, string>
  readonly load?: MemoryLoad | null
}

/** What is known about one VM now. Plain data; a new object on every change, `version` grows by one each time. */
export interface VmRuntime {
  readonly version: number
  readonly state: VmState
  readonly runState: string | null
  readonly since: string
  readonly detail: string | null
  /** What the running guest has lost on the host (its TPM, a shared folder), as sentences; part of `detail`. */
  readonly troubles: readonly string[]
  /** Read from the running QEMU (`query-kvm`/`query-accelerators`); null while off. */
  readonly accelerator: { readonly kind: 'kvm' | 'tcg'; readonly reason: string } | null
  readonly live: Omit<VmLive, 'viewers' | 'watching' | 'recordings'> | null
  /** What the running QEMU has: what it was launched with, and what changed since. Pending is the difference to the stored one. */
  readonly launchedSpec: VmSpec | null
  /** The plan that would start what runs, for "command line of what runs"; changes with `launchedSpec`. */
  readonly launchedPlan: LaunchPlan | null
  /** What the guest was asked to let go of and has not, by device id, with its words where it refused. */
  readonly awaited: ReadonlyMap<string, string | null>
  readonly lastExit: VmExit | null
}

export interface AdoptReport {
  readonly adopted: readonly string[]
  readonly ended: readonly string[]
  readonly unmanageable: readonly string[]
  /** Run directories that belong to no known VM, left alone and reported. */
  readonly strangers: readonly string[]
}

export interface Supervisor extends ConsoleSources {
  /**
   * Registers the known VMs and reattaches to every QEMU that still runs; never starts anything.
   * Run-directory scan, then pidfile lock owner in /proc/locks + start time + uuid. Parallel 16, 2 s a VM.
   */
  adoptAll(known: ReadonlyMap<string, { readonly lastExit: VmExit | null }>): Promise<AdoptReport>
  /** Makes a newly created VM known, state `off`. */
  register(vmId: string): void
  /** Forgets a deleted VM. @throws EngineError wrong_state unless off */
  forget(vmId: string): void
  /** Never throws for a registered VM. */
  runtime(vmId: string): VmRuntime
  /** `prepare` runs inside the VM's mailbox, after the state check. Resolves when the guest runs. @throws EngineError */
  start(vmId: string, by: string, prepare: () => Promise<PreparedLaunch>): Promise<VmRuntime>
  shutdown(vmId: string, by: string): Promise<VmRuntime>
  /** quit → TERM → KILL; resolves when the process is gone. */
  poweroff(vmId: string, by: string): Promise<VmRuntime>
  reset(vmId: string, by: string): Promise<VmRuntime>
  pause(vmId: string, by: string): Promise<VmRuntime>
  resume(vmId: string, by: string): Promise<VmRuntime>
  /**
   * Makes at once what the running guest can take of a changed definition, then stores it (`change.commit`); one that is
   * off gets it stored alone. @throws EngineError naming the field that failed; nothing is stored then
   */
  change(vmId: string, change: LiveChange): Promise<VmRuntime>
  /** The hardware as QEMU has it. @throws EngineError wrong_state, unresponsive */
  devices(vmId: string): Promise<FoundDevice[]>
  /**
   * Long work on a running guest: block jobs and the like. Does not wait its turn, so that people can pause or cut the
   * power meanwhile; the work's signal aborts when the guest ends. @throws EngineError wrong_state, unresponsive
   */
  work<T>(vmId: string, run: (work: GuestWork) => Promise<T>): Promise<T>
  /** PNG of the screen. @throws EngineError wrong_state, unresponsive */
  screenshot(vmId: string): Promise<Buffer>
  /** `exited` is set when this change ended a run, so that the engine can persist and log it. */
  onChange(listener: (vmId: string, runtime: VmRuntime, exited: VmExit | null) => void): () => void
  /** Somebody watches live numbers: sample every second instead of every five. Cheap to call often. */
  setInterest(watching: boolean): void
  /** Lets go of every guest without stopping it. Sockets in the run directory stay. */
  detach(): Promise<void>
}
