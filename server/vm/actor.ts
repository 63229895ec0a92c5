/**
 * What can be asked of one VM. Requests take turns in its mailbox; cutting the power interrupts. The actor is the only
 * code that changes the VM's model, and its hold (`hold.ts`) the only that applies what the guest does.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'
import { EngineError } from '#server/engine/errors.ts'
import { unlessAborted, within } from '#server/platform/clock.ts'
import { removeTree } from '#server/platform/fs.ts'
import { ownUid } from '#server/platform/privileges.ts'
import { QmpError } from '#server/qmp/errors.ts'
import { Guest, type GuestProcess } from './guest.ts'
import { guestWork } from './guest-work.ts'
import { Surroundings } from './helpers/surroundings.ts'
import { VmHold } from './hold.ts'
import type { LiveChange } from './hotplug/types.ts'
import { LaunchFailure, launch } from './launch.ts'
import { commandError, launchError, unresponsive } from './refusals.ts'
import { RECONNECT_MS, takeHold } from './revival.ts'
import type { RunRecord } from './run-record.ts'
import { askToShutDown, endProcess } from './stop.ts'
import type { PreparedLaunch, VmRuntime } from './types.ts'
import type { GuestWork } from './work.ts'

/** How long a guest may take to obey a shutdown request. Milliseconds. */
export const SHUTDOWN_PATIENCE_MS = 90_000
const IGNORED_SHUTDOWN = 'The guest did not react to the shutdown request; cut its power if it hangs.'

export type AdoptOutcome = 'adopted' | 'ended' | 'unmanageable'

export class VmActor extends VmHold {
  #launching: { readonly abort: AbortController; readonly done: Promise<unknown> } | null = null

  /** @throws EngineError */
  async start(by: string, prepare: () => Promise<PreparedLaunch>): Promise<VmRuntime> {
    const { done } = await this.mailbox.submit(async () => {
      this.mustAccept('start', by)
      this.over = Promise.withResolvers()
      this.apply({ type: 'start-begun' })
      // Not awaited: while it lasts the state itself keeps other requests out, and a poweroff can interrupt it.
      const abort = new AbortController()
      const done = this.#launch(by, prepare, abort.signal)
      this.#launching = { abort, done }
      done.catch(() => {})
      return { done }
    })
    await done
    return this.runtime
  }

  /** Asks the guest to end. Resolves once it has been asked. @throws EngineError */
  async shutdown(by: string): Promise<VmRuntime> {
    await this.mailbox.submit(async (signal) => {
      if (this.mustAccept('shutdown', by) === 'ignore') return
      const guest = this.mustAttach()
      this.apply({ type: 'wish', wish: { by, how: 'shutdown' } })
      const wish = this.model.wish
      try {
        await askToShutDown(guest, signal, this.ladder)
      } catch (error) {
        if (this.model.wish === wish) this.apply({ type: 'wish-void' })
        throw commandError(error)
      }
      clearTimeout(this.patience)
      this.patience = setTimeout(() => {
        if (this.model.wish === wish) this.apply({ type: 'wish-expired', detail: IGNORED_SHUTDOWN })
      }, this.deps.shutdownPatienceMs ?? SHUTDOWN_PATIENCE_MS).unref()
    })
    return this.runtime
  }

  /** Never waits its turn: whatever hangs is what it is for. Resolves when the process is gone. @throws EngineError */
  async poweroff(by: string): Promise<VmRuntime> {
    if (this.mustAccept('poweroff', by) === 'ignore') {
      await this.over.promise
      return this.runtime
    }
    const wasSilent = this.model.state === 'unmanageable'
    this.apply({ type: 'wish', wish: { by, how: 'poweroff' } })
    clearTimeout(this.patience)
    const cancelled = new EngineError('conflict', `Cancelled: ${by} cut the power meanwhile.`)
    this.mailbox.interrupt(cancelled)
    const over = this.over.promise
    if (this.#launching) {
      this.#launching.abort.abort(cancelled)
      await this.#launching.done.catch(() => {})
      if (!this.model.process) return this.runtime
    }
    const guest = this.attached?.guest
    if (guest && !(await endProcess(guest, wasSilent, this.ladder))) {
      const detail = 'Its QEMU process does not end, not even by SIGKILL: it waits for the host, often for storage.'
      this.apply({ type: 'poweroff-failed', detail })
      this.revival.later()
      throw new EngineError('unresponsive', detail)
    }
    await over
    return this.runtime
  }

  /** @throws EngineError */
  reset(by: string): Promise<VmRuntime> {
    return this.#command('reset', by, async (guest, signal) => {
      this.apply({ type: 'wish-void' })
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
    return this.mailbox.submit(async (signal) => {
      const { state } = this.model
      const attached = this.attached
      if (attached && attached.guest.qmp !== null && (state === 'running' || state === 'paused')) {
        await attached.hotplug.change(change, signal)
        await this.limit(attached)
      } else {
        change.commit()
      }
      return this.runtime
    })
  }

  /** A read-only look at the running QEMU. @throws EngineError wrong_state, unresponsive */
  async look<T>(read: (guest: Guest) => Promise<T>): Promise<T> {
    const guest = this.attached?.guest
    if (!guest) throw new EngineError('wrong_state', 'The guest is off.')
    if (this.model.state === 'unmanageable') throw unresponsive()
    try {
      return await read(guest)
    } catch (error) {
      throw commandError(error)
    }
  }

