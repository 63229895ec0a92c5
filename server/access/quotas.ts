/**
 * Quotas: what somebody or a project may have at most. A VM in a project counts for the project, any other for its owner.
 *
 * Checks are synchronous and look at what is being made as well (`VmRecords.claims`), so that of two creates that would
 * pass the quota together one is refused. What has no record yet while it is made is held (`hold`).
 */
import * as z from 'zod'
import { QUOTA_ITEMS, type QuotaItem, QuotaLimits, type QuotaUse } from '#lib/schema/quota.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

export interface Holder {
  readonly type: 'person' | 'project'
  readonly id: string
}
export interface CountedVm {
  readonly id: string
  readonly ownerId: string
  readonly projectId: string | null
  readonly spec: VmSpec
  /** What the running guest was given; null: it does not run, or was not let yet. */
  readonly running: Pick<VmSpec, 'cpus' | 'memoryMiB' | 'dimms' | 'virtioMem'> | null
}

export interface QuotaSources {
  /** All that are and all that are being made, each once. */
  vms(): Iterable<CountedVm>
  /** Disks of no VM, trash included. */
  freeDisks(): Iterable<{ readonly ownerId: string; readonly projectId: string | null; readonly sizeBytes: number }>
  /** Wherever they lie, also of VMs that have gone. */
  backups(): Iterable<{ readonly ownerId: string; readonly projectId: string | null; readonly sizeBytes: number }>
  snapshotsOf(vmId: string): number
  /** What somebody has on its way into the library: uploads and downloads. */
  uploadsOf(userId: string): number
  /** Bytes of images in the library, and of what is on its way there. Files that lie elsewhere do not count. */
  libraryBytesOf(holder: Holder): number
  nameOf(holder: Holder): string
}

export interface Quotas {
  limitsOf(holder: Holder): { readonly limits: QuotaLimits; readonly own: boolean }
  defaults(): QuotaLimits
  set(holder: Holder | 'default', change: { readonly [K in QuotaItem]?: number | null | undefined } | null): void
  countOf(holder: Holder): QuotaUse
  /** @throws EngineError quota_exceeded */
  assertFits(holder: Holder, more: Partial<QuotaUse>): void
  /** Checks, and counts until released. @throws EngineError quota_exceeded */
  hold(holder: Holder, item: QuotaItem, count?: number): () => void
  /** Counts until released, without a check. */
  count(holder: Holder, item: QuotaItem, count?: number): () => void
}

export const NO_USE: QuotaUse = {
  ...{ vms: 0, vcpus: 0, runningVcpus: 0, memoryMiB: 0, runningMemoryMiB: 0 },
  ...{ diskGiB: 0, snapshots: 0, uploads: 0, libraryMiB: 0, backupGiB: 0, ports: 0, consoles: 0 },
}
const Document = z.object({ limits: QuotaLimits.partial() })
const GIB = 2 ** 30
const MIB = 2 ** 20

export const memoryOf = ({ memoryMiB, dimms, virtioMem }: NonNullable<CountedVm['running']>): number =>
  memoryMiB + dimms.reduce((sum, { sizeMiB }) => sum + sizeMiB, 0) + (virtioMem?.requestedMiB ?? 0)

/** What a definition takes, running or not. */
export function defined(spec: VmSpec): Partial<QuotaUse> {
  return {
    vcpus: spec.cpus,
    memoryMiB: memoryOf(spec),
    diskGiB: spec.disks.reduce((sum, drive) => sum + (drive.device === 'disk' ? drive.sizeGiB : 0), 0),
    ports: spec.networks.reduce((sum, card) => sum + card.forwards.length, 0),
  }
}

const WORDS: Readonly<Record<QuotaItem, string>> = {
  vms: 'VMs',
  vcpus: 'virtual CPUs',
  runningVcpus: 'virtual CPUs of running VMs',
  memoryMiB: 'MiB of memory',
  runningMemoryMiB: 'MiB of memory of running VMs',
  diskGiB: 'GiB of disks (what lies in the trash counts)',
  snapshots: 'snapshots',
  uploads: 'uploads and downloads under way',
  libraryMiB: 'MiB in the image library (what is on its way counts)',
  backupGiB: 'GiB of backups',
  ports: 'forwarded ports',
  consoles: 'open consoles',
}

