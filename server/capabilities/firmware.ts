/**
 * Finds the UEFI firmware for q35 guests: by QEMU's firmware descriptors where a distribution ships them
 * (docs/interop/firmware.json), else by the places distributions are known to use.
 *
 * Two are looked for. The plain one starts any system; builds with Secure Boot are passed over for it: they need SMM,
 * and enrolled keys would refuse unsigned systems. The other is for guests that ask for Secure Boot.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import type { FlashFirmware, QemuCapabilities, SecureBootFirmware } from './types.ts'

type UefiFirmware = FlashFirmware

/** The files of this host that guests start by, and the virtio drivers for Windows. */
export type FoundFirmware = Pick<QemuCapabilities, 'uefi' | 'secureBoot'>

/** Later directories yield to earlier ones, file name by file name. */
const DESCRIPTOR_DIRS = ['/etc/qemu/firmware', '/usr/share/qemu/firmware'] as const

const KEYLESS = { enrolledKeys: false, needsSmm: true } as const

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

/** Builds with Secure Boot, most wanted first: those whose variable store has the keys of Microsoft and the distribution. */
const KNOWN_SECURE_BOOT: readonly SecureBootFirmware[] = [
  // Debian, Ubuntu
  enrolled(raw('/usr/share/OVMF/OVMF_CODE_4M.ms.fd', '/usr/share/OVMF/OVMF_VARS_4M.ms.fd')),
  enrolled(raw('/usr/share/OVMF/OVMF_CODE.ms.fd', '/usr/share/OVMF/OVMF_VARS.ms.fd')),
  // Fedora, RHEL
  enrolled({
    code: '/usr/share/edk2/ovmf/OVMF_CODE_4M.secboot.qcow2',
    vars: '/usr/share/edk2/ovmf/OVMF_VARS_4M.secboot.qcow2',
    format: 'qcow2',
  }),
  enrolled(raw('/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd', '/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd')),
  // openSUSE
  enrolled(raw('/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin', '/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin')),
  // Arch, and QEMU's own build: the keys are to be enrolled in the guest
  { ...raw('/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd', '/usr/share/edk2/x64/OVMF_VARS.4m.fd'), ...KEYLESS },
  { ...raw('/usr/share/qemu/edk2-x86_64-secure-code.fd', '/usr/share/qemu/edk2-i386-vars.fd'), ...KEYLESS },
]

function enrolled(firmware: FlashFirmware): SecureBootFirmware {
  return { ...firmware, enrolledKeys: true, needsSmm: true }
}

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
/** Builds for encrypted guests alone, which a machine of ours is not. */
const FOR_ENCRYPTED = new Set(['amd-sev-es', 'amd-sev-snp', 'intel-tdx'])

/**
 * Reads one descriptor: the firmware it describes when that suits a plain q35 guest, else null.
 * @param text the JSON file; a damaged one suits nobody
 */
export function readDescriptor(text: string): UefiFirmware | null {
  const read = readSplitFirmware(text)
  // Debian lists plain `amd-sev` for its ordinary build: it runs unencrypted guests as well.
  return read === null || read.features.some((feature) => UNWANTED.has(feature)) ? null : read.firmware
}

/** The same for a q35 guest with Secure Boot. */
export function readSecureBootDescriptor(text: string): SecureBootFirmware | null {
  const read = readSplitFirmware(text)
  if (read === null || !read.features.includes('secure-boot')) return null
  if (read.features.some((feature) => FOR_ENCRYPTED.has(feature))) return null
  return {
    ...read.firmware,
    enrolledKeys: read.features.includes('enrolled-keys'),
    needsSmm: read.features.includes('requires-smm'),
  }
}

function readSplitFirmware(text: string): { firmware: UefiFirmware; features: readonly string[] } | null {
  const parsed = Descriptor.safeParse(parseJson(text))
  if (!parsed.success) return null
  const { mapping, features, targets } = parsed.data
  if (!parsed.data['interface-types'].includes('uefi')) return null
  if (mapping.mode !== undefined && mapping.mode !== 'split') return null
  const isQ35 = (machine: string) => machine === 'pc-q35-*' || machine === 'q35' || machine.startsWith('pc-q35')
  if (!targets.some((target) => target.architecture === 'x86_64' && target.machines.some(isQ35))) return null
  const { executable, 'nvram-template': template } = mapping
  if (executable.format !== template.format) return null
  if (executable.format !== 'raw' && executable.format !== 'qcow2') return null
  return { firmware: { code: executable.filename, vars: template.filename, format: executable.format }, features }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The first plain firmware whose files are both there; null when this host has none. Costs a few file reads. */
export function findUefiFirmware(
  options: { descriptorDirs?: readonly string[]; known?: readonly UefiFirmware[] } = {},
): UefiFirmware | null {
  const described = readDescriptors(options.descriptorDirs ?? DESCRIPTOR_DIRS).map(readDescriptor)
  return firstPresent([...described, ...(options.known ?? KNOWN_FIRMWARE)])
}

/**
 * The firmware with Secure Boot: one whose store has keys before one that has none, which would start with it switched off.
 * Null when this host has neither.
 */
export function findSecureBootFirmware(
  options: { descriptorDirs?: readonly string[]; known?: readonly SecureBootFirmware[] } = {},
): SecureBootFirmware | null {
  const described = readDescriptors(options.descriptorDirs ?? DESCRIPTOR_DIRS).map(readSecureBootDescriptor)
  const candidates = [...described, ...(options.known ?? KNOWN_SECURE_BOOT)]
  return (
    firstPresent(candidates.map((firmware) => (firmware?.enrolledKeys === true ? firmware : null))) ??
    firstPresent(candidates)
  )
}

function firstPresent<F extends FlashFirmware>(candidates: readonly (F | null)[]): F | null {
  return candidates.find((firmware) => firmware !== null && isFile(firmware.code) && isFile(firmware.vars)) ?? null
}

/**
 * Both for a caller that asks often: what was found is kept while its files are there and the descriptor directories
 * have not changed. Costs a few stats then. The same object as long as nothing changed.
 */
export function createFirmwareFinder(dirs: readonly string[] = DESCRIPTOR_DIRS): () => FoundFirmware {
  let kept: { readonly stamp: string; readonly found: FoundFirmware } | null = null
  const isThere = (firmware: FlashFirmware | null) =>
    firmware !== null && isFile(firmware.code) && isFile(firmware.vars)
  return () => {
    const stamp = dirs.map((dir) => statSync(dir, { throwIfNoEntry: false })?.mtimeMs ?? 0).join('/')
    if (kept !== null && kept.stamp === stamp && isThere(kept.found.uefi) && isThere(kept.found.secureBoot)) {
      return kept.found
    }
    const found = {
      uefi: findUefiFirmware({ descriptorDirs: dirs }),
      secureBoot: findSecureBootFirmware({ descriptorDirs: dirs }),
    }
    if (kept === null || !sameFirmware(kept.found, found)) kept = { stamp, found }
    else kept = { stamp, found: kept.found }
    return kept.found
  }
}

function sameFirmware(a: FoundFirmware, b: FoundFirmware): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** Texts in the order of file names, over all directories; an earlier directory's file hides a later one's of that name. */
function readDescriptors(dirs: readonly string[]): string[] {
  const files = new Map<string, string>()
  for (const dir of dirs) {
    for (const name of listJson(dir)) if (!files.has(name)) files.set(name, join(dir, name))
  }
  return [...files.keys()].sort().map((name) => readText(files.get(name) ?? ''))
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
