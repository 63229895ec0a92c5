/** Takes back one pending change. Pure. */

import type { VmSpec, VmSpecPatch } from '../schema/vm-spec.ts'
import type { PendingChange } from '../schema/vm-state.ts'

type Json = PendingChange['live']

const steps = (pointer: string) =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))

function withValue(node: unknown, path: readonly string[], value: Json): unknown {
  const [step, ...rest] = path
  if (step === undefined) return value
  if (Array.isArray(node))
    return node.map((item, index) => (String(index) === step ? withValue(item, rest, value) : item))
  const fields = { ...(node as Record<string, unknown> | undefined) }
  // An entry of a table, such as a device's properties, that what runs has not.
  if (rest.length === 0 && value === null && step in fields) {
    delete fields[step]
    return fields
  }
  return { ...fields, [step]: withValue(fields[step], rest, value) }
}

/** A device that was changed gets its old form, one that was added goes, one that was removed (`-`) comes back. */
function withDevice(list: readonly unknown[], step: string, live: Json): unknown[] {
  if (step === '-') return [...list, live]
  return list.flatMap((device, index) => (String(index) !== step ? [device] : live === null ? [] : [live]))
}

/**
 * The patch that puts the value the guest runs with back into the definition: the top-level field the change lies in,
 * whole, because the API replaces lists as wholes. Null when the pointer names no field.
 */
export function revertPatch(spec: VmSpec, change: Pick<PendingChange, 'path' | 'live'>): VmSpecPatch | null {
  const [field, ...rest] = steps(change.path)
  if (field === undefined || !(field in spec)) return null
  const before = spec[field as keyof VmSpec]
  const [step, ...deeper] = rest
  const value =
    Array.isArray(before) && step !== undefined && deeper.length === 0
      ? withDevice(before, step, change.live)
      : withValue(before, rest, change.live)
  // The server parses the patch again; a live value of the wrong shape is refused there.
  return { [field]: value } as VmSpecPatch
}
