/**
 * What of a changed definition a running guest can take at once, as steps in the order they are to be made.
 * Pure: the server carries the steps out (`server/vm/hotplug`), previews and pages announce them.
 */
import type { VmSpec } from '../schema/vm-spec.ts'
import type { PendingChange } from '../schema/vm-state.ts'
import { ruleOn } from './live-rules.ts'
import type { AnyDevice, DeviceList, LiveFacts, LiveStep } from './live-types.ts'

export interface LivePlan {
  readonly steps: readonly LiveStep[]
  /** What the steps leave for the next power cycle, or for the guest to allow. */
  readonly pending: readonly PendingChange[]
}

/** Settings first, since they are taken back easily; then what is added, then what the guest must let go of. */
const ORDER: readonly LiveStep['kind'][] = [
  'note',
  'link',
  'rate-limit',
  'throttle',
  'forwards',
  'boot-order',
  'watchdog',
  'balloon',
  'medium',
  'virtio-mem',
  'plug',
  'cpus',
  'unplug',
  // Last, because it alone cannot be taken back.
  'resize',
]

const rank = (step: LiveStep): number =>
  // It takes over the place of a device that has to go first.
  step.kind === 'plug' && step.after !== null ? ORDER.length : ORDER.indexOf(step.kind)

/**
 * @param live what runs @param next what is wanted
 * @param fields only changes of these fields of the spec; all when left out
 */
export function planLive(live: VmSpec, next: VmSpec, facts: LiveFacts, fields?: ReadonlySet<keyof VmSpec>): LivePlan {
  const { steps, differences } = ruleOn({ live, next, facts })
  const wanted = steps.filter((step) => fields === undefined || fieldsOf(step).some((field) => fields.has(field)))
  const ordered = wanted.map((step, index) => ({ step, index }))
  ordered.sort((a, b) => rank(a.step) - rank(b.step) || a.index - b.index)
  return {
    steps: ordered.map(({ step }) => step),
    pending: differences.filter(({ waiting }) => waiting !== 'apply'),
  }
}

/** Top-level fields of the spec that a step changes. */
function fieldsOf(step: LiveStep): (keyof VmSpec)[] {
  if (step.kind === 'boot-order') return [...new Set(step.positions.map(({ list }) => list))]
  if (step.kind === 'plug' && step.properties !== null) return [step.list, 'properties']
  return [step.field.split('.')[0] as keyof VmSpec]
}

/** What runs once `step` is done. */
export function applyStep(live: VmSpec, step: LiveStep): VmSpec {
  switch (step.kind) {
    case 'note':
      return { ...live, ...step.values }
    case 'plug': {
      const added = withList(live, step.list, [...live[step.list], step.device])
      return step.properties === null
        ? added
        : { ...added, properties: { ...added.properties, [step.device.id]: step.properties } }
    }
    case 'unplug': {
      const { [step.id]: _, ...properties } = live.properties
      const rest = (live[step.list] as readonly AnyDevice[]).filter((device) => device.id !== step.id)
      return { ...withList(live, step.list, rest), properties }
    }
    case 'medium':
      return edit(live, 'disks', step.id, { image: step.image, seed: step.seed })
    case 'throttle':
      return edit(live, 'disks', step.id, { throttle: step.throttle })
    case 'resize':
      return edit(live, 'disks', step.id, { sizeGiB: step.sizeGiB })
    case 'link':
      return edit(live, 'networks', step.id, { link: step.link })
    case 'rate-limit':
      return edit(live, 'networks', step.id, { rateLimit: step.rateLimit })
    case 'forwards':
      return edit(live, 'networks', step.id, { forwards: step.forwards })
    case 'boot-order':
      return step.positions.reduce((spec, { list, id, bootIndex }) => edit(spec, list, id, { bootIndex }), live)
    case 'cpus':
      return { ...live, cpus: step.cpus }
    case 'virtio-mem':
      return live.virtioMem === null
        ? live
        : { ...live, virtioMem: { ...live.virtioMem, requestedMiB: step.requestedMiB } }
    case 'balloon':
      return { ...live, balloonTargetMiB: step.targetMiB }
    case 'watchdog':
      return live.watchdog === null ? live : { ...live, watchdog: { ...live.watchdog, action: step.action } }
  }
}

// The list names the family its elements are of, which the type of a computed key cannot tell.
const withList = (spec: VmSpec, list: DeviceList, devices: readonly AnyDevice[]): VmSpec =>
  ({ ...spec, [list]: devices }) as VmSpec

const edit = (spec: VmSpec, list: DeviceList, id: string, change: object): VmSpec =>
  withList(
    spec,
    list,
    (spec[list] as readonly AnyDevice[]).map((device) =>
      device.id === id ? ({ ...device, ...change } as AnyDevice) : device,
    ),
  )
