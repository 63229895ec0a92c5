/**
 * The record of what runs, put right from QEMU itself: a dashboard may have ended, or the connection been lost, in the
 * middle of a change, and devices may have left meanwhile.
 */
import { applyStep, planLive } from '#lib/vm/live.ts'
import { DEVICE_LISTS } from '#lib/vm/live-places.ts'
import type { LiveStep } from '#lib/vm/live-types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import type { Guest } from '../guest.ts'
import { countCpus } from './cpus.ts'
import { liveFacts } from './facts.ts'
import { partsOf, withChange } from './plan-change.ts'
import { applySetting, isSetting } from './settings.ts'
import { clearSurroundings, type Machine, withoutDevice } from './steps.ts'
import type { HostSide } from './types.ts'
import { readPeripherals, removeBackends } from './unplug.ts'

export interface ReconcileContext {
  readonly guest: Guest
  readonly host: HostSide
}

/**
 * @param machine on record
 * @param goal where a change was going that nobody saw end; null: none was under way
 * @returns what runs; `machine` itself when the record was right
 * @throws QmpError
 */
export async function reconcileMachine(
  context: ReconcileContext,
  machine: Machine,
  goal: Machine | null,
): Promise<Machine> {
  const { guest, host } = context
  const present = await readPeripherals(guest)
  let now = machine
  for (const list of DEVICE_LISTS) {
    for (const { id } of machine.spec[list]) {
      const parts = partsOf(machine.plan.options, id)
      const device = parts.find((part) => part.kind === 'device')
      if (device === undefined || present.has(device.id)) continue
      await removeBackends(guest, parts)
      await clearSurroundings(host, machine.plan, id)
      now = withoutDevice(now, list, id)
    }
  }
  if (goal !== null) now = await settle(context, now, goal, present)
  const cpus = await countCpus(guest).catch((error: unknown) => {
    // A machine type without CPU hotplug has no such list.
    if (error instanceof QmpCommandError) return now.spec.cpus
    throw error
  })
  return cpus === now.spec.cpus ? now : { ...now, spec: { ...now.spec, cpus } }
}

/**
 * A change that nobody saw end: devices it has brought stay and count as running; what else it may have set goes back to
 * what is on record, because the definition was not stored.
 */
async function settle(
  context: ReconcileContext,
  machine: Machine,
  goal: Machine,
  present: ReadonlySet<string>,
): Promise<Machine> {
  const { guest, host } = context
  let now = machine
  const { steps } = planLive(machine.spec, goal.spec, liveFacts(machine.spec, machine.plan, true, new Map()))
  for (const step of steps) {
    if (step.kind !== 'plug') continue
    const { id } = step.device
    const parts = partsOf(goal.plan.options, id)
    const device = parts.find((part) => part.kind === 'device')
    if (device !== undefined && present.has(device.id)) now = withDevice(now, step, goal)
    else {
      await removeBackends(guest, parts)
      await clearSurroundings(host, goal.plan, id)
    }
  }
  const back = planLive(goal.spec, now.spec, liveFacts(now.spec, now.plan, true, new Map())).steps.filter(isSetting)
  for (const step of back) {
    try {
      await applySetting(context, step, goal.plan, () => now.plan)
    } catch (error) {
      // Half of these are as they were, which QEMU may refuse to hear again.
      if (!(error instanceof QmpCommandError || error instanceof EngineError)) throw error
    }
  }
  return now
}

function withDevice(now: Machine, step: Extract<LiveStep, { kind: 'plug' }>, goal: Machine): Machine {
  const { id } = step.device
  const mine = new Set(partsOf(goal.plan.options, id).map((part) => part.id))
  const options = goal.plan.options.filter((option) => {
    const [part] = partsOf([option], id)
    return part === undefined || !mine.has(part.id)
  })
  const before = { ...goal.plan, options }
  return { spec: applyStep(now.spec, step), plan: withChange(now.plan, before, goal.plan, id) }
}
