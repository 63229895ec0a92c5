/**
 * The hold on one VM: its model, what it is attached to, and what arrives from there. Events are applied the moment they
 * arrive, and every change is published as a new `VmRuntime`. What people ask of it is in `actor.ts`.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'
import type { ControlGroups } from '#server/cgroups/groups.ts'
import type { SerialHubHandle } from '#server/console/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { VmRunPaths } from '#server/paths.ts'
import { type Clock, within } from '#server/platform/clock.ts'
import { readTail, removeTree } from '#server/platform/fs.ts'
import { type ProcessExit, readOomKills, readUid } from '#server/platform/process.ts'
import { exitOf } from './exits.ts'
import { STDERR_TAIL_BYTES } from './failures.ts'
import type { CreateSerialHub, Guest, GuestListener } from './guest.ts'
import type { Surroundings, SurroundingsListener } from './helpers/surroundings.ts'
import { Hotplug, type HotplugHost } from './hotplug/hotplug.ts'
import type { LaunchFailure } from './launch.ts'
import { Mailbox } from './mailbox.ts'
import { Revival } from './revival.ts'
import { describeRuntime, isSameModel, type Observed } from './runtime-view.ts'
import { GuestSampler, type Sampled, type SamplerClock } from './sampler.ts'
import { Screenshots } from './screenshot.ts'
import { endAfterGuest, LADDER, type LadderTimes } from './stop.ts'
import { decide, initialModel, reduce, type VmEvent, type VmModel } from './transitions.ts'
import type { VmRuntime } from './types.ts'

/** What QEMU said on its monitor just before it ended may still be on its way. Milliseconds. */
const LAST_WORDS_MS = 50

export interface ActorDeps {
  readonly clock: Clock
  readonly bootId: string
  readonly createSerialHub: CreateSerialHub
  readonly samplers: SamplerClock
  readonly ladder?: LadderTimes
  readonly shutdownPatienceMs?: number
  readonly unplugMs?: number
  readonly groups?: ControlGroups
  publish(vmId: string, runtime: VmRuntime, exited: VmExit | null): void
  /** Something an operator of the dashboard should see in its log. */
  warn(message: string, error?: unknown): void
}

interface Attachment extends Observed {
  readonly hotplug: Hotplug
  readonly sampled: Sampled
  readonly oomKills: number
}

export class VmHold {
  readonly vmId: string
  readonly paths: VmRunPaths
  protected readonly deps: ActorDeps
  protected readonly mailbox = new Mailbox()
  protected readonly screenshots = new Screenshots()
  protected model: VmModel
  #version = 0
  protected since: string
  #runtime: VmRuntime
  protected attached: Attachment | null = null
  /** Resolves when the present run is over. */
  protected over = Promise.withResolvers<void>()
  protected cleaning: Promise<void> = Promise.resolve()
  protected patience: NodeJS.Timeout | undefined
  protected detached = false

  constructor(vmId: string, paths: VmRunPaths, lastExit: VmExit | null, deps: ActorDeps) {
    this.vmId = vmId
    this.paths = paths
    this.deps = deps
    this.model = initialModel(lastExit)
    if (lastExit?.kind === 'crash') this.model = { ...this.model, state: 'crashed' }
    this.since = lastExit?.at ?? deps.clock.now().toISOString()
    this.#runtime = this.#describe()
  }

  get runtime(): VmRuntime {
    return this.#runtime
  }

  get vncSocket(): string | null {
    return this.attached ? this.paths.vnc : null
  }

  get serialHub(): SerialHubHandle | null {
    return this.attached?.guest.hub ?? null
  }

  /** Whether a process or a launch exists. */
  get hasProcess(): boolean {
    return this.model.process
  }

  protected get ladder(): LadderTimes {
    return this.deps.ladder ?? LADDER
  }

  protected mustAccept(
    action: 'start' | 'shutdown' | 'poweroff' | 'reset' | 'pause' | 'resume',
    by: string,
  ): 'accept' | 'ignore' {
    const decision = decide(this.model, { action, by })
    if (decision.kind === 'deny') throw new EngineError('wrong_state', decision.reason)
    return decision.kind
  }

  protected mustAttach(): Guest {
    if (!this.attached) throw new EngineError('wrong_state', 'It is not running.')
    return this.attached.guest
  }

  protected apply(event: VmEvent): void {
    const before = this.model
    const after = reduce(before, event)
    if (isSameModel(before, after)) return
    this.model = after
    if (after.state !== before.state) this.since = this.deps.clock.now().toISOString()
    const ended = event.type === 'exited' || event.type === 'found-ended'
    this.publish(ended ? after.lastExit : null)
    if (after.ending && this.attached && (!before.ending || event.type === 'launched')) void this.#finish()
  }

