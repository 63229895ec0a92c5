/** What of a definition a clone takes over, and what stands in the way. Pure. */
import type { CloneKind } from '../schema/origin.ts'
import type { SnapshotKind } from '../schema/snapshot.ts'
import type { Drive, VmSpec } from '../schema/vm-spec.ts'

export const TEMPLATE_STAYS_OFF = 'This is a template: it is not started but cloned. Make a VM of it.'

type Disk = Extract<Drive, { device: 'disk' }>

/** Disks that are the VM's own. */
export const ownDisks = (spec: Pick<VmSpec, 'disks'>): Disk[] =>
  spec.disks.filter((drive): drive is Disk => drive.device === 'disk' && !drive.shared)

export interface CloneSubject {
  readonly spec: VmSpec
  /** Kind of the snapshots it has; null: none. */
  readonly snapshots: SnapshotKind | null
  /** Clone of this snapshot instead of the present. */
  readonly from: SnapshotKind | null
  readonly isOff: boolean
}

/** Why it cannot be cloned so, as a sentence; null: it can. */
export function cloneObstacle({ spec, snapshots, from, isOff }: CloneSubject, kind: CloneKind): string | null {
  const shared = spec.disks.find((drive) => drive.device === 'disk' && drive.shared)
  if (shared !== undefined)
    return `“${shared.id}” is shared with other VMs, so a copy of it would not be what they write. Take it out first; a clone can be given the shared disk afterwards.`
  if (from === 'memory') {
    if (kind === 'linked')
      return 'This snapshot lies inside the disk files, and a linked clone can only stand on whole files. Make a full clone of it.'
    if (!isOff)
      return 'This snapshot lies inside disk files that the running guest writes. Shut the guest down, then clone it.'
    return null
  }
  if (kind === 'linked' && from === null && snapshots === 'memory')
    return 'This VM has snapshots with memory, which lie inside its disk files. A linked clone would freeze these files, and no snapshot in them could be gone back to: delete the snapshots first, or make a full clone.'
  return null
}

/** Why nothing inside its disks can be cleaned up, as a sentence; null: it can be tried. @param host why this host cannot */
export function cleanUpObstacle(spec: VmSpec, host: string | null): string | null {
  if (ownDisks(spec).length === 0) return 'It has no disk of its own.'
  if (spec.guest === 'windows')
    return 'Windows is made a machine of its own by its own Sysprep, inside the guest: run “sysprep /generalize /oobe /shutdown” there, then clone it.'
  if (spec.guest === 'bsd') return 'Only Linux systems can be cleaned up from outside; do it inside the guest.'
  return host
}

export interface CloneIdentity {
  readonly name: string
  /** One fresh address per call. */
  readonly nextMac: () => string
  /** A vsock address that nobody has. */
  readonly nextCid: () => number
}

/** The definition of a clone: all of the source's, but what may be there only once. */
export function cloneSpec(source: VmSpec, kind: CloneKind, { name, nextMac, nextCid }: CloneIdentity): VmSpec {
  return {
    ...source,
    name,
    disks: source.disks.map((drive) => {
      if (drive.device === 'cdrom') return drive.seed === null ? drive : { ...drive, seed: null }
      return kind === 'full' && !drive.shared ? { ...drive, image: null } : drive
    }),
    networks: source.networks.map((card) => ({ ...card, mac: nextMac(), forwards: [] })),
    vsock: source.vsock === null ? null : { ...source.vsock, cid: nextCid() },
    smbios: source.smbios === null ? null : { ...source.smbios, serial: null },
  }
}

/** What people should know before: what differs, and what is the same although it had better not be. */
export function cloneNotes(spec: VmSpec): string[] {
  const notes: string[] = []
  if (spec.networks.length > 0) notes.push('Network cards get addresses of their own.')
  if (spec.networks.some((card) => card.forwards.length > 0))
    notes.push('Port forwards are left out: a host port leads to one VM only.')
  if (spec.disks.some((drive) => drive.device === 'cdrom' && drive.seed !== null))
    notes.push('The seed CD is not copied; give the clone one of its own.')
  if (spec.generationId)
    notes.push('The guest is told that it is a copy (VM generation ID), so that it draws random numbers of its own.')
  if (spec.vsock !== null) notes.push('It gets a vsock address of its own.')
  if (spec.smbios !== null && spec.smbios.serial !== null) notes.push('The serial number of the mainboard is left out.')
  if (spec.firmware === 'uefi') notes.push('UEFI variables are copied, boot entries among them.')
  if (spec.tpm !== 'none')
    notes.push('What the TPM knows is copied unless you ask for an empty one; two guests with the same keys are alike.')
  if (spec.hostDevices.length > 0)
    notes.push('Devices of the host stay in the definition; only one guest at a time can have them.')
  if (spec.shares.length > 0) notes.push('Shared folders lead to the same directories of the host.')
  return notes
}
