/**
 * The dashboard's hold on one QEMU process: its monitor, its serial console, its identity. Made by a launch or by
 * adoption, owned by the VM's actor, let go of without harm to the guest.
 */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { SerialHubHandle } from '#server/console/types.ts'
import type { VmRunPaths } from '#server/paths.ts'
import { replaceFile } from '#server/platform/fs.ts'
import { isAlive, type ProcessExit, type ProcessIdentity } from '#server/platform/process.ts'
import { connectQmp } from '#server/qmp/client.ts'
import { QmpTimeoutError } from '#server/qmp/errors.ts'
import type { QmpClient, QmpEvent, QmpJson } from '#server/qmp/types.ts'
import { QEMU_IDS } from '#server/spec/ids.ts'
import { assertWithinReach } from './confined.ts'
import { deviceIds, formatRecord, type RunRecord } from './run-record.ts'
import { type Ending, endingOf } from './transitions.ts'

/** A process whose end we learn of, child or not. */
export interface GuestProcess {
  readonly identity: ProcessIdentity
  /** Never rejects. Exit code and signal are null when it was not our child. */
  readonly exited: Promise<ProcessExit>
  /** The end is near: find out at once. */
  hurry(): void
  /** Stop watching. */
  release(): void
}

/** Serial hub as the console room makes it; `ready` tells when nothing the guest says can be missed any more. */
export type CreateSerialHub = (
  socketPath: string,
  options: { readonly onClose?: (error: Error | null) => void },
) => SerialHubHandle & { readonly ready?: Promise<boolean> }

export interface GuestListener {
  onRunState(runState: string): void
  onEnding(ending: Ending): void
  onAgent(open: boolean): void
  /** A device left, or would not. */
  onDevice(event: QmpEvent): void
  /** The monitor's connection ended; the process may live. */
  onMonitorLost(): void
  /** A command got no answer in time. */
  onSilence(): void
}

/** Read once per connection. */
export interface GuestFacts {
  readonly qemuVersion: string
  readonly machine: string
  readonly vcpus: number
  readonly memoryMiB: number
  readonly accelerator: 'kvm' | 'tcg'
}

const Status = z.object({ status: z.string() })
const Kvm = z.object({ enabled: z.boolean() })
const Accelerators = z.object({ enabled: z.string() })
const Memory = z.object({ 'base-memory': z.coerce.number(), 'plugged-memory': z.coerce.number().default(0) })
const Chardevs = z.array(z.object({ filename: z.string(), 'frontend-open': z.boolean() }))

/** Milliseconds a command may take before QEMU counts as silent. */
export const ANSWER_MS = 5000
const REOPEN_SERIAL_MS = 500
const RESCUE_AFTER_MS = 400
/** A guest that stops and goes on faster than this is asked about in vain; the next event tells. */
const STATE_ATTEMPTS = 4

const sizeOf = (memory: z.output<typeof Memory>) => memory['base-memory'] + memory['plugged-memory']

export class Guest {
  readonly vmId: string
  readonly paths: VmRunPaths
  readonly process: GuestProcess
  readonly balloonId: string | null
  readonly displayIds: readonly string[]
  /** Last run state heard of; the actor's model is what counts. */
  runState = 'prelaunch'
  /** Whether a program in the guest holds the agent channel open; null without a channel. */
  agentOpen: boolean | null = null
  facts: GuestFacts | null = null
  #record: RunRecord | null
  readonly #listener: GuestListener
  readonly #createSerialHub: CreateSerialHub
  #qmp: QmpClient | null = null
  #hub: SerialHubHandle | null = null
  #reopen: NodeJS.Timeout | undefined
  #released = false
  readonly #gone = new AbortController()
  /** Who else wants every event of this guest: long work outside the mailbox. Kept when the monitor is found again. */
  readonly eventListeners = new Set<(event: QmpEvent) => void>()
  /** Counts events about the run state. */
  #stateEvents = 0
  #refreshing = false

