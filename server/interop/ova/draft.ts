/**
 * Makes a draft of a VM of an OVF description. Nothing is dropped in silence: every piece of hardware is in the report
 * as kept, changed or dropped. Pure.
 */
import type { ImportNote } from '#lib/schema/appliance.ts'
import { VmName, type VmSpecInput } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { diskIdOf, type OvfDisk, type OvfItem, type OvfMachine, plain, scaled } from './ovf.ts'

/** Numbers of CIM_ResourceAllocationSettingData. */
const CPU = 3
const MEMORY = 4
const IDE = 5
const SCSI = 6
const ETHERNET = 10
const FLOPPY = 14
const CD = 15
const DVD = 16
const DISK = 17
const STORAGE_CONTROLLER = 20
const SERIAL = 21
const USB = 23
const GRAPHICS = 24
const SOUND = 35

type Draft = { -readonly [Key in keyof VmSpecInput]: VmSpecInput[Key] }
type DiskInput = Extract<NonNullable<VmSpecInput['disks']>[number], { device: 'disk' }>

interface ImportedDisk {
  readonly imageId: string
  readonly virtualSizeBytes: number
}

const GiB = 2 ** 30
const MAX_MEMORY_MIB = 16_777_216

/**
 * @param imported what became of each disk that had a file, by the disk's id
 * @param fallbackName when the description has none that a VM may have
 */
export function draftOf(
  machine: OvfMachine,
  imported: ReadonlyMap<string, ImportedDisk>,
  fallbackName: string,
): { draft: VmSpecInput; report: ImportNote[] } {
  const report: ImportNote[] = []
  const note = (fate: ImportNote['fate'], what: string, detail: string) => void report.push({ fate, what, detail })
  const name = vmName(machine.name) ?? vmName(fallbackName) ?? 'imported'
  if (machine.name !== null && name !== machine.name) note('changed', 'Name', `“${machine.name}” became “${name}”.`)
  const draft: Draft = { name }
  if (machine.annotation !== null) draft.description = machine.annotation
  const guest = guestOf(machine.system)
  draft.guest = guest
  note(
    guest === 'other' ? 'changed' : 'kept',
    'Operating system',
    `“${machine.system || 'not said'}” is taken as ${guest}.`,
  )
  if (machine.firmware !== null) {
    draft.firmware = machine.firmware
    note('kept', 'Firmware', `The machine starts by ${machine.firmware === 'uefi' ? 'UEFI' : 'BIOS'}.`)
  } else
    note(
      'changed',
      'Firmware',
      'The description does not say how the machine starts; the default for the guest is proposed.',
    )
  if (machine.secureBoot)
    note(
      'dropped',
      'Secure Boot',
      'Keys are not part of an appliance. Turn it on in the draft when the guest needs it.',
    )
  for (const section of machine.unread) note('dropped', section, 'This section of the description is not read.')
  if (machine.extraMachines > 0) {
    note(
      'dropped',
      `${machine.extraMachines} more machines`,
      'The appliance describes several; only the first becomes a draft.',
    )
  }

  const networks: NonNullable<Draft['networks']>[number][] = []
  const drives: { order: number; drive: NonNullable<Draft['disks']>[number] }[] = []
  const controllers = new Map(machine.items.map((item) => [item.id, item]))
  const used = new Set<string>()
  for (const [index, item] of machine.items.entries()) {
    const what = item.name || `Item ${item.id}`
    if (item.type === CPU) {
      const cpus = Math.min(255, Math.max(1, item.quantity ?? 1))
      draft.cpus = cpus
      note(cpus === item.quantity ? 'kept' : 'changed', what, `${cpus} virtual CPUs.`)
    } else if (item.type === MEMORY) {
      const bytes = scaled(String(item.quantity ?? 0), item.units || 'megabytes')
      draft.memoryMiB = Math.min(MAX_MEMORY_MIB, Math.max(16, Math.ceil(bytes / 2 ** 20)))
      note('kept', what, `${draft.memoryMiB} MiB of memory.`)
    } else if (item.type === DISK) {
      const disk = machine.disks.find(({ id }) => id === diskIdOf(item))
      if (disk === undefined) {
        note('dropped', what, 'The drive names no disk of the appliance.')
        continue
      }
      used.add(disk.id)
      const bus = busOf(controllers.get(item.parent ?? ''), note, what)
      drives.push({ order: index, drive: diskDraft(disk, imported.get(disk.id), bus) })
    } else if (item.type === CD || item.type === DVD) {
      drives.push({ order: 1000 + index, drive: { device: 'cdrom', image: null } })
      note('kept', what, 'An empty CD drive.')
    } else if (item.type === ETHERNET) {
      if (networks.length >= 8) note('dropped', what, 'A VM has at most 8 network cards.')
      else {
        networks.push(cardOf(item))
        const to = item.connection === null ? '' : ` It was on “${item.connection}”; choose its network here.`
        note('changed', what, `A network card (${item.subtype || 'no model said'}) with a new MAC address.${to}`)
      }
    } else if (item.type === IDE || item.type === SCSI || item.type === STORAGE_CONTROLLER) {
      note('changed', what, 'Controllers come by themselves with the drives that need them.')
    } else if (item.type === SOUND) {
      note('dropped', what, 'Sound is off; add a sound device in the draft when it is needed.')
    } else if (item.type === USB) note('changed', what, 'The VM gets a USB 3 controller.')
    else if (item.type === GRAPHICS) note('changed', what, 'The VM gets the graphics card that suits the guest.')
    else if (item.type === SERIAL) note('changed', what, 'The VM gets one serial port, shown in the console.')
    else if (item.type === FLOPPY) note('dropped', what, 'Floppy drives are not offered.')
    else
      note(
        'dropped',
        what,
        `Hardware of a kind that is not known here (type ${item.type}${item.subtype && `, ${item.subtype}`}).`,
      )
  }
  for (const disk of machine.disks) {
    if (used.has(disk.id)) continue
    drives.push({ order: 500, drive: diskDraft(disk, imported.get(disk.id), undefined) })
    note('changed', `Disk ${plain(disk.id, 64)}`, 'No drive of the machine held it; it is attached all the same.')
  }
  if (drives.every(({ drive }) => drive.device !== 'disk')) {
    throw new EngineError('import_refused', 'The appliance describes a machine without a disk.')
  }
  draft.disks = drives.toSorted((a, b) => a.order - b.order).map(({ drive }) => drive)
  draft.networks = networks
  return { draft, report }
}

