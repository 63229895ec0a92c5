/**
 * What runs before the operating system, and what it says about the machine. Sources: QEMU docs `interop/firmware.json`,
 * `hw/block/pflash_cfi01.c` (property secure), OVMF's README (SMM_REQUIRE), `hw/smbios/smbios.c`.
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { FlashFirmware, QemuCapabilities } from '#server/capabilities/types.ts'
import { QEMU_IDS } from '../ids.ts'
import { escapeCommas, jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

/** Flash files a definition starts with: code, and the template its variables are copied from. Null: BIOS, or not installed. */
export function flashFor(
  spec: Pick<VmSpec, 'firmware' | 'secureBoot'>,
  capabilities: Pick<QemuCapabilities, 'uefi' | 'secureBoot'>,
): FlashFirmware | null {
  if (spec.firmware !== 'uefi') return null
  return spec.secureBoot ? capabilities.secureBoot : capabilities.uefi
}

export function firmwareOptions({ spec, capabilities, paths }: CompileInput): PlannedOption[] {
  const group = 'firmware'
  const flash = flashFor(spec, capabilities)
  if (flash === null) return []
  return [
    jsonOption(
      '-blockdev',
      {
        driver: flash.format,
        'node-name': QEMU_IDS.firmwareCode,
        'read-only': true,
        ...(flash.format === 'qcow2' ? { backing: null } : {}),
        file: {
          driver: 'file',
          'node-name': `${QEMU_IDS.firmwareCode}.f`,
          filename: flash.code,
          'read-only': true,
        },
      },
      {
        group,
        what: spec.secureBoot
          ? 'The UEFI firmware (OVMF) with Secure Boot, read-only.'
          : 'The UEFI firmware (OVMF), read-only.',
        why: spec.secureBoot
          ? 'Starts only boot loaders that carry a signature of a key in its variables.'
          : 'Starts the guest instead of the classic BIOS; needed by some systems and by disks beyond 2 TiB.',
        origin: 'choice',
        field: spec.secureBoot ? '/secureBoot' : '/firmware',
      },
    ),
    jsonOption(
      '-blockdev',
      {
        driver: 'qcow2',
        'node-name': QEMU_IDS.firmwareVars,
        'read-only': false,
        backing: null,
        file: { driver: 'file', 'node-name': `${QEMU_IDS.firmwareVars}.f`, filename: paths.nvram, locking: 'on' },
      },
      {
        group,
        what: "This VM's own copy of the UEFI variables: boot entries and settings.",
        why: 'qcow2 rather than raw, so that snapshots can include it.',
        origin: 'plumbing',
        field: '/firmware',
      },
    ),
    ...(spec.secureBoot && capabilities.secureBoot?.needsSmm === true
      ? [
          option(['-global', 'driver=cfi.pflash01,property=secure,value=on'], {
            group,
            what: 'The flash chip takes writes from system management mode only.',
            why: 'Otherwise a program in the guest could write keys of its own past the firmware.',
            origin: 'security',
            field: '/secureBoot',
          }),
        ]
      : []),
  ]
}

const SYSTEM_FIELDS = ['manufacturer', 'product', 'version', 'serial', 'sku', 'family'] as const

/** SMBIOS type 1 (system) and 11 (free strings); the UUID comes from `-uuid`. */
export function smbiosOptions({ spec }: CompileInput): PlannedOption[] {
  const smbios = spec.smbios
  if (smbios === null) return []
  const group = 'smbios'
  const system = SYSTEM_FIELDS.flatMap((name) => {
    const value = smbios[name]
    return value === null ? [] : [`${name}=${escapeCommas(value)}`]
  })
  return [
    ...(system.length === 0
      ? []
      : [
          option(['-smbios', ['type=1', ...system].join(',')], {
            group,
            what: 'What the firmware tells of maker, product and serial number.',
            why: 'Programs for certain machines, and inventories, read it; in Linux it stands below /sys/class/dmi/id.',
            origin: 'choice',
            field: '/smbios',
          }),
        ]),
    ...(smbios.oemStrings.length === 0
      ? []
      : [
          option(
            ['-smbios', ['type=11', ...smbios.oemStrings.map((text) => `value=${escapeCommas(text)}`)].join(',')],
            {
              group,
              what: 'Free strings in the tables of the firmware.',
              why: 'A way to hand a few words to programs in the guest before there is any network.',
              origin: 'choice',
              field: '/smbios/oemStrings',
            },
          ),
        ]),
  ]
}
