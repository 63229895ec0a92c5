/**
 * What the API shows of a VM, cached: as an object and as JSON text, once for all who may do the same with it. A view is rebuilt when the definition, the supervisor's version, the viewers or the surroundings
 * (owner names, accelerator verdict) change, so listing 500 VMs of which 20 run costs 20 rebuilds a second at most.
 */

import { PRIVILEGES } from '#lib/auth/privileges.ts'
import type { VmLab } from '#lib/schema/lab.ts'
import type { DiskPause, Vm, VmAccelerator, VmLive } from '#lib/schema/vm-state.ts'
import type { LineageDocument } from '#server/clones/lineage.ts'
import { type ConsoleRooms, NOBODY, type VmPresence } from '#server/console/types.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { actionsFor, type Viewpoint } from './access.ts'
import type { AcceleratorSource } from './deps.ts'
import { pauseSentence } from './disk-pause-words.ts'
import { pendingOf } from './live-change.ts'
import type { BusyDocument } from './vm-busy.ts'
import type { VmRecord } from './vm-records.ts'

interface CachedView {
  readonly vm: Vm
  /** Filled when first asked for. */
  text: string | null
}
interface CacheEntry {
  readonly record: VmRecord
  readonly runtimeVersion: number
  readonly surroundings: number
  readonly presence: VmPresence
  readonly work: BusyDocument | null
  readonly pause: DiskPause | null
  readonly lineage: LineageDocument | null
  readonly lab: VmLab | null
  readonly byViewpoint: Map<string, CachedView>
}

export interface VmViews {
  view(record: VmRecord, viewpoint: Viewpoint): Vm
  /** `JSON.stringify` of the view. */
  text(record: VmRecord, viewpoint: Viewpoint): string
  forget(id: string): void
  /** Owner names or the verdict changed: every view is stale. */
  invalidate(): void
}

export interface VmViewDeps {
  readonly supervisor: Supervisor
  readonly rooms: Pick<ConsoleRooms, 'presence'>
  readonly accelerator: AcceleratorSource
  readonly userName: (id: string) => string
  /** Long work under way on it. */
  readonly busy: (id: string) => BusyDocument | null
  /** Why its disks stopped it. */
  readonly pause: (id: string) => DiskPause | null
  readonly lineage: (id: string) => LineageDocument | null
  /** Its lease and whether it is idle; the same object until it changes. */
  readonly lab: (id: string) => VmLab | null
  /** Null: it is in none. */
  readonly projectOf?: (id: string) => Vm['project'] | null
}

export function createVmViews({
  supervisor,
  rooms,
  accelerator,
  userName,
  busy,
  pause: pauseOf,
  lineage: lineageOf,
  lab: labOf,
  projectOf = () => null,
}: VmViewDeps): VmViews {
  const cache = new Map<string, CacheEntry>()
  let surroundings = 0

  const cached = (record: VmRecord, viewpoint: Viewpoint): CachedView => {
    const runtime = supervisor.runtime(record.id)
    const presence = runtime.live === null ? NOBODY : rooms.presence(record.id)
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
      entry.presence !== presence ||
      entry.work !== work ||
      entry.pause !== pause ||
      entry.lineage !== lineage ||
      entry.lab !== lab
    ) {
      entry = {
        record,
        runtimeVersion: runtime.version,
        surroundings,
        presence,
        work,
        pause,
        lineage,
        lab,
        byViewpoint: new Map(),
      }
      cache.set(record.id, entry)
    }
    let view = entry.byViewpoint.get(viewpoint.key)
    if (view === undefined) {
      view = { vm: buildView(record, runtime, presence, entry, viewpoint), text: null }
      entry.byViewpoint.set(viewpoint.key, view)
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
    presence: VmPresence,
    { work, pause, lineage, lab }: Pick<CacheEntry, 'work' | 'pause' | 'lineage' | 'lab'>,
    viewpoint: Viewpoint,
  ): Vm => {
    const project = projectOf(record.id) ?? null
    const vm: Omit<Vm, 'actions'> = {
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
        live: { ...runtime.live, ...presenceView(presence) },
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
      ...(project !== null && { project }),
      privileges: PRIVILEGES.filter((verb) => viewpoint.privileges.has(verb)),
      createdAt: record.createdAt,
      updatedAt: record.updatedAt,
    }
    return { ...vm, actions: actionsFor(viewpoint, vm) }
  }

  return {
    view: (record, viewpoint) => cached(record, viewpoint).vm,
    text(record, viewpoint) {
      const entry = cached(record, viewpoint)
      entry.text ??= JSON.stringify(entry.vm)
      return entry.text
    },
    forget: (id) => cache.delete(id),
    invalidate() {
      surroundings += 1
    },
  }
}

function presenceView({ viewers, recordings }: VmPresence): Pick<VmLive, 'viewers' | 'watching' | 'recordings'> {
  const count = (wanted: 'vnc' | 'serial') => viewers.filter(({ kind }) => kind === wanted).length
  return {
    viewers: { vnc: count('vnc'), serial: count('serial') },
    watching: [...viewers],
    recordings: [...recordings],
  }
}
