/**
 * What the API shows of a VM, cached: as an object and as JSON text, once for those who may act and once for those who
 * may only look. A view is rebuilt when the definition, the supervisor's version, the viewers or the surroundings
 * (owner names, accelerator verdict) change, so listing 500 VMs of which 20 run costs 20 rebuilds a second at most.
 */
import { TEMPLATE_STAYS_OFF } from '#lib/clones/rules.ts'
import type { VmLab } from '#lib/schema/lab.ts'
import type { Role } from '#lib/schema/user.ts'
import type { DiskPause, Vm, VmAccelerator } from '#lib/schema/vm-state.ts'
import type { LineageDocument } from '#server/clones/lineage.ts'
import type { ViewerCounts } from '#server/console/types.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { actionsFor } from './access.ts'
import type { AcceleratorSource } from './deps.ts'
import { pauseSentence } from './disk-pause-words.ts'
import { pendingOf } from './live-change.ts'
import type { BusyDocument } from './vm-busy.ts'
import type { VmRecord } from './vm-records.ts'

type RoleName = Role
interface CachedView {
  readonly vm: Vm
  /** Filled when first asked for. */
  text: string | null
}
interface CacheEntry {
  readonly record: VmRecord
  readonly runtimeVersion: number
  readonly surroundings: number
  readonly vncViewers: number
  readonly serialViewers: number
  readonly work: BusyDocument | null
  readonly pause: DiskPause | null
  readonly lineage: LineageDocument | null
  readonly lab: VmLab | null
  readonly byRole: Map<RoleName, CachedView>
}

export interface VmViews {
  view(record: VmRecord, role: RoleName): Vm
  /** `JSON.stringify` of the view. */
  text(record: VmRecord, role: RoleName): string
  forget(id: string): void
  /** Owner names or the verdict changed: every view is stale. */
  invalidate(): void
}

function actionsOf(
  role: RoleName,
  state: Vm['state'],
  { lineage, lab, pause }: Pick<CacheEntry, 'lineage' | 'lab' | 'pause'>,
): Vm['actions'] {
  const actions = actionsFor({ role, via: 'session' }, state)
  const reason = lineage?.template != null ? TEMPLATE_STAYS_OFF : (lab?.blocked ?? null)
  const refused = { allowed: false, reason: reason ?? '' }
  return {
    ...actions,
    // One that would go on by itself can be told to stay.
    ...(pause?.resumesItself === true && actions.resume.allowed && { pause: { allowed: true, reason: null } }),
    ...(reason !== null && actions.start.allowed && { start: refused }),
    ...(reason !== null && actions.resume.allowed && { resume: refused }),
  }
}

export interface VmViewDeps {
  readonly supervisor: Supervisor
  readonly viewers: ViewerCounts
  readonly accelerator: AcceleratorSource
  readonly userName: (id: string) => string
  /** Long work under way on it. */
  readonly busy: (id: string) => BusyDocument | null
  /** Why its disks stopped it. */
  readonly pause: (id: string) => DiskPause | null
  readonly lineage: (id: string) => LineageDocument | null
  /** Its lease and whether it is idle; the same object until it changes. */
  readonly lab: (id: string) => VmLab | null
}

const NOBODY = { vnc: 0, serial: 0 }

export function createVmViews({
  supervisor,
  viewers,
  accelerator,
  userName,
  busy,
  pause: pauseOf,
  lineage: lineageOf,
  lab: labOf,
}: VmViewDeps): VmViews {
  const cache = new Map<string, CacheEntry>()
  let surroundings = 0

  const cached = (record: VmRecord, role: RoleName): CachedView => {
    const runtime = supervisor.runtime(record.id)
    const watching = runtime.live === null ? NOBODY : viewers.viewers(record.id)
    const work = busy(record.id)
    const pause = pauseOf(record.id)
    const lineage = lineageOf(record.id)
    const lab = labOf(record.id)
    let entry = cache.get(record.id)
    if (
      entry === undefined ||
      entry.record !== record ||
      entry.runtimeVersion !== runtime.version ||
      entry.surroundings !== surroundings ||
      entry.vncViewers !== watching.vnc ||
      entry.serialViewers !== watching.serial ||
      entry.work !== work ||
      entry.pause !== pause ||
      entry.lineage !== lineage ||
      entry.lab !== lab
    ) {
      entry = {
        record,
        runtimeVersion: runtime.version,
        surroundings,
        vncViewers: watching.vnc,
        serialViewers: watching.serial,
        work,
        pause,
        lineage,
        lab,
        byRole: new Map(),
      }
      cache.set(record.id, entry)
    }
    let view = entry.byRole.get(role)
    if (view === undefined) {
      view = { vm: buildView(record, runtime, watching, entry, role), text: null }
      entry.byRole.set(role, view)
    }
    return view
  }

  const acceleratorOf = (record: VmRecord, runtime: VmRuntime): VmAccelerator => {
    if (runtime.accelerator !== null) {
      const requested = runtime.launchedSpec?.accelerator ?? record.spec.accelerator
      return { requested, actual: runtime.accelerator.kind, observed: true, reason: runtime.accelerator.reason }
    }
    const { kind, reason } = accelerator.decide(record.spec.accelerator)
    return { requested: record.spec.accelerator, actual: kind, observed: false, reason }
  }

  const buildView = (
    record: VmRecord,
    runtime: VmRuntime,
    watching: { vnc: number; serial: number },
    { work, pause, lineage, lab }: Pick<CacheEntry, 'work' | 'pause' | 'lineage' | 'lab'>,
    role: RoleName,
  ): Vm => ({
    // Ids come from the store, whose documents were parsed when they were written.
    id: record.id as Vm['id'],
    name: record.spec.name,
    revision: record.revision,
    state: runtime.state,
    runState: runtime.runState,
    since: runtime.since,
    stateDetail: pause === null ? runtime.detail : [pauseSentence(pause), ...runtime.troubles].join(' '),
    accelerator: acceleratorOf(record, runtime),
    spec: record.spec,
    ...(runtime.live !== null && {
      live: { ...runtime.live, viewers: { vnc: watching.vnc, serial: watching.serial } },
    }),
    pending: pendingOf(record.spec, runtime),
    lastExit: runtime.lastExit,
    ...(pause !== null && { diskPause: pause }),
    ...(work !== null && {
      work: { what: work.what, sentence: work.sentence, by: work.by, since: work.since, jobId: work.jobId },
    }),
    ...(lineage?.template != null && { template: lineage.template }),
    ...(lineage?.origin != null && { origin: lineage.origin }),
    ...(lab !== null && { lab }),
    owner: { id: record.ownerId as Vm['owner']['id'], name: userName(record.ownerId) },
    actions: actionsOf(role, runtime.state, { lineage, lab, pause }),
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  })

  return {
    view: (record, role) => cached(record, role).vm,
    text(record, role) {
      const entry = cached(record, role)
      entry.text ??= JSON.stringify(entry.vm)
      return entry.text
    },
    forget: (id) => cache.delete(id),
    invalidate() {
      surroundings += 1
    },
  }
}
