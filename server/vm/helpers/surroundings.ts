/**
 * What one running VM has on the host besides QEMU: helper programs (swtpm, virtiofsd) and taps. Made before QEMU is
 * started, watched while it runs, cleared once it is gone; taken over with it when the dashboard was restarted.
 *
 *   launch ──▶ startHelper, makeTap ──▶ watch(QEMU) ──▶ clear()      owned by the launch, then by the VM's actor
 *   adopt  ──▶ adopt(record) ─────────▶ watch(QEMU) ──▶ clear()
 *
 * Helpers end by themselves when QEMU closes its connection; `clear` sees to it that they have.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { LimitsHeld } from '#lib/schema/limits.ts'
import { type ControlGroups, type GuestGroup, unavailable } from '#server/cgroups/groups.ts'
import { type LimitSource, planLimits } from '#server/cgroups/plan.ts'
import { rootActs } from '#server/launcher/acts.ts'
import type { VmRunPaths } from '#server/paths.ts'
import { capLog, readTail } from '#server/platform/fs.ts'
import { isAlive, type ProcessExit, type ProcessIdentity } from '#server/platform/process.ts'
import type { LaunchUser, PlannedHelper, PlannedTap } from '#server/spec/types.ts'
import { type GuestProcess, watchProcess } from '../guest.ts'
import type { RunRecord } from '../run-record.ts'
import { endDaemon, HELPER_LOG_READ_BYTES, type HelperContext, helperLog, startDaemon } from './daemon.ts'
import { explainLoss } from './explain.ts'
import { findHelper, type HelperIdentity } from './identity.ts'

/** QEMU and its helpers end at about the same time: only a helper that leaves a living QEMU behind is a loss. */
const LOSS_DELAY_MS = 1000
/** How long helpers may take to notice that QEMU has gone. */
const GRACE_MS = 1500
const LOG_CHECK_MS = 30_000
const LOG_MAX_BYTES = 1024 * 1024
const LOG_KEEP_BYTES = 64 * 1024

interface Running {
  readonly planned: PlannedHelper
  readonly process: GuestProcess
}

const NO_GROUPS = 'This dashboard makes no control groups.'
const NO_LIMITS: LimitsHeld = { reason: NO_GROUPS, limits: [] }

export interface SurroundingsListener {
  /** Where guests get control groups of their own; left out: nowhere. */
  readonly groups?: ControlGroups
  /** A helper has ended under the running guest, or such a loss is over. `Surroundings.troubles` has the words. */
  onTroubles(): void
  warn(message: string, error?: unknown): void
}

export class Surroundings {
  readonly vmId: string
  readonly paths: VmRunPaths
  readonly #listener: SurroundingsListener
  readonly #helpers = new Map<string, Running>()
  readonly #taps = new Map<string, PlannedTap>()
  readonly #troubles = new Map<string, string>()
  readonly #group: GuestGroup
  /** What the group was set from, as text; null before it is there. */
  #limitedBy: string | null = null
  #limits: LimitsHeld = NO_LIMITS
  #guest: ProcessIdentity | null = null
  #logTimer: NodeJS.Timeout | undefined
  /** No loss is reported any more. */
  #over = false

  constructor(vmId: string, paths: VmRunPaths, listener: SurroundingsListener) {
    this.vmId = vmId
    this.paths = paths
    this.#listener = listener
    this.#group = (listener.groups ?? unavailable(NO_GROUPS)).guest(vmId)
  }

  /** What the host's kernel holds the guest to; a new object on every change. */
  get limits(): LimitsHeld {
    return this.#limits
  }

