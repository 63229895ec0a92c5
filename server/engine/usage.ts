/** Who uses what, of which quota, and what would be freed by whom. Reads memory only. */
import { cpus, totalmem } from 'node:os'
import { seesAllVms } from '#lib/auth/privileges.ts'
import type { UsageHolder } from '#lib/schema/quota.ts'
import type { Access } from '#server/access/access.ts'
import { type Holder, memoryOf, type QuotaSources, type Quotas } from '#server/access/quotas.ts'
import type { Intake } from '#server/images/intake.ts'
import type { ImageLibrary } from '#server/images/library.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import { LOCAL_POOL_ID } from '#server/storage/pools.ts'
import type { Usage } from '#server/storage/usage.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import { sumVolumes } from '#server/storage/volume-sums.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Names } from './project-names.ts'
import { takesLibraryOf } from './quota-sources.ts'
import { hostLimits } from './start-admission.ts'
import type { Caller, UsageEngine } from './types.ts'
import { holderFor } from './vm-place.ts'

export interface UsageDeps {
  readonly store: Store
  readonly access: Access
  readonly quotas: Quotas
  readonly sources: QuotaSources
  readonly volumes: Volumes
  readonly usage: Usage
  readonly health: PoolHealth
  readonly names: Names
  readonly journal: Journal
  readonly library: Pick<ImageLibrary, 'all'>
  readonly intake: Pick<Intake, 'bytesOf' | 'countOf'>
  /** Whether a VM, a disk or a snapshot needs the image. */
  readonly isImageUsed: (id: string) => boolean
}

