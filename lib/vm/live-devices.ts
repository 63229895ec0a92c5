/** Lists of devices: what of a difference can be made while the guest runs, device by device. Pure. */
import type { Drive, NetworkCard } from '../schema/vm-spec.ts'
import type { PendingChange } from '../schema/vm-state.ts'
import { DEVICE_LISTS, judgePlug, unplugRefusal } from './live-places.ts'
import type { AnyDevice, DeviceList, LiveStep, RuleContext, Ruling } from './live-types.ts'
import { same } from './same.ts'

type Json = PendingChange['live']
/** The part of a device's change that can be made now: the device as it then is, and how. */
interface Reachable {
  readonly device: AnyDevice
  readonly steps: readonly LiveStep[]
}

/** Devices are compared by id. Paths point into `next`; for a removed device, at the end of its list. */
export function deviceRule(list: DeviceList, context: RuleContext): Ruling {
  const { live, next, facts } = context
  const before = new Map<string, AnyDevice>(live[list].map((device) => [device.id, device]))
  const after = new Set<string>(next[list].map((device) => device.id))
  const leaving = leavingIds(context)
  const steps: LiveStep[] = []
  const differences: PendingChange[] = []

  next[list].forEach((device, index) => {
    const path = `/${list}/${index}`
    const field = `${list}.${index}`
    const old = before.get(device.id)
    if (old === undefined) {
      const verdict = judgePlug(list, device, live, facts, leaving)
      if (verdict.ok) {
        const properties = next.properties[device.id] ?? null
        steps.push({ kind: 'plug', field, list, device, properties, after: verdict.after })
      }
      differences.push({
        path,
        live: null,
        next: device as Json,
        reason: verdict.ok ? `“${device.id}” can be plugged in at once.` : verdict.reason,
        waiting: verdict.ok ? 'apply' : 'restart',
      })
      return
    }
    if (same(old, device)) return
    const reachable = reachableOf(list, old, device, field)
    steps.push(...reachable.steps)
    differences.push({
      path,
      live: old as Json,
      next: device as Json,
      ...reasonOf(list, old, device, reachable, facts),
    })
  })

  for (const device of live[list]) {
    if (after.has(device.id)) continue
    const refusal = unplugRefusal(list, device)
    if (refusal === null) steps.push({ kind: 'unplug', field: list, list, id: device.id })
    const asked = facts.awaited.has(device.id)
    const words = facts.awaited.get(device.id) ?? null
    differences.push({
      path: `/${list}/-`,
      live: device as Json,
      next: null,
      reason: asked
        ? (words ?? `The guest has not released “${device.id}” yet; repeat the change, or power the guest off.`)
        : (refusal ?? `“${device.id}” can be unplugged at once, if the guest lets go of it.`),
      waiting: asked ? 'guest' : refusal === null ? 'apply' : 'restart',
    })
  }
  return { steps, differences }
}

/** Devices of the running machine that the new definition has no more and that can be asked for. */
function leavingIds({ live, next }: RuleContext): ReadonlySet<string> {
  const leaving = new Set<string>()
  for (const list of DEVICE_LISTS) {
    const wanted = new Set<string>(next[list].map((device) => device.id))
    for (const device of live[list])
      if (!wanted.has(device.id) && unplugRefusal(list, device) === null) leaving.add(device.id)
  }
  return leaving
}

function reachableOf(list: DeviceList, old: AnyDevice, device: AnyDevice, field: string): Reachable {
  if (list === 'disks') return reachableDrive(old as Drive, device as Drive, field)
  if (list === 'networks') return reachableCard(old as NetworkCard, device as NetworkCard, field)
  return { device: old, steps: [] }
}

/** Boot positions are a step of their own (`bootOrderSteps`): they change together. */
function reachableDrive(old: Drive, next: Drive, field: string): Reachable {
  if (old.device === 'cdrom' && next.device === 'cdrom') {
    const { image, seed, bootIndex } = next
    const stays = old.image === image && old.seed === seed
    return {
      device: { ...old, image, seed, bootIndex },
      steps: stays ? [] : [{ kind: 'medium', field, id: old.id, image, seed }],
    }
  }
  if (old.device !== 'disk' || next.device !== 'disk') return { device: old, steps: [] }
  const grows = next.sizeGiB > old.sizeGiB && !old.shared && !next.shared
  const device = {
    ...old,
    throttle: next.throttle,
    bootIndex: next.bootIndex,
    sizeGiB: grows ? next.sizeGiB : old.sizeGiB,
  }
  const steps: LiveStep[] = []
  if (!same(old.throttle, next.throttle))
    steps.push({ kind: 'throttle', field: `${field}.throttle`, id: old.id, throttle: next.throttle })
  if (grows) steps.push({ kind: 'resize', field: `${field}.sizeGiB`, id: old.id, sizeGiB: next.sizeGiB })
  return { device, steps }
}

