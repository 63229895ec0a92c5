/** The CD drive of a definition that holds the VM's seed. Pure. */
import type { VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { familyOf } from '#server/spec/bus.ts'

type Drives = NonNullable<VmSpecInput['disks']>
type CdBus = Extract<VmSpec['disks'][number], { device: 'cdrom' }>['bus']

const SEED_DRIVE = 'seed'

/**
 * A bus the guest has a driver for at its first start. Kernels of cloud images (Debian's, Ubuntu's) have no AHCI and see
 * virtio alone; Windows and what is unknown have no virtio yet, and see the board's own drives.
 */
export function seedBus(spec: Pick<VmSpec, 'guest' | 'machine'>): CdBus {
  const family = familyOf(spec.machine)
  if (family === 'microvm' || spec.guest === 'linux' || spec.guest === 'bsd') return 'virtio-scsi'
  return family === 'pc' ? 'ide' : 'sata'
}

/** Names the seed each drive of a definition holds. */
export function seedsIn(spec: Pick<VmSpec, 'disks'> | null): string[] {
  return (spec?.disks ?? []).flatMap((drive) => (drive.device === 'cdrom' && drive.seed !== null ? [drive.seed] : []))
}

/** The definition with the seed in the drive made for it: the one that holds a seed, the empty one of before, or a new one. */
export function withSeed(
  spec: VmSpec,
  seed: { readonly id: string; readonly bus: CdBus | undefined },
): Pick<VmSpecPatch, 'disks'> {
  const cds = spec.disks.filter((drive) => drive.device === 'cdrom')
  const holder =
    cds.find((drive) => drive.seed !== null) ?? cds.find((drive) => drive.id === SEED_DRIVE && drive.image === null)
  const held = { seed: seed.id, image: null, ...(seed.bus !== undefined && { bus: seed.bus }) }
  const others = spec.disks.map((drive) =>
    drive.id === holder?.id ? { id: drive.id, device: 'cdrom', ...held } : { id: drive.id, device: drive.device },
  )
  const isTaken = spec.disks.some((drive) => drive.id === SEED_DRIVE)
  const added = {
    device: 'cdrom',
    ...(isTaken ? {} : { id: SEED_DRIVE }),
    bootIndex: null,
    ...held,
    bus: seed.bus ?? seedBus(spec),
  }
  // Ids come from a parsed definition.
  return { disks: (holder === undefined ? [...others, added] : others) as Drives }
}

/** The definition with its seeds taken out; the drives stay, empty. */
export function withoutSeed(spec: VmSpec): Pick<VmSpecPatch, 'disks'> {
  return {
    disks: spec.disks.map((drive) =>
      drive.device === 'cdrom' && drive.seed !== null
        ? { id: drive.id, device: 'cdrom', seed: null }
        : { id: drive.id, device: drive.device },
    ) as Drives,
  }
}