  constructor(options: {
    vmId: string
    paths: VmRunPaths
    process: GuestProcess
    record: RunRecord | null
    listener: GuestListener
    createSerialHub: CreateSerialHub
  }) {
    this.vmId = options.vmId
    this.paths = options.paths
    this.process = options.process
    this.#record = options.record
    this.#listener = options.listener
    this.#createSerialHub = options.createSerialHub
    const plan = options.record?.plan ?? null
    this.balloonId = deviceIds(plan, /^virtio-balloon/)[0] ?? null
    this.displayIds = deviceIds(plan, /vga|^VGA$|gpu|qxl|bochs-display/i)
  }

  /** What was launched, as changed since; null when it is not known. */
  get record(): RunRecord | null {
    return this.#record
  }

  /** Changes the record, in memory and in the run directory. @throws Error ENOSPC … */
  keepRecord(change: Partial<Pick<RunRecord, 'spec' | 'plan' | 'change' | 'helpers'>>): void {
    if (this.#record === null) return
    this.#record = { ...this.#record, ...change }
    replaceFile(this.paths.launch, formatRecord(this.#record))
  }

  /** The monitor, or null while there is no connection. */
  get qmp(): QmpClient | null {
    return this.#qmp && !this.#qmp.closed ? this.#qmp : null
  }

  /** @throws QmpTimeoutError without a connection */
  mustQmp(): QmpClient {
    const { qmp } = this
    if (!qmp) throw new QmpTimeoutError('the monitor', 0)
    return qmp
  }

  /** Aborts when the guest has ended or was let go of. */
  get gone(): AbortSignal {
    return this.#gone.signal
  }

  get hub(): SerialHubHandle | null {
    return this.#hub
  }

  /** @throws QmpError when it does not connect; the signal's reason */
  async connect(options: { timeoutMs: number; signal?: AbortSignal }): Promise<void> {
    this.#take(await connectQmp(this.paths.qmp, { ...options, waitForSocket: true }))
  }

  /**
   * Main monitor first; when it stays silent for a while, because another client holds it or its socket is gone, the
   * rescue monitor as well: whichever greets first. Waits for sockets that a starting QEMU has not made yet.
   * @throws QmpError
   */
  async reconnect(timeoutMs: number): Promise<void> {
    const stop = new AbortController()
    const open = (path: string, ms: number) =>
      connectQmp(path, { timeoutMs: ms, waitForSocket: true, signal: stop.signal })
    const main = open(this.paths.qmp, timeoutMs)
    const rescue = sleep(RESCUE_AFTER_MS, null, { signal: stop.signal }).then(() =>
      open(this.paths.qmpRescue, timeoutMs - RESCUE_AFTER_MS),
    )
    let chosen: QmpClient
    try {
      chosen = await Promise.any([main, rescue])
    } catch (error) {
      throw error instanceof AggregateError ? error.errors[0] : error
    } finally {
      stop.abort(new Error('no longer wanted'))
    }
    for (const attempt of [main, rescue]) {
      // The one that came second must not keep its monitor busy.
      attempt.then(
        (client) => client !== chosen && client.close(),
        () => {},
      )
    }
    this.#take(chosen)
  }

  /**
   * Runs one command with the time a live QEMU needs at most.
   * @throws QmpError; EngineError conflict when it names a file that a locked-in QEMU does not see
   */
  async ask(
    command: string,
    args?: { [key: string]: QmpJson | undefined },
    options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<QmpJson> {
    const { qmp } = this
    if (!qmp) throw new QmpTimeoutError(command, 0)
    assertWithinReach(this.#record?.plan ?? null, command, args)
    try {
      return await qmp.execute(command, args, { timeoutMs: ANSWER_MS, ...options })
    } catch (error) {
      if (error instanceof QmpTimeoutError && !this.#released) this.#listener.onSilence()
      throw error
    }
  }

  /**
   * Reads the run state. An answer and an event that came in one piece reach us in either order, so an answer counts
   * only when no event about the run state came since the question; else it is asked again.
   * @throws QmpError
   */
  async readRunState(options: { timeoutMs?: number } = {}): Promise<string> {
    for (let attempt = 1; ; attempt += 1) {
      const before = this.#stateEvents
      const { status } = Status.parse(await this.ask('query-status', undefined, options))
      if (before !== this.#stateEvents && attempt < STATE_ATTEMPTS) continue
      this.runState = status
      return status
    }
  }

  /** Everything that may have changed while nobody listened, in one burst. @throws QmpError */
  async resync(): Promise<void> {
    const { qmp } = this
    if (!qmp) throw new QmpTimeoutError('query-status', 0)
    const absent = () => null
    const [, accelerators, kvm, machine, cpus, memory, chardevs] = await Promise.all([
      this.readRunState(),
      // query-kvm is deprecated where query-accelerators exists; asking for both saves a round trip.
      qmp.execute('query-accelerators').catch(absent),
      qmp.execute('query-kvm').catch(absent),
      qmp.execute('qom-get', { path: '/machine', property: 'type' }).catch(absent),
      qmp.execute('query-cpus-fast').catch(absent),
      qmp.execute('query-memory-size-summary').catch(absent),
      qmp.execute('query-chardev').catch(absent),
    ])
    const enabled = Accelerators.safeParse(accelerators)
    const oldKvm = Kvm.safeParse(kvm)
    const isKvm = enabled.success ? enabled.data.enabled === 'kvm' : oldKvm.success && oldKvm.data.enabled
    const base = Memory.safeParse(memory)
    const { major, minor, micro } = qmp.version
    this.facts = {
      qemuVersion: `${major}.${minor}.${micro}`,
      machine: typeof machine === 'string' ? machine.replace(/-machine$/, '') : (this.record?.spec?.machine ?? ''),
      vcpus: Array.isArray(cpus) ? cpus.length : (this.record?.spec?.cpus ?? 1),
      memoryMiB: base.success ? Math.round(sizeOf(base.data) / 1048576) : (this.record?.spec?.memoryMiB ?? 0),
      accelerator: isKvm ? 'kvm' : 'tcg',
    }
    const list = Chardevs.safeParse(chardevs)
    const channel = list.success ? list.data.find((one) => one.filename.includes(this.paths.agent)) : undefined
    this.agentOpen = channel ? channel['frontend-open'] : null
  }

  /**
   * Takes hold of the serial console, and takes hold again should it be lost. Resolves once nothing more is missed.
   */
  async openSerial(): Promise<void> {
    if (this.#hub || this.#released) return
    const hub = this.#createSerialHub(this.paths.serial, {
      onClose: () => {
        if (this.#hub !== hub) return
        this.#hub = null
        if (this.#released) return
        this.#reopen = setTimeout(() => {
          if (isAlive(this.process.identity)) this.openSerial().catch(() => {})
        }, REOPEN_SERIAL_MS).unref()
      },
    })
    this.#hub = hub
    await hub.ready
  }

  /** Whether the VM was launched with a serial port. */
  get hasSerial(): boolean {
    return this.record?.spec?.serial ?? existsSync(this.paths.serial)
  }

  /** Closes our ends. The guest does not notice. Idempotent. */
  release(): void {
    if (this.#released) return
    this.#released = true
    this.#gone.abort(new Error('the guest has ended or was let go of'))
    clearTimeout(this.#reopen)
    this.#qmp?.close()
    this.#hub?.close()
    this.#hub = null
    this.process.release()
  }

  #take(client: QmpClient): void {
    if (this.#released) {
      client.close()
      throw new Error('let go of meanwhile')
    }
    this.#qmp?.close()
    this.#qmp = client
    client.onEvent((event) => this.#onEvent(event))
    void client.whenClosed.then(() => {
      if (this.#qmp !== client || this.#released) return
      this.process.hurry()
      this.#listener.onMonitorLost()
    })
  }

  #onEvent(event: QmpEvent): void {
    for (const listener of this.eventListeners) listener(event)
    switch (event.event) {
      case 'RESUME':
      case 'WAKEUP':
        this.#stateEvents += 1
        this.#runStateIs('running')
        return
      case 'SUSPEND':
        this.#stateEvents += 1
        this.#runStateIs('suspended')
        return
      case 'STOP':
      case 'GUEST_PANICKED':
      case 'WATCHDOG':
        // RESET and BLOCK_IO_ERROR are left out: a guest can make them by the thousand, and a change of the run state
        // that comes with them has an event of its own.
        this.#stateEvents += 1
        this.#refreshRunState()
        return
      case 'SHUTDOWN': {
        const ending = endingOfShutdown(event)
        if (ending) this.#listener.onEnding(ending)
        return
      }
      case 'VSERPORT_CHANGE':
        this.#onPort(event)
        return
      case 'DEVICE_DELETED':
      case 'ACPI_DEVICE_OST':
      case 'DEVICE_UNPLUG_GUEST_ERROR':
      case 'MEM_UNPLUG_ERROR':
      case 'MEMORY_DEVICE_SIZE_CHANGE':
        this.#listener.onDevice(event)
        return
    }
  }

  /** None of those events says which state QEMU is in now. One question at a time is enough to find out. */
  #refreshRunState(): void {
    if (this.#refreshing) return
    this.#refreshing = true
    this.readRunState()
      .then(
        (runState) => {
          this.#refreshing = false
          this.#runStateIs(runState)
        },
        () => {},
      )
      .finally(() => {
        this.#refreshing = false
      })
  }

  #runStateIs(runState: string): void {
    this.runState = runState
    const ending = endingOf(runState)
    if (ending) this.#listener.onEnding(ending)
    this.#listener.onRunState(runState)
  }

  #onPort(event: QmpEvent): void {
    const { id, open } = event.data
    // Other channels open and close as well.
    if (typeof open !== 'boolean' || id !== QEMU_IDS.agentPort) return
    this.agentOpen = open
    this.#listener.onAgent(open)
  }
}

/** What a SHUTDOWN event says about who ended the guest (qapi/run-state.json, ShutdownCause). */
function endingOfShutdown(event: QmpEvent): Ending | null {
  const { guest, reason } = event.data
  if (reason === 'host-qmp-system-reset' || reason === 'guest-reset') return null
  return { kind: guest === true ? 'guest-shutdown' : 'host-signal' }
}

const HURRIED_STEPS: readonly { readonly everyMs: number; readonly times: number }[] = [
  { everyMs: 1, times: 30 },
  { everyMs: 5, times: 40 },
  { everyMs: 25, times: 40 },
]
const CALM_MS = 1000

/** Watches a process that is not our child. Node has no pidfd, so /proc is read: rarely, or tightly once hurried. */
export function watchProcess(identity: ProcessIdentity): GuestProcess {
  const exited = Promise.withResolvers<ProcessExit>()
  let timer: NodeJS.Timeout | undefined
  let steps = 0
  let over = false
  const look = () => {
    if (over) return
    if (!isAlive(identity)) {
      over = true
      clearTimeout(timer)
      exited.resolve({ code: null, signal: null })
      return
    }
    clearTimeout(timer)
    timer = setTimeout(look, nextDelay()).unref()
  }
  const nextDelay = () => {
    let index = steps
    for (const step of HURRIED_STEPS) {
      if (index < step.times) {
        steps += 1
        return step.everyMs
      }
      index -= step.times
    }
    return CALM_MS
  }
  const hurried = HURRIED_STEPS.reduce((sum, step) => sum + step.times, 0)
  steps = hurried
  look()
  return {
    identity,
    exited: exited.promise,
    hurry: () => {
      steps = 0
      look()
    },
    release: () => {
      over = true
      clearTimeout(timer)
    },
  }
}
