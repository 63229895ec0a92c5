/**
 * One VM: its model, its hold on QEMU, and the only code that changes either. Events are applied the moment they
 * arrive; requests take turns in the mailbox; every change is published as a new `VmRuntime`.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'
import type { SerialHubHandle } from '#server/console/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { VmRunPaths } from '#server/paths.ts'
import { type Clock, unlessAborted, within } from '#server/platform/clock.ts'
import { readTail, removeTree } from '#server/platform/fs.ts'
import { type ProcessExit, readOomKills, readUid } from '#server/platform/process.ts'
import { exitOf } from './exits.ts'
import { STDERR_TAIL_BYTES } from './failures.ts'
import { type CreateSerialHub, Guest, type GuestListener, type GuestProcess } from './guest.ts'
import { Surroundings, type SurroundingsListener } from './helpers/surroundings.ts'
import { Hotplug, type HotplugHost } from './hotplug/hotplug.ts'
import type { LiveChange } from './hotplug/types.ts'
import { LaunchFailure, launch } from './launch.ts'
import { Mailbox } from './mailbox.ts'
import { commandError, launchError, unresponsive } from './refusals.ts'
import { RECONNECT_MS, Revival, takeHold } from './revival.ts'
import type { RunRecord } from './run-record.ts'
import { describeRuntime, isSameModel, type Observed } from './runtime-view.ts'
import { GuestSampler, type Sampled, type SamplerClock } from './sampler.ts'
import { Screenshots } from './screenshot.ts'
import { askToShutDown, endAfterGuest, endProcess, LADDER, type LadderTimes } from './stop.ts'
import { decide, initialModel, reduce, type VmEvent, type VmModel } from './transitions.ts'
import type { PreparedLaunch, VmRuntime } from './types.ts'

/** How long a guest may take to obey a shutdown request. Milliseconds. */
export const SHUTDOWN_PATIENCE_MS = 90_000
/** What QEMU said on its monitor just before it ended may still be on its way. Milliseconds. */
const LAST_WORDS_MS = 50

const IGNORED_SHUTDOWN = 'The guest did not react to the shutdown request; cut its power if it hangs.'

export interface ActorDeps {
  readonly clock: Clock
  readonly bootId: string
  readonly createSerialHub: CreateSerialHub
  readonly samplers: SamplerClock
  readonly ladder?: LadderTimes
  readonly shutdownPatienceMs?: number
  readonly unplugMs?: number
  publish(vmId: string, runtime: VmRuntime, exited: VmExit | null): void
  /** Something an operator of the dashboard should see in its log. */
  warn(message: string, error?: unknown): void
}

export type AdoptOutcome = 'adopted' | 'ended' | 'unmanageable'

interface Attachment extends Observed {
  readonly hotplug: Hotplug
  readonly sampled: Sampled
  readonly oomKills: number
}

export class VmActor {
  readonly vmId: string
  readonly paths: VmRunPaths
  readonly #deps: ActorDeps
  readonly #mailbox = new Mailbox()
  readonly #screenshots = new Screenshots()
  #model: VmModel
  #version = 0
  #since: string
  #runtime: VmRuntime
  #attached: Attachment | null = null
  #launching: { readonly abort: AbortController; readonly done: Promise<unknown> } | null = null
  /** Resolves when the present run is over. */
  #over = Promise.withResolvers<void>()
  #cleaning: Promise<void> = Promise.resolve()
  #patience: NodeJS.Timeout | undefined
  #detached = false

  constructor(vmId: string, paths: VmRunPaths, lastExit: VmExit | null, deps: ActorDeps) {
    this.vmId = vmId
    this.paths = paths
    this.#deps = deps
    this.#model = initialModel(lastExit)
    if (lastExit?.kind === 'crash') this.#model = { ...this.#model, state: 'crashed' }
    this.#since = lastExit?.at ?? deps.clock.now().toISOString()
    this.#runtime = this.#describe()
  }

  get runtime(): VmRuntime {
    return this.#runtime
  }

  get vncSocket(): string | null {
    return this.#attached ? this.paths.vnc : null
  }

  get serialHub(): SerialHubHandle | null {
    return this.#attached?.guest.hub ?? null
  }

