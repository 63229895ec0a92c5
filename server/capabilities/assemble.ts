/** Raw QMP answers to `QemuCapabilities`: pure, so that captured answers of any build can be replayed. */
import * as z from 'zod'
import type { QmpVersion } from '#server/qmp/types.ts'
import { QmpSchema, SchemaIndex } from './schema-index.ts'
import type { CpuModel, DeviceProperty, MachineType, QemuCapabilities } from './types.ts'

const Machines = z.array(
  z.object({
    name: z.string(),
    alias: z.string().optional(),
    'is-default': z.boolean().optional(),
    deprecated: z.boolean(),
    'cpu-max': z.int(),
    'default-cpu-type': z.string().optional(),
  }),
)
const CpuDefinitions = z.array(
  z.object({
    name: z.string(),
    deprecated: z.boolean().optional(),
    'unavailable-features': z.array(z.string()).optional(),
  }),
)
const TypeNames = z.array(z.object({ name: z.string() }))
const Properties = z.array(
  z.object({
    name: z.string(),
    type: z.string(),
    description: z.string().optional(),
    'default-value': z.unknown().optional(),
  }),
)
const CommandLineOptions = z.array(z.object({ option: z.string() }))

/** Answers as they came over QMP, not yet checked. */
export interface RawAnswers {
  readonly version: QmpVersion
  readonly schema: unknown
  readonly machines: unknown
  readonly types: unknown
  readonly accelerators: unknown
  readonly cpusUnderTcg: unknown
  /** Null when KVM could not be asked. */
  readonly cpusUnderKvm: unknown
  readonly commandLineOptions: unknown
  readonly deviceProperties: { readonly [device: string]: unknown }
}

export type BinaryCapabilities = Omit<QemuCapabilities, 'uefi'>

/** @throws ZodError when QEMU's answers are not of the documented shape */
export function assembleCapabilities(binary: string, raw: RawAnswers): BinaryCapabilities {
  const schema = new SchemaIndex(QmpSchema.parse(raw.schema))
  const options = new Set(CommandLineOptions.parse(raw.commandLineOptions).map((option) => option.option))
  const accelerators = new Set(TypeNames.parse(raw.accelerators).map((type) => type.name))
  const { major, minor, micro } = raw.version
  return {
    binary,
    version: `${major}.${minor}.${micro}`,
    package: raw.version.package,
    machines: readMachines(raw.machines),
    cpuModels: readCpuModels(raw.cpusUnderTcg, raw.cpusUnderKvm),
    types: [...new Set(TypeNames.parse(raw.types).map((type) => type.name))].sort(),
    deviceProperties: Object.fromEntries(
      Object.entries(raw.deviceProperties).map(([device, properties]) => [device, readProperties(properties)]),
    ),
    commands: schema.names('command'),
    events: schema.names('event'),
    features: {
      runWith: options.has('run-with'),
      jobDismiss: schema.hasCommand('job-dismiss'),
      queryAccelerators: schema.hasCommand('query-accelerators'),
      netdevStream: schema.hasArgument('netdev_add', '=stream'),
      chardevReconnectMs: schema.hasArgument('chardev-add', 'backend', '=socket', 'data', 'reconnect-ms'),
      screendumpPng: schema.argumentValues('screendump', 'format').includes('png'),
      displayReload: schema.hasCommand('display-reload'),
    },
    accelerators: (['kvm', 'tcg'] as const).filter((name) => accelerators.has(`${name}-accel`)),
    // QEMU registers the option only when built with libseccomp (softmmu/vl.c).
    seccomp: options.has('sandbox'),
  }
}

function readMachines(answer: unknown): MachineType[] {
  return Machines.parse(answer)
    .map((machine) => ({
      name: machine.name,
      alias: machine.alias ?? null,
      isDefault: machine['is-default'] ?? false,
      deprecated: machine.deprecated,
      maxCpus: machine['cpu-max'],
      defaultCpuType: machine['default-cpu-type'] ?? null,
    }))
    .sort(compareMachines)
}

/** The default first, then those with an alias, then newest first. */
function compareMachines(a: MachineType, b: MachineType): number {
  const rank = (machine: MachineType) => (machine.isDefault ? 0 : machine.alias !== null ? 1 : 2)
  return rank(a) - rank(b) || b.name.localeCompare(a.name, 'en', { numeric: true })
}

function readCpuModels(underTcg: unknown, underKvm: unknown): CpuModel[] {
  const tcg = CpuDefinitions.parse(underTcg)
  const kvm = underKvm === null ? [] : CpuDefinitions.parse(underKvm)
  const missing = new Map(kvm.map((model) => [model.name, unique(model['unavailable-features'])]))
  return tcg
    .map((model) => ({
      name: model.name,
      deprecated: model.deprecated ?? false,
      unavailableFeatures: missing.get(model.name) ?? [],
      unavailableUnderTcg: unique(model['unavailable-features']),
    }))
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
}

/** QEMU repeats a feature that several CPUID leaves carry. */
function unique(features: readonly string[] | undefined): string[] {
  return [...new Set(features)]
}

function readProperties(answer: unknown): DeviceProperty[] {
  return Properties.parse(answer)
    .map((property) => ({
      name: property.name,
      type: property.type,
      description: property.description ?? null,
      default: readDefault(property['default-value']),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

function readDefault(value: unknown): DeviceProperty['default'] {
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') return value
  // Kept as text: the result is stored as JSON, and no reader computes with a default of 2^64-1.
  return typeof value === 'bigint' ? value.toString() : null
}
