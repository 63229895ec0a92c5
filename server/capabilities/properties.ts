/** Properties of QOM types: what QEMU says about them, and what follows from the type. Pure. */
import * as z from 'zod'
import type { DeviceProperty } from './types.ts'

const Properties = z.array(
  z.object({
    name: z.string(),
    type: z.string(),
    description: z.string().optional(),
    'default-value': z.unknown().optional(),
  }),
)

/** Members that are built by the device itself, statistics and state: none can be set on a command line. */
const NO_SETTING =
  /^(child<|link<irq>|link<PCI>$|struct |guest statistics$|GuestPanicInformation$|X86CPUFeatureWordInfo$|strList$)/

/** What QOM gives every device, and where it was put; never chosen by hand. */
const PLUMBING = new Set(['type', 'realized', 'hotplugged', 'hotpluggable', 'parent_bus'])

/** Ranges of QOM's integer types (qapi/qapi-visit-core.c, hw/core/qdev-properties.c); larger than 2^53-1 is cut to it. */
const RANGES: { readonly [type: string]: readonly [min: number, max: number] } = {
  uint4: [0, 0xf],
  uint8: [0, 0xff],
  uint16: [0, 0xffff],
  uint32: [0, 0xffff_ffff],
  uint64: [0, Number.MAX_SAFE_INTEGER],
  uint64_t: [0, Number.MAX_SAFE_INTEGER],
  size: [0, Number.MAX_SAFE_INTEGER],
  size32: [0, 0xffff_ffff],
  int8: [-0x80, 0x7f],
  int16: [-0x8000, 0x7fff],
  int32: [-0x8000_0000, 0x7fff_ffff],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  int: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
}

/** QAPI enumerations whose properties come without a description on some versions, so that it cannot be read there. */
const KNOWN_VALUES: { readonly [type: string]: readonly string[] } = {
  OnOffAuto: ['on', 'off', 'auto'],
  LostTickPolicy: ['discard', 'delay', 'slew'],
  HostMemPolicy: ['default', 'preferred', 'bind', 'interleave'],
  OffAutoPCIBAR: ['off', 'auto', 'bar0', 'bar1', 'bar2', 'bar3', 'bar4', 'bar5'],
}

/**
 * Reads the answer of `device-list-properties` or `qom-list-properties`; sorted by name, without what cannot be set.
 * @throws ZodError when it is not of the documented shape
 */
export function readProperties(answer: unknown): DeviceProperty[] {
  return Properties.parse(answer)
    .filter((property) => !NO_SETTING.test(property.type) && !PLUMBING.has(property.name))
    .map((property) => {
      const range = RANGES[property.type]
      return {
        name: property.name,
        type: property.type,
        description: property.description ?? null,
        default: readDefault(property['default-value']),
        values: range === undefined ? readValues(property.type, property.description ?? '') : null,
        min: range?.[0] ?? null,
        max: range?.[1] ?? null,
      }
    })
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

/**
 * `-machine NAME,help`, one property a line: `  acpi=<OnOffAuto>       - Enable ACPI`.
 * For machines that must not be asked over QMP: `qom-list-properties` makes one, and making a microvm ends a QEMU 7.2.
 */
export function readMachineHelp(text: string): DeviceProperty[] {
  const properties: object[] = []
  for (const line of text.split('\n')) {
    const match = /^ {2}([\w-]+)=<(.*?)>(?:\s+- (.*))?$/.exec(line.trimEnd())
    if (match === null) continue
    properties.push({ name: match[1], type: match[2], ...(match[3] !== undefined && { description: match[3] }) })
  }
  return readProperties(properties)
}

/**
 * Members of an enumeration. QEMU names the type and lists the members at the end of the description:
 * `on/off/auto`, `Error handling policy (report/ignore/enospc)`, before QEMU 8 `FDC drive type, 144/288/120`.
 */
function readValues(type: string, description: string): string[] | null {
  if (KNOWN_VALUES[type] !== undefined) return [...KNOWN_VALUES[type]]
  // Enumerations have a QAPI name: capital first. Those of QOM (`bool`, `str`, `link<…>`) are no enumerations.
  if (!/^[A-Z]\w+$/.test(type)) return null
  const list = /(?:^|[\s(,])((?:[\w.-]+\/)+[\w.-]+)\)?$/.exec(description)?.[1]
  return list === undefined ? null : list.split('/')
}

function readDefault(value: unknown): DeviceProperty['default'] {
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') return value
  // Kept as text: the result is stored as JSON, and no reader computes with a default of 2^64-1.
  return typeof value === 'bigint' ? value.toString() : null
}