  /** Whether a process or a launch exists. */
  get hasProcess(): boolean {
    return this.#model.process
  }

  /** @throws EngineError */
  async start(by: string, prepare: () => Promise<PreparedLaunch>): Promise<VmRuntime> {
    const { done } = await this.#mailbox.submit(async () => {
      this.#mustAccept('start', by)
      this.#over = Promise.withResolvers()
      this.#apply({ type: 'start-begun' })
      // Not awaited: while it lasts the state itself keeps other requests out, and a poweroff can interrupt it.
      const abort = new AbortController()
      const done = this.#launch(by, prepare, abort.signal)
      this.#launching = { abort, done }
      done.catch(() => {})
      return { done }
    })
    await done
    return this.#runtime
  }

  /** Asks the guest to end. Resolves once it has been asked. @throws EngineError */
  async shutdown(by: string): Promise<VmRuntime> {
    await this.#mailbox.submit(async (signal) => {
      if (this.#mustAccept('shutdown', by) === 'ignore') return
      const guest = this.#mustAttach()
      this.#apply({ type: 'wish', wish: { by, how: 'shutdown' } })
      const wish = this.#model.wish
      try {
        await askToShutDown(guest, signal, this.#ladder)
      } catch (error) {
        if (this.#model.wish === wish) this.#apply({ type: 'wish-void' })
        throw commandError(error)
      }
      clearTimeout(this.#patience)
      this.#patience = setTimeout(() => {
        if (this.#model.wish === wish) this.#apply({ type: 'wish-expired', detail: IGNORED_SHUTDOWN })
      }, this.#deps.shutdownPatienceMs ?? SHUTDOWN_PATIENCE_MS).unref()
    })
    return this.#runtime
  }

  /** Never waits its turn: whatever hangs is what it is for. Resolves when the process is gone. @throws EngineError */
  async poweroff(by: string): Promise<VmRuntime> {
    if (this.#mustAccept('poweroff', by) === 'ignore') {
      await this.#over.promise
      return this.#runtime
    }
    const wasSilent = this.#model.state === 'unmanageable'
    this.#apply({ type: 'wish', wish: { by, how: 'poweroff' } })
    clearTimeout(this.#patience)
    const cancelled = new EngineError('conflict', `Cancelled: ${by} cut the power meanwhile.`)
    this.#mailbox.interrupt(cancelled)
    const over = this.#over.promise
    if (this.#launching) {
      this.#launching.abort.abort(cancelled)
      await this.#launching.done.catch(() => {})
      if (!this.#model.process) return this.#runtime
    }
    const guest = this.#attached?.guest
    if (guest && !(await endProcess(guest, wasSilent, this.#ladder))) {
      const detail = 'Its QEMU process does not end, not even by SIGKILL: it waits for the host, often for storage.'
      this.#apply({ type: 'poweroff-failed', detail })
      this.#revival.later()
      throw new EngineError('unresponsive', detail)
    }
    await over
    return this.#runtime
  }

  /** @throws EngineError */
  reset(by: string): Promise<VmRuntime> {
    return this.#command('reset', by, async (guest, signal) => {
      this.#apply({ type: 'wish-void' })
      const stuck = ['guest-panicked', 'watchdog'].includes(guest.runState)
      const asked = [guest.ask('system_reset', undefined, { signal })]
      // A guest that panicked stays stopped through a reset until it is told to run.
      if (stuck) asked.push(guest.ask('cont', undefined, { signal }))
      await Promise.all(asked)
    })
  }

  /** @throws EngineError */
  pause(by: string): Promise<VmRuntime> {
    return this.#command('pause', by, (guest, signal) => guest.ask('stop', undefined, { signal }))
  }

  /** @throws EngineError */
  resume(by: string): Promise<VmRuntime> {
    return this.#command('resume', by, (guest, signal) => guest.ask('cont', undefined, { signal }))
  }

  /**
   * Makes at once what the guest can take of a changed definition, and stores it. A guest that is not there, or in no
   * state to take anything, gets all of it at its next start. @throws EngineError naming the field that failed
   */
  change(change: LiveChange): Promise<VmRuntime> {
    return this.#mailbox.submit(async (signal) => {
      const { state } = this.#model
      const attached = this.#attached
      if (attached && attached.guest.qmp !== null && (state === 'running' || state === 'paused')) {
        await attached.hotplug.change(change, signal)
      } else {
        change.commit()
      }
      return this.#runtime
    })
  }

  /** A read-only look at the running QEMU. @throws EngineError wrong_state, unresponsive */
  async look<T>(read: (guest: Guest) => Promise<T>): Promise<T> {
    const guest = this.#attached?.guest
    if (!guest) throw new EngineError('wrong_state', 'The guest is off.')
    if (this.#model.state === 'unmanageable') throw unresponsive()
    try {
      return await read(guest)
    } catch (error) {
      throw commandError(error)
    }
  }

  /** @throws EngineError wrong_state, unresponsive */
  async screenshot(): Promise<Buffer> {
    const guest = this.#attached?.guest
    if (!guest) throw new EngineError('wrong_state', 'The guest is off, so there is no screen to show.')
    if (this.#model.state === 'unmanageable') throw unresponsive()
    return await this.#screenshots.take(guest, this.#deps.clock.monotonicMs())
  }

  /** Takes hold of a process that is already there. Never throws. */
  async adopt(process_: GuestProcess, record: RunRecord | null): Promise<AdoptOutcome> {
    this.#over = Promise.withResolvers()
    const surroundings = new Surroundings(this.vmId, this.paths, this.#surroundingsListener)
    surroundings.adopt(record)
    surroundings.watch(process_.identity)
    const guest = new Guest({
      vmId: this.vmId,
      paths: this.paths,
      process: process_,
      record,
      listener: this.#listenerOf(() => guest),
      createSerialHub: this.#deps.createSerialHub,
    })
    try {
      await guest.reconnect(RECONNECT_MS)
      await takeHold(guest, this.#warn)
      this.#attach(guest, surroundings)
      this.#apply({ type: 'launched', runState: guest.runState })
      this.#keepStartTime(record)
      this.#reconcile(guest)
    } catch (error) {
      this.#deps.warn(`VM ${this.vmId}: its QEMU runs but does not answer`, error)
      this.#attach(guest, surroundings)
      this.#apply({
        type: 'found-silent',
        detail: 'Its QEMU process was found running, but its monitor does not answer. Its power can be cut.',
      })
      this.#revival.later()
      return 'unmanageable'
    }
    if (!this.#model.ending) return 'adopted'
    await within(this.#over.promise, 5000, undefined)
    return this.#model.process ? 'adopted' : 'ended'
  }

  /** Devices may have come and gone while nobody listened. Waits its turn: a change may be under way. */
  #reconcile(guest: Guest): void {
    void this.#mailbox
      .submit(async () => {
        if (this.#attached?.guest === guest && guest.qmp !== null) await this.#attached.hotplug.reconcile()
      })
      .catch((error) => this.#warn('its devices could not be compared with its record', error))
  }

  /** A running guest has run since its launch, not since the dashboard found it; pauses while we were away are unknown. */
  #keepStartTime(record: RunRecord | null): void {
    if (this.#model.state !== 'running' || record === null || Number.isNaN(Date.parse(record.startedAt))) return
    this.#since = record.startedAt
    this.#publish(null)
  }

  /** Records a run that ended unseen, and clears what it left. */
  async foundEnded(exit: VmExit | null): Promise<void> {
    if (exit) this.#apply({ type: 'found-ended', exit })
    await removeTree(this.paths.dir).catch((error) => this.#deps.warn(`VM ${this.vmId}: stale run directory`, error))
  }

  /** Lets go without harm. */
  async detach(): Promise<void> {
    this.#detached = true
    clearTimeout(this.#patience)
    this.#revival.close()
    this.#mailbox.interrupt(new EngineError('busy', 'The dashboard is closing.'))
    if (this.#launching)
      await within(
        this.#launching.done.catch(() => {}),
        5000,
        undefined,
      )
    const attached = this.#attached
    this.#attached = null
    if (attached) {
      this.#deps.samplers.remove(attached.sampled)
      attached.guest.release()
      attached.surroundings.release()
    }
    await this.#cleaning
  }

  // ── private: called from turns and events only ──────────────────────────────────────────────────────────────────

  get #ladder(): LadderTimes {
    return this.#deps.ladder ?? LADDER
  }

  #mustAccept(
    action: 'start' | 'shutdown' | 'poweroff' | 'reset' | 'pause' | 'resume',
    by: string,
  ): 'accept' | 'ignore' {
    const decision = decide(this.#model, { action, by })
    if (decision.kind === 'deny') throw new EngineError('wrong_state', decision.reason)
    return decision.kind
  }

  #mustAttach(): Guest {
    if (!this.#attached) throw new EngineError('wrong_state', 'It is not running.')
    return this.#attached.guest
  }

  /** A short command, and the run state it led to. */
  #command(
    action: 'reset' | 'pause' | 'resume',
    by: string,
    run: (guest: Guest, signal: AbortSignal) => Promise<unknown>,
  ): Promise<VmRuntime> {
    return this.#mailbox.submit(async (signal) => {
      if (this.#mustAccept(action, by) === 'ignore') return this.#runtime
      const guest = this.#mustAttach()
      try {
        const [, runState] = await Promise.all([run(guest, signal), guest.readRunState()])
        this.#apply({ type: 'run-state', runState })
      } catch (error) {
        throw commandError(error)
      }
      return this.#runtime
    })
  }

  async #launch(by: string, prepare: () => Promise<PreparedLaunch>, signal: AbortSignal): Promise<void> {
    try {
      // The traces of the run before this one.
      await this.#cleaning
      signal.throwIfAborted()
      // A preparation that hangs must not keep the power from being cut.
      const prepared = await unlessAborted(prepare(), signal)
      let guest: Guest | null = null
      const launched = await launch(prepared, {
        paths: this.paths,
        by,
        bootId: this.#deps.bootId,
        clock: this.#deps.clock,
        createSerialHub: this.#deps.createSerialHub,
        listener: this.#listenerOf(() => guest),
        surroundings: this.#surroundingsListener,
        signal,
      })
      guest = launched.guest
      this.#launching = null
      this.#attach(guest, launched.surroundings)
      this.#apply({ type: 'launched', runState: guest.runState })
    } catch (error) {
      this.#launching = null
      throw this.#launchFailed(error)
    }
  }

  /** Back to off, with a record when QEMU was involved. */
  #launchFailed(error: unknown): unknown {
    const wish = this.#model.wish
    if (!(error instanceof LaunchFailure) || wish) {
      if (wish) this.#exited({ exitCode: null, signal: null, stderr: '' })
      else this.#apply({ type: 'start-refused' })
      this.#over.resolve()
      return error instanceof EngineError
        ? error
        : new EngineError('internal', 'The VM could not be started because of a fault in the dashboard.', {
            cause: error,
          })
    }
    const exit = this.#exited(error.evidence)
    return launchError(exit, error)
  }

  #exited(evidence: LaunchFailure['evidence']): VmExit {
    const exit = exitOf(this.#model, { ...evidence, at: this.#deps.clock.now().toISOString() })
    this.#apply({ type: 'exited', exit })
    this.#over.resolve()
    return exit
  }

  /** The words are read from the surroundings themselves, once they are attached. */
  readonly #surroundingsListener: SurroundingsListener = {
    onTroubles: () => this.#publish(null),
    warn: (message, error) => this.#deps.warn(message, error),
  }

  readonly #warn = (message: string, error: unknown) => this.#deps.warn(`VM ${this.vmId}: ${message}`, error)

  readonly #revival = new Revival({
    guest: () => (this.#detached ? null : (this.#attached?.guest ?? null)),
    onReconnected: (guest) => this.#reconcile(guest),
    onAnswer: (runState) => {
      this.#apply({ type: 'answers', runState })
      this.#apply({ type: 'run-state', runState })
    },
    onSilent: (error) => {
      if (this.#model.state !== 'unmanageable') this.#warn('its monitor was lost', error)
      this.#apply({ type: 'silent', detail: 'Its QEMU process runs, but its monitor does not answer.' })
    },
    warn: this.#warn,
  })

  readonly #hotplugHost: HotplugHost = {
    changed: () => this.#publish(null),
    warn: (message, error) => this.#deps.warn(message, error),
    submit: (turn) => {
      this.#mailbox
        .submit(async () => {
          if (this.#attached) await turn()
        })
        .catch((error) => this.#warn('a device that left could not be cleared away', error))
    },
  }

  #attach(guest: Guest, surroundings: Surroundings): void {
    const sampler = new GuestSampler(guest)
    const sampled = { sampler, runs: () => this.#runs(), changed: () => this.#publish(null) }
    this.#attached = {
      guest,
      surroundings,
      hotplug: new Hotplug(guest, surroundings, this.#hotplugHost, this.#deps.unplugMs),
      sampler,
      sampled,
      uid: readUid(guest.process.identity.pid) ?? -1,
      oomKills: readOomKills(),
    }
    this.#deps.samplers.add(sampled)
    void guest.process.exited.then((exit) => this.#onExit(guest, exit))
  }

  #runs(): boolean {
    return this.#model.state === 'running' || this.#model.state === 'stopping'
  }

  async #onExit(guest: Guest, exit: ProcessExit): Promise<void> {
    if (this.#detached || this.#attached?.guest !== guest) return
    if (guest.qmp && this.#model.wish?.how !== 'poweroff') {
      await within(guest.qmp.whenClosed, LAST_WORDS_MS, null)
    }
    const stderr = await readTail(this.paths.stderr, 4 * STDERR_TAIL_BYTES)
    const attached = this.#attached
    if (this.#detached || attached?.guest !== guest) return
    this.#attached = null
    this.#deps.samplers.remove(attached.sampled)
    guest.release()
    clearTimeout(this.#patience)
    this.#revival.cancel()
    this.#screenshots.clear()
    this.#cleaning = attached.surroundings
      .clear()
      .then(() => removeTree(this.paths.dir))
      .catch((error) => {
        this.#deps.warn(`VM ${this.vmId}: its run directory could not be removed`, error)
      })
    this.#exited({
      exitCode: exit.code,
      signal: exit.signal,
      stderr,
      oomKill: readOomKills() > attached.oomKills,
      runState: guest.runState,
    })
  }

  #listenerOf(guest: () => Guest | null): GuestListener {
    const isCurrent = () => !this.#detached && this.#attached !== null && this.#attached.guest === guest()
    return {
      onRunState: (runState) => {
        if (isCurrent()) this.#apply({ type: 'run-state', runState })
      },
      onEnding: (ending) => {
        if (this.#detached) return
        // A launch in progress learns of its guest's end in its own way; the reason is remembered.
        if (isCurrent() || this.#model.state === 'starting') this.#apply({ type: 'ending', ending })
      },
      onAgent: (open) => {
        if (!isCurrent()) return
        this.#attached?.sampler.agentIs(open)
        this.#publish(null)
      },
      onDevice: (event) => {
        if (isCurrent()) this.#attached?.hotplug.onEvent(event)
      },
      onMonitorLost: () => {
        if (isCurrent()) void this.#revival.monitorLost()
      },
      onSilence: () => {
        if (!isCurrent()) return
        this.#apply({ type: 'silent', detail: 'QEMU has not answered for 5 seconds. Its power can be cut.' })
        this.#revival.later()
      },
    }
  }

  /** The guest has ended inside a process that lives on (`-no-shutdown`): end the process, for good. */
  async #finish(): Promise<void> {
    const guest = this.#attached?.guest
    if (!guest || this.#model.wish?.how === 'poweroff') return
    if (!(await endAfterGuest(guest, this.#model.ending?.kind === 'host-signal', this.#ladder))) {
      this.#deps.warn(`VM ${this.vmId}: its process does not end although its guest has`)
    }
  }

  #apply(event: VmEvent): void {
    const before = this.#model
    const after = reduce(before, event)
    if (isSameModel(before, after)) return
    this.#model = after
    if (after.state !== before.state) this.#since = this.#deps.clock.now().toISOString()
    const ended = event.type === 'exited' || event.type === 'found-ended'
    this.#publish(ended ? after.lastExit : null)
    if (after.ending && this.#attached && (!before.ending || event.type === 'launched')) void this.#finish()
  }

  #publish(exited: VmExit | null): void {
    if (this.#detached) return
    this.#version += 1
    this.#runtime = this.#describe()
    this.#deps.publish(this.vmId, this.#runtime, exited)
  }

  #describe(): VmRuntime {
    return describeRuntime(this.#model, this.#version, this.#since, this.#attached)
  }
}
