/**
 * What stands in the way of a snapshot, device by device, before QEMU is asked. Pure. What a running QEMU itself would
 * refuse is asked of it besides (`query-migrate` lists the devices it cannot save); these are the reasons in words.
 *
 * Sources: QEMU migration/savevm.c (save_snapshot), hw/nvme/ctrl.c and hw/virtio/vhost-user-fs.c (unmigratable),
 * hw/vfio (migration blockers); measured on 7.2 with every device the forms offer.
 */
import type { SnapshotKind } from '../schema/snapshot.ts'
import type { Drive, VmSpec } from '../schema/vm-spec.ts'

export interface SnapshotFacts {
  /** The guest's memory would be part of it. */
  readonly isRunning: boolean
  /** Format of each disk's own file; one that is not named has none, as a shared disk. */
  readonly formats: ReadonlyMap<string, 'qcow2' | 'raw'>
}

export interface SnapshotObstacle {
  /** Device, or null when it is about the whole VM. */
  readonly device: string | null
  /** What and why, and what to do. */
  readonly sentence: string
}

type Disk = Extract<Drive, { device: 'disk' }>
const disksOf = (spec: VmSpec): Disk[] => spec.disks.filter((drive) => drive.device === 'disk')

/** Disks a snapshot is about: those that may be written. */
export const snapshotDisks = (spec: VmSpec): Disk[] => disksOf(spec).filter((disk) => !disk.readOnly)

/** Everything in the way of a snapshot of this kind, in the order of the spec; empty: nothing known. */
export function snapshotObstacles(spec: VmSpec, kind: SnapshotKind, facts: SnapshotFacts): SnapshotObstacle[] {
  const found: SnapshotObstacle[] = []
  const add = (device: string | null, sentence: string) => void found.push({ device, sentence })
  const disks = snapshotDisks(spec)
  if (disks.length === 0) add(null, 'This VM has no disk of its own, so there is nothing to go back to.')
  for (const disk of disks) {
    if (disk.shared) {
      add(disk.id, `“${disk.id}” is shared with other VMs: going back would take their data away. Detach it first.`)
    } else if (kind === 'memory' && facts.formats.get(disk.id) === 'raw') {
      add(disk.id, `“${disk.id}” is a raw file, which holds no snapshots inside. Take snapshots of disks alone.`)
    }
  }
  if (kind !== 'memory' || !facts.isRunning) return found
  const disksAlone = 'Take it while the guest is off, or use snapshots of disks alone.'
  for (const disk of disksOf(spec))
    if (disk.bus === 'nvme')
      add(disk.id, `QEMU cannot save the state of the NVMe disk “${disk.id}”. ${disksAlone} Other buses can be saved.`)
  for (const share of spec.shares)
    if (share.driver === 'virtiofs')
      add(share.id, `QEMU cannot save the state of the shared folder “${share.tag}” (virtiofs). ${disksAlone}`)
  for (const device of spec.hostDevices)
    if (device.type === 'pci' || device.type === 'mdev')
      add(device.id, `“${device.id}” is hardware of the host, whose state QEMU does not know. ${disksAlone}`)
  return found
}

/** `0000:00:02.0/nvme`, as QEMU names what it cannot save, in words for people. */
export function blockedInWords(reason: string): string {
  const device = /non-migratable device: (?:.*\/)?([A-Za-z0-9_.-]{1,64})/.exec(reason)?.[1]
  if (device !== undefined) return `QEMU cannot save the state of a device of this guest (${device}).`
  const tag = /VirtFS export path .* mount_tag '([A-Za-z0-9._-]{1,64})'/.exec(reason)?.[1]
  if (tag !== undefined)
    return `The guest has the shared folder “${tag}” mounted. Unmount it in the guest, then try again.`
  return 'A device of this guest cannot be saved by QEMU.'
}

/** Why another kind cannot be begun while there are snapshots of this one. */
export const mixedKinds = (existing: SnapshotKind): string =>
  existing === 'memory'
    ? 'This VM has snapshots with memory, which lie inside its disk files. A new layer over these files would hide them: delete them first, or take this one with memory as well.'
    : 'This VM has snapshots of disks alone, each a layer of files. One with memory would lie in the topmost layer and be lost with it: delete the others first, or take this one of disks alone as well.'
