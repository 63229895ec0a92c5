/** Pools and volumes as the API shows them, each caller what they may see. Reads memory only. */
import { privilegesOn } from '#lib/auth/privileges.ts'
import { ImageId, LayerId, PoolId, UserId, VmId, VolumeId } from '#lib/schema/ids.ts'
import type { Pool, StorageNeed, Volume, VolumeDetail } from '#lib/schema/storage.ts'
import type { DiskPause } from '#lib/schema/vm-state.ts'
import type { ImageLibrary } from '#server/images/library.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import { bytesInWords } from '#server/storage/pool-state.ts'
import { LOCAL_POOL_ID, type PoolDocument, type Pools } from '#server/storage/pools.ts'
import type { Usage } from '#server/storage/usage.ts'
import type { LayerDocument, VolumeDocument } from '#server/storage/volume-documents.ts'
import { layersOf, sumVolumes } from '#server/storage/volume-sums.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { canSeeVm } from './access.ts'
import { pauseSentence } from './disk-pause-words.ts'
import type { RoomWarning } from './room-watch.ts'
import type { Caller } from './types.ts'
import type { VmRecord } from './vm-records.ts'

const DAY_MS = 86_400_000

export interface StorageViewDeps {
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly usage: Usage
  readonly library: ImageLibrary
  readonly vm: (id: string) => VmRecord | null
  readonly runtime: (vmId: string) => VmRuntime
  /** Disks of running guests that may use up their pool. */
  readonly warnings: () => readonly RoomWarning[]
  /** Why its disks stopped a guest. */
  readonly pause: (vmId: string) => DiskPause | null
  readonly userName: (id: string) => string
  readonly projectOf: (kind: 'vm' | 'volume', id: string) => Volume['project'] | null
  readonly trashDays: number
}

export interface StorageViews {
  pool(caller: Caller, pool: PoolDocument): Pool
  volume(volume: VolumeDocument): Volume
  volumes(caller: Caller): Volume[]
  detail(volume: VolumeDocument): VolumeDetail
  needs(caller: Caller): StorageNeed[]
  /** Why a volume cannot be opened now; null when it can, as far as is known. */
  problemOf(volume: VolumeDocument): string | null
}

/** A free disk belongs to no VM, so a token for some VMs does not see it. */
export const canSeeVolume = (caller: Caller, { id, ownerId, vm }: VolumeDocument): boolean =>
  privilegesOn(caller, { ...(vm === null ? { kind: 'volume', id } : { kind: 'vm', id: vm.id }), ownerId }).size > 0

export const mayChangeVolume = (caller: Caller, { id, ownerId, vm }: VolumeDocument): boolean =>
  privilegesOn(caller, { ...(vm === null ? { kind: 'volume', id } : { kind: 'vm', id: vm.id }), ownerId }).has(
    'volume.change',
  )

