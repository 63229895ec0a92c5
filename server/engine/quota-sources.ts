/** What quotas count, gathered from where each thing is kept. */
import { GIB } from '#lib/units.ts'
import type { Access } from '#server/access/access.ts'
import type { Holder, QuotaSources } from '#server/access/quotas.ts'
import type { ImageDocument } from '#server/images/documents.ts'
import type { Intake } from '#server/images/intake.ts'
import type { Usage } from '#server/storage/usage.ts'
import { sumVolumes } from '#server/storage/volume-sums.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Names } from './project-names.ts'
import type { StartAdmission } from './start-admission.ts'
import { holderFor } from './vm-place.ts'
import type { VmRecords } from './vm-records.ts'

export interface QuotaSourceDeps {
  readonly access: Access
  readonly records: Pick<VmRecords, 'claims' | 'get'>
  readonly volumes: Pick<Volumes, 'all'>
  readonly intake: Pick<Intake, 'countOf' | 'bytesOf'>
  readonly images: () => Iterable<ImageDocument>
  readonly recordings: () => Iterable<{ readonly vmId: string; readonly sizeBytes: number }>
  readonly backups: () => Iterable<BackupSize>
  readonly runningSpec: StartAdmission['runningSpec']
  readonly snapshotsOf: (vmId: string) => number
  readonly nameOf: Names['party']
}

export interface BackupSize {
  readonly vmId: string
  /** Whom the backup names; where its VM is still there, whose that is counts. */
  readonly ownerId: string
  readonly sizeBytes: number
}

/** What a VM's own files take, as they were last looked at: what a backup of all of it is about to take. */
export function allocatedOf(volumes: Volumes, usage: Usage, vmId: string): number {
  const layers = new Map(volumes.layers().map((layer) => [layer.id, layer]))
  const sums = sumVolumes({
    ...{ volumes: volumes.ofVm(vmId), layers },
    allocated: (id) => usage.of(id)?.size?.allocatedBytes ?? null,
    holdsSnapshots: (id) => volumes.heldBy(id).length > 0,
  })
  return [...sums.values()].reduce((total, { allocatedBytes }) => total + (allocatedBytes ?? 0), 0)
}

/** Whether an image takes room of the holder's. Files that lie elsewhere take nothing of ours. */
export function takesLibraryOf(access: Access, holder: Holder, { id, path, addedBy }: ImageDocument): boolean {
  const whose = holderFor(addedBy.id, access.projectOf('image', id))
  return path === null && whose.type === holder.type && whose.id === holder.id
}

export function createQuotaSources(deps: QuotaSourceDeps): QuotaSources {
  const { access, records, volumes, intake } = deps
  return {
    *vms() {
      // Of a VM that is being changed, what it is to be.
      const seen = new Map([...records.claims()].map((claim) => [claim.id, claim]))
      for (const { id, ownerId, spec, projectId } of seen.values())
        yield {
          ...{ id, ownerId, spec, running: deps.runningSpec(id) },
          projectId: projectId === undefined ? access.projectOf('vm', id) : projectId,
        }
    },
    *freeDisks() {
      for (const { id, ownerId, sizeBytes, vm } of volumes.all())
        if (vm === null) yield { ownerId, sizeBytes, projectId: access.projectOf('volume', id) }
      // In whole GiB that are full: a short recording is no disk.
      for (const { vmId, sizeBytes } of deps.recordings()) {
        const ownerId = records.get(vmId)?.ownerId
        if (ownerId !== undefined && sizeBytes >= GIB)
          yield { ownerId, projectId: access.projectOf('vm', vmId), sizeBytes: Math.floor(sizeBytes / GIB) * GIB }
      }
    },
    *backups() {
      for (const { vmId, ownerId, sizeBytes } of deps.backups())
        yield { ownerId: records.get(vmId)?.ownerId ?? ownerId, projectId: access.projectOf('vm', vmId), sizeBytes }
    },
    snapshotsOf: deps.snapshotsOf,
    uploadsOf: intake.countOf,
    libraryBytesOf(holder) {
      let bytes = holder.type === 'person' ? intake.bytesOf(holder.id) : 0
      for (const image of deps.images()) if (takesLibraryOf(access, holder, image)) bytes += image.sizeBytes
      return bytes
    },
    nameOf: ({ type, id }) => deps.nameOf({ type, id }),
  }
}
