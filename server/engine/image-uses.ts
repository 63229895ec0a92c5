/** Who uses an image: CDs by the definition, disks by what they stand on, wherever they are. Told as it changes. */
import type { EventHub } from '#server/events/hub.ts'
import type { ImageLibrary, ImageUse } from '#server/images/library.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Supervisor } from '#server/vm/types.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface ImageUsesDeps {
  readonly records: VmRecords
  readonly volumes: Volumes
  readonly supervisor: Supervisor
  readonly hub: EventHub
  readonly library: () => ImageLibrary
  /** Images that the definitions kept in a VM's snapshots name. */
  readonly snapshotImages: (vmId: string) => readonly string[]
}

export interface ImageUses {
  of(imageId: string): ImageUse[]
  /** The definition of a VM changed, or it has gone. */
  announce(record: VmRecord, gone: boolean): void
  /** Call once VMs and volumes are loaded: takes them as known, and watches volumes from then on. */
  open(): void
}

export function createImageUses({
  records,
  volumes,
  supervisor,
  hub,
  library,
  snapshotImages,
}: ImageUsesDeps): ImageUses {
  /** Images each VM's CDs and each volume need, as last announced: an image's `usedBy` changes with them. */
  const imagesOf = new Map<string, ReadonlySet<string>>()
  const mediaOf = ({ id, spec }: VmRecord) => [
    ...spec.disks.flatMap((drive) => (drive.device === 'disk' || drive.image === null ? [] : [drive.image])),
    ...volumes.ofVm(id).flatMap((volume) => volumes.imagesOf(volume)),
  ]
  const announceUses = (user: string, images: readonly string[]): void => {
    const after = new Set(images)
    const before = imagesOf.get(user) ?? new Set<string>()
    if (after.size === 0) imagesOf.delete(user)
    else imagesOf.set(user, after)
    for (const id of before.symmetricDifference(after)) {
      const document = library().get(id)
      if (document !== null)
        hub.publish(
          'image',
          id,
          null,
          library().view(document, () => true),
        )
    }
  }
  const announce = (record: VmRecord, gone: boolean): void => {
    announceUses(record.id, gone ? [] : mediaOf(record))
  }

  return {
    of(imageId) {
      const standing = volumes.standingOn(imageId)
      const holding = new Set(standing.flatMap(({ vm }) => (vm === null ? [] : [vm.id])))
      const users = records.all().filter((record) => {
        const names = (spec: { disks: readonly { device: string; image: string | null }[] } | null) =>
          spec?.disks.some((drive) => drive.device === 'cdrom' && drive.image === imageId) ?? false
        return (
          holding.has(record.id) ||
          snapshotImages(record.id).includes(imageId) ||
          names(record.spec) ||
          names(supervisor.runtime(record.id).launchedSpec)
        )
      })
      return [
        ...users.map(({ id, spec, ownerId }) => ({ kind: 'vm' as const, id, name: spec.name, ownerId })),
        ...standing
          .filter(({ vm }) => vm === null)
          .map(({ id, name, ownerId }) => ({ kind: 'volume' as const, id, name, ownerId })),
      ]
    },
    announce,
    open() {
      for (const record of records.all()) imagesOf.set(record.id, new Set(mediaOf(record)))
      const holderOf = new Map(volumes.all().map(({ id, vm, ownerId }) => [id, { vmId: vm?.id ?? null, ownerId }]))
      volumes.onChange((id, volume) => {
        for (const vmId of new Set([holderOf.get(id)?.vmId, volume?.vm?.id])) {
          const record = vmId == null ? null : records.get(vmId)
          if (record !== null) announce(record, false)
        }
        const holder = volume === null ? holderOf.get(id) : { vmId: volume.vm?.id ?? null, ownerId: volume.ownerId }
        if (volume === null) holderOf.delete(id)
        else holderOf.set(id, { vmId: volume.vm?.id ?? null, ownerId: volume.ownerId })
        hub.publish('volume', id, null, undefined, {
          kind: volume === null ? 'gone' : 'change',
          ownerId: holder?.ownerId ?? null,
          about: holder?.vmId == null ? { kind: 'volume', id } : { kind: 'vm', id: holder.vmId },
        })
        // A free one is a user of its own; that of a VM being created is announced with the VM.
        announceUses(id, volume === null || volume.vm !== null ? [] : volumes.imagesOf(volume))
      })
    },
  }
}
