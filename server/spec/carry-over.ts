/**
 * A known device with a change over it. What the change leaves out, or repeats, stays; what means nothing any more after
 * it (a place on another bus, a thread that the new bus has not) goes back to what a new device would get.
 */
import type { VmSpec, VmSpecInput } from '#lib/schema/vm-spec.ts'
import { familyOf, SOCKETS } from './bus.ts'

type Drive = VmSpec['disks'][number]
type Disk = Extract<Drive, { device: 'disk' }>
type DriveInput = NonNullable<VmSpecInput['disks']>[number]
type Card = VmSpec['networks'][number]

type Given<T> = { readonly [K in keyof T]?: T[K] | undefined }
type Draft<T> = { -readonly [K in keyof T]?: T[K] | undefined }

export const withoutUndefined = <T extends object>(value: T): Partial<T> =>
  // Keys with undefined are gone.
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Partial<T>

const merge = <T extends object>(old: T, change: Given<T>): T => ({ ...old, ...withoutUndefined(change) })

/** Elements of known ids keep what is left out. */
export function mergeKnown<T extends { readonly id: string }>(
  given: readonly Given<T>[] | undefined,
  known: readonly T[],
): Given<T>[] {
  return (given ?? []).map((element) => {
    const old = known.find((candidate) => candidate.id === element.id)
    return old === undefined ? element : merge(old, element)
  })
}

/** Takes fields out of `draft` unless the change sets them anew. */
function forget<T extends object>(draft: Draft<T>, old: T, change: Given<T>, fields: readonly (keyof T)[]): void {
  for (const field of fields)
    if (change[field] === undefined || JSON.stringify(change[field]) === JSON.stringify(old[field]))
      draft[field] = undefined
}

const isVirtioBus = (bus: Drive['bus']): boolean => bus === 'virtio-blk' || bus === 'virtio-scsi'
/** Drives on sockets; those of other buses have ports. */
export const usesSocket = (bus: Drive['bus']): boolean => bus === 'virtio-blk' || bus === 'nvme'

/** Bus that a machine of another family has instead. */
function busOnMachine(bus: Drive['bus'], machine: string): Drive['bus'] {
  return bus === 'ide' && familyOf(machine) === 'q35' ? 'sata' : bus
}

/** @param machine type the VM will have; its family may be new too */
export function carryDrive(old: Drive, change: DriveInput, machine: string): DriveInput {
  if (old.device === 'cdrom') {
    if (change.device !== 'cdrom') return change
    const draft: Draft<typeof old> = merge(old, change)
    if (draft.bus === old.bus) draft.bus = busOnMachine(old.bus, machine) as typeof old.bus
    if (draft.bus !== old.bus) forget(draft, old, change, ['port'])
    return { ...draft, device: 'cdrom' }
  }
  if (change.device !== 'disk') return change
  return carryDisk(old, change, machine)
}

function carryDisk(old: Disk, change: Given<Disk>, machine: string): DriveInput {
  const draft: Draft<Disk> = merge(old, change)
  const bus = draft.bus === old.bus ? busOnMachine(old.bus, machine) : (draft.bus ?? old.bus)
  draft.bus = bus
  if (bus !== old.bus) {
    forget(draft, old, change, ['port'])
    if (usesSocket(bus) !== usesSocket(old.bus)) forget(draft, old, change, ['rootPort'])
    if (!isVirtioBus(bus)) forget(draft, old, change, ['ioThread'])
    if (!usesSocket(bus)) forget(draft, old, change, ['queues'])
    if (bus === 'nvme' || old.bus === 'nvme') forget(draft, old, change, ['werror'])
  }
  if (isBeyond(draft.rootPort, machine)) forget(draft, old, change, ['rootPort'])
  if (draft.discard !== 'unmap' && draft.detectZeroes === 'unmap') forget(draft, old, change, ['detectZeroes'])
  if (!usesSocket(bus)) draft.rootPort = undefined
  else draft.port = undefined
  return { ...draft, device: 'disk' }
}

/** A socket that machines of this family do not have. */
const isBeyond = (socket: number | null | undefined, machine: string): boolean =>
  typeof socket === 'number' && socket >= SOCKETS[familyOf(machine)]

export function carryCard(old: Card, change: Given<Card>, machine: string): Given<Card> {
  const draft: Draft<Card> = merge(old, change)
  if (draft.model !== old.model) {
    if (draft.model !== 'virtio-net') forget(draft, old, change, ['mtu', 'queues', 'vhost'])
    if (draft.model === 'usb-net') forget(draft, old, change, ['bootIndex'])
  }
  if (draft.network !== old.network) {
    if (draft.network !== 'bridge') forget(draft, old, change, ['bridge', 'queues', 'rateLimit'])
    if (draft.network !== 'user') forget(draft, old, change, ['restrict', 'forwards'])
    forget(draft, old, change, ['vhost'])
  }
  if (isBeyond(draft.rootPort, machine)) forget(draft, old, change, ['rootPort'])
  // A card on USB has no socket, one on PCI no port; a null stands for "none yet".
  if (draft.model === 'usb-net' || draft.rootPort === null) draft.rootPort = undefined
  if (draft.model !== 'usb-net' || draft.port === null) draft.port = undefined
  return draft
}

/** Shares, inputs and the like: only the socket can have become impossible. */
export function withinSockets<T extends { readonly rootPort?: number | null | undefined }>(
  device: T,
  machine: string,
): T {
  return isBeyond(device.rootPort, machine) ? { ...device, rootPort: undefined } : device
}
