/** Names of vendors and devices from pci.ids and usb.ids, where a distribution installed them. */
import { readFile } from 'node:fs/promises'
import type { Tree } from './tree.ts'

const PLACES = ['usr/share/misc', 'usr/share/hwdata', 'var/lib/usbutils', 'var/lib/pciutils']

export interface HardwareNames {
  /** @param vendorId four hexadecimal digits, lower case */
  vendor(vendorId: string): string | null
  device(vendorId: string, deviceId: string): string | null
}

/** @param wanted vendor ids; of the others nothing is kept, the files have tens of thousands of lines */
export async function readHardwareNames(
  tree: Tree,
  file: 'pci.ids' | 'usb.ids',
  wanted: ReadonlySet<string>,
): Promise<HardwareNames> {
  for (const dir of PLACES) {
    try {
      return parseIds(await readFile(tree.path(`${dir}/${file}`), 'utf8'), wanted)
    } catch {
      // Not there; the next.
    }
  }
  return parseIds('', wanted)
}

/**
 * `pci.ids(5)`: a vendor at the start of a line, its devices after one tab, subsystems after two. Later sections (classes
 * and the like) start with a letter and a space.
 */
export function parseIds(text: string, wanted: ReadonlySet<string>): HardwareNames {
  const vendors = new Map<string, string>()
  const devices = new Map<string, string>()
  let current: string | null = null
  for (const line of text.split('\n')) {
    if (line.startsWith('#') || line === '') continue
    if (!line.startsWith('\t')) {
      const match = /^([0-9a-f]{4}) {2}(.+)$/.exec(line)
      current = match?.[1] !== undefined && wanted.has(match[1]) ? match[1] : null
      if (current !== null && match?.[2] !== undefined) vendors.set(current, match[2])
      continue
    }
    if (current === null || line.startsWith('\t\t')) continue
    const match = /^\t([0-9a-f]{4}) {2}(.+)$/.exec(line)
    if (match?.[1] !== undefined && match[2] !== undefined) devices.set(`${current}:${match[1]}`, match[2])
  }
  return {
    vendor: (id) => vendors.get(id) ?? null,
    device: (vendorId, id) => devices.get(`${vendorId}:${id}`) ?? null,
  }
}

/** Base class and subclass of PCI (PCI Code and ID Assignment Specification), as far as hosts have them. */
const CLASSES: { readonly [code: string]: string } = {
  '00': 'Unclassified device',
  '01': 'Storage controller',
  '0101': 'IDE controller',
  '0104': 'RAID controller',
  '0106': 'SATA controller',
  '0107': 'SAS controller',
  '0108': 'NVMe disk',
  '02': 'Network controller',
  '0200': 'Ethernet card',
  '0280': 'Network card',
  '03': 'Display controller',
  '0300': 'Graphics card',
  '0302': '3D controller',
  '04': 'Multimedia controller',
  '0401': 'Sound card',
  '0403': 'Sound card (HDA)',
  '05': 'Memory controller',
  '06': 'Bridge',
  '0600': 'Host bridge',
  '0601': 'ISA bridge',
  '0604': 'PCI bridge',
  '07': 'Communication controller',
  '08': 'System device',
  '0806': 'IOMMU',
  '09': 'Input device',
  '0b': 'Processor',
  '0c': 'Serial bus controller',
  '0c03': 'USB controller',
  '0c05': 'SMBus controller',
  '0d': 'Wireless controller',
  '10': 'Encryption controller',
  '11': 'Signal processing controller',
  '12': 'Processing accelerator',
}

/** @param code six hexadecimal digits */
export function className(code: string): string {
  return CLASSES[code.slice(0, 4)] ?? CLASSES[code.slice(0, 2)] ?? 'Device'
}
