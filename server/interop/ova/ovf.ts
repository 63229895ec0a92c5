/**
 * Reads an OVF description: which files make which disks, and which hardware the machine had. Bounded and suspicious:
 * a reference leads to a member of the same archive or is refused, numbers are checked before they are multiplied.
 * Pure.
 *
 * Source: DMTF DSP0243 (OVF 1.1 and 2.0); resource types from CIM_ResourceAllocationSettingData.
 */
import { EngineError } from '#server/engine/errors.ts'
import { childOf, childrenOf, readXml, textOf, type XmlNode } from '../xml/read-xml.ts'

export interface OvfDisk {
  readonly id: string
  /** Member of the archive; null: an empty disk. */
  readonly member: string | null
  readonly capacityBytes: number
}

/** One item of the virtual hardware, with what we look at. */
export interface OvfItem {
  readonly id: string
  readonly type: number
  readonly subtype: string
  readonly name: string
  readonly parent: string | null
  readonly address: number | null
  readonly quantity: number | null
  readonly units: string
  /** Disk or file it holds, for example `ovf:/disk/vmdisk1`. */
  readonly hostResource: string | null
  readonly connection: string | null
}

export interface OvfMachine {
  readonly name: string | null
  readonly annotation: string | null
  /** What the description says of the operating system, in its words. */
  readonly system: string
  readonly firmware: 'bios' | 'uefi' | null
  readonly secureBoot: boolean
  readonly disks: readonly OvfDisk[]
  readonly items: readonly OvfItem[]
  /** Sections and settings that nothing here reads, by name. */
  readonly unread: readonly string[]
  readonly extraMachines: number
}

const MAX_DISKS = 24
const MAX_ITEMS = 256
const MAX_CAPACITY = 64 * 2 ** 40
const NAME_MAX = 255

const refuse = (message: string): never => {
  throw new EngineError('import_refused', message)
}

/** Text of somebody else's: no control characters, no unbounded length. */
export const plain = (text: string | undefined, max = NAME_MAX): string =>
  (text ?? '')
    .replace(/\p{C}+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, max)

/** @param members names of the archive's files @throws EngineError dtd_forbidden, import_refused */
export function readOvf(bytes: Uint8Array, members: ReadonlySet<string>): OvfMachine {
  const root = readXml(bytes, 'The OVF description')
  if (root.name !== 'Envelope') refuse('The OVF description does not begin with an Envelope: this is some other XML.')
  const files = readFiles(root, members)
  const disks = readDisks(root, files)
  const systems = systemsOf(root)
  const [system] = systems
  if (system === undefined) return refuse('The OVF description holds no virtual machine.')
  const hardware = childOf(system, 'VirtualHardwareSection')
  if (hardware === undefined) return refuse('The OVF description holds no virtual hardware.')
  const items = hardware.children.filter((child) => /^(Item|StorageItem|EthernetPortItem)$/.test(child.name))
  if (items.length > MAX_ITEMS) refuse('The OVF description has too many pieces of hardware.')
  const os = childOf(system, 'OperatingSystemSection')
  const config = configOf(hardware)
  const machine = {
    name: plain(textOf(system, 'Name') ?? system.attributes.get('id')) || null,
    annotation: plain(textOf(childOf(system, 'AnnotationSection'), 'Annotation'), 4000) || null,
    system: plain([textOf(os, 'Description'), os?.attributes.get('osType'), textOf(os, 'OSType')].join(' ')),
    firmware: config.get('firmware') === 'efi' ? 'uefi' : config.get('firmware') === 'bios' ? 'bios' : null,
    secureBoot: /^true$/i.test(config.get('uefi.secureBoot.enabled') ?? ''),
    disks,
    items: items.map(readItem),
    unread: unreadOf(system),
    extraMachines: systems.length - 1,
  } as const
  checkHeldDisks(machine)
  return machine
}

/** The disk of an item that names one. */
export function diskIdOf(item: OvfItem): string | null {
  const id = /(?:^|\/)disk\/([^/]+)$/.exec(item.hostResource ?? '')?.[1]
  return id ?? null
}

function checkHeldDisks({ items, disks }: Pick<OvfMachine, 'items' | 'disks'>): void {
  const held = new Set<string>()
  const ids = new Set<string>()
  for (const item of items) {
    if (item.id !== '' && ids.has(item.id)) refuse('The OVF description has two pieces of hardware with one id.')
    ids.add(item.id)
    const disk = diskIdOf(item)
    if (disk === null) continue
    if (!disks.some(({ id }) => id === disk)) refuse('The OVF description has a drive whose disk it does not describe.')
    if (held.has(disk)) refuse('The OVF description attaches one disk twice.')
    held.add(disk)
  }
}

function readFiles(root: XmlNode, members: ReadonlySet<string>): Map<string, string> {
  const files = new Map<string, string>()
  for (const file of childrenOf(childOf(root, 'References') ?? root, 'File')) {
    const id = file.attributes.get('id') ?? ''
    const href = file.attributes.get('href') ?? ''
    if (id === '' || files.has(id)) refuse('The OVF description names one of its files twice, or not at all.')
    if (file.attributes.has('chunkSize')) refuse('The OVF description splits a file into chunks, which is not taken.')
    // Whatever it looks like (file:, http:, ../), only a name in the archive itself counts.
    if (!members.has(href)) {
      refuse(
        `The OVF description refers to ${JSON.stringify(plain(href, 100))}, which is not a file of the archive. References elsewhere are never followed.`,
      )
    }
    files.set(id, href)
  }
  return files
}

