/** Whose a new VM is to be, and whether that may have what it takes: a project or its owner, and their quotas. */

import { mayOnSite } from '#lib/auth/privileges.ts'
import type { QuotaItem, QuotaUse } from '#lib/schema/quota.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { GIB } from '#lib/units.ts'
import type { Access } from '#server/access/access.ts'
import { defined, type Holder, type Quotas } from '#server/access/quotas.ts'
import { EngineError } from './errors.ts'
import type { Caller } from './types.ts'

export interface VmPlaces {
  /** @throws EngineError not_found, forbidden */
  assertMayCreate(caller: Caller, projectId: string | null): void
  /** The source's project, where the caller may create in it; else the caller's own. @throws EngineError forbidden */
  forCopy(caller: Caller, sourceId: string): string | null
  /**
   * @param before definition it has now; null: it is new
   * @param takenOver free disks that become its own: those of the same holder count already
   * @throws EngineError quota_exceeded
   */
  assertFits(holder: Holder, after: VmSpec, before: VmSpec | null, takenOver?: readonly FreeDisk[]): void
  /**
   * Room for several of a kind, which count from here on.
   * @returns what lets go of each @throws EngineError quota_exceeded
   */
  promiseMany(holder: Holder, spec: VmSpec, count: number): (() => void)[]
  holderOf(vmId: string, ownerId: string): Holder
}

interface FreeDisk {
  readonly id: string
  readonly ownerId: string
  readonly sizeBytes: number
}

export const holderFor = (ownerId: string, projectId: string | null): Holder =>
  projectId === null ? { type: 'person', id: ownerId } : { type: 'project', id: projectId }

export function createVmPlaces(access: Access, quotas: Quotas): VmPlaces {
  const mayCreateIn = (caller: Caller, projectId: string) =>
    (caller.scope ?? null) === null || caller.scope?.privileges.includes('vm.create')
      ? access.inProject(caller.userId, projectId)
      : new Set()
  return {
    assertMayCreate(caller, projectId) {
      if (projectId === null) {
        if (mayOnSite(caller, 'vm.create')) return
        throw new EngineError('forbidden', 'You may create VMs in projects only; choose one of yours.', {
          field: 'project',
        })
      }
      const verbs = mayCreateIn(caller, projectId)
      if (verbs.size === 0 || !access.projects.has(projectId))
        throw new EngineError('not_found', 'There is no such project.', { field: 'project' })
      if (!verbs.has('vm.create'))
        throw new EngineError('forbidden', 'Your role in this project does not let you create VMs in it.', {
          field: 'project',
        })
    },
    forCopy(caller, sourceId) {
      const projectId = access.projectOf('vm', sourceId)
      if (projectId !== null && mayCreateIn(caller, projectId).has('vm.create')) return projectId
      this.assertMayCreate(caller, null)
      return null
    },
    assertFits(holder, after, before, takenOver = []) {
      const now = defined(after)
      const was = before === null ? {} : defined(before)
      const more: Partial<QuotaUse> = { ...(before === null && { vms: 1 }) }
      for (const item of ['vcpus', 'memoryMiB', 'diskGiB', 'ports'] as const)
        more[item] = (now[item] ?? 0) - (was[item] ?? 0)
      for (const { id, ownerId, sizeBytes } of takenOver) {
        const whose = holderFor(ownerId, access.projectOf('volume', id))
        if (whose.type === holder.type && whose.id === holder.id)
          more.diskGiB = (more.diskGiB ?? 0) - Math.ceil(sizeBytes / GIB)
      }
      quotas.assertFits(holder, more)
    },
    promiseMany(holder, spec, count) {
      const each: Partial<QuotaUse> = { ...defined(spec), vms: 1 }
      // Its keys are those of a quota.
      const items = Object.entries(each) as [QuotaItem, number][]
      quotas.assertFits(holder, Object.fromEntries(items.map(([item, one]) => [item, one * count])))
      return Array.from({ length: count }, () => {
        const releases = items.map(([item, one]) => quotas.count(holder, item, one))
        return () => releases.forEach((release) => void release())
      })
    },
    holderOf: (vmId, ownerId) => holderFor(ownerId, access.projectOf('vm', vmId)),
  }
}
