/**
 * CD drives. Each takes a medium and gives it back while the guest runs.
 *
 * QEMU: hw/ide/qdev.c (`ide-cd`), hw/scsi/scsi-disk.c (`scsi-cd`). `usb-storage` is a hard disk only, and wants a medium
 * from the start; a USB CD drive is a `scsi-cd` behind a `usb-bot` bridge (hw/usb/dev-storage-bot.c). Such a bridge
 * shows itself to the guest at power-on; one plugged in later must be told to (`qom-set ID.usb attached true`) once its
 * drive is there.
 */
import type { Drive, VmSpec } from '#lib/schema/vm-spec.ts'
import { formatNode, QEMU_IDS, usbBridgeId } from '../ids.ts'
import { type Json, jsonOption } from '../option.ts'
import type { PlannedOption, ResolvedDrive } from '../types.ts'
import { mediumNode } from './block-nodes.ts'
import { idePlace, sataPlace, scsiPlace } from './drive-controllers.ts'

type Cdrom = Extract<Drive, { device: 'cdrom' }>

interface Bus {
  readonly driver: 'ide-cd' | 'scsi-cd'
  readonly place: Readonly<Record<string, Json>>
  readonly what: string
  readonly why: string
}

function busOf(cdrom: Cdrom, spec: VmSpec): Bus {
  const { port } = cdrom
  switch (cdrom.bus) {
    case 'sata':
      return {
        driver: 'ide-cd',
        place: sataPlace(spec, port),
        what: `A SATA DVD drive on port ${port}`,
        why: 'An emulated drive that every system and its installer knows without extra drivers.',
      }
    case 'ide':
      return {
        driver: 'ide-cd',
        place: idePlace(port),
        what: `An IDE DVD drive, ${port < 2 ? 'first' : 'second'} cable, ${port % 2 === 0 ? 'first' : 'second'} drive`,
        why: 'An emulated drive that every system of a PC knows, however old.',
      }
    case 'virtio-scsi':
      return {
        driver: 'scsi-cd',
        place: scsiPlace(port),
        what: `A DVD drive on the virtio SCSI controller, target ${port}`,
        why: 'Can be added and removed while the guest runs. Linux and BSD have the driver; an installer of Windows has not.',
      }
    case 'usb':
      return {
        driver: 'scsi-cd',
        place: { bus: `${usbBridgeId(cdrom.id)}.0`, 'scsi-id': 0, lun: 0 },
        what: `A USB DVD drive on port ${port}`,
        why: 'Can be added and removed while the guest runs, and every system knows it without extra drivers.',
      }
  }
}

export function cdromOptions(
  cdrom: Cdrom,
  pointer: string,
  drive: ResolvedDrive | undefined,
  spec: VmSpec,
): PlannedOption[] {
  const options: PlannedOption[] = []
  const medium = drive !== undefined && drive.chain.length > 0 ? mediumNode(cdrom.id, drive) : null
  if (medium !== null) {
    options.push(
      jsonOption('-blockdev', medium, {
        group: cdrom.id,
        ...(cdrom.seed === null
          ? {
              what: 'Opens the ISO image, read-only.',
              why: 'Named on its own, so that the medium can be changed while the guest runs.',
            }
          : {
              what: 'Opens the seed CD of this VM, read-only: what its first start is to set up.',
              why: 'A file of this VM alone, readable to nobody else. What is in it is not on the command line.',
            }),
        origin: 'choice',
        field: cdrom.seed === null ? `${pointer}/image` : `${pointer}/seed`,
      }),
    )
  }
  if (cdrom.bus === 'usb') {
    options.push(
      jsonOption(
        '-device',
        { driver: 'usb-bot', id: usbBridgeId(cdrom.id), bus: `${QEMU_IDS.usb}.0`, port: String(cdrom.port) },
        {
          group: cdrom.id,
          what: `A USB bridge for ${cdrom.id} on port ${cdrom.port}.`,
          why: 'QEMU has no USB CD drive in one piece: the drive speaks SCSI, the bridge carries it over USB.',
          origin: 'plumbing',
          field: `${pointer}/bus`,
        },
      ),
    )
  }
  const bus = busOf(cdrom, spec)
  options.push(
    jsonOption(
      '-device',
      {
        driver: bus.driver,
        id: cdrom.id,
        ...bus.place,
        ...(medium === null ? {} : { drive: formatNode(cdrom.id, 0) }),
        ...(cdrom.bootIndex === null ? {} : { bootindex: cdrom.bootIndex }),
      },
      {
        group: cdrom.id,
        what: `${bus.what}${medium === null ? ', empty' : ''}${cdrom.bootIndex === null ? '' : `, boot position ${cdrom.bootIndex}`}.`,
        why: bus.why,
        origin: 'choice',
        field: pointer,
      },
    ),
  )
  return options
}