  /** Makes the guest's control group, or sets it anew. Never throws. */
  async limit(source: LimitSource, accelerator: 'kvm' | 'tcg'): Promise<void> {
    const by = JSON.stringify(planLimits(source, accelerator))
    if (by === this.#limitedBy) return
    this.#limits = await this.#group.set(source, accelerator)
    this.#limitedBy = this.#limits.reason === null ? by : null
  }

  /** Puts QEMU, or a helper, into the guest's control group. Never throws. */
  async enclose(pid: number): Promise<void> {
    if (this.#limitedBy === null || (await this.#group.enclose(pid))) return
    this.#limits = { reason: 'The kernel did not let it into its control group.', limits: [] }
  }

  /** Whether the kernel has ended something of the guest's because it came to its own limit of memory. */
  async metMemoryCap(): Promise<boolean> {
    return this.#limitedBy !== null && (await this.#group.oomKills()) > 0
  }

  /** Puts all that is there into the guest's control group, after it was found running. Never throws. */
  async encloseAll(): Promise<void> {
    for (const { process } of this.#helpers.values()) await this.enclose(process.identity.pid)
    if (this.#guest !== null) await this.enclose(this.#guest.pid)
  }

  /** Helpers as they belong in the record of the run. */
  get identities(): HelperIdentity[] {
    return [...this.#helpers.values()].map(({ planned, process }) => ({ id: planned.id, ...process.identity }))
  }

  /** What the guest has lost, as sentences; empty when all is well. */
  get troubles(): readonly string[] {
    return [...this.#troubles.values()]
  }

  /**
   * Starts a helper and returns once it listens.
   * @param onRecord called as soon as its process exists, so that `identities` can be stored
   * @throws HostFault; EngineError no_space; the signal's reason. Nothing of it remains then.
   */
  async startHelper(planned: PlannedHelper, context: HelperContext, onRecord: () => void = () => {}): Promise<void> {
    await this.stopHelper(planned.id)
    try {
      await startDaemon(planned, context, (child) => {
        this.#hold({
          planned,
          process: { identity: child.identity, exited: child.exited, hurry: () => {}, release: child.release },
        })
        onRecord()
        // At once, and again below: what it has started until now is outside.
        void this.enclose(child.pid)
      })
      const pid = this.#helpers.get(planned.id)?.process.identity.pid
      if (pid !== undefined) await this.enclose(pid)
    } catch (error) {
      await this.stopHelper(planned.id)
      throw error
    }
  }

  /** Ends one helper, for a device that is being removed. Idempotent; never throws. */
  async stopHelper(id: string, graceMs = 0): Promise<void> {
    const running = this.#helpers.get(id)
    if (!running) return
    this.#helpers.delete(id)
    this.#troubles.delete(id)
    await this.#end(running, graceMs)
  }

  /** @throws NetworkFault. Nothing of it remains then. */
  async makeTap(tap: PlannedTap, user: LaunchUser | null): Promise<void> {
    await rootActs().makeTap({ tap, user: user === null ? null : { ...user, groups: [...user.groups] } })
    this.#taps.set(tap.name, tap)
  }

  /** Idempotent. @throws NetworkFault */
  async removeTap(name: string): Promise<void> {
    await rootActs().removeTap({ name })
    this.#taps.delete(name)
  }

  /** Takes over what the record of a running VM names. A helper that is gone already is a loss. */
  adopt(record: RunRecord | null): void {
    for (const tap of record?.plan?.taps ?? []) this.#taps.set(tap.name, tap)
    for (const planned of record?.plan?.helpers ?? []) {
      const identity = findHelper(planned, record?.helpers ?? [])
      if (identity) this.#hold({ planned, process: watchProcess(identity) })
      else void this.#lost(planned, null)
    }
  }

  /** From now on the loss of a helper matters, as long as this QEMU lives. */
  watch(guest: ProcessIdentity): void {
    this.#guest = guest
    if (this.#helpers.size > 0) {
      this.#logTimer ??= setInterval(() => this.#capLogs(), LOG_CHECK_MS).unref()
    }
    for (const running of this.#helpers.values()) this.#watchLoss(running)
  }

  /**
   * QEMU is gone: ends what is left of its helpers and removes its taps. Never throws; idempotent.
   * @param graceMs how long helpers may take to notice by themselves
   */
  async clear(graceMs = GRACE_MS): Promise<void> {
    this.release()
    const helpers = [...this.#helpers.values()]
    const taps = [...this.#taps.keys()]
    this.#helpers.clear()
    this.#taps.clear()
    this.#troubles.clear()
    await Promise.all([
      ...helpers.map((running) => this.#end(running, graceMs)),
      ...taps.map((name) =>
        rootActs()
          .removeTap({ name })
          .catch((error: unknown) => {
            this.#listener.warn(`VM ${this.vmId}: its network interface ${name} could not be removed`, error)
          }),
      ),
    ])
    if (this.#limitedBy === null) return
    this.#limitedBy = null
    await this.#group.remove()
  }

  /** Lets go without harm. */
  release(): void {
    this.#over = true
    clearInterval(this.#logTimer)
    for (const { process } of this.#helpers.values()) process.release()
  }

  #hold(running: Running): void {
    this.#helpers.set(running.planned.id, running)
    if (this.#guest) this.#watchLoss(running)
  }

  #watchLoss(running: Running): void {
    void running.process.exited.then(async (exit) => {
      if (this.#helpers.get(running.planned.id) === running) await this.#lost(running.planned, exit, running)
    })
  }

  async #lost(planned: PlannedHelper, exit: ProcessExit | null, running?: Running): Promise<void> {
    await sleep(LOSS_DELAY_MS, undefined, { ref: false })
    const isStill = () => !this.#over && this.#helpers.get(planned.id) === running
    if (!isStill() || this.#guest === null || !isAlive(this.#guest)) return
    const words = await readTail(helperLog(this.paths, planned.id), HELPER_LOG_READ_BYTES)
    if (!isStill()) return
    this.#troubles.set(planned.id, explainLoss(planned, exit, words))
    this.#listener.onTroubles()
  }

  async #end({ planned, process: { identity, release } }: Running, graceMs: number): Promise<void> {
    // Once let go of, its promise says nothing any more; /proc does.
    await endDaemon(identity, planned, null, graceMs)
    release()
    if (planned.kind === 'virtiofsd')
      await rootActs()
        .removeVirtiofsdLock({ socket: planned.socket })
        .catch(() => {})
  }

  #capLogs(): void {
    for (const id of this.#helpers.keys()) void capLog(helperLog(this.paths, id), LOG_MAX_BYTES, LOG_KEEP_BYTES)
  }
}

/**
 * Ends and removes what a run left whose QEMU is gone.
 * @param sameBoot false: pids on record mean nothing any more
 */
export async function clearLeftovers(
  record: RunRecord | null,
  paths: VmRunPaths,
  warn: SurroundingsListener['warn'],
  sameBoot = true,
): Promise<void> {
  if (!record?.plan || (record.plan.helpers.length === 0 && record.plan.taps.length === 0)) return
  const rest = new Surroundings(record.vmId, paths, { onTroubles: () => {}, warn })
  rest.adopt(sameBoot ? record : { ...record, helpers: [] })
  await rest.clear(0)
}
