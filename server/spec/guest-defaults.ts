/** What suits a kind of guest when nothing was said. */
import type { GuestKind, VmSpec } from '#lib/schema/vm-spec.ts'

interface GuestDefaults {
  readonly cpus: number
  readonly memoryMiB: number
  readonly blankDiskGiB: number
  readonly display: 'virtio-vga' | 'std'
  readonly clock: VmSpec['clock']
  readonly prefersUefi: boolean
}

export const GUEST_DEFAULTS: Readonly<Record<GuestKind, GuestDefaults>> = {
  linux: { cpus: 2, memoryMiB: 2048, blankDiskGiB: 20, display: 'virtio-vga', clock: 'utc', prefersUefi: false },
  windows: { cpus: 2, memoryMiB: 4096, blankDiskGiB: 64, display: 'virtio-vga', clock: 'localtime', prefersUefi: true },
  bsd: { cpus: 1, memoryMiB: 1024, blankDiskGiB: 20, display: 'std', clock: 'utc', prefersUefi: false },
  other: { cpus: 1, memoryMiB: 1024, blankDiskGiB: 20, display: 'std', clock: 'utc', prefersUefi: false },
}