export function createStorageViews(deps: StorageViewDeps): StorageViews {
  const { pools, volumes, health, usage, library } = deps
  const layerMap = (): Map<string, LayerDocument> => new Map(volumes.layers().map((layer) => [layer.id, layer]))
  const allocated = (id: string) => usage.of(id)?.size?.allocatedBytes ?? null
  const poolName = (id: string) => pools.get(id)?.name ?? 'a pool that has gone'

  const problemOf = (volume: VolumeDocument, layers = layerMap()): string | null => {
    for (const id of layersOf(volume.head, layers)) {
      const layer = layers.get(id)
      if (layer === undefined) continue
      const { state, evidence } = health.view(layer.poolId)
      if (state === 'missing' || state === 'unreachable' || pools.get(layer.poolId) === null)
        return `The storage pool ${poolName(layer.poolId)} cannot be used: ${evidence}`
      if (usage.of(id)?.size === null)
        return id === volume.head
          ? `Its file ${layer.file} is missing in the pool ${poolName(layer.poolId)}. Bring it back from a backup; do not start the VM before.`
          : `The file ${layer.file} that it stands on is missing in the pool ${poolName(layer.poolId)}. A guest that runs may go on for now, but could not be started again: copy its data away, or bring the file back.`
      if (layer.parent !== null && 'image' in layer.parent && !library.isPresent(layer.parent.image)) {
        const image = library.get(layer.parent.image)
        return `The file of the image ${image?.name ?? 'it stands on'} has gone or changed. A guest that runs may go on for now, but could not be started again: bring the file back.`
      }
    }
    return null
  }

  const vmOf = (volume: VolumeDocument): Volume['vm'] => {
    if (volume.vm === null) return null
    const { id, device } = volume.vm
    const record = deps.vm(id)
    if (record === null) return null
    const running = deps.runtime(id).launchedSpec?.disks.some((drive) => drive.id === device) ?? false
    return { id: VmId.parse(id), name: record.spec.name, device, running }
  }

  const viewWith = (
    volume: VolumeDocument,
    layers: Map<string, LayerDocument>,
    sums: ReturnType<typeof sumVolumes>,
  ) => {
    const sum = sums.get(volume.id)
    const project = volume.vm === null ? deps.projectOf('volume', volume.id) : deps.projectOf('vm', volume.vm.id)
    const trashedMs = volume.trashedAt === null ? null : Date.parse(volume.trashedAt)
    return {
      id: VolumeId.parse(volume.id),
      name: volume.name,
      owner: { id: UserId.parse(volume.ownerId), name: deps.userName(volume.ownerId) },
      pool: { id: PoolId.parse(volume.poolId), name: poolName(volume.poolId) },
      format: layers.get(volume.head)?.format ?? 'qcow2',
      sizeBytes: volume.sizeBytes,
      allocatedBytes: sum?.allocatedBytes ?? null,
      worstCaseBytes: sum?.worstCaseBytes ?? volume.sizeBytes,
      vm: vmOf(volume),
      layers: sum?.layers ?? 0,
      images: volumes.imagesOf(volume).map((id) => ({
        id: ImageId.parse(id),
        name: library.get(id)?.name ?? 'an image that has gone',
      })),
      problem: problemOf(volume, layers),
      trashedAt: volume.trashedAt,
      goesAt: trashedMs === null ? null : new Date(trashedMs + deps.trashDays * DAY_MS).toISOString(),
      trashedFrom: volume.trashedAt === null ? null : (volume.trashedFrom ?? null),
      createdAt: volume.createdAt,
      ...(project && { project }),
    } satisfies Volume
  }
  const sumAll = (layers: Map<string, LayerDocument>) =>
    sumVolumes({
      ...{ volumes: volumes.all(), layers, allocated },
      holdsSnapshots: (id) => volumes.heldBy(id).length > 0,
    })
  const view = (volume: VolumeDocument): Volume => {
    const layers = layerMap()
    return viewWith(volume, layers, sumAll(layers))
  }

  return {
    problemOf,
    volume: view,
    volumes(caller) {
      const layers = layerMap()
      const sums = sumAll(layers)
      return volumes
        .all()
        .filter((volume) => canSeeVolume(caller, volume))
        .map((volume) => viewWith(volume, layers, sums))
    },
    detail(volume) {
      const layers = layerMap()
      const chain: VolumeDetail['chain'] = layersOf(volume.head, layers).flatMap((id) => {
        const layer = layers.get(id)
        if (layer === undefined) return []
        const above = volumes.childrenOf(id).map((child) => child.id)
        const inChain = above.some((child) => layersOf(volume.head, layers).includes(child))
        return {
          id: LayerId.parse(id),
          image: null,
          format: layer.format,
          poolId: PoolId.parse(layer.poolId),
          sizeBytes: layer.sizeBytes,
          allocatedBytes: allocated(id),
          writable: id === volume.head && !volumes.isFrozen(id),
          present: usage.of(id)?.size !== null,
          // The layer above in this very chain goes without saying.
          neededBy: volumes
            .needs(id)
            .filter((words) => !(inChain && (words === 'another layer' || words === `the disk “${volume.name}”`))),
        }
      })
      for (const id of volumes.imagesOf(volume)) {
        const image = library.get(id)
        chain.push({
          id: null,
          image: { id: ImageId.parse(id), name: image?.name ?? 'an image that has gone' },
          format: image?.format ?? 'qcow2',
          poolId: null,
          sizeBytes: image?.virtualSizeBytes ?? 0,
          allocatedBytes: image?.sizeBytes ?? null,
          writable: false,
          present: image !== null && library.isPresent(id),
          neededBy: [],
        })
      }
      return { volume: view(volume), chain }
    },
    pool(caller, pool) {
      const seen = health.view(pool.id)
      const layers = layerMap()
      const sums = sumAll(layers)
      const here = volumes.all().filter((volume) => volume.poolId === pool.id)
      const alive = here.filter((volume) => volume.trashedAt === null)
      const sum = (list: readonly VolumeDocument[], of: (volume: VolumeDocument) => number) =>
        list.reduce((total, volume) => total + of(volume), 0)
      const own = (volume: VolumeDocument) => sums.get(volume.id)?.allocatedBytes ?? 0
      const worst = (volume: VolumeDocument) => sums.get(volume.id)?.worstCaseBytes ?? volume.sizeBytes
      // Files that several disks share count once here; files of disks in the trash, and what snapshots keep, as well.
      const allocatedBytes = [...layers.values()]
        .filter((layer) => layer.poolId === pool.id)
        .reduce((total, layer) => total + (allocated(layer.id) ?? 0), 0)
      const growthBytes = volumes
        .all()
        .filter(({ trashedAt, head }) => trashedAt === null && layers.get(head)?.poolId === pool.id)
        .reduce((total, { id }) => total + (sums.get(id)?.growthBytes ?? 0), 0)
      const reservedBytes = pools.space(pool.id).outstandingBytes
      const { look } = seen
      const people = new Map<string, VolumeDocument[]>()
      for (const volume of here)
        if (canSeeVolume(caller, volume)) people.set(volume.ownerId, [...(people.get(volume.ownerId) ?? []), volume])
      return {
        id: PoolId.parse(pool.id),
        name: pool.name,
        kind: pool.kind,
        builtIn: pool.id === LOCAL_POOL_ID,
        path: caller.role === 'admin' ? pool.path : null,
        mustBeMounted: pool.mustBeMounted,
        purposes: pool.purposes,
        isDefault: pools.defaultId() === pool.id,
        state: seen.state,
        evidence:
          caller.role === 'admin' || pool.path === null
            ? seen.evidence
            : seen.evidence.replaceAll(pool.path, 'its directory'),
        advice:
          caller.role === 'admin' || pool.path === null
            ? seen.advice
            : seen.advice.replaceAll(pool.path, 'its directory'),
        checkedAt: seen.checkedAt,
        capacity:
          look === null
            ? null
            : {
                totalBytes: look.totalBytes,
                freeBytes: look.freeBytes,
                reserveBytes: seen.reserveBytes,
                reservedBytes,
                usableBytes: Math.max(0, look.freeBytes - seen.reserveBytes - reservedBytes),
                fileSystem: look.fileSystem,
              },
        reserveBytes: pool.reserveBytes,
        volumes: {
          count: alive.length,
          allocatedBytes,
          virtualBytes: sum(alive, (volume) => volume.sizeBytes),
          growthBytes,
          worstCaseBytes: allocatedBytes + growthBytes,
          trashedBytes: sum(
            here.filter((volume) => volume.trashedAt !== null),
            own,
          ),
        },
        people: [...people]
          .map(([id, list]) => ({
            owner: { id: UserId.parse(id), name: deps.userName(id) },
            count: list.length,
            allocatedBytes: sum(list, own),
            virtualBytes: sum(list, (volume) => volume.sizeBytes),
            worstCaseBytes: sum(list, worst),
          }))
          .sort((a, b) => b.allocatedBytes - a.allocatedBytes || a.owner.name.localeCompare(b.owner.name)),
        createdAt: pool.createdAt,
      }
    },
    needs(caller) {
      const found: StorageNeed[] = []
      for (const pool of pools.all()) {
        const { state, evidence, advice } = health.view(pool.id)
        if (state === 'ok' || state === 'unknown') continue
        // What to do about a pool is for those who may: others learn it from their own VMs.
        if (caller.role !== 'admin') continue
        found.push({
          id: `pool:${pool.id}`,
          kind: 'pool',
          title: `Storage pool ${pool.name}: ${STATE_WORDS[state]}`,
          detail: `${evidence} ${advice}`.trim(),
          poolId: PoolId.parse(pool.id),
          vmId: null,
        })
      }
      for (const volume of volumes.all()) {
        if (volume.trashedAt !== null || !canSeeVolume(caller, volume)) continue
        const problem = problemOf(volume)
        if (problem === null) continue
        const vm = vmOf(volume)
        found.push({
          id: `volume:${volume.id}`,
          kind: 'volume',
          title: vm === null ? `Disk ${volume.name}` : `${vm.name}: disk ${vm.device}`,
          detail: problem,
          poolId: PoolId.parse(volume.poolId),
          vmId: vm?.id ?? null,
        })
      }
      const seenOf = (vmId: string) => {
        const record = deps.vm(vmId)
        return record !== null && canSeeVm(caller, record) ? record : null
      }
      for (const { vmId, device, volumeId, poolId, growthBytes } of deps.warnings()) {
        const record = seenOf(vmId)
        const free = health.view(poolId).look?.freeBytes ?? 0
        if (record === null) continue
        found.push({
          id: `room:${volumeId}`,
          kind: 'room',
          title: `${record.spec.name}: disk ${device} may run out of room`,
          detail: `The storage pool ${poolName(poolId)} is filling: ${bytesInWords(free)} are free, and this disk may still take ${bytesInWords(growthBytes)}. When the pool is full the guest is paused. Empty the trash, remove images, backups or disks, move disks to another pool, or enlarge the storage.`,
          poolId: PoolId.parse(poolId),
          vmId: VmId.parse(vmId),
        })
      }
      for (const vmId of new Set(volumes.all().flatMap(({ vm }) => vm?.id ?? []))) {
        const pause = deps.pause(vmId)
        const record = pause === null ? null : seenOf(vmId)
        if (pause === null || record === null) continue
        found.push({
          id: `paused:${vmId}`,
          kind: 'paused',
          title: `${record.spec.name} is paused by its disks`,
          detail: pauseSentence(pause),
          poolId: pause.disks[0]?.pool?.id ?? null,
          vmId: VmId.parse(vmId),
        })
      }
      return found
    },
  }
}

const STATE_WORDS = {
  low: 'nearly full',
  full: 'full',
  'read-only': 'read-only',
  missing: 'missing',
  unreachable: 'not answering',
} as const
