/** One step of a live change, carried out on QEMU. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { applyStep, planLive } from '#lib/vm/live.ts'
import type { LiveStep } from '#lib/vm/live-types.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import type { Guest } from '../guest.ts'
import { ask } from './ask.ts'
import { countCpus, plugCpus, unplugCpus } from './cpus.ts'
import { liveFacts } from './facts.ts'
import { addedCommands, partsOf, withChange } from './plan-change.ts'
import type { PlugPart } from './qmp-of-option.ts'
import { applySetting, hasThrottleGroup, isSetting, type SettingStep } from './settings.ts'
import type { HostSide } from './types.ts'
import { removeBackends, type UnplugOutcome, unplugDevice } from './unplug.ts'

/** The machine as it runs. */
export interface Machine {
  readonly spec: VmSpec
  readonly plan: LaunchPlan
}

export interface StepContext {
  readonly guest: Guest
  /** @throws EngineError bad_input */
  readonly compile: (spec: VmSpec) => LaunchPlan
  readonly unplugMs: number
  readonly host: HostSide
  /** What QEMU would not let go of behind a device that has gone. */
  readonly onKept: (kept: readonly string[]) => void
  readonly signal?: AbortSignal
}

export interface StepResult {
  /** What runs now. */
  readonly machine: Machine
  /** What the guest was asked for and holds on to: device id → its words. */
  readonly held: ReadonlyMap<string, string | null>
}

const NONE: ReadonlyMap<string, string | null> = new Map()

/** @throws QmpError, EngineError; the step has then left nothing behind, as far as QEMU let it */
export async function runStep(step: LiveStep, now: Machine, context: StepContext): Promise<StepResult> {
  switch (step.kind) {
    case 'note':
      return { machine: { ...now, spec: applyStep(now.spec, step) }, held: NONE }
    case 'plug':
      return { machine: await plug(step, now, context), held: NONE }
    case 'unplug':
      return await unplug(step, now, context)
    case 'cpus':
      return await changeCpus(step, now, context)
    default: {
      const after = () => context.compile(applyStep(now.spec, step))
      let words: string | null
      try {
        words = await applySetting(context, step, now.plan, after)
      } catch (error) {
        await setBack(step, now, context)
        throw error
      }
      if (words !== null && step.kind === 'medium') return { machine: now, held: new Map([[step.id, words]]) }
      return { machine: advanced(now, step, context.compile), held: NONE }
    }
  }
}

/** Some settings take several commands, of which the first may have been taken. Best effort. */
async function setBack(step: SettingStep, now: Machine, { guest, host, signal }: StepContext): Promise<void> {
  if (signal?.aborted) return
  const made = applyStep(now.spec, step)
  const { steps } = planLive(made, now.spec, liveFacts(now.spec, now.plan, true, NONE))
  for (const back of steps.filter(isSetting)) {
    // The medium sees to itself.
    if (back.kind !== 'medium') await applySetting({ guest, host }, back, now.plan, () => now.plan).catch(() => null)
  }
}

/** `now` with the step made, and its plan with what a start with that would differ in. */
function advanced(now: Machine, step: LiveStep, compile: StepContext['compile']): Machine {
  const spec = applyStep(now.spec, step)
  const deviceId = step.kind === 'plug' ? step.device.id : 'id' in step ? step.id : null
  // Limits come and go without the objects that a start would make for them.
  if (step.kind === 'throttle' && (step.throttle === null || !hasThrottleGroup(now.plan, step.id)))
    return { spec, plan: now.plan }
  return { spec, plan: withChange(now.plan, compile(now.spec), compile(spec), deviceId) }
}

async function plug(step: Extract<LiveStep, { kind: 'plug' }>, now: Machine, context: StepContext): Promise<Machine> {
  const { guest } = context
  const { id } = step.device
  const machine = advanced(now, step, context.compile)
  const parts = partsOf(machine.plan.options, id)
  if (!parts.some((part) => part.kind === 'device'))
    throw new EngineError('conflict', `“${id}” cannot be plugged in while the guest runs; leave it for the next start.`)
  const made: PlugPart[] = []
  const { taps, helpers } = surroundingsOf(machine.plan, id)
  const { signal } = context
  try {
    for (const tap of taps) await context.host.makeTap(tap)
    for (const helper of helpers) await context.host.startHelper(helper)
    for (const part of parts) {
      await ask(guest, part.add.execute, part.add.arguments, signal)
      made.push(part)
    }
    for (const command of addedCommands(now.plan, machine.plan)) {
      await ask(guest, command.execute, command.arguments, signal)
    }
    const bridge = made.find((part) => part.kind === 'device' && part.add.arguments.driver === 'usb-bot')
    if (bridge !== undefined) {
      // It waits for its drives and is shown to the guest on demand (hw/usb/dev-storage-bot.c).
      await ask(
        guest,
        'qom-set',
        { path: `/machine/peripheral/${bridge.id}`, property: 'attached', value: true },
        signal,
      )
    }
  } catch (error) {
    if (context.signal?.aborted !== true) {
      await takeBack(guest, made, context.unplugMs)
      await clearSurroundings(context.host, machine.plan, id)
    }
    throw error
  }
  return machine
}