  /**
   * Long work on the running guest, outside the mailbox. What it throws comes through as it is, but for what QEMU said.
   * @throws EngineError wrong_state while off, unresponsive
   */
  async work<T>(run: (work: GuestWork) => Promise<T>): Promise<T> {
    const attached = this.attached
    if (!attached) throw new EngineError('wrong_state', 'The guest is off.')
    if (this.model.state === 'unmanageable') throw unresponsive()
    try {
      return await run(
        guestWork(attached.guest, attached.uid === ownUid() ? null : attached.uid, () => this.publish(null)),
      )
    } catch (error) {
      throw error instanceof QmpError ? commandError(error) : error
    }
  }

  /** @throws EngineError wrong_state, unresponsive */
  async screenshot(): Promise<Buffer> {
    const guest = this.attached?.guest
    if (!guest) throw new EngineError('wrong_state', 'The guest is off, so there is no screen to show.')
    if (this.model.state === 'unmanageable') throw unresponsive()
    return await this.screenshots.take(guest, this.deps.clock.monotonicMs())
  }

  /** Takes hold of a process that is already there. Never throws. */
  async adopt(process_: GuestProcess, record: RunRecord | null): Promise<AdoptOutcome> {
    this.over = Promise.withResolvers()
    const surroundings = new Surroundings(this.vmId, this.paths, this.surroundingsListener)
    surroundings.adopt(record)
    surroundings.watch(process_.identity)
    const guest = new Guest({
      vmId: this.vmId,
      paths: this.paths,
      process: process_,
      record,
      listener: this.listenerOf(() => guest),
      createSerialHub: this.deps.createSerialHub,
    })
    try {
      await guest.reconnect(RECONNECT_MS)
      await takeHold(guest, this.warn)
      this.attach(guest, surroundings)
      this.apply({ type: 'launched', runState: guest.runState })
      this.#keepStartTime(record)
      this.reconcile(guest)
      // Groups hold by themselves; the guest's consoles need not wait for it.
      void this.limit({ guest, surroundings }).then(() => surroundings.encloseAll())
    } catch (error) {
      this.deps.warn(`VM ${this.vmId}: its QEMU runs but does not answer`, error)
      this.attach(guest, surroundings)
      this.apply({
        type: 'found-silent',
        detail: 'Its QEMU process was found running, but its monitor does not answer. Its power can be cut.',
      })
      this.revival.later()
      return 'unmanageable'
    }
    if (!this.model.ending) return 'adopted'
    await within(this.over.promise, 5000, undefined)
    return this.model.process ? 'adopted' : 'ended'
  }

  /** A running guest has run since its launch, not since the dashboard found it; pauses while we were away are unknown. */
  #keepStartTime(record: RunRecord | null): void {
    if (this.model.state !== 'running' || record === null || Number.isNaN(Date.parse(record.startedAt))) return
    this.since = record.startedAt
    this.publish(null)
  }

  /** Records a run that ended unseen, and clears what it left. */
  async foundEnded(exit: VmExit | null): Promise<void> {
    if (exit) this.apply({ type: 'found-ended', exit })
    await removeTree(this.paths.dir).catch((error) => this.deps.warn(`VM ${this.vmId}: stale run directory`, error))
  }

  /** Lets go without harm. */
  async detach(): Promise<void> {
    this.detached = true
    clearTimeout(this.patience)
    this.revival.close()
    this.mailbox.interrupt(new EngineError('busy', 'The dashboard is closing.'))
    if (this.#launching)
      await within(
        this.#launching.done.catch(() => {}),
        5000,
        undefined,
      )
    const attached = this.attached
    this.attached = null
    if (attached) {
      this.deps.samplers.remove(attached.sampled)
      attached.guest.release()
      attached.surroundings.release()
    }
    await this.cleaning
  }

  // ── private: called from turns and events only ──────────────────────────────────────────────────────────────────

  /** A short command, and the run state it led to. */
  #command(
    action: 'reset' | 'pause' | 'resume',
    by: string,
    run: (guest: Guest, signal: AbortSignal) => Promise<unknown>,
  ): Promise<VmRuntime> {
    return this.mailbox.submit(async (signal) => {
      if (this.mustAccept(action, by) === 'ignore') return this.runtime
      const guest = this.mustAttach()
      try {
        const [, runState] = await Promise.all([run(guest, signal), guest.readRunState()])
        this.apply({ type: 'run-state', runState })
      } catch (error) {
        throw commandError(error)
      }
      return this.runtime
    })
  }

  async #launch(by: string, prepare: () => Promise<PreparedLaunch>, signal: AbortSignal): Promise<void> {
    try {
      // The traces of the run before this one.
      await this.cleaning
      signal.throwIfAborted()
      // A preparation that hangs must not keep the power from being cut.
      const prepared = await unlessAborted(prepare(), signal)
      let guest: Guest | null = null
      const launched = await launch(prepared, {
        paths: this.paths,
        by,
        bootId: this.deps.bootId,
        clock: this.deps.clock,
        createSerialHub: this.deps.createSerialHub,
        listener: this.listenerOf(() => guest),
        surroundings: this.surroundingsListener,
        signal,
      })
      guest = launched.guest
      this.#launching = null
      this.attach(guest, launched.surroundings)
      this.apply({ type: 'launched', runState: guest.runState })
    } catch (error) {
      this.#launching = null
      throw this.#launchFailed(error)
    }
  }

  /** Back to off, with a record when QEMU was involved. */
  #launchFailed(error: unknown): unknown {
    const wish = this.model.wish
    if (!(error instanceof LaunchFailure) || wish) {
      if (wish) this.exited({ exitCode: null, signal: null, stderr: '' })
      else this.apply({ type: 'start-refused' })
      this.over.resolve()
      return error instanceof EngineError
        ? error
        : new EngineError('internal', 'The VM could not be started because of a fault in the dashboard.', {
            cause: error,
          })
    }
    const exit = this.exited(error.evidence)
    return launchError(exit, error)
  }
}
