/** Devices of a running guest by bus, each below what it hangs on. Pure. */
import type { GuestDevice } from '#lib/schema/vm-devices.ts'

export interface TreeRow {
  readonly device: GuestDevice
  /** 0 at the root of its bus. */
  readonly depth: number
}

const BUSES = ['pci', 'usb', 'scsi', 'sata', 'ide', 'virtio-serial', 'memory', 'cpu', 'other'] as const

/** Buses in a fixed order, without empty ones; devices of a bus depth first, siblings in the order QEMU gave. */
export function treeOf(
  items: readonly GuestDevice[],
): { readonly bus: GuestDevice['bus']; readonly rows: readonly TreeRow[] }[] {
  return BUSES.flatMap((bus) => {
    const members = items.filter((device) => device.bus === bus)
    const keys = new Set(members.map((device) => device.key))
    const rows: TreeRow[] = []
    const seen = new Set<string>()
    const add = (device: GuestDevice, depth: number): void => {
      if (seen.has(device.key)) return
      seen.add(device.key)
      rows.push({ device, depth })
      for (const child of members) if (child.parent === device.key) add(child, depth + 1)
    }
    for (const device of members) if (device.parent === null || !keys.has(device.parent)) add(device, 0)
    // Whatever only hangs on itself is still shown.
    for (const device of members) add(device, 0)
    return rows.length === 0 ? [] : [{ bus, rows }]
  })
}