const OF_RUNNING = 'Shut a VM down, or give it less'
/** How somebody gets room without anybody's help. */
const WAYS: Readonly<Record<QuotaItem, string>> = {
  vms: 'Delete a VM',
  vcpus: 'Give a VM fewer, or delete one',
  runningVcpus: OF_RUNNING,
  memoryMiB: 'Give a VM less, or delete one',
  runningMemoryMiB: OF_RUNNING,
  diskGiB: 'Delete a disk and empty the trash',
  snapshots: 'Delete a snapshot',
  uploads: 'Wait until one is done, or cancel one',
  libraryMiB: 'Delete an image, or cancel an upload',
  backupGiB: 'Delete a backup',
  ports: 'Take a forwarded port out of a VM',
  consoles: 'Close a console',
}

export function createQuotas(store: Pick<Store, 'get' | 'put' | 'delete'>, sources: QuotaSources): Quotas {
  const held = new Map<string, Map<QuotaItem, number>>()
  const keyOf = ({ type, id }: Holder) => `${type}:${id}`
  const stored = (key: string): { [K in QuotaItem]?: number | null | undefined } | undefined =>
    Document.safeParse(store.get('quota', key)?.value).data?.limits
  const filled = (limits: ReturnType<typeof stored>): QuotaLimits =>
    Object.fromEntries(QUOTA_ITEMS.map((item) => [item, limits?.[item] ?? null])) as QuotaLimits // All of its keys.
  const defaults = () => filled(stored('default'))

  const limitsOf: Quotas['limitsOf'] = (holder) => {
    const own = stored(keyOf(holder))
    // Projects have no common quotas: they are made on purpose.
    return {
      limits: own === undefined && holder.type === 'person' ? defaults() : filled(own),
      own: own !== undefined,
    }
  }
  const countOf = (holder: Holder): QuotaUse => {
    const use = { ...NO_USE }
    const isOurs = ({ ownerId, projectId }: { ownerId: string; projectId: string | null }) =>
      holder.type === 'project' ? projectId === holder.id : projectId === null && ownerId === holder.id
    for (const vm of sources.vms()) {
      if (!isOurs(vm)) continue
      use.vms += 1
      for (const [item, count] of Object.entries(defined(vm.spec)) as [QuotaItem, number][]) use[item] += count
      use.snapshots += sources.snapshotsOf(vm.id)
      if (vm.running === null) continue
      use.runningVcpus += vm.running.cpus
      use.runningMemoryMiB += memoryOf(vm.running)
    }
    for (const disk of sources.freeDisks()) if (isOurs(disk)) use.diskGiB += Math.ceil(disk.sizeBytes / GIB)
    for (const backup of sources.backups()) if (isOurs(backup)) use.backupGiB += backup.sizeBytes / GIB
    if (holder.type === 'person') use.uploads += sources.uploadsOf(holder.id)
    use.libraryMiB += sources.libraryBytesOf(holder) / MIB
    for (const [item, count] of held.get(keyOf(holder)) ?? []) use[item] += count
    return use
  }
  const assertFits: Quotas['assertFits'] = (holder, more) => {
    const { limits } = limitsOf(holder)
    const asked = QUOTA_ITEMS.filter((item) => (more[item] ?? 0) > 0 && limits[item] !== null)
    if (asked.length === 0) return
    const use = countOf(holder)
    for (const item of asked) {
      const limit = limits[item] ?? 0
      if (use[item] + (more[item] ?? 0) <= limit) continue
      const used = Math.ceil(use[item])
      const add = Math.ceil(more[item] ?? 0)
      const whose = holder.type === 'project' ? `The project ${sources.nameOf(holder)}` : sources.nameOf(holder)
      throw new EngineError(
        'quota_exceeded',
        `${whose} may have ${limit} ${WORDS[item]}; ${used} are in use and this asks for ${add} more. ${WAYS[item]}, or ask an administrator to raise the quota.`,
        { details: { item, limit, used, asked: add, holder: { type: holder.type, id: holder.id } } },
      )
    }
  }
  return {
    limitsOf,
    defaults,
    countOf,
    assertFits,
    set(holder, change) {
      const key = holder === 'default' ? 'default' : keyOf(holder)
      if (change === null) store.delete('quota', key)
      else store.put('quota', key, { v: 1, limits: { ...stored(key), ...change } })
    },
    hold(holder, item, count = 1) {
      assertFits(holder, { [item]: count })
      return this.count(holder, item, count)
    },
    count(holder, item, count = 1) {
      const key = keyOf(holder)
      const mine = held.get(key) ?? new Map<QuotaItem, number>()
      held.set(key, mine)
      mine.set(item, (mine.get(item) ?? 0) + count)
      let isHeld = true
      return () => {
        if (!isHeld) return
        isHeld = false
        mine.set(item, (mine.get(item) ?? 0) - count)
      }
    },
  }
}