export function createUsageEngine(deps: UsageDeps): UsageEngine {
  const { store, access, quotas, sources, volumes, names, journal } = deps
  const hostMiB = Math.floor(totalmem() / 2 ** 20)
  const most = hostLimits()

  const holdersFor = (caller: Caller): Holder[] => {
    const projects = [...access.projects.keys()].filter((id) => access.inProject(caller.userId, id).size > 0)
    const people =
      seesAllVms(caller.role) && (caller.scope ?? null) === null
        ? store.list('user').map(({ key }) => key)
        : [caller.userId]
    return [
      ...people.map((id) => ({ type: 'person' as const, id })),
      ...projects.map((id) => ({ type: 'project' as const, id })),
    ]
  }
  const view = (caller: Caller) => {
    const layers = new Map(volumes.layers().map((layer) => [layer.id, layer]))
    const sums = sumVolumes({
      ...{ volumes: volumes.all(), layers },
      allocated: (id) => deps.usage.of(id)?.size?.allocatedBytes ?? null,
      holdsSnapshots: (id) => volumes.heldBy(id).length > 0,
    })
    const bytesOf = ({ id }: VolumeDocument) => sums.get(id)?.allocatedBytes ?? 0
    const vms = [...sources.vms()]
    const disksOf = new Map<string, VolumeDocument[]>()
    for (const volume of volumes.all()) {
      const projectId =
        volume.vm === null ? access.projectOf('volume', volume.id) : access.projectOf('vm', volume.vm.id)
      const { type, id } = holderFor(volume.ownerId, projectId)
      const key = `${type}:${id}`
      disksOf.set(key, [...(disksOf.get(key) ?? []), volume])
    }
    const sum = (list: readonly VolumeDocument[]) => list.reduce((total, volume) => total + bytesOf(volume), 0)

    const holderView = (holder: Holder): UsageHolder => {
      const disks = disksOf.get(`${holder.type}:${holder.id}`) ?? []
      const mine = vms.filter((vm) => {
        const { type, id } = holderFor(vm.ownerId, vm.projectId)
        return type === holder.type && id === holder.id
      })
      const running = mine.filter((vm) => vm.running !== null)
      const stopped = new Set(mine.filter((vm) => vm.running === null).map(({ id }) => id))
      const trash = disks.filter(({ trashedAt }) => trashedAt !== null)
      const free = disks.filter(({ vm, trashedAt }) => vm === null && trashedAt === null)
      const ofStopped = disks.filter(({ vm }) => vm !== null && stopped.has(vm.id))
      const images = deps.library
        .all()
        .filter((image) => takesLibraryOf(access, holder, image) && !deps.isImageUsed(image.id))
      const backups = [...sources.backups()].filter(({ ownerId, projectId }) => {
        const { type, id } = holderFor(ownerId, projectId)
        return type === holder.type && id === holder.id
      })
      const used = quotas.countOf(holder)
      const coming = holder.type === 'person' ? deps.intake.bytesOf(holder.id) : 0
      const none = { memoryMiB: 0, vcpus: 0, bytes: 0 }
      const all: UsageHolder['freeable'] = [
        {
          ...{ ...none, how: 'shut-down', count: running.length },
          memoryMiB: running.reduce((total, { running: given }) => total + (given === null ? 0 : memoryOf(given)), 0),
          vcpus: running.reduce((total, { running: given }) => total + (given?.cpus ?? 0), 0),
        },
        { ...none, how: 'empty-trash', count: trash.length, bytes: sum(trash) },
        { ...none, how: 'delete-free-disks', count: free.length, bytes: sum(free) },
        { ...none, how: 'delete-stopped-vms', count: stopped.size, bytes: sum(ofStopped) },
        { ...none, how: 'delete-snapshots', count: used.snapshots },
        {
          ...{ ...none, how: 'delete-images', count: images.length },
          bytes: images.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
        },
        {
          ...{ ...none, how: 'delete-backups', count: backups.length },
          bytes: backups.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
        },
        { ...none, how: 'cancel-uploads', count: used.uploads, bytes: coming },
        { ...none, how: 'close-consoles', count: used.consoles },
      ]
      return {
        ...{ type: holder.type, id: holder.id, name: names.party(holder) },
        used: { ...used, libraryMiB: Math.ceil(used.libraryMiB) },
        ...quotas.limitsOf(holder),
        allocatedBytes: sum(disks),
        freeable: all.filter(({ count }) => count > 0),
      }
    }
    const given = vms.flatMap(({ running }) => (running === null ? [] : [running]))
    const { look, reserveBytes } = deps.health.view(LOCAL_POOL_ID)
    return {
      host: {
        cpus: cpus().length,
        memoryMiB: hostMiB,
        memoryReserveMiB: hostMiB - most.mostMiB,
        runningMemoryMiB: given.reduce((total, one) => total + memoryOf(one), 0),
        runningVcpus: given.reduce((total, one) => total + one.cpus, 0),
        vcpusMost: most.mostVcpus,
        diskTotalBytes: look?.totalBytes ?? null,
        diskFreeBytes: look?.freeBytes ?? null,
        diskReserveBytes: look === null ? null : reserveBytes,
      },
      defaults: quotas.defaults(),
      holders: holdersFor(caller)
        .map(holderView)
        .sort((a, b) => b.allocatedBytes - a.allocatedBytes || a.name.localeCompare(b.name)),
    }
  }
  return {
    view: async (caller) => view(caller),
    async setQuota(caller, holder, limits) {
      if (holder.type !== 'default' && !names.isKnown({ type: holder.type, id: holder.id }))
        throw new EngineError('not_found', 'There is nobody of this id.')
      // Conditions that were not given stay as they are.
      const given = limits && Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
      quotas.set(holder.type === 'default' ? 'default' : { type: holder.type, id: holder.id }, given)
      const whose = holder.type === 'default' ? 'everybody' : names.party({ type: holder.type, id: holder.id })
      const words =
        given === null
          ? 'none of their own'
          : Object.entries(given)
              .map(([item, value]) => `${item} ${value ?? 'without limit'}`)
              .join(', ')
      journal.write({
        ...{ what: 'quotaUpdate', result: 'ok', caller, durable: true },
        text: `${caller.name} set the quotas of ${whose}: ${words}.`,
      })
      return view(caller)
    },
  }
}
