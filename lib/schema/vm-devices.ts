/** What a change would do, and the hardware of a running guest as QEMU sees it. */
import * as z from 'zod'
import { CommandLine } from './command-line.ts'
import { VmSpec } from './vm-spec.ts'
import { PendingChange } from './vm-state.ts'

/** A change before it is made. */
export const VmChangePreview = z
  .strictObject({
    /** The definition it would lead to. */
    spec: VmSpec,
    /**
     * How that differs from what the guest runs with. `waiting` tells when it gets it: `apply` at once, `guest` when the
     * guest lets go, `restart` at the next start. Empty while the guest is off.
     */
    changes: z.array(PendingChange),
    /** Of the next start; `changed` marks what differs from the command line of the stored definition. */
    commandLine: CommandLine,
  })
  .meta({ id: 'VmChangePreview' })
export type VmChangePreview = z.output<typeof VmChangePreview>

/** One device on a bus of the running guest. */
export const GuestDevice = z
  .strictObject({
    /** QEMU's device id, or its QOM path where it has none. */
    key: z.string(),
    id: z.string().nullable(),
    /** QOM type: `virtio-blk-pci`. */
    type: z.string(),
    /** `pci`: `00:02.0`. `usb`: `1`, `1.2`. Others in QEMU's words; null when it has none. */
    address: z.string().nullable(),
    /** In words, as far as QEMU tells: `SCSI storage controller`, `QEMU USB Tablet`. */
    description: z.string().nullable(),
    /** Vendor and device, `1af4:1042`; null when not a PCI device. */
    pciId: z.string().nullable(),
    /** Of a PCI device: class code (`0100`), interrupt line where it has one, and its address windows. */
    pci: z
      .strictObject({
        classCode: z.string(),
        irq: z.int().nullable(),
        regions: z.array(
          z.strictObject({
            bar: z.int(),
            type: z.enum(['memory', 'io']),
            /** Hexadecimal; null: the guest has not placed it. */
            address: z.string().nullable(),
            sizeBytes: z.number(),
            prefetchable: z.boolean(),
          }),
        ),
      })
      .nullable(),
    /** JSON pointer to what it is made from in the definition: `/disks/0`, `/rng`; null for what the mainboard has. */
    field: z.string().nullable(),
    /** Key of the bridge or controller it hangs on; null at the root. */
    parent: z.string().nullable(),
    bus: z.enum(['pci', 'usb', 'scsi', 'sata', 'ide', 'virtio-serial', 'memory', 'cpu', 'other']),
    /** `leaving`: the guest was asked to let go of it. */
    state: z.enum(['running', 'leaving']),
  })
  .meta({ id: 'GuestDevice' })
export type GuestDevice = z.output<typeof GuestDevice>

export const VmDevices = z.strictObject({ items: z.array(GuestDevice) }).meta({ id: 'VmDevices' })
export type VmDevices = z.output<typeof VmDevices>
