/** Keeps placements in step with what they are about. */
import type { Access } from '#server/access/access.ts'
import { placementKey } from '#server/access/documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'

export interface PlacementCareDeps {
  readonly store: Store
  readonly access: Access
  readonly volumes: Volumes
  readonly exists: Readonly<Record<'vm' | 'image' | 'volume', (id: string) => boolean>>
}

/** Call once everything is loaded. A disk that a project's VM lets go of stays the project's. */
export function careForPlacements({ store, access, volumes, exists }: PlacementCareDeps): void {
  for (const { kind, id } of [...access.placements()])
    if (!exists[kind](id)) store.delete('placement', placementKey(kind, id))
  const holderOf = new Map(volumes.all().map(({ id, vm }) => [id, vm?.id ?? null]))
  volumes.onChange((id, volume) => {
    const before = holderOf.get(id) ?? null
    if (volume === null) {
      holderOf.delete(id)
      if (store.get('placement', placementKey('volume', id)) !== null)
        store.delete('placement', placementKey('volume', id))
      return
    }
    const now = volume.vm?.id ?? null
    holderOf.set(id, now)
    if (before === now) return
    if (now !== null) {
      // Who reaches the VM reaches it.
      if (store.get('placement', placementKey('volume', id)) !== null)
        store.delete('placement', placementKey('volume', id))
      return
    }
    const projectId = before === null ? null : access.projectOf('vm', before)
    if (projectId !== null) store.put('placement', placementKey('volume', id), { v: 1, projectId, shares: [] })
  })
}