/** A name that a VM may have, or null. */
function vmName(raw: string | null): string | null {
  const text = (raw ?? '')
    .normalize('NFC')
    .replace(/\.(ova|ovf)$/i, '')
    .replace(/[^\p{L}\p{M}\p{N} ._()#@+-]+/gu, '-')
    .replace(/^[^\p{L}\p{N}]+/u, '')
    .slice(0, 64)
    .trim()
  return VmName.safeParse(text).success ? text : null
}

function guestOf(system: string): NonNullable<VmSpecInput['guest']> {
  if (/windows|winnt|\bwin\d/i.test(system)) return 'windows'
  if (/bsd|pfsense|opnsense/i.test(system)) return 'bsd'
  if (
    /linux|debian|ubuntu|centos|rhel|red ?hat|fedora|suse|sles|oracle|alma|rocky|alpine|arch|photon|other26x|other3x/i.test(
      system,
    )
  ) {
    return 'linux'
  }
  return 'other'
}

function busOf(
  controller: OvfItem | undefined,
  note: (fate: ImportNote['fate'], what: string, detail: string) => void,
  what: string,
): DiskInput['bus'] {
  // What the installed system had drivers for decides; only virtio's own controller is known to be faster and there.
  if (controller?.type === SCSI && /virtio/i.test(controller.subtype)) {
    note('kept', what, 'A disk on virtio-scsi.')
    return 'virtio-scsi'
  }
  if (controller?.type === IDE) {
    // An IDE disk of a machine whose chip set here has no IDE works on SATA with the drivers every system has.
    note('changed', what, 'A disk on SATA in place of IDE.')
    return 'sata'
  }
  if (controller?.type === STORAGE_CONTROLLER && /nvme/i.test(controller.subtype)) {
    note('kept', what, 'A disk on NVMe.')
    return 'nvme'
  }
  if (controller?.type === STORAGE_CONTROLLER) {
    note('kept', what, 'A disk on SATA.')
    return 'sata'
  }
  note(
    'changed',
    what,
    `A disk on SATA in place of ${controller?.subtype || 'its controller'}, because the installed system may lack other drivers. Change it to virtio when it has them.`,
  )
  return 'sata'
}

function diskDraft(disk: OvfDisk, imported: ImportedDisk | undefined, bus: DiskInput['bus']): DiskInput {
  const bytes = Math.max(disk.capacityBytes, imported?.virtualSizeBytes ?? 0)
  return {
    device: 'disk',
    bus: bus ?? 'sata',
    sizeGiB: Math.min(65_536, Math.max(1, Math.ceil(bytes / GiB))),
    // Branded: the id was made by the library a moment ago.
    image: (imported?.imageId ?? null) as (DiskInput['image'] & string) | null,
  }
}

/** What the installed system had a driver for, where QEMU has the same card. */
function cardOf({ subtype }: OvfItem): NonNullable<Draft['networks']>[number] {
  if (/e1000e/i.test(subtype)) return { model: 'e1000e' }
  if (/e1000|82545|82540/i.test(subtype)) return { model: 'e1000' }
  if (/vmxnet3/i.test(subtype)) return { model: 'vmxnet3' }
  if (/virtio/i.test(subtype)) return { model: 'virtio-net' }
  return {}
}
