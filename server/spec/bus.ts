/** Where a device sits, by machine family; and what virtio devices are called there. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { PC_SLOTS, rootPortId, SLOTS } from './ids.ts'

export type MachineFamily = 'q35' | 'pc' | 'microvm'

export function familyOf(machine: string): MachineFamily {
  if (machine === 'microvm') return 'microvm'
  return machine.startsWith('pc-i440fx-') ? 'pc' : 'q35'
}

/** `pc-q35-7.2` → 7.2 as a number that sorts; microvm has none. */
export function versionOf(machine: string): number {
  const [, major = '0', minor = '0'] = /-([0-9]+)\.([0-9]+)/.exec(machine) ?? []
  return Number(major) * 1000 + Number(minor)
}

/** vmgenid is written into by the firmware, which boards before 2.5 cannot do (QEMU `hw/acpi/vmgenid.c`, `hw_compat_2_4`). */
export const hasGenerationId = (machine: string): boolean =>
  familyOf(machine) !== 'microvm' && versionOf(machine) >= 2005

type Place = { readonly bus: string; readonly addr: string } | Readonly<Record<string, never>>

/** Sockets for hot-pluggable devices: q35 has as many PCIe root ports, pc takes slots of its one PCI bus. */
export const SOCKETS: Readonly<Record<MachineFamily, number>> = { q35: 32, pc: 15, microvm: 24 }

/** First slot of `pci.0` for hot-pluggable devices on pc; lower ones belong to what the mainboard always has. */
const PC_FIRST_SOCKET = 0x10

/** `bus` and `addr` of a device on socket `port` (`rootPort` in the spec). microvm assigns them itself. */
export function socketPlace(spec: Pick<VmSpec, 'machine'>, port: number): Place {
  switch (familyOf(spec.machine)) {
    case 'q35':
      return { bus: rootPortId(port), addr: '0x0' }
    case 'pc':
      return { bus: 'pci.0', addr: `0x${(PC_FIRST_SOCKET + port).toString(16)}` }
    case 'microvm':
      return {}
  }
}

/** A socket in words, for explanations. */
export function socketName(spec: Pick<VmSpec, 'machine'>, port: number): string {
  switch (familyOf(spec.machine)) {
    case 'q35':
      return `PCIe port ${port}`
    case 'pc':
      return `PCI slot ${PC_FIRST_SOCKET + port}`
    case 'microvm':
      return 'a virtio-mmio slot'
  }
}

/** Fixed place of a device that is there once and stays: its slot of the main bus. */
export function slotPlace(spec: Pick<VmSpec, 'machine'>, slot: keyof typeof PC_SLOTS): Place {
  switch (familyOf(spec.machine)) {
    case 'q35':
      // The mainboard has its own AHCI controller.
      return slot === 'ahci' ? {} : { bus: 'pcie.0', addr: SLOTS[slot] }
    case 'pc':
      return { bus: 'pci.0', addr: PC_SLOTS[slot] }
    case 'microvm':
      return {}
  }
}

/** QEMU's driver for a virtio device: `virtio-blk` → `virtio-blk-pci`, or `virtio-blk-device` on microvm. */
export function virtioDriver(spec: Pick<VmSpec, 'machine'>, device: string): string {
  return `${device}-${familyOf(spec.machine) === 'microvm' ? 'device' : 'pci'}`
}
