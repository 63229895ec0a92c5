/**
 * Live changes of one guest. Belongs to the VM's actor, which calls it from turns of the mailbox only; events of devices
 * that leave outside a change become turns of their own.
 *
 *   change:    record says where it leads ─▶ step ─▶ record ─▶ step ─▶ record ─▶ commit ─▶ record says it is done
 *                                            └── refused: the steps before it are taken back
 *   reconcile: after adoption or a lost connection, what QEMU has counts, and the record is put right
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { applyStep, planLive } from '#lib/vm/live.ts'
import { DEVICE_LISTS } from '#lib/vm/live-places.ts'
import type { DeviceList, LiveFacts, LiveStep } from '#lib/vm/live-types.ts'
import { same } from '#lib/vm/same.ts'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import type { QmpEvent } from '#server/qmp/types.ts'
import type { LaunchUser } from '#server/spec/types.ts'
import type { Guest } from '../guest.ts'
import type { Surroundings } from '../helpers/surroundings.ts'
import { CPU_PREFIX, countCpus } from './cpus.ts'
import { refusedStep } from './explain.ts'
import { liveFacts } from './facts.ts'
import { partsOf } from './plan-change.ts'
import { reconcileMachine } from './reconcile.ts'
import { clearSurroundings, type Machine, runStep, type StepContext, takeOut, withoutDevice } from './steps.ts'
import type { HostSide, LiveChange } from './types.ts'
import { removeBackends, verdictOf } from './unplug.ts'

/** How long a guest is waited for to release a device. Milliseconds. */
const UNPLUG_MS = 5000

/** How long a helper program may take to listen. Milliseconds. */
const HELPER_MS = 20_000

/** What of the VM's surroundings devices come and go with. */
export type HotplugSurroundings = Pick<
  Surroundings,
  'identities' | 'makeTap' | 'removeTap' | 'startHelper' | 'stopHelper'
>

export interface HotplugHost {
  /** Runs work as a turn of the VM's mailbox. */
  submit(turn: () => Promise<void>): void
  /** What runs or what is awaited has changed. */
  changed(): void
  warn(message: string, error?: unknown): void
}

type Held = ReadonlyMap<string, string | null>

export class Hotplug {
  readonly #guest: Guest
  readonly #surroundings: HotplugSurroundings
  readonly #host: HotplugHost
  readonly #unplugMs: number
  #awaited: Map<string, string | null> = new Map()
  /** Devices that a change under way takes out itself. */
  readonly #leaving = new Set<string>()

  constructor(guest: Guest, surroundings: HotplugSurroundings, host: HotplugHost, unplugMs: number = UNPLUG_MS) {
    this.#guest = guest
    this.#surroundings = surroundings
    this.#host = host
    this.#unplugMs = unplugMs
  }

  /** What the guest was asked to let go of and has not: device id → its words. A new map on every change. */
  get awaited(): Held {
    return this.#awaited
  }

