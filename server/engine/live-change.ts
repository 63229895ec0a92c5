/** Definitions of VMs that run: what a change means for the guest. */
import type { GuestDevice } from '#lib/schema/vm-devices.ts'
import type { Drive, VmSpec, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import type { PendingChange } from '#lib/schema/vm-state.ts'
import { DEVICE_LISTS } from '#lib/vm/live-places.ts'
import { pendingChanges } from '#lib/vm/pending.ts'
import { same } from '#lib/vm/same.ts'
import { placeForRunning } from '#server/spec/place-live.ts'
import { liveFacts } from '#server/vm/hotplug/facts.ts'
import { ownerOf } from '#server/vm/hotplug/plan-change.ts'
import { plugPart } from '#server/vm/hotplug/qmp-of-option.ts'
import type { FoundDevice } from '#server/vm/hotplug/types.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'

/**
 * Under KVM alone. TCG of QEMU 7.2 corrupts its memory when a CPU is taken away; that of 10.0 and 11.1 survives it, and
 * aborts when the CPU comes back: each takes a translation context for good (tcg_register_thread, tcg_max_ctxs).
 */
export const canUnplugCpus = ({ accelerator }: VmRuntime): boolean => accelerator?.kind === 'kvm'

/** How the definition differs from what runs; empty while off. */
export function pendingOf(spec: VmSpec, runtime: VmRuntime): PendingChange[] {
  const { launchedSpec, launchedPlan, awaited } = runtime
  if (launchedSpec === null) return []
  return pendingChanges(launchedSpec, spec, liveFacts(launchedSpec, launchedPlan, canUnplugCpus(runtime), awaited))
}

/** Devices of the running guest, which it may have although the definition has them no more. */
export function deviceIdsOf({ launchedSpec }: VmRuntime): ReadonlySet<string> {
  return new Set(DEVICE_LISTS.flatMap((list) => launchedSpec?.[list].map((device) => device.id) ?? []))
}

/** New devices on places that the running machine has and that are free there. */
export function placed(spec: VmSpec, before: VmSpec, patch: VmSpecPatch, runtime: VmRuntime): VmSpec {
  const { launchedSpec, launchedPlan } = runtime
  if (launchedSpec === null) return spec
  const { sockets } = liveFacts(launchedSpec, launchedPlan, false, new Map())
  return placeForRunning(spec, before, patch, { spec: launchedSpec, sockets })
}

/**
 * A change makes at once what it names, and what follows from that; what was left for the next start stays there. An
 * empty one takes up everything.
 */
export function fieldsToApply(
  before: VmSpec,
  after: VmSpec,
  patch: VmSpecPatch,
): { readonly fields?: ReadonlySet<keyof VmSpec> } {
  const named = Object.entries(patch).flatMap(([field, value]) => (value === undefined ? [] : [field as keyof VmSpec]))
  if (named.length === 0) return {}
  const followed = (Object.keys(after) as (keyof VmSpec)[]).filter((field) => !same(before[field], after[field]))
  return { fields: new Set([...named, ...followed]) }
}

/**
 * Disks that come back into the definition while the running guest still has them: their files are there. A different
 * disk of the same name has to wait, since the file keeps its name until the guest lets go.
 * @throws EngineError conflict
 */
export function heldDisks(after: VmSpec, before: VmSpec, launched: VmSpec | null): Drive[] {
  const isKnown = (drive: Drive) => before.disks.some((old) => old.device === 'disk' && old.id === drive.id)
  return after.disks.flatMap((drive, index) => {
    if (drive.device !== 'disk' || isKnown(drive)) return []
    const held = launched?.disks.find((old) => old.device === 'disk' && old.id === drive.id)
    if (held?.device !== 'disk') return []
    if (held.image === drive.image && held.sizeGiB === drive.sizeGiB) return [held]
    throw new EngineError(
      'conflict',
      `The running guest still has another disk called “${drive.id}”. Choose another id, or power the guest off first.`,
      { field: `disks.${index}.id` },
    )
  })
}

/** Devices of the running guest with what they come from in the definition, and which of them are on their way out. */
export function linkDevices(found: readonly FoundDevice[], spec: VmSpec, runtime: VmRuntime): GuestDevice[] {
  const fields = new Map<string, string>()
  for (const option of runtime.launchedPlan?.options ?? []) {
    const part = plugPart(option)
    if (part?.kind === 'device' && option.field !== null) fields.set(part.id, option.field)
  }
  for (const list of DEVICE_LISTS) {
    // Of what runs; the same device may have another place in the definition, or none.
    for (const { id } of runtime.launchedSpec?.[list] ?? []) fields.delete(id)
    spec[list].forEach(({ id }, index) => {
      fields.set(id, `/${list}/${index}`)
    })
  }
  const owner = (id: string) => (id.startsWith('cpu-') ? id : ownerOf(id))
  return found.map((device) => {
    const id = device.id === null ? null : owner(device.id)
    return {
      ...device,
      field:
        device.bus === 'cpu' ? '/cpus' : id === null ? null : (fields.get(device.id ?? id) ?? fields.get(id) ?? null),
      state: id !== null && runtime.awaited.has(id) ? 'leaving' : 'running',
    }
  })
}
