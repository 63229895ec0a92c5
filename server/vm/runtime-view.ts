/** How a VM looks from outside, put together from what its actor holds. Pure. */
import { ownUid } from '#server/platform/privileges.ts'
import { confinementOf } from '#server/spec/devices/confinement.ts'
import type { Guest } from './guest.ts'
import type { Surroundings } from './helpers/surroundings.ts'
import type { Hotplug } from './hotplug/hotplug.ts'
import type { GuestSampler } from './sampler.ts'
import type { VmModel } from './transitions.ts'
import type { VmRuntime } from './types.ts'

/** What is known of a live process. */
export interface Observed {
  readonly guest: Guest
  readonly sampler: GuestSampler
  readonly surroundings: Surroundings
  readonly hotplug: Pick<Hotplug, 'awaited'>
  /** User the process runs as; -1 when it could not be read. */
  readonly uid: number
}

const NONE: VmRuntime['awaited'] = new Map()

/** @param since ISO 8601, of the last change of the state */
export function describeRuntime(model: VmModel, version: number, since: string, observed: Observed | null): VmRuntime {
  const record = observed?.guest.record ?? null
  const troubles = observed?.surroundings.troubles ?? []
  return {
    version,
    state: model.state,
    runState: model.runState,
    since,
    detail: [model.detail, ...troubles].filter((text) => text !== null).join(' ') || null,
    troubles,
    accelerator: observed ? acceleratorOf(observed.guest) : null,
    live: observed ? liveOf(observed) : null,
    launchedSpec: record?.spec ?? null,
    launchedPlan: record?.plan ?? null,
    awaited: observed?.hotplug.awaited ?? NONE,
    lastExit: model.lastExit,
  }
}

/** Whether nobody could tell the two apart. */
export function isSameModel(a: VmModel, b: VmModel): boolean {
  return (
    a === b ||
    (a.state === b.state &&
      a.runState === b.runState &&
      a.detail === b.detail &&
      a.wish === b.wish &&
      a.ending === b.ending &&
      a.process === b.process &&
      a.lastExit === b.lastExit)
  )
}

function acceleratorOf(guest: Guest): VmRuntime['accelerator'] {
  const planned = guest.record?.accelerator ?? null
  const seen = guest.facts?.accelerator
  if (!seen) return planned
  if (planned?.kind === seen) return planned
  const reason = planned
    ? `QEMU runs it on ${seen.toUpperCase()}, although ${planned.kind.toUpperCase()} was asked for.`
    : 'Read from the running QEMU; why it was chosen is not on record.'
  return { kind: seen, reason }
}

function liveOf({ guest, sampler, surroundings, uid }: Observed): VmRuntime['live'] {
  const { facts } = guest
  const { numbers } = sampler
  return {
    pid: guest.process.identity.pid,
    qemuVersion: facts?.qemuVersion ?? '',
    machine: facts?.machine ?? guest.record?.spec?.machine ?? '',
    vcpus: facts?.vcpus ?? guest.record?.spec?.cpus ?? 0,
    memoryMiB: facts?.memoryMiB ?? guest.record?.spec?.memoryMiB ?? 0,
    ...numbers,
    addresses: [...numbers.addresses],
    uid,
    limits: surroundings.limits,
    confinement:
      confinementOf(guest.record?.plan?.wrapper ?? []) !== null ? 'bubblewrap' : uid === ownUid() ? 'none' : 'user',
  }
}