function readDisks(root: XmlNode, files: ReadonlyMap<string, string>): OvfDisk[] {
  const disks: OvfDisk[] = []
  const section = childOf(root, 'DiskSection')
  for (const disk of section === undefined ? [] : childrenOf(section, 'Disk')) {
    const id = disk.attributes.get('diskId') ?? ''
    if (id === '' || disks.some((other) => other.id === id)) {
      refuse('The OVF description describes one disk twice, or without an id.')
    }
    if (disk.attributes.has('parentRef')) refuse('The OVF description has a disk that is a difference to another one.')
    const fileRef = disk.attributes.get('fileRef')
    const member = fileRef === undefined || fileRef === '' ? null : (files.get(fileRef) ?? null)
    if (fileRef && member === null) refuse('The OVF description has a disk whose file it does not name.')
    if (member !== null && disks.some((other) => other.member === member)) {
      refuse('The OVF description makes two disks of one file.')
    }
    if (disks.length >= MAX_DISKS) refuse(`The OVF description has more than ${MAX_DISKS} disks.`)
    const capacityBytes = scaled(disk.attributes.get('capacity') ?? '', disk.attributes.get('capacityAllocationUnits'))
    if (capacityBytes === 0 || capacityBytes > MAX_CAPACITY) {
      refuse('The OVF description has a disk of an impossible size; at most 64 TiB are taken.')
    }
    disks.push({ id, member, capacityBytes })
  }
  return disks
}

/** Virtual machines, also inside of collections; the first is the one that is taken. */
function systemsOf(root: XmlNode, depth = 0): XmlNode[] {
  if (depth > 8) return []
  return root.children.flatMap((child) =>
    child.name === 'VirtualSystem'
      ? [child]
      : child.name === 'VirtualSystemCollection'
        ? systemsOf(child, depth + 1)
        : [],
  )
}

/** VMware's settings: `<vmw:Config vmw:key="firmware" vmw:value="efi"/>`. */
function configOf(hardware: XmlNode): Map<string, string> {
  const config = new Map<string, string>()
  for (const { attributes } of [...childrenOf(hardware, 'Config'), ...childrenOf(hardware, 'ExtraConfig')]) {
    const key = attributes.get('key')
    if (key !== undefined) config.set(key, attributes.get('value') ?? '')
  }
  return config
}

const READ = new Set(['Info', 'Name', 'AnnotationSection', 'OperatingSystemSection', 'VirtualHardwareSection'])
const unreadOf = (system: XmlNode): string[] => [
  ...new Set(system.children.filter(({ name }) => !READ.has(name)).map(({ name }) => plain(name, 64))),
]

function readItem(item: XmlNode): OvfItem {
  const whole = (name: string): number | null => {
    const value = textOf(item, name)
    if (value === undefined) return null
    if (!/^\d{1,15}$/.test(value)) return refuse(`The OVF description has a ${name} that is not a number.`)
    return Number(value)
  }
  const address = textOf(item, 'AddressOnParent')
  return {
    id: plain(textOf(item, 'InstanceID'), 64),
    type: whole('ResourceType') ?? 0,
    subtype: plain(textOf(item, 'ResourceSubType'), 64),
    name: plain(textOf(item, 'ElementName') ?? textOf(item, 'Caption') ?? textOf(item, 'Description'), 100),
    parent: plain(textOf(item, 'Parent'), 64) || null,
    address: address !== undefined && /^\d{1,4}$/.test(address) ? Number(address) : null,
    quantity: whole('VirtualQuantity'),
    units: plain(textOf(item, 'AllocationUnits'), 64),
    hostResource: textOf(item, 'HostResource') ?? null,
    connection: plain(textOf(item, 'Connection'), 100) || null,
  }
}

/** Words of OVF 0.9 and what people write. */
const WORDS: Record<string, number> = {
  byte: 1,
  bytes: 1,
  kilobytes: 2 ** 10,
  megabytes: 2 ** 20,
  gigabytes: 2 ** 30,
  terabytes: 2 ** 40,
  kb: 2 ** 10,
  mb: 2 ** 20,
  gb: 2 ** 30,
  tb: 2 ** 40,
}

/**
 * `10` in units of `byte * 2^30`, in bytes.
 * @throws EngineError import_refused for anything negative, not whole, unknown or beyond what a number holds
 */
export function scaled(quantity: string, units = 'byte'): number {
  if (!/^\d{1,20}$/.test(quantity)) refuse('The OVF description has a size that is not a whole number.')
  const unit = units.trim().toLowerCase() || 'byte'
  const power = /^bytes?\s*\*\s*(2|10)\s*\^\s*(\d{1,2})$/.exec(unit)
  const factor = power ? Number(power[1]) ** Number(power[2]) : WORDS[unit]
  if (factor === undefined) return refuse('The OVF description has a size in units that are not known.')
  const bytes = Number(quantity) * factor
  if (!Number.isSafeInteger(bytes)) return refuse('The OVF description has a size beyond all measure.')
  return bytes
}