function reachableCard(old: NetworkCard, next: NetworkCard, field: string): Reachable {
  const steps: LiveStep[] = []
  const device = { ...old }
  if (old.link !== next.link) {
    steps.push({ kind: 'link', field: `${field}.link`, id: old.id, link: next.link })
    device.link = next.link
  }
  if (old.network === 'user' && next.network === 'user' && !same(old.forwards, next.forwards)) {
    steps.push({
      kind: 'forwards',
      field: `${field}.forwards`,
      id: old.id,
      before: old.forwards,
      forwards: next.forwards,
    })
    device.forwards = next.forwards
  }
  const sameBridge = old.network === 'bridge' && next.network === 'bridge' && old.bridge === next.bridge
  if (sameBridge && !same(old.rateLimit, next.rateLimit)) {
    steps.push({ kind: 'rate-limit', field: `${field}.rateLimit`, id: old.id, rateLimit: next.rateLimit })
    device.rateLimit = next.rateLimit
  }
  if (canReorder(old, next)) device.bootIndex = next.bootIndex
  return { device, steps }
}

/** A card that has never been booted from has no boot ROM. */
const canReorder = (old: NetworkCard, next: NetworkCard): boolean => old.bootIndex !== null || next.bootIndex === null

/** One step for all boot positions that change; read by the firmware at the guest's next reset. */
export function bootOrderSteps({ live, next }: RuleContext): LiveStep[] {
  const positions: Extract<LiveStep, { kind: 'boot-order' }>['positions'][number][] = []
  const wantedPositions = new Set([...next.disks, ...next.networks].map((device) => device.bootIndex))
  let field = 'disks'
  for (const list of ['disks', 'networks'] as const) {
    for (const old of live[list]) {
      const index = next[list].findIndex((device) => device.id === old.id)
      const wanted = next[list][index]
      // A device that is to go, at once or later, gives its position up to one that takes it.
      if (wanted === undefined && !wantedPositions.has(old.bootIndex)) continue
      const bootIndex = wanted === undefined ? null : wanted.bootIndex
      if (bootIndex === old.bootIndex) continue
      if (list === 'networks' && wanted !== undefined && !canReorder(old as NetworkCard, wanted as NetworkCard))
        continue
      if (positions.length === 0 && index >= 0) field = `${list}.${index}.bootIndex`
      positions.push({ list, id: old.id, bootIndex })
    }
  }
  return positions.length === 0 ? [] : [{ kind: 'boot-order', field, positions }]
}

function reasonOf(
  list: DeviceList,
  old: AnyDevice,
  next: AnyDevice,
  reachable: Reachable,
  facts: RuleContext['facts'],
): Pick<PendingChange, 'reason' | 'waiting'> {
  if (!same(reachable.device, next)) return { reason: coldReason(list, old, next), waiting: 'restart' }
  if (facts.awaited.has(next.id) && reachable.steps.some((step) => step.kind === 'medium')) {
    const words = facts.awaited.get(next.id) ?? null
    return { reason: words ?? `The guest has not released the medium in “${next.id}” yet.`, waiting: 'guest' }
  }
  const [step] = reachable.steps
  let reason = `“${next.id}” can be changed at once.`
  if (step === undefined) reason = 'The boot order can be changed at once; it counts when the guest starts up next.'
  else if (step.kind === 'resize') reason = `“${next.id}” can be made larger at once.`
  else if (step.kind === 'medium') reason = `The medium in “${next.id}” can be changed at once.`
  return { reason, waiting: 'apply' }
}

function coldReason(list: DeviceList, live: AnyDevice, next: AnyDevice): string {
  if (list === 'disks') {
    const [a, b] = [live as Drive, next as Drive]
    if (a.device === 'disk' && b.device === 'disk' && b.sizeGiB < a.sizeGiB)
      return `The running guest has a larger “${next.id}”; a disk never becomes smaller.`
  }
  if (list === 'networks') {
    const rest = {
      forwards: [],
      restrict: false,
      network: 'none',
      bridge: null,
      link: true,
      bootIndex: null,
      rateLimit: null,
    } as const
    if (same({ ...live, ...rest }, { ...next, ...rest }))
      return `The network behind “${next.id}” is set up anew at the next start.`
  }
  return `“${next.id}” is changed at the next start.`
}
