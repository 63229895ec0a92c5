/** What an optical disc says about itself, from its volume descriptors alone. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { BoundedReader } from './reader.ts'

const ISO_DESCRIPTORS_AT = 16 * 2048

export interface IsoFacts {
  /** Volume id, cleaned; null when it has none. */
  readonly label: string | null
  readonly guest: VmSpec['guest'] | null
}

/** ECMA-119 volume descriptors; UDF-only discs (NSR0x in the same place) count as ISO too. */
export async function readIso(reader: BoundedReader): Promise<IsoFacts | null> {
  let label: string | null = null
  let found = false
  for (let index = 0; index < 32; index++) {
    const sector = await reader.read(ISO_DESCRIPTORS_AT + index * 2048, 2048)
    if (sector.length < 2048) break
    const magic = sector.toString('latin1', 1, 6)
    if (magic === 'CD001') {
      found = true
      const type = sector[0]
      if (type === 1) label = cleanLabel(sector.toString('latin1', 40, 72))
      if (type === 255) break
      continue
    }
    if (magic === 'BEA01' || magic === 'NSR02' || magic === 'NSR03') {
      found = true
      continue
    }
    break
  }
  if (!found) return null
  return { label, guest: guessGuest(label) }
}

function cleanLabel(raw: string): string | null {
  const text = raw.replace(/[^\x20-\x7e]/g, ' ').trim()
  return text === '' ? null : text
}

const GUESSES: readonly [RegExp, VmSpec['guest']][] = [
  [/^(CCCOMA|CPBA|CENA|CPRA|SSS_|IR[1-9]_|GRMC|J_CCSA|ESD-ISO|DVD_ROM$|WIN|VIRTIO-WIN)|WINDOWS/i, 'windows'],
  [/BSD|DRAGONFLY|OPNSENSE|PFSENSE|^1[2-9]_[0-9]_RELEASE/i, 'bsd'],
  [
    /DEBIAN|^D-LIVE|UBUNTU|KUBUNTU|MINT|FEDORA|CENTOS|RHEL|ROCKY|ALMA|ORACLE|^OL-|SUSE|SLES|ARCH_|^ARCH|MANJARO|ALPINE|GENTOO|NIXOS|KALI|SLACK|VOID|PROXMOX|^PVE|COREOS|CLEAR|LINUX|TAILS|POP_OS|ELEMENTARY|ZORIN|PUPPY|TINYCORE|SYSRESC|RESCUE|CLONEZILLA|GPARTED/i,
    'linux',
  ],
]

/** Guest kind from a volume id; null when nothing is known. Pure. */
export function guessGuest(label: string | null): VmSpec['guest'] | null {
  if (label === null) return null
  return GUESSES.find(([pattern]) => pattern.test(label))?.[1] ?? null
}
