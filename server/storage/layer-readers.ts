/**
 * Who reads a layer that several disks stand on. Shared, it is readable for all guests (`Volumes.share`). As soon as a
 * guest that stands on it starts, it gets a group of its own, in which every guest is whose disks stand on it, from its
 * start: a guest that has broken out of QEMU reads what it stands on, and nobody else's.
 *
 * A process cannot be put in another group while it runs. So a layer stays readable for all, or becomes so again, as long
 * as a guest needs it that was started before it had the group: one that runs while it is cloned, or is given a disk.
 */
import type { GuestIdentity } from './identity.ts'
import type { LayerDocument } from './volume-documents.ts'
import type { Volumes } from './volume-types.ts'

export interface LayerReadersDeps {
  readonly volumes: Pick<Volumes, 'all' | 'layer' | 'ofVm' | 'get' | 'readerGids' | 'setReaders'>
  readonly identity: Pick<GuestIdentity, 'readersGid' | 'allocateLayerGroup'>
  /** `up`: it has a process, or had one a moment ago. */
  readonly stateOf: (vmId: string) => 'off' | 'starting' | 'up'
  /** Groups its process is in; null: there is none. */
  readonly groupsOf: (vmId: string) => readonly number[] | null
  readonly warn: (message: string, error: unknown) => void
}

export interface LayerReaders {
  /** Groups on record for the layers that a VM's disks stand on, in order. */
  groups(vmId: string): number[]
  /** The same for one that is about to be started; gives layers their groups first. Never throws for the storage. */
  admit(vmId: string): Promise<number[]>
  /** Before a running guest opens a volume: whatever of it the guest is not in the group of, all guests may read. @throws EngineError */
  letIn(vmId: string, volumeId: string): Promise<void>
}

export function createLayerReaders({ volumes, identity, stateOf, groupsOf, warn }: LayerReadersDeps): LayerReaders {
  /** Guests that have been started with the groups as they were then. */
  const admitted = new Set<string>()
  /** One change at a time of each layer. */
  const settling = new Map<string, Promise<unknown>>()

  /** Layers from this one down, as far as they are known. */
  const chain = (head: string): LayerDocument[] => {
    const found = new Map<string, LayerDocument>()
    for (let next: string | null = head; next !== null && !found.has(next); ) {
      const layer = volumes.layer(next)
      if (layer === null) break
      found.set(next, layer)
      next = layer.parent !== null && 'layer' in layer.parent ? layer.parent.layer : null
    }
    return [...found.values()]
  }
  const sharedIn = (head: string) => chain(head).filter(({ uid, state }) => uid === null && state === 'ready')
  const sharedOf = (vmId: string) => [
    ...new Map(
      volumes
        .ofVm(vmId)
        .flatMap(({ head }) => sharedIn(head))
        .map((layer) => [layer.id, layer]),
    ).values(),
  ]
  const groups = (vmId: string) => [...new Set(sharedOf(vmId).flatMap(({ gid }) => gid ?? []))].sort((a, b) => a - b)

  /** Guests but this one that have been started without the group that the layer is to get. */
  const isHeldOpen = (layerId: string, vmId: string): boolean =>
    volumes.all().some(({ vm, head }) => {
      if (vm === null || vm.id === vmId) return false
      const state = stateOf(vm.id)
      const isIn = state === 'up' || (state === 'starting' && admitted.has(vm.id))
      return isIn && chain(head).some(({ id }) => id === layerId)
    })

  const change = (layerId: string, gid: () => number | null | undefined): Promise<void> => {
    const before = settling.get(layerId) ?? Promise.resolve()
    const next = before.then(async () => {
      const wish = gid()
      if (wish !== undefined) await volumes.setReaders(layerId, wish)
    })
    const settled = next.catch(() => {})
    settling.set(layerId, settled)
    void settled.then(() => {
      if (settling.get(layerId) === settled) settling.delete(layerId)
    })
    return next
  }

  return {
    groups,
    async admit(vmId) {
      // Whoever runs stays in the groups it was started with.
      if (stateOf(vmId) === 'up') return groups(vmId)
      for (const id of admitted) if (stateOf(id) === 'off') admitted.delete(id)
      admitted.delete(vmId)
      if (identity.readersGid !== null)
        for (const { id } of sharedOf(vmId))
          await change(id, () => {
            const layer = volumes.layer(id)
            if (layer === null || layer.gid != null || isHeldOpen(id, vmId)) return undefined
            return identity.allocateLayerGroup(new Set(volumes.readerGids())) ?? undefined
          }).catch((error: unknown) =>
            // Then all guests may read it, as before.
            warn(`The disk file ${id}, which several disks stand on, got no group of its own.`, error),
          )
      // From here on what changes is not seen by this guest.
      admitted.add(vmId)
      return groups(vmId)
    },
    async letIn(vmId, volumeId) {
      const volume = volumes.get(volumeId)
      if (identity.readersGid === null || volume === null || stateOf(vmId) === 'off') return
      for (const { id } of sharedIn(volume.head)) {
        const held = groupsOf(vmId) ?? []
        await change(id, () => {
          const layer = volumes.layer(id)
          return layer === null || (layer.gid != null && held.includes(layer.gid)) ? undefined : null
        })
      }
    },
  }
}