  protected publish(exited: VmExit | null): void {
    if (this.detached) return
    this.#version += 1
    this.#runtime = this.#describe()
    this.deps.publish(this.vmId, this.#runtime, exited)
  }

  protected exited(evidence: LaunchFailure['evidence']): VmExit {
    const exit = exitOf(this.model, { ...evidence, at: this.deps.clock.now().toISOString() })
    this.apply({ type: 'exited', exit })
    this.over.resolve()
    return exit
  }

  protected attach(guest: Guest, surroundings: Surroundings): void {
    const sampler = new GuestSampler(guest)
    const sampled = { sampler, runs: () => this.#runs(), changed: () => this.publish(null) }
    this.attached = {
      guest,
      surroundings,
      hotplug: new Hotplug(guest, surroundings, this.#hotplugHost, this.deps.unplugMs),
      sampler,
      sampled,
      uid: readUid(guest.process.identity.pid) ?? -1,
      oomKills: readOomKills(),
    }
    this.deps.samplers.add(sampled)
    void guest.process.exited.then((exit) => this.#onExit(guest, exit))
  }

  protected listenerOf(guest: () => Guest | null): GuestListener {
    const isCurrent = () => !this.detached && this.attached !== null && this.attached.guest === guest()
    return {
      onRunState: (runState) => {
        if (isCurrent()) this.apply({ type: 'run-state', runState })
      },
      onEnding: (ending) => {
        if (this.detached) return
        // A launch in progress learns of its guest's end in its own way; the reason is remembered.
        if (isCurrent() || this.model.state === 'starting') this.apply({ type: 'ending', ending })
      },
      onAgent: (open) => {
        if (!isCurrent()) return
        this.attached?.sampler.agentIs(open)
        this.publish(null)
      },
      onDevice: (event) => {
        if (isCurrent()) this.attached?.hotplug.onEvent(event)
      },
      onMonitorLost: () => {
        if (isCurrent()) void this.revival.monitorLost()
      },
      onSilence: () => {
        if (!isCurrent()) return
        this.apply({ type: 'silent', detail: 'QEMU has not answered for 5 seconds. Its power can be cut.' })
        this.revival.later()
      },
    }
  }

  /** Devices may have come and gone while nobody listened. Waits its turn: a change may be under way. */
  protected reconcile(guest: Guest): void {
    void this.mailbox
      .submit(async () => {
        if (this.attached?.guest === guest && guest.qmp !== null) await this.attached.hotplug.reconcile()
      })
      .catch((error) => this.warn('its devices could not be compared with its record', error))
  }

  protected readonly warn = (message: string, error: unknown) => this.deps.warn(`VM ${this.vmId}: ${message}`, error)

  /** The words are read from the surroundings themselves, once they are attached. */
  protected get surroundingsListener(): SurroundingsListener {
    return {
      ...(this.deps.groups && { groups: this.deps.groups }),
      onTroubles: () => this.publish(null),
      warn: (message, error) => this.deps.warn(message, error),
    }
  }

  /** Control group and definition in step. Never throws. */
  protected async limit({ guest, surroundings }: Pick<Attachment, 'guest' | 'surroundings'>): Promise<void> {
    const { record } = guest
    if (!record?.spec) return
    const before = surroundings.limits
    await surroundings.limit(record.spec, record.accelerator.kind)
    if (surroundings.limits !== before && this.attached?.guest === guest) this.publish(null)
  }

  protected readonly revival = new Revival({
    guest: () => (this.detached ? null : (this.attached?.guest ?? null)),
    onReconnected: (guest) => this.reconcile(guest),
    onAnswer: (runState) => {
      this.apply({ type: 'answers', runState })
      this.apply({ type: 'run-state', runState })
    },
    onSilent: (error) => {
      if (this.model.state !== 'unmanageable') this.warn('its monitor was lost', error)
      this.apply({ type: 'silent', detail: 'Its QEMU process runs, but its monitor does not answer.' })
    },
    warn: this.warn,
  })

  readonly #hotplugHost: HotplugHost = {
    changed: () => this.publish(null),
    warn: (message, error) => this.deps.warn(message, error),
    submit: (turn) => {
      this.mailbox
        .submit(async () => {
          if (this.attached) await turn()
        })
        .catch((error) => this.warn('a device that left could not be cleared away', error))
    },
  }

  #runs(): boolean {
    return this.model.state === 'running' || this.model.state === 'stopping'
  }

  async #onExit(guest: Guest, exit: ProcessExit): Promise<void> {
    if (this.detached || this.attached?.guest !== guest) return
    if (guest.qmp && this.model.wish?.how !== 'poweroff') {
      await within(guest.qmp.whenClosed, LAST_WORDS_MS, null)
    }
    const stderr = await readTail(this.paths.stderr, 4 * STDERR_TAIL_BYTES)
    const metMemoryCap = (await this.attached?.surroundings.metMemoryCap()) ?? false
    const attached = this.attached
    if (this.detached || attached?.guest !== guest) return
    this.attached = null
    this.deps.samplers.remove(attached.sampled)
    guest.release()
    clearTimeout(this.patience)
    this.revival.cancel()
    this.screenshots.clear()
    this.cleaning = attached.surroundings
      .clear()
      .then(() => removeTree(this.paths.dir))
      .catch((error) => {
        this.deps.warn(`VM ${this.vmId}: its run directory could not be removed`, error)
      })
    this.exited({
      exitCode: exit.code,
      signal: exit.signal,
      stderr,
      oomKill: readOomKills() > attached.oomKills,
      metMemoryCap,
      runState: guest.runState,
    })
  }

  /** The guest has ended inside a process that lives on (`-no-shutdown`): end the process, for good. */
  async #finish(): Promise<void> {
    const guest = this.attached?.guest
    if (!guest || this.model.wish?.how === 'poweroff') return
    if (!(await endAfterGuest(guest, this.model.ending?.kind === 'host-signal', this.ladder))) {
      this.deps.warn(`VM ${this.vmId}: its process does not end although its guest has`)
    }
  }

  #describe(): VmRuntime {
    return describeRuntime(this.model, this.#version, this.since, this.attached)
  }
}
