/** What files say about the system they belong to. Pure: text in, facts out. */
import { shownText } from './names.ts'

export type Architecture = 'x86_64' | 'i386' | 'aarch64' | 'arm' | 'riscv64' | 'ppc64le' | 's390x'

export interface OsFacts {
  /** As in os-release: `debian`, `fedora`; also `windows`, `freebsd` and their like. */
  readonly id: string
  readonly name: string
  readonly version: string | null
  readonly architecture: Architecture | null
}

const ID = /^[a-z0-9][a-z0-9._-]{0,31}$/
const MAX_TEXT = 80

const clean = (text: string | undefined): string | null => {
  const shown = shownText(text ?? '', MAX_TEXT).trim()
  return shown === '' ? null : shown
}

/** Source: os-release(5). Nothing is run: values are taken as they stand, less their quotes. @returns null: it is none */
export function parseOsRelease(text: string): OsFacts | null {
  const values = new Map<string, string>()
  for (const line of text.split('\n', 200)) {
    const match = /^([A-Z][A-Z0-9_]{0,63})=(.{0,512})$/.exec(line.trim())
    if (match?.[1] === undefined || match[2] === undefined) continue
    const quoted = /^(["'])(.*)\1$/.exec(match[2])
    values.set(match[1], (quoted?.[2] ?? match[2]).replace(/\\(["'$`\\])/g, '$1'))
  }
  const id = (values.get('ID') ?? '').toLowerCase()
  const name = clean(values.get('NAME'))
  if (!ID.test(id)) return null
  return { id, name: name ?? id, version: clean(values.get('VERSION_ID')), architecture: null }
}

/** e_machine of an ELF file. Source: the ELF specification, figure 4-3, and its registry. */
export function elfArchitecture(head: Buffer): Architecture | null {
  if (head.length < 20 || head.toString('latin1', 0, 4) !== '\x7fELF') return null
  const isLittle = head[5] === 1
  const machine = isLittle ? head.readUInt16LE(18) : head.readUInt16BE(18)
  if (machine === 21) return isLittle ? 'ppc64le' : null
  return ELF[machine] ?? null
}
const ELF: Readonly<Record<number, Architecture>> = {
  3: 'i386',
  22: 's390x',
  40: 'arm',
  62: 'x86_64',
  183: 'aarch64',
  243: 'riscv64',
}

/** Names UEFI gives the loader of each machine. Source: UEFI 2.10, table 3.5. */
const EFI: Readonly<Record<string, Architecture>> = {
  x64: 'x86_64',
  ia32: 'i386',
  aa64: 'aarch64',
  arm: 'arm',
  riscv64: 'riscv64',
}
export const efiArchitecture = (fileName: string): Architecture | null =>
  EFI[/^boot(x64|ia32|aa64|arm|riscv64)\.efi$/i.exec(fileName)?.[1]?.toLowerCase() ?? ''] ?? null

/** Folders that makers have below `EFI` on a system partition. */
const VENDORS: Readonly<Record<string, string>> = {
  debian: 'Debian GNU/Linux',
  ubuntu: 'Ubuntu',
  fedora: 'Fedora Linux',
  centos: 'CentOS',
  rocky: 'Rocky Linux',
  almalinux: 'AlmaLinux',
  redhat: 'Red Hat Enterprise Linux',
  opensuse: 'openSUSE',
  microsoft: 'Windows',
  freebsd: 'FreeBSD',
}
/** @param folders in any case @returns null: none that is known, or several */
export function vendorOs(folders: readonly string[]): OsFacts | null {
  const known = folders.map((name) => name.toLowerCase()).filter((name) => VENDORS[name] !== undefined)
  const [vendor] = known
  if (vendor === undefined || known.length > 1) return null
  const id = vendor === 'microsoft' ? 'windows' : vendor === 'redhat' ? 'rhel' : vendor
  return { id, name: VENDORS[vendor] ?? vendor, version: null, architecture: null }
}

const MACHINES: readonly [RegExp, Architecture][] = [
  [/\b(amd64|x86[_-]64|x64)\b|x64/i, 'x86_64'],
  [/\b(arm64|aarch64)\b/i, 'aarch64'],
  [/\b(riscv64)\b/i, 'riscv64'],
  [/\b(i[3-6]86|x86|ia-?32)\b/i, 'i386'],
]
const machineIn = (text: string): Architecture | null =>
  MACHINES.find(([pattern]) => pattern.test(text.replaceAll('_', ' ').replace('x86 64', 'x86_64')))?.[1] ?? null

/** `.disk/info` of Debian's and Ubuntu's installers: `Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST …`. */
export function parseDiskInfo(text: string): OsFacts | null {
  const line = clean(text.split('\n', 1)[0]) ?? ''
  const match = /^(Debian GNU\/Linux|Ubuntu(?:-Server| [A-Z][a-z]+)?|Kubuntu|Xubuntu|Lubuntu) (\d+(?:\.\d+)*)/.exec(
    line,
  )
  if (match?.[1] === undefined) return null
  const isDebian = match[1].startsWith('Debian')
  return {
    id: isDebian ? 'debian' : 'ubuntu',
    name: isDebian ? 'Debian GNU/Linux' : 'Ubuntu',
    version: match[2] ?? null,
    architecture: machineIn(line),
  }
}

/** `.treeinfo` of Fedora's and its relatives' installers. */
export function parseTreeInfo(text: string): OsFacts | null {
  const value = (key: string) => clean(new RegExp(`^${key}\\s*=\\s*(.{1,200})$`, 'm').exec(text)?.[1])
  const family = value('family')
  if (family === null) return null
  const id = FAMILIES.find(([pattern]) => pattern.test(family))?.[1]
  if (id === undefined) return null
  return { id, name: family, version: value('version'), architecture: machineIn(value('arch') ?? '') }
}
const FAMILIES: readonly [RegExp, string][] = [
  [/^Fedora/i, 'fedora'],
  [/^Red Hat/i, 'rhel'],
  [/^CentOS/i, 'centos'],
  [/^Rocky/i, 'rocky'],
  [/^AlmaLinux/i, 'almalinux'],
  [/^Oracle/i, 'ol'],
]

interface LabelRule {
  readonly pattern: RegExp
  readonly id: string
  readonly name: string
}
const rule = (id: string, name: string, pattern: RegExp): LabelRule => ({ id, name, pattern })
/** Volume ids of installers; the first group, where there is one, is the version. */
const LABELS: readonly LabelRule[] = [
  rule('virtio-win', 'VirtIO drivers for Windows', /^virtio-win-?([\d.]+)?/i),
  rule('windows', 'Windows', /^(?:CCCOMA|CPBA|CENA|CPRA|SSS_|IR[1-9]_|GRMC|J_CCSA|ESD-ISO)|WINDOWS/i),
  rule('freebsd', 'FreeBSD', /^(\d+_\d+)_(?:RELEASE|STABLE|BETA|RC)/i),
  rule('freebsd', 'FreeBSD', /FREEBSD[ _-]?([\d.]+)?/i),
  rule('openbsd', 'OpenBSD', /OPENBSD[/ _-]*(?:amd64 )?([\d.]+)?/i),
  rule('netbsd', 'NetBSD', /NETBSD[ _-]?([\d.]+)?/i),
  rule('opnsense', 'OPNsense', /OPNSENSE[ _-]?([\d.]+)?/i),
  rule('pfsense', 'pfSense', /PFSENSE[ _-]?([\d.]+)?/i),
  rule('ubuntu', 'Ubuntu', /^(?:X|K|L)?UBUNTU(?:-SERVER)?[ _-]?(\d\d\.\d\d(?:\.\d)?)?/i),
  rule('debian', 'Debian GNU/Linux', /^(?:DEBIAN|D-LIVE)[ _-]?(\d+(?:\.\d+)*)?/i),
  rule('fedora', 'Fedora Linux', /^FEDORA\S*?-(\d\d)(?:\b|_)/i),
  rule('fedora', 'Fedora Linux', /^FEDORA/i),
  rule('centos', 'CentOS', /^CENTOS[- _]?(?:STREAM[- _])?(\d+(?:[.-]\d+)?)?/i),
  rule('rhel', 'Red Hat Enterprise Linux', /^RHEL-(\d+-\d+)/i),
  rule('rocky', 'Rocky Linux', /^ROCKY-(\d+-\d+)/i),
  rule('almalinux', 'AlmaLinux', /^ALMALINUX-(\d+-\d+)/i),
  rule('ol', 'Oracle Linux', /^OL-(\d+-\d+)/i),
  rule('opensuse', 'openSUSE', /^(?:OPENSUSE|SUSE)[ _-]?(?:LEAP[ _-]?)?([\d.]+)?/i),
  rule('arch', 'Arch Linux', /^ARCH_(\d{6})/i),
  rule('alpine', 'Alpine Linux', /^ALPINE-\S*?(\d+\.\d+(?:\.\d+)?)/i),
  rule('nixos', 'NixOS', /^NIXOS-\S*?(\d\d\.\d\d)/i),
  rule('kali', 'Kali Linux', /^KALI/i),
  rule('proxmox', 'Proxmox VE', /^PVE/i),
]

/** From the volume id of a disc alone. @returns null: nothing is known by it */
export function osOfLabel(label: string): OsFacts | null {
  for (const { pattern, id, name } of LABELS) {
    const match = pattern.exec(label)
    if (match === null) continue
    const version = match[1]?.replace(/[_-]/g, '.') ?? null
    return { id, name, version, architecture: machineIn(label) }
  }
  return null
}

/** The kind of guest a definition knows. */
export function guestOf({ id }: Pick<OsFacts, 'id'>): 'linux' | 'windows' | 'bsd' | 'other' {
  if (id === 'windows' || id === 'virtio-win') return 'windows'
  if (/bsd$/.test(id) || id === 'opnsense' || id === 'pfsense') return 'bsd'
  return 'linux'
}