  /**
   * Makes of `change` what can be made at once, and stores the definition. All or nothing, but for what the guest holds
   * on to: that is asked for and awaited.
   * @throws EngineError naming the field that failed; guest and record are as before, as far as QEMU let it
   */
  async change(change: LiveChange, signal: AbortSignal): Promise<void> {
    const before = this.#machine()
    if (before === null) {
      change.commit()
      return
    }
    const facts = this.#facts(before, change.canUnplugCpus)
    const { steps } = planLive(before.spec, change.next, facts, change.fields)
    const context: StepContext = {
      guest: this.#guest,
      compile: change.compile,
      unplugMs: this.#unplugMs,
      host: this.#hostSide(change.user),
      onKept: this.#warnKept,
      signal,
    }
    const asksQemu = steps.some((step) => step.kind !== 'note')
    // Should the dashboard end in between, the next one learns from this where the change was going.
    if (asksQemu) {
      const spec = steps.reduce(applyStep, before.spec)
      this.#guest.keepRecord({ change: { spec, plan: change.compile(spec) } })
    }
    let failed: LiveStep | null = null
    try {
      const held = new Map<string, string | null>()
      for (const batch of batches(steps)) {
        failed = batch[0] ?? null
        const ready = batch.filter((step) => !(step.kind === 'plug' && step.after !== null && held.has(step.after)))
        for (const [id, words] of await this.#run(ready, context)) held.set(id, words)
      }
      failed = null
      change.commit()
      this.#setAwaited(held)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (failed?.kind === 'cpus') await this.#countCpus().catch(() => {})
      await this.#takeBack(before, change, facts)
      throw failed === null ? error : refusedStep(error, failed.field, sentenceOf(failed))
    }
    if (asksQemu) this.#guest.keepRecord({ change: null })
    const { spec } = this.#guest.record ?? { spec: null }
    if (spec !== null && (spec.cpus !== before.spec.cpus || !same(spec.dimms, before.spec.dimms))) this.#resized()
  }

  /** What QEMU has counts: puts the record right after a time without events. @throws QmpError */
  async reconcile(): Promise<void> {
    const { record } = this.#guest
    const machine = this.#machine()
    if (machine === null || record === null) return
    const after = await reconcileMachine({ guest: this.#guest, host: this.#hostSide(null) }, machine, record.change)
    if (after !== machine || record.change !== null) {
      this.#guest.keepRecord({ spec: after.spec, plan: after.plan, change: null })
      this.#host.changed()
    }
  }

  /** Called for events about devices, at any time. */
  onEvent(event: QmpEvent): void {
    if (event.event === 'DEVICE_DELETED') {
      const { device, path } = event.data
      if (typeof device === 'string') this.#left(device)
      else if (typeof path === 'string' && path.startsWith('/machine/peripheral/cpu-')) this.#cpusLeft()
    } else if (event.event === 'ACPI_DEVICE_OST') {
      const slotType = typeof event.data.info === 'object' && event.data.info !== null ? event.data.info : {}
      if ('slot-type' in slotType && slotType['slot-type'] === 'CPU') this.#cpusLeft()
      this.#refused(event)
    } else if (event.event === 'DEVICE_UNPLUG_GUEST_ERROR' || event.event === 'MEM_UNPLUG_ERROR') {
      this.#refused(event)
    } else if (event.event === 'MEMORY_DEVICE_SIZE_CHANGE') {
      this.#resized()
    }
  }

  // ── private ─────────────────────────────────────────────────────────────────────────────────────────────────────

  readonly #warnKept = (kept: readonly string[]): void => {
    if (kept.length > 0) this.#host.warn(`VM ${this.#guest.vmId}: QEMU kept ${kept.join('; ')}`)
  }

  #hostSide(user: LaunchUser | null): HostSide {
    const around = this.#surroundings
    const record = () => this.#guest.keepRecord({ helpers: around.identities })
    return {
      makeTap: (tap) => around.makeTap(tap, user),
      removeTap: (name) => around.removeTap(name),
      limitTap: (name, limit) => rootActs().limitTap({ name, limit }),
      startHelper: async (helper) => {
        const wrapper = this.#guest.record?.plan?.wrapper ?? []
        const context = { paths: this.#guest.paths, wrapper, user, signal: AbortSignal.timeout(HELPER_MS) }
        await around.startHelper(helper, context, record)
      },
      stopHelper: async (id) => {
        await around.stopHelper(id)
        record()
      },
    }
  }

  #machine(): Machine | null {
    const { record } = this.#guest
    return record?.spec && record.plan ? { spec: record.spec, plan: record.plan } : null
  }

  #facts({ spec, plan }: Machine, canUnplugCpus: boolean): LiveFacts {
    return liveFacts(spec, plan, canUnplugCpus, this.#awaited)
  }

  #setAwaited(held: Held): void {
    if (held.size === 0 && this.#awaited.size === 0) return
    this.#awaited = new Map([...this.#awaited, ...held])
    this.#host.changed()
  }

  /** The steps of one batch; the record follows each. @returns what the guest holds on to */
  async #run(steps: readonly LiveStep[], context: StepContext): Promise<Held> {
    const [first] = steps
    if (first === undefined) return new Map()
    if (first.kind === 'unplug') return await this.#unplugAll(steps as Extract<LiveStep, { kind: 'unplug' }>[], context)
    const now = this.#machine()
    if (now === null) throw new EngineError('internal', 'What runs is not on record any more.')
    const { machine, held } = await runStep(first, now, context)
    this.#keep(machine)
    return held
  }

