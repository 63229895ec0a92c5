/** What a check answers, and small tools all checks share. */
import type { ErrorCode } from '#lib/schema/error.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import type { CompileProblem } from '../types.ts'

export interface SpecProblem extends CompileProblem {
  readonly code: Extract<ErrorCode, 'bad_input' | 'conflict' | 'image_missing'>
}

export const bad = (field: string, message: string): SpecProblem => ({ code: 'bad_input', field, message })

/** A device type QEMU must have, with the field that asks for it. */
export type NeededType = readonly [type: string, field: string]

/** Many hundreds, asked for by every check of every definition. */
const typeSets = new WeakMap<readonly string[], ReadonlySet<string>>()

function typesOf({ types }: QemuCapabilities): ReadonlySet<string> {
  const known = typeSets.get(types)
  if (known !== undefined) return known
  const set = new Set(types)
  typeSets.set(types, set)
  return set
}

/** The needed types this QEMU was built without. */
export function missingTypes(needed: readonly NeededType[], capabilities: QemuCapabilities): SpecProblem[] {
  if (needed.length === 0) return []
  const types = typesOf(capabilities)
  return needed
    .filter(([type]) => !types.has(type))
    .map(([type, field]) =>
      bad(field, `QEMU ${capabilities.version} on this host was built without the device ${type}.`),
    )
}

/** Records who has a value first; answers the first owner's field when it is taken. */
export function claims<K>(): (key: K, field: string) => string | null {
  const owners = new Map<K, string>()
  return (key, field) => {
    const owner = owners.get(key)
    if (owner !== undefined) return owner
    owners.set(key, field)
    return null
  }
}

/** Every device of the lists, with its dotted path. */
export function everyDevice(spec: VmSpec) {
  return [
    ...spec.disks.map((device, n) => ({ device, at: `disks.${n}` })),
    ...spec.networks.map((device, n) => ({ device, at: `networks.${n}` })),
    ...spec.inputs.map((device, n) => ({ device, at: `inputs.${n}` })),
    ...spec.dimms.map((device, n) => ({ device, at: `dimms.${n}` })),
    ...spec.channels.map((device, n) => ({ device, at: `channels.${n}` })),
    ...spec.shares.map((device, n) => ({ device, at: `shares.${n}` })),
    ...spec.hostDevices.map((device, n) => ({ device, at: `hostDevices.${n}` })),
  ]
}