const surroundingsOf = (plan: LaunchPlan, id: string) => ({
  taps: plan.taps.filter((tap) => tap.card === id),
  helpers: plan.helpers.filter((helper) => helper.id === id),
})

/** What stood beside QEMU for a device that has gone. Never throws: what is left goes with the guest. */
export async function clearSurroundings(host: HostSide, plan: LaunchPlan, id: string): Promise<void> {
  const { taps, helpers } = surroundingsOf(plan, id)
  for (const { name } of taps) await host.removeTap(name).catch(() => {})
  for (const helper of helpers) await host.stopHelper(helper.id)
}

/** Best effort: the error that led here is the one to tell. */
async function takeBack(guest: Guest, made: readonly PlugPart[], timeoutMs: number): Promise<void> {
  try {
    const device = made.find((part) => part.kind === 'device')
    if (device !== undefined) await unplugDevice(guest, device.id, { timeoutMs })
    await removeBackends(guest, made)
  } catch {
    // The connection is gone too; adoption or the next connection finds what is left.
  }
}

/** Asks the guest for a device and clears up behind it. @throws QmpError */
export async function takeOut(id: string, plan: LaunchPlan, context: StepContext): Promise<UnplugOutcome> {
  const { guest, unplugMs, signal } = context
  const parts = partsOf(plan.options, id)
  // The first is the outermost: a bridge takes what hangs on it along.
  const outermost = parts.find((part) => part.kind === 'device')?.id ?? id
  const outcome = await unplugDevice(guest, outermost, { timeoutMs: unplugMs, ...(signal && { signal }) })
  if (outcome.kind === 'gone') {
    context.onKept(await removeBackends(guest, parts))
    await clearSurroundings(context.host, plan, id)
  }
  return outcome
}

async function unplug(
  step: Extract<LiveStep, { kind: 'unplug' }>,
  now: Machine,
  context: StepContext,
): Promise<StepResult> {
  const outcome = await takeOut(step.id, now.plan, context)
  if (outcome.kind === 'held') return { machine: now, held: new Map([[step.id, outcome.words]]) }
  return { machine: withoutDevice(now, step.list, step.id), held: NONE }
}

/** What runs once a device and all that stood behind it have gone. */
export function withoutDevice(now: Machine, list: Extract<LiveStep, { kind: 'unplug' }>['list'], id: string): Machine {
  const gone = new Set(partsOf(now.plan.options, id).map((part) => part.id))
  const options = now.plan.options.filter((option) => {
    const [part] = partsOf([option], id)
    return part === undefined || !gone.has(part.id)
  })
  const isOfDevice = (pointer: string) => pointer === `/${list}/${now.spec[list].findIndex((one) => one.id === id)}`
  const commands = now.plan.commands.filter((command) => !isOfDevice(command.field.split('/').slice(0, 3).join('/')))
  return {
    spec: applyStep(now.spec, { kind: 'unplug', field: list, list, id }),
    plan: {
      ...now.plan,
      options,
      commands,
      taps: now.plan.taps.filter((tap) => tap.card !== id),
      helpers: now.plan.helpers.filter((helper) => helper.id !== id),
    },
  }
}

async function changeCpus(
  step: Extract<LiveStep, { kind: 'cpus' }>,
  now: Machine,
  context: StepContext,
): Promise<StepResult> {
  const { guest, unplugMs, signal } = context
  const options = signal === undefined ? {} : { signal }
  let held: string[] = []
  if (step.cpus > now.spec.cpus) await plugCpus(guest, step.cpus, signal)
  else held = await unplugCpus(guest, step.cpus, { timeoutMs: unplugMs, ...options })
  const cpus = await countCpus(guest)
  return {
    machine: advanced(now, { ...step, cpus }, context.compile),
    held: new Map(held.map((id) => [id, null])),
  }
}
