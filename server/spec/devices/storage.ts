/** Hard disks and CD drives with their block nodes. */
import type { Drive } from '#lib/schema/vm-spec.ts'
import { fileNode, formatNode, rootPortId } from '../ids.ts'
import { type Json, jsonOption } from '../option.ts'
import type { PlannedOption, ResolvedDrive } from '../types.ts'

type Disk = Extract<Drive, { device: 'disk' }>
type Cdrom = Extract<Drive, { device: 'cdrom' }>
type Layer = ResolvedDrive['chain'][number]

/**
 * The whole chain as nested nodes, each with its format named and the last one's backing file switched off:
 * QEMU never guesses a format and never follows a name written inside an image, which the guest may have forged.
 */
function blockNode(
  deviceId: string,
  chain: readonly Layer[],
  depth: number,
  top: { readonly [key: string]: Json },
): { [key: string]: Json } {
  const layer = chain[depth]
  if (layer === undefined) throw new Error(`drive ${deviceId} has no layer ${depth}`)
  const below = depth + 1 < chain.length ? blockNode(deviceId, chain, depth + 1, {}) : null
  return {
    driver: layer.format,
    'node-name': formatNode(deviceId, depth),
    'read-only': layer.readOnly,
    ...top,
    ...(layer.format === 'qcow2' ? { backing: below } : {}),
    file: {
      driver: 'file',
      'node-name': fileNode(deviceId, depth),
      filename: layer.path,
      'read-only': layer.readOnly,
      locking: 'on',
      ...(layer.readOnly ? {} : { discard: 'unmap' }),
    },
  }
}

/** QEMU cuts virtio-blk serials at 20 bytes; a cut one could equal another, so longer ids go without. */
const SERIAL_MAX = 20

export function diskOptions(disk: Disk, pointer: string, drive: ResolvedDrive): PlannedOption[] {
  const layers = drive.chain.length
  return [
    jsonOption('-blockdev', blockNode(disk.id, drive.chain, 0, { discard: 'unmap', 'detect-zeroes': 'unmap' }), {
      group: disk.id,
      what:
        layers > 1
          ? `Opens the disk file: changes go to a qcow2 file of this VM, unchanged blocks are read from the image below it (${layers} layers, all named here).`
          : 'Opens the disk file of this VM. Freed space goes back to the host, written zeroes take none.',
      why: 'Formats and layers are spelled out, so that nothing a guest writes into its disk can make QEMU open another file. The lock keeps two guests from writing to one disk.',
      origin: disk.image === null ? 'default' : 'choice',
      field: disk.image === null ? `${pointer}/sizeGiB` : `${pointer}/image`,
    }),
    jsonOption(
      '-device',
      {
        driver: 'virtio-blk-pci',
        id: disk.id,
        bus: rootPortId(disk.rootPort ?? 0),
        addr: '0x0',
        drive: formatNode(disk.id, 0),
        ...(disk.id.length <= SERIAL_MAX ? { serial: disk.id } : {}),
        ...(disk.bootIndex === null ? {} : { bootindex: disk.bootIndex }),
        werror: 'stop',
        rerror: 'report',
      },
      {
        group: disk.id,
        what: `A virtio hard disk on PCIe port ${disk.rootPort}${disk.bootIndex === null ? '' : `, boot position ${disk.bootIndex}`}. When the host cannot write (disk full), the guest is paused instead of losing data.`,
        why: 'virtio is made for virtual machines: the least work per request. Linux and BSD have the driver; Windows needs the virtio-win driver while installing.',
        origin: 'choice',
        field: pointer,
      },
    ),
  ]
}

export function cdromOptions(cdrom: Cdrom, pointer: string, drive: ResolvedDrive | undefined): PlannedOption[] {
  const hasMedium = drive !== undefined && drive.chain.length > 0
  const options: PlannedOption[] = []
  if (hasMedium) {
    options.push(
      jsonOption('-blockdev', blockNode(cdrom.id, drive.chain, 0, {}), {
        group: cdrom.id,
        what: 'Opens the ISO image, read-only.',
        why: 'Named on its own, so that the medium can be changed while the guest runs.',
        origin: 'choice',
        field: `${pointer}/image`,
      }),
    )
  }
  options.push(
    jsonOption(
      '-device',
      {
        driver: 'ide-cd',
        id: cdrom.id,
        bus: `ide.${cdrom.port}`,
        ...(hasMedium ? { drive: formatNode(cdrom.id, 0) } : {}),
        ...(cdrom.bootIndex === null ? {} : { bootindex: cdrom.bootIndex }),
      },
      {
        group: cdrom.id,
        what: `A SATA DVD drive on port ${cdrom.port}${hasMedium ? '' : ', empty'}${cdrom.bootIndex === null ? '' : `, boot position ${cdrom.bootIndex}`}.`,
        why: 'An emulated drive that every system and its installer knows without extra drivers.',
        origin: 'choice',
        field: pointer,
      },
    ),
  )
  return options
}
