/** What VMs are clones of, which are templates, and which stand on the same disk files. */
import * as z from 'zod'
import { VmOrigin } from '#lib/schema/origin.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'

const Document = z.object({
  v: z.literal(1),
  origin: VmOrigin.nullable(),
  template: z.object({ by: z.string(), at: z.string() }).nullable(),
})
export type LineageDocument = z.output<typeof Document>

const NONE: LineageDocument = { v: 1, origin: null, template: null }

export interface Lineage {
  /** Forgets VMs that are gone. */
  load(isStored: (vmId: string) => boolean): void
  /** The same object until it changes; null: an ordinary VM that is no clone. */
  of(vmId: string): LineageDocument | null
  isTemplate(vmId: string): boolean
  change(vmId: string, change: Partial<Omit<LineageDocument, 'v'>>): void
  forget(vmId: string): void
  /** Ids of VMs whose disks stand on files that this one's stand on too. */
  sharing(vmId: string): string[]
  /** Ids of VMs whose disks stand on the very files this one's disks are: of a template, its linked clones. */
  standingOn(vmId: string): string[]
}

export function createLineage(
  store: Store,
  volumes: Volumes,
  warn: (message: string, error?: unknown) => void,
): Lineage {
  const documents = new Map<string, LineageDocument>()

  /** Layers a disk is read from, its own first. */
  const layersOf = ({ head }: VolumeDocument): string[] => {
    const ids: string[] = []
    for (let id: string | null = head; id !== null && !ids.includes(id); ) {
      ids.push(id)
      const parent: unknown = volumes.layer(id)?.parent ?? null
      id = parent !== null && typeof parent === 'object' && 'layer' in parent ? String(parent.layer) : null
    }
    return ids
  }
  const othersOn = (vmId: string, files: ReadonlySet<string>): string[] => {
    const found = new Set<string>()
    for (const volume of volumes.all())
      if (volume.vm !== null && volume.vm.id !== vmId && layersOf(volume).some((id) => files.has(id)))
        found.add(volume.vm.id)
    return [...found]
  }

  return {
    load(isStored) {
      for (const { key, value } of store.list('lineage')) {
        const parsed = Document.safeParse(value)
        if (!isStored(key)) store.delete('lineage', key)
        else if (parsed.success) documents.set(key, parsed.data)
        else warn(`Where the VM ${key} came from is unreadable and is left out.`, parsed.error)
      }
    },
    of: (vmId) => documents.get(vmId) ?? null,
    isTemplate: (vmId) => documents.get(vmId)?.template != null,
    change(vmId, change) {
      const document = { ...(documents.get(vmId) ?? NONE), ...change }
      store.put('lineage', vmId, document)
      documents.set(vmId, document)
    },
    forget(vmId) {
      if (documents.delete(vmId)) store.delete('lineage', vmId)
    },
    sharing: (vmId) => othersOn(vmId, new Set(volumes.ofVm(vmId).flatMap(layersOf))),
    standingOn: (vmId) => othersOn(vmId, new Set(volumes.ofVm(vmId).map(({ head }) => head))),
  }
}
