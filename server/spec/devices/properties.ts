/**
 * Properties beyond the fields of the definition: merged into the options of the devices they belong to, after
 * everything else was compiled. Names, types and ranges as in QEMU's `device-list-properties`.
 */
import { refusedProperty } from '#lib/devices/property-rules.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { bad, type SpecProblem } from '../check/problem.ts'
import type { PlannedOption } from '../types.ts'

type DeviceFields = Readonly<Record<string, unknown>> & { readonly id: string; readonly driver: string }

/** The value of a `-device` option in JSON; null for every other option. */
function deviceFields(option: Pick<PlannedOption, 'argv'>): DeviceFields | null {
  if (option.argv[0] !== '-device') return null
  const fields: unknown = JSON.parse(option.argv[1] ?? 'null')
  return typeof fields === 'object' &&
    fields !== null &&
    'id' in fields &&
    typeof fields.id === 'string' &&
    'driver' in fields &&
    typeof fields.driver === 'string'
    ? { ...fields, id: fields.id, driver: fields.driver }
    : null
}

/** The options with the properties in them, or what is wrong with these. */
export function withProperties(
  options: readonly PlannedOption[],
  spec: Pick<VmSpec, 'properties'>,
  capabilities: QemuCapabilities,
): { readonly options: readonly PlannedOption[]; readonly problems: readonly SpecProblem[] } {
  const wanted = new Map(Object.entries(spec.properties))
  if (wanted.size === 0) return { options, problems: [] }
  const problems: SpecProblem[] = []
  const merged = options.map((option) => {
    const fields = deviceFields(option)
    const own = fields === null ? undefined : wanted.get(fields.id)
    if (fields === null || own === undefined) return option
    wanted.delete(fields.id)
    const known = capabilities.deviceProperties[fields.driver] ?? []
    for (const [name, value] of Object.entries(own)) {
      const why =
        name in fields
          ? 'The definition sets it through fields of its own.'
          : (refusedProperty(name, value, known) ?? refusedByDriver(fields.driver, name, value))
      if (why !== null)
        problems.push(bad(`properties.${fields.id}.${name}`, `“${name}” of ${fields.id} (${fields.driver}): ${why}`))
    }
    return withOwn(option, fields, own)
  })
  for (const id of wanted.keys())
    problems.push(bad(`properties.${id}`, `There is no device “${id}” in this VM to set properties of.`))
  return { options: merged, problems }
}

/** What a driver takes less of than it says (hw/ide/ide-dev.c). */
function refusedByDriver(driver: string, name: string, value: boolean | number | string): string | null {
  return driver === 'ide-hd' && name === 'logical_block_size' && value !== 512
    ? 'Disks on SATA and IDE have sectors of 512 bytes.'
    : null
}

function withOwn(
  option: PlannedOption,
  fields: DeviceFields,
  own: Readonly<Record<string, boolean | number | string>>,
): PlannedOption {
  const names = Object.entries(own).map(([name, value]) => `${name} to ${JSON.stringify(value)}`)
  if (names.length === 0) return option
  return {
    ...option,
    argv: ['-device', JSON.stringify({ ...fields, ...own })],
    what: `${option.what} The definition sets ${names.join(', ')}.`,
    origin: 'choice',
    field: `/properties/${fields.id}`,
  }
}
