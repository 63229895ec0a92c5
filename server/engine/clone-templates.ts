/** Templates: VMs whose disks nobody writes any more, so that linked clones can be made of them at any time. */
import { cloneObstacle, TEMPLATE_STAYS_OFF } from '#lib/clones/rules.ts'
import type { CloneFacts } from '#lib/schema/clone.ts'
import { VmId } from '#lib/schema/ids.ts'
import type { VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { atOnce, type CloneContext } from '#server/clones/context.ts'
import { ownLayer, shareLayers } from '#server/clones/freeze.ts'
import type { Lineage } from '#server/clones/lineage.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { canSeeVm } from './access.ts'
import type { CloneMoments, SnapshotSource } from './clone-moment.ts'
import { EngineError } from './errors.ts'
import { canSeeVolume } from './storage-views.ts'
import type { Caller } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

const TEMPLATE_STAYS_SO =
  'This is a template, whose disks stay as they are. Make a VM of it, or make it an ordinary VM again first.'

/** Work that leaves a template's disks alone. */
const READS_ONLY = new Set(['backup-create', 'clone'])

/** What the VM engine asks before it deletes or changes a template. */
export function templateRules(lineage: Lineage, records: VmRecords) {
  return {
    /** @throws EngineError in_use naming those the caller may see */
    assertMayDelete(caller: Caller, record: VmRecord): void {
      if (!lineage.isTemplate(record.id)) return
      refuseWhileStanding(lineage, records, caller, record.id, 'Delete them first.')
    },
    /** @throws EngineError conflict */
    assertMayChange(id: string, patch: VmSpecPatch): void {
      if (patch.disks !== undefined && lineage.isTemplate(id))
        throw new EngineError('conflict', TEMPLATE_STAYS_SO, { field: 'disks' })
    },
  }
}

export interface TemplateDeps {
  readonly context: CloneContext
  readonly lineage: Lineage
  readonly records: VmRecords
  readonly busy: VmBusy
  readonly snapshots: SnapshotSource
  readonly moments: Pick<CloneMoments, 'isOff' | 'assertOff' | 'disksOf'>
}

export interface Templates {
  /** Why it cannot become one; null: it can. */
  setObstacle(record: VmRecord): string | null
  /** Why it cannot become a VM again, in words for this caller; null: it can. */
  unsetObstacle(caller: Caller, record: VmRecord): string | null
  /** @throws EngineError conflict, wrong_state, vm_busy */
  make(caller: Caller, record: VmRecord): Promise<void>
  /** @throws EngineError in_use naming what stands on it */
  unmake(caller: Caller, record: VmRecord): Promise<void>
}

/** @throws EngineError in_use */
function refuseWhileStanding(lineage: Lineage, records: VmRecords, caller: Caller, id: string, advice: string): void {
  const standing = visible(records, caller, lineage.standingOn(id))
  const count = standing.vms.length + standing.others
  if (count === 0) return
  const named = standing.vms.slice(0, 5).map(({ name }) => name)
  const rest = count - named.length
  const who = [...named, ...(rest > 0 ? [`${rest} more`] : [])].join(', ')
  throw new EngineError(
    'in_use',
    `${count === 1 ? 'A linked clone stands' : `${count} linked clones stand`} on the disks of this template: ${who}. ${advice}`,
    { details: { vms: standing.vms, others: standing.others } },
  )
}

export function visible(records: VmRecords, caller: Caller, ids: readonly string[]): CloneFacts['standing'] {
  const known = ids.flatMap((id) => records.get(id) ?? [])
  const seen = known.filter((record) => canSeeVm(caller, record))
  return {
    vms: seen.map(({ id, spec }) => ({ id: VmId.parse(id), name: spec.name })),
    others: ids.length - seen.length,
  }
}

/** Disks without a VM that stand on these layers: in the trash, or kept when their VM was deleted. */
function disksOnTop(volumes: Volumes, heads: readonly string[]): VolumeDocument[] {
  return volumes.all().filter(({ vm, head }) => {
    if (vm !== null || heads.includes(head)) return false
    return volumes.chain(head).some(({ layerId }) => layerId !== null && heads.includes(layerId))
  })
}

export function createTemplates({ context, lineage, records, busy, snapshots, moments }: TemplateDeps): Templates {
  const { volumes } = context
  const { isOff, assertOff, disksOf } = moments

  busy.addGuard((vmId, action) => {
    if (!lineage.isTemplate(vmId)) return
    if (action === 'start') throw new EngineError('wrong_state', TEMPLATE_STAYS_OFF)
    if (action === 'revert' || (typeof action === 'object' && !READS_ONLY.has(action.work)))
      throw new EngineError('wrong_state', TEMPLATE_STAYS_SO)
  })

  const headsOf = (record: VmRecord) => disksOf(record.id, record.spec).map(({ volume }) => volume.head)
  const setObstacle = (record: VmRecord): string | null => {
    if (lineage.isTemplate(record.id)) return 'It is a template already.'
    if (!isOff(record.id)) return 'Shut the guest down first.'
    if (snapshots.kindOf(record.id) !== null)
      return 'It has snapshots, which a template cannot go back to; delete them.'
    return cloneObstacle({ spec: record.spec, snapshots: null, from: null, isOff: true }, 'linked')
  }
  /** What stands on it without being a VM. */
  const diskObstacle = (caller: Caller, heads: readonly string[]): string | null => {
    const disks = disksOnTop(volumes, heads)
    if (disks.length > 0) {
      const seen = disks.filter((volume) => canSeeVolume(caller, volume))
      const named = seen
        .slice(0, 5)
        .map(({ name, trashedAt }) => `“${name}”${trashedAt === null ? '' : ' (in the trash)'}`)
      const others = disks.length - named.length
      const who = [...named, ...(others > 0 ? [`${others} more`] : [])].join(', ')
      return `Disks of linked clones still stand on its disks: ${who}. Delete them for good on the Storage page; then it can become a VM again.`
    }
    return heads.some((id) => volumes.childrenOf(id).length > 0)
      ? 'A clone of it is being made just now; wait until it is done.'
      : null
  }

  return {
    setObstacle,
    unsetObstacle(caller, record) {
      if (!lineage.isTemplate(record.id)) return 'It is not a template.'
      const standing = visible(records, caller, lineage.standingOn(record.id))
      if (standing.vms.length + standing.others > 0) return 'Linked clones stand on its disks; delete them first.'
      return diskObstacle(caller, headsOf(record))
    },
    async make(caller, record) {
      const why = setObstacle(record)
      if (why !== null) throw new EngineError(isOff(record.id) ? 'conflict' : 'wrong_state', why)
      const request = { what: 'template', sentence: 'It is becoming a template', by: caller.name, isAtomic: true }
      await busy.run(record.id, request, async () => {
        assertOff(record.id)
        // Before its files are for all to read nobody may begin to write them, and this says so.
        lineage.change(record.id, { template: { by: caller.name, at: new Date().toISOString() } })
        await shareLayers(context, headsOf(record), false)
      })
    },
    async unmake(caller, record) {
      const heads = headsOf(record)
      refuseWhileStanding(lineage, records, caller, record.id, 'Delete them first, then it can become a VM again.')
      const why = diskObstacle(caller, heads)
      if (why !== null) throw new EngineError('in_use', why)
      atOnce(context, () => {
        for (const id of heads) volumes.changeLayer(id, { uid: record.uid })
        lineage.change(record.id, { template: null })
      })
      for (const id of heads) {
        const layer = volumes.layer(id)
        if (layer !== null) await ownLayer(context, layer)
      }
    },
  }
}
