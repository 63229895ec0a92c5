/** Steps of the engine's start: what a crash left, disks older than volumes, VMs that start by themselves. */
import { readFile } from 'node:fs/promises'
import { rootActs } from '#server/launcher/acts.ts'
import type { DataPaths } from '#server/paths.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'
import { settleOldOwners, settleOldOwnersInPool } from '#server/storage/old-owners.ts'
import { MARK, type PoolHealth } from '#server/storage/pool-health.ts'
import { LOCAL_POOL_ID, type Pools } from '#server/storage/pools.ts'
import type { LegacyDisk, Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import type { EngineDeps } from './deps.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

type Warn = (message: string, error?: unknown) => void

/** Between two automatic starts, so that a host that just booted is not flooded. */
const AUTOSTART_STAGGER_MS = 2000
const BOOT_ID_KEY = 'boot-id'

/** Disks as definitions name them; those older than volumes get one of these. */
export function* legacyDisks(records: readonly VmRecord[]): Generator<LegacyDisk> {
  for (const { id: vmId, ownerId, uid, spec, createdAt } of records)
    for (const drive of spec.disks)
      if (drive.device === 'disk' && !drive.shared)
        yield {
          ...{ vmId, vmName: spec.name, ownerId, uid, createdAt },
          ...{ device: drive.id, sizeGiB: drive.sizeGiB, image: drive.image },
        }
}

/** Finishes deletions that a crash interrupted. */
export async function settleDeleted(records: VmRecords, volumes: Volumes, warn: Warn): Promise<void> {
  for (const volume of volumes.all()) {
    if (volume.vm !== null && !records.isStored(volume.vm.id)) await volumes.remove(volume.id)
    // Or one whose disks were kept, before their files were out of the VM's directory.
    else if (volume.vm === null && volumes.liesWithVm(volume.id))
      await volumes
        .handOver(volume.id, null)
        .catch((error: unknown) => warn(`The disk ${volume.name} stayed behind.`, error))
  }
}

/** @returns for `Supervisor.onChange`: calls `released` when a running guest let go of a disk, whose file may go */
export function watchDisks(
  released: (vmId: string) => Promise<void>,
  warn: Warn,
): (vmId: string, runtime: VmRuntime) => void {
  /** Disks each running guest had when it was last heard of. */
  const disksOf = new Map<string, readonly string[]>()
  return (vmId, { launchedSpec }) => {
    const before = disksOf.get(vmId) ?? []
    if (launchedSpec === null) {
      disksOf.delete(vmId)
      return
    }
    const after = launchedSpec.disks.map((drive) => drive.id)
    disksOf.set(vmId, after)
    if (before.every((id) => after.includes(id))) return
    released(vmId).catch((error: unknown) => warn(`Cleaning up disks of ${vmId} failed.`, error))
  }
}

interface OwnersRoom {
  readonly data: DataPaths
  readonly identity: GuestIdentity
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly log: EngineDeps['log']
  readonly warn: Warn
}

/** Files of guests from before the dashboard's group had them; those in pools that may hang are not waited for. */
export async function settleOwnersOfBefore(room: OwnersRoom, isLeftOut: (vmId: string) => boolean): Promise<void> {
  const { data, identity, pools, volumes, health, log, warn } = room
  const count = await settleOldOwners(data, identity, isLeftOut, warn)
  if (count > 0) log.info({ count }, 'files of guests got the group of the dashboard')
  for (const pool of pools.all()) {
    const { id, name } = pool
    if (id === LOCAL_POOL_ID) continue
    const paths = volumes.layers().flatMap((layer) => (layer.poolId === id ? [volumes.pathOf(layer)] : []))
    const child = health.childOf(id)
    rootActs()
      .openPool({ path: pools.rootOf(pool), mark: MARK }, child)
      .then(() => settleOldOwnersInPool(child, paths, identity))
      .catch((error: unknown) =>
        warn(`The groups of files in the pool ${name} are looked at again at the next start.`, error),
      )
  }
}

/**
 * On the first start since the host booted, one after the other.
 * @param start resolves to false where there was nothing to do
 */
export async function autostart(
  store: Store,
  records: readonly VmRecord[],
  start: (record: VmRecord) => Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  if (store.get<string>('meta', BOOT_ID_KEY)?.value === bootId) return
  store.put('meta', BOOT_ID_KEY, bootId)
  for (const record of records) {
    if (signal?.aborted) return
    if (await start(record)) await new Promise((resolve) => setTimeout(resolve, AUTOSTART_STAGGER_MS))
  }
}
