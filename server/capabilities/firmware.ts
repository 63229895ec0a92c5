/**
 * Finds the UEFI firmware for q35 guests: by QEMU's firmware descriptors where a distribution ships them
 * (docs/interop/firmware.json), else by the places distributions are known to use.
 *
 * Secure Boot builds are passed over: they need SMM, which the machine is not given, and enrolled keys
 * would refuse unsigned systems.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import type { QemuCapabilities } from './types.ts'

export type UefiFirmware = NonNullable<QemuCapabilities['uefi']>

/** Later directories yield to earlier ones, file name by file name. */
const DESCRIPTOR_DIRS = ['/etc/qemu/firmware', '/usr/share/qemu/firmware'] as const

/** Code and pristine variable store, most wanted first. */
export const KNOWN_FIRMWARE: readonly UefiFirmware[] = [
  // Debian, Ubuntu
  raw('/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'),
  raw('/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'),
  // Fedora, RHEL
  {
    code: '/usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2',
    vars: '/usr/share/edk2/ovmf/OVMF_VARS_4M.qcow2',
    format: 'qcow2',
  },
  raw('/usr/share/edk2/ovmf/OVMF_CODE.fd', '/usr/share/edk2/ovmf/OVMF_VARS.fd'),
  // Arch
  raw('/usr/share/edk2/x64/OVMF_CODE.4m.fd', '/usr/share/edk2/x64/OVMF_VARS.4m.fd'),
  raw('/usr/share/edk2-ovmf/x64/OVMF_CODE.fd', '/usr/share/edk2-ovmf/x64/OVMF_VARS.fd'),
  // openSUSE
  raw('/usr/share/qemu/ovmf-x86_64-4m-code.bin', '/usr/share/qemu/ovmf-x86_64-4m-vars.bin'),
  raw('/usr/share/qemu/ovmf-x86_64-code.bin', '/usr/share/qemu/ovmf-x86_64-vars.bin'),
  // Built with QEMU itself (make install)
  raw('/usr/share/qemu/edk2-x86_64-code.fd', '/usr/share/qemu/edk2-i386-vars.fd'),
  raw('/usr/local/share/qemu/edk2-x86_64-code.fd', '/usr/local/share/qemu/edk2-i386-vars.fd'),
]

function raw(code: string, vars: string): UefiFirmware {
  return { code, vars, format: 'raw' }
}

const FlashFile = z.object({ filename: z.string(), format: z.string() })

const Descriptor = z.object({
  'interface-types': z.array(z.string()),
  mapping: z.object({
    device: z.literal('flash'),
    mode: z.string().optional(),
    executable: FlashFile,
    'nvram-template': FlashFile,
  }),
  targets: z.array(z.object({ architecture: z.string(), machines: z.array(z.string()) })),
  features: z.array(z.string()),
})

/** Features that make a build unfit for a plain guest on a machine without SMM. */
const UNWANTED = new Set(['secure-boot', 'enrolled-keys', 'requires-smm', 'amd-sev-es', 'amd-sev-snp', 'intel-tdx'])

/**
 * Reads one descriptor: the firmware it describes when that suits a q35 guest, else null.
 * @param text the JSON file; a damaged one suits nobody
 */
export function readDescriptor(text: string): UefiFirmware | null {
  const parsed = Descriptor.safeParse(parseJson(text))
  if (!parsed.success) return null
  const { mapping, features, targets } = parsed.data
  if (!parsed.data['interface-types'].includes('uefi')) return null
  if (mapping.mode !== undefined && mapping.mode !== 'split') return null
  const isQ35 = (machine: string) => machine === 'pc-q35-*' || machine === 'q35' || machine.startsWith('pc-q35')
  if (!targets.some((target) => target.architecture === 'x86_64' && target.machines.some(isQ35))) return null
  // Debian lists plain `amd-sev` for its ordinary build: it runs unencrypted guests as well.
  if (features.some((feature) => UNWANTED.has(feature))) return null
  const { executable, 'nvram-template': template } = mapping
  if (executable.format !== template.format) return null
  if (executable.format !== 'raw' && executable.format !== 'qcow2') return null
  return { code: executable.filename, vars: template.filename, format: executable.format }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The first firmware whose files are both there; null when this host has none. Costs a few file reads. */
export function findUefiFirmware(
  options: { descriptorDirs?: readonly string[]; known?: readonly UefiFirmware[] } = {},
): UefiFirmware | null {
  const described = readDescriptors(options.descriptorDirs ?? DESCRIPTOR_DIRS)
  const candidates = [...described, ...(options.known ?? KNOWN_FIRMWARE)]
  return candidates.find((firmware) => isFile(firmware.code) && isFile(firmware.vars)) ?? null
}

/**
 * `findUefiFirmware` for a caller that asks often: what was found is kept while its files are there and the descriptor
 * directories have not changed. Costs four stats then.
 */
export function createFirmwareFinder(dirs: readonly string[] = DESCRIPTOR_DIRS): () => UefiFirmware | null {
  let kept: { readonly stamp: string; readonly firmware: UefiFirmware } | null = null
  return () => {
    const stamp = dirs.map((dir) => statSync(dir, { throwIfNoEntry: false })?.mtimeMs ?? 0).join('/')
    if (kept !== null && kept.stamp === stamp && isFile(kept.firmware.code) && isFile(kept.firmware.vars)) {
      return kept.firmware
    }
    const firmware = findUefiFirmware({ descriptorDirs: dirs })
    kept = firmware === null ? null : { stamp, firmware }
    return firmware
  }
}

/** In the order of file names, over all directories; an earlier directory's file hides a later one's of that name. */
function readDescriptors(dirs: readonly string[]): UefiFirmware[] {
  const files = new Map<string, string>()
  for (const dir of dirs) {
    for (const name of listJson(dir)) if (!files.has(name)) files.set(name, join(dir, name))
  }
  return [...files.keys()]
    .sort()
    .map((name) => readText(files.get(name) ?? ''))
    .map(readDescriptor)
    .filter((firmware) => firmware !== null)
}

function listJson(dir: string): string[] {
  try {
    return readdirSync(dir).filter((name) => name.endsWith('.json'))
  } catch {
    return []
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
