/** Raw QMP answers to `QemuCapabilities`: pure, so that captured answers of any build can be replayed. */
import { isAbsolute, normalize } from 'node:path/posix'
import * as z from 'zod'
import type { QmpVersion } from '#server/qmp/types.ts'
import { readBackends, readFeatures, readHelpList } from './features.ts'
import { INTROSPECTED_DEVICES, INTROSPECTED_OBJECTS } from './introspected.ts'
import { newestOf, readMachines } from './machines.ts'
import { readMachineHelp, readProperties } from './properties.ts'
import { QmpSchema, SchemaIndex } from './schema-index.ts'
import type { CpuFlag, CpuModel, DeviceProperty, QemuCapabilities } from './types.ts'

const CpuDefinitions = z.array(
  z.object({
    name: z.string(),
    typename: z.string(),
    deprecated: z.boolean().optional(),
    'migration-safe': z.boolean().optional(),
    'alias-of': z.string().optional(),
    'unavailable-features': z.array(z.string()).optional(),
  }),
)
const CpuExpansion = z.object({ model: z.object({ props: z.record(z.string(), z.unknown()) }) }).nullable()
const TypeNames = z.array(z.object({ name: z.string() }))
const CommandLineOptions = z.array(z.object({ option: z.string() }))

/** CPU models and features under one accelerator. */
interface CpuAnswers {
  readonly definitions: unknown
  /** Static expansion of the widest model: every CPUID feature, and whether this accelerator gives it. Null when refused. */
  readonly expansion: unknown
}

/** Answers as they came over QMP, not yet checked. */
export interface RawAnswers {
  readonly version: QmpVersion
  readonly schema: unknown
  readonly machines: unknown
  readonly types: unknown
  readonly objects: unknown
  readonly accelerators: unknown
  readonly underTcg: CpuAnswers
  /** Null when KVM could not be asked. */
  readonly underKvm: CpuAnswers | null
  readonly cpuProperties: unknown
  readonly commandLineOptions: unknown
  readonly tpmTypes: unknown
  /** Answers of `device-list-properties` and `qom-list-properties` by type; absent for a type this build lacks. */
  readonly properties: { readonly [type: string]: unknown }
  /** What `-machine microvm,help`, `-audiodev help` and `-L help` print; empty when refused. */
  readonly microvmHelp: string
  readonly audiodevHelp: string
  readonly dataDirsHelp: string
}

/** What comes of the binary alone; the rest of `QemuCapabilities` are files and programs of the host. */
export type BinaryCapabilities = Omit<
  QemuCapabilities,
  'uefi' | 'secureBoot' | 'microvmFirmware' | 'tools' | 'virtioWinIso'
>

/** @throws ZodError when QEMU's answers are not of the documented shape */
export function assembleCapabilities(binary: string, raw: RawAnswers): BinaryCapabilities {
  const schema = new SchemaIndex(QmpSchema.parse(raw.schema))
  const options = new Set(CommandLineOptions.parse(raw.commandLineOptions).map((option) => option.option))
  const accelerators = new Set(TypeNames.parse(raw.accelerators).map((type) => type.name))
  const types = readNames(raw.types)
  const objectTypes = readNames(raw.objects)
  const machines = readMachines(raw.machines)
  const deviceProperties = readAllProperties(raw.properties)
  const { major, minor, micro } = raw.version
  const board = (family: 'q35' | 'pc') => {
    const answer = raw.properties[`${newestOf(machines, family)}-machine`]
    return answer === undefined ? [] : readProperties(answer)
  }
  return {
    binary,
    version: `${major}.${minor}.${micro}`,
    package: raw.version.package,
    machines,
    machineProperties: { q35: board('q35'), pc: board('pc'), microvm: readMachineHelp(raw.microvmHelp) },
    cpuModels: readCpuModels(raw.underTcg.definitions, raw.underKvm?.definitions ?? null),
    cpuFlags: readCpuFlags(raw.underTcg.expansion, raw.underKvm?.expansion ?? null),
    cpuProperties: readCpuProperties(raw.cpuProperties, raw.underTcg.expansion),
    types,
    objectTypes,
    deviceProperties,
    commands: schema.names('command'),
    events: schema.names('event'),
    features: readFeatures({
      schema,
      options,
      types: new Set(types),
      objectTypes: new Set(objectTypes),
      deviceProperties,
    }),
    backends: readBackends(schema, {
      types,
      audiodevs: readHelpList(raw.audiodevHelp),
      tpms: z.array(z.string()).parse(raw.tpmTypes),
    }),
    accelerators: (['kvm', 'tcg'] as const).filter((name) => accelerators.has(`${name}-accel`)),
    // QEMU registers the option only when built with libseccomp (softmmu/vl.c).
    seccomp: options.has('sandbox'),
    dataDirs: raw.dataDirsHelp.split('\n').filter(isAbsolute).map(normalize),
  }
}

function readNames(answer: unknown): string[] {
  return unique(TypeNames.parse(answer).map((type) => type.name)).sort()
}

function readAllProperties(answers: RawAnswers['properties']): QemuCapabilities['deviceProperties'] {
  const known = [...INTROSPECTED_DEVICES, ...INTROSPECTED_OBJECTS].filter((type) => answers[type] !== undefined)
  return Object.fromEntries(known.sort().map((type) => [type, readProperties(answers[type])]))
}

function readCpuModels(underTcg: unknown, underKvm: unknown): CpuModel[] {
  const tcg = CpuDefinitions.parse(underTcg)
  const kvm = underKvm === null ? [] : CpuDefinitions.parse(underKvm)
  const missing = new Map(kvm.map((model) => [model.name, unique(model['unavailable-features'] ?? [])]))
  return tcg
    .map((model) => ({
      name: model.name,
      deprecated: model.deprecated ?? false,
      unavailableFeatures: missing.get(model.name) ?? [],
      unavailableUnderTcg: unique(model['unavailable-features'] ?? []),
      typeName: model.typename,
      migrationSafe: model['migration-safe'] ?? false,
      aliasOf: model['alias-of'] ?? null,
    }))
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
}

/** QEMU repeats a feature that several CPUID leaves carry. */
function unique(names: readonly string[]): string[] {
  return [...new Set(names)]
}

/** The boolean members of a static expansion are the CPUID features (x86_cpu_static_props in target/i386/cpu.c). */
function readCpuFlags(underTcg: unknown, underKvm: unknown): CpuFlag[] {
  const tcg = CpuExpansion.parse(underTcg)?.model.props ?? {}
  const kvm = CpuExpansion.parse(underKvm)?.model.props ?? null
  return Object.entries(tcg)
    .filter(([, value]) => typeof value === 'boolean')
    .map(([name, value]) => ({ name, tcg: value === true, kvm: kvm === null ? null : kvm[name] === true }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Where a CPU sits and what it identifies as in total is the machine's business. */
const NOT_CHOSEN =
  /^(apic-id|core-id|die-id|module-id|node-id|socket-id|thread-id|memory|start-powered-off|lbr_fmt|x-.*)$/

/** Without the features, and without their older spellings, which are the booleans that tell no default. */
function readCpuProperties(answer: unknown, underTcg: unknown): DeviceProperty[] {
  const flags = new Set(Object.keys(CpuExpansion.parse(underTcg)?.model.props ?? {}))
  return readProperties(answer).filter(
    ({ name, type, default: value }) =>
      !flags.has(name) && !NOT_CHOSEN.test(name) && !(type === 'bool' && value === null),
  )
}