  /** Guests take their time: all are asked at once. */
  async #unplugAll(steps: readonly Extract<LiveStep, { kind: 'unplug' }>[], context: StepContext): Promise<Held> {
    const plan = this.#machine()?.plan
    if (plan === undefined) throw new EngineError('internal', 'What runs is not on record any more.')
    for (const { id } of steps) this.#leaving.add(id)
    const held = new Map<string, string | null>()
    try {
      const outcomes = await Promise.allSettled(steps.map(({ id }) => takeOut(id, plan, context)))
      let fault: unknown = null
      for (const [index, outcome] of outcomes.entries()) {
        const step = steps[index]
        if (step === undefined) continue
        if (outcome.status === 'rejected') fault ??= refusedStep(outcome.reason, step.field, sentenceOf(step))
        else if (outcome.value.kind === 'held') held.set(step.id, outcome.value.words)
        else this.#forget(step.list, step.id)
      }
      if (fault !== null) throw fault
    } finally {
      for (const { id } of steps) this.#leaving.delete(id)
    }
    return held
  }

  #keep(machine: Machine): void {
    this.#guest.keepRecord({ spec: machine.spec, plan: machine.plan })
    this.#host.changed()
  }

  #forget(list: DeviceList, id: string): void {
    const now = this.#machine()
    if (this.#awaited.has(id)) {
      this.#awaited = new Map(this.#awaited)
      this.#awaited.delete(id)
    }
    if (now !== null) this.#keep(withoutDevice(now, list, id))
  }

  /** Back to where the change began, step by step; what does not go back stays visible as a difference. */
  async #takeBack(before: Machine, change: LiveChange, facts: LiveFacts): Promise<void> {
    const now = this.#machine()
    if (now === null) return
    const { steps } = planLive(now.spec, before.spec, {
      ...facts,
      ...liveFacts(now.spec, now.plan, facts.canUnplugCpus, this.#awaited),
    })
    const context: StepContext = {
      guest: this.#guest,
      compile: change.compile,
      unplugMs: this.#unplugMs,
      host: this.#hostSide(change.user),
      onKept: this.#warnKept,
    }
    let isLost = false
    for (const batch of batches(steps)) {
      try {
        this.#setAwaited(await this.#run(batch, context))
      } catch (error) {
        isLost ||= !(error instanceof QmpCommandError || error instanceof EngineError)
        this.#host.warn(`VM ${this.#guest.vmId}: a change could not be taken back in full`, error)
      }
    }
    // Without a connection nobody knows how far it came: the note of it stays for the next one.
    if (!isLost && this.#guest.qmp !== null) this.#guest.keepRecord({ change: null })
  }

  /** The numbers of CPUs and of memory shown are read anew. QEMU tells of it once a second at most. */
  #resized(): void {
    this.#guest.resync().then(
      () => this.#host.changed(),
      // The next look at the guest shows what is wrong with it.
      () => {},
    )
  }

  /** A guest that took its time has said no. */
  #refused(event: QmpEvent): void {
    for (const [id, words] of this.#awaited) {
      const verdict = verdictOf(event, id)
      if (verdict?.kind === 'held' && verdict.words !== words) this.#setAwaited(new Map([[id, verdict.words]]))
    }
  }

  /** A device has left outside a change: late, or because the guest ejected it by itself. */
  #left(deviceId: string): void {
    const spec = this.#guest.record?.spec
    if (!spec || this.#leaving.has(deviceId)) return
    const list = listOf(spec, deviceId)
    if (list === null) return
    this.#host.submit(async () => {
      const now = this.#machine()
      if (now === null || listOf(now.spec, deviceId) === null) return
      this.#warnKept(await removeBackends(this.#guest, partsOf(now.plan.options, deviceId)))
      await clearSurroundings(this.#hostSide(null), now.plan, deviceId)
      this.#forget(list, deviceId)
    })
  }

  #cpusLeft(): void {
    if (![...this.#awaited.keys()].some((id) => id.startsWith(CPU_PREFIX))) return
    this.#host.submit(() => this.#countCpus())
  }

  /** Some may have come or gone without a word of it. @throws QmpError */
  async #countCpus(): Promise<void> {
    const cpus = await countCpus(this.#guest)
    const now = this.#machine()
    if (now === null || cpus === now.spec.cpus) return
    this.#awaited = new Map([...this.#awaited].filter(([id]) => !id.startsWith(CPU_PREFIX)))
    this.#keep({ ...now, spec: { ...now.spec, cpus } })
  }
}

const listOf = (spec: VmSpec, deviceId: string): DeviceList | null =>
  DEVICE_LISTS.find((list) => spec[list].some((device) => device.id === deviceId)) ?? null

/** Steps one by one; neighbours that unplug together. */
function batches(steps: readonly LiveStep[]): LiveStep[][] {
  const result: LiveStep[][] = []
  for (const step of steps) {
    const last = result.at(-1)
    if (step.kind === 'unplug' && last?.[0]?.kind === 'unplug') last.push(step)
    else result.push([step])
  }
  return result
}

/** What failed, for the beginning of a sentence. */
function sentenceOf(step: LiveStep): string {
  switch (step.kind) {
    case 'plug':
      return `“${step.device.id}” could not be plugged in`
    case 'unplug':
      return `“${step.id}” could not be unplugged`
    case 'medium':
      return `The medium of “${step.id}” could not be changed`
    case 'cpus':
      return 'The number of CPUs could not be changed'
    case 'forwards':
      return `The port forwards of “${step.id}” could not be changed`
    case 'link':
    case 'rate-limit':
    case 'throttle':
      return `“${step.id}” could not be changed`
    case 'resize':
      return `“${step.id}” could not be made larger`
    case 'boot-order':
      return 'The boot order could not be changed'
    case 'virtio-mem':
    case 'balloon':
      return 'The memory could not be changed'
    case 'watchdog':
      return 'The watchdog could not be changed'
    case 'note':
      return 'The change could not be made'
  }
}
