/** Machine types: what they are, which is newest. Pure. */
import * as z from 'zod'
import type { MachineFamily, MachineType } from './types.ts'

const Machines = z.array(
  z.object({
    name: z.string(),
    alias: z.string().optional(),
    'is-default': z.boolean().optional(),
    deprecated: z.boolean(),
    'cpu-max': z.int(),
    'default-cpu-type': z.string().optional(),
    'hotpluggable-cpus': z.boolean(),
    'numa-mem-supported': z.boolean(),
  }),
)

const FAMILIES: readonly (readonly [MachineFamily, RegExp])[] = [
  ['q35', /^(?:pc-)?q35(?:-|$)/],
  ['pc', /^pc(?:-i440fx-.*)?$/],
  ['microvm', /^microvm$/],
]

/** By the name, with or without version; null for a machine of none of the three. */
export function familyOf(machine: string): MachineFamily | null {
  return FAMILIES.find(([, pattern]) => pattern.test(machine))?.[0] ?? null
}

/** @throws ZodError when the answer is not of the documented shape */
export function readMachines(answer: unknown): MachineType[] {
  return Machines.parse(answer)
    .map((machine) => ({
      name: machine.name,
      alias: machine.alias ?? null,
      isDefault: machine['is-default'] ?? false,
      deprecated: machine.deprecated,
      maxCpus: machine['cpu-max'],
      defaultCpuType: machine['default-cpu-type'] ?? null,
      family: familyOf(machine.name),
      hotpluggableCpus: machine['hotpluggable-cpus'],
      numaMemSupported: machine['numa-mem-supported'],
    }))
    .sort(compareMachines)
}

/** The default first, then those with an alias, then newest first. */
function compareMachines(a: MachineType, b: MachineType): number {
  const rank = (machine: MachineType) => (machine.isDefault ? 0 : machine.alias !== null ? 1 : 2)
  return rank(a) - rank(b) || b.name.localeCompare(a.name, 'en', { numeric: true })
}

/** Name of the newest machine of a family in an answer of `query-machines`; null when the build has none. */
export function newestOf(machines: readonly MachineType[], family: MachineFamily): string | null {
  const names = machines.filter((machine) => machine.family === family).map((machine) => machine.name)
  return names.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))[0] ?? null
}
