/**
 * Controllers that drives are plugged into, there when a drive needs them.
 *
 * virtio-scsi: QEMU docs/system/devices (hw/scsi/virtio-scsi.c), one for all, with 256 targets. AHCI: hw/ide/ich.c; q35
 * has one on its mainboard, whose buses are `ide.0` to `ide.5`; pc gets a card. IDE: pc's mainboard (hw/ide/piix.c).
 */
import { familyOf, slotPlace, virtioDriver } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

export function driveControllerOptions({ spec }: CompileInput): PlannedOption[] {
  const options: PlannedOption[] = []
  const onScsi = spec.disks.flatMap((drive, n) => (drive.bus === 'virtio-scsi' ? [{ drive, n }] : []))
  const [first] = onScsi
  if (first !== undefined) {
    const group = QEMU_IDS.scsi
    const field = `/disks/${first.n}/bus`
    const threaded = onScsi.find(({ drive }) => drive.device === 'disk' && drive.ioThread)
    if (threaded !== undefined)
      options.push(
        jsonOption(
          '-object',
          { 'qom-type': 'iothread', id: QEMU_IDS.scsiThread },
          {
            group,
            what: 'A thread for the requests of all SCSI disks.',
            why: `Asked for by ${threaded.drive.id}: disks then no longer wait for the rest of QEMU, nor it for them.`,
            origin: 'choice',
            field: `/disks/${threaded.n}/ioThread`,
          },
        ),
      )
    options.push(
      jsonOption(
        '-device',
        {
          driver: virtioDriver(spec, 'virtio-scsi'),
          id: QEMU_IDS.scsi,
          ...slotPlace(spec, 'scsi'),
          ...(threaded === undefined ? {} : { iothread: QEMU_IDS.scsiThread }),
        },
        {
          group,
          what: 'A virtio SCSI controller.',
          why: 'One controller carries up to 256 drives, which come and go while the guest runs without a PCIe port each.',
          origin: 'plumbing',
          field,
        },
      ),
    )
  }
  const onSata = spec.disks.findIndex((drive) => drive.bus === 'sata')
  if (onSata >= 0 && familyOf(spec.machine) === 'pc')
    options.push(
      jsonOption(
        '-device',
        { driver: 'ich9-ahci', id: QEMU_IDS.ahci, ...slotPlace(spec, 'ahci') },
        {
          group: QEMU_IDS.ahci,
          what: 'A SATA controller (AHCI) with six ports.',
          why: 'The mainboard of this machine has IDE only.',
          origin: 'plumbing',
          field: `/disks/${onSata}/bus`,
        },
      ),
    )
  return options
}

/** Bus and unit of a SATA port. */
export function sataPlace(spec: CompileInput['spec'], port: number): { readonly bus: string } {
  return { bus: `${familyOf(spec.machine) === 'pc' ? QEMU_IDS.ahci : 'ide'}.${port}` }
}

/** pc's two IDE cables with two drives each: port 0 is the first drive of the first cable, 3 the second of the second. */
export function idePlace(port: number): { readonly bus: string; readonly unit: number } {
  return { bus: `ide.${Math.floor(port / 2)}`, unit: port % 2 }
}

/** SCSI target `port`, always unit 0 of it. */
export function scsiPlace(port: number): { readonly bus: string; readonly 'scsi-id': number; readonly lun: number } {
  return { bus: `${QEMU_IDS.scsi}.0`, 'scsi-id': port, lun: 0 }
}
