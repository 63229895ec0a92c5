import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { createJobRegistry } from '#server/jobs/registry.ts'
import { createScheduler, type Scheduler } from '#server/schedules/scheduler.ts'
import { kindOf, type SnapshotContext } from '#server/snapshots/context.ts'
import { createSnapshotRecords, type SnapshotDocument, tagOf } from '#server/snapshots/documents.ts'
import { recoverVm } from '#server/snapshots/recover.ts'
import { createSideFiles } from '#server/snapshots/side-files.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { ChainLink, Volumes } from '#server/storage/volume-types.ts'
import type { SnapshotSource } from './clone-moment.ts'
import type { EngineDeps } from './deps.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Launcher } from './launch.ts'
import type { People } from './people.ts'
import { createRunningPlan } from './running-plan.ts'
import { createScheduleEngine } from './schedules.ts'
import { createSnapshotEngine } from './snapshots.ts'
import type { StartAdmission } from './start-admission.ts'
import type { Caller, ScheduleEngine, SnapshotEngine } from './types.ts'
import type { RunningVm, VmAuthority } from './vm-authority.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface SnapshotRoomDeps {
  readonly deps: EngineDeps
  readonly records: VmRecords
  readonly volumes: Volumes
  readonly qemuImg: QemuImg
  readonly busy: VmBusy
  readonly jobs: ReturnType<typeof createJobRegistry>
  readonly journal: Journal
  readonly locks: KeyedLock
  readonly launcher: Launcher
  readonly authority: VmAuthority
  /** Counts one snapshot more against a quota until it is released. @throws EngineError quota_exceeded */
  readonly hold: (record: VmRecord) => () => void
  readonly admission: Pick<StartAdmission, 'admit' | 'settle'>
  /** Whether this person may give the VM what this definition has. @throws EngineError forbidden */
  readonly assertMayBecome: (caller: Caller, record: VmRecord, spec: VmSpec) => void
  /** Counts a definition in place of the one there is until it is released. @throws EngineError quota_exceeded */
  readonly becomes: (record: VmRecord, spec: VmSpec) => () => void
  readonly runningBut: (vmId: string) => readonly RunningVm[]
  readonly userName: (id: string) => string
  readonly person: People['person']
  /** The definition was changed. */
  readonly onDefinition: (record: VmRecord) => void
}

/** What a clone or a backup is made of. */
export type FrozenSnapshot =
  /** Layers that are never written again, top first, for each disk. */
  | { readonly kind: 'layers'; readonly document: SnapshotDocument; readonly chains: ReadonlyMap<string, ChainLink[]> }
  /** Inside each disk's own file, under this tag: to be copied out of it (`qemu-img convert -l`). */
  | {
      readonly kind: 'inside'
      readonly document: SnapshotDocument
      readonly tag: string
      readonly chains: ReadonlyMap<string, ChainLink[]>
    }

export interface SnapshotRoom {
  readonly snapshots: SnapshotEngine
  readonly schedules: ScheduleEngine
  readonly scheduler: Scheduler
  /**
   * The files of a snapshot, to make something of. Pin the layers (`volumes.pin`) while that lasts.
   * @throws EngineError not_found, wrong_state when it is not complete
   */
  freeze(vmId: string, snapshotId: string): FrozenSnapshot
  /** For clones: what a VM has of snapshots, and what one of them is made of. */
  readonly source: SnapshotSource
  /** Whether disks of this VM hold snapshots inside their files, which a move or a new layer would leave behind. */
  holdsMemory(vmId: string): boolean
  /** How many snapshots a VM has. */
  countOf(vmId: string): number
  /** Images the definitions kept in snapshots of a VM name. */
  imagesOf(vmId: string): readonly string[]
  /** Call before volumes are opened: layers are held from then on. */
  load(): void
  /** Call when guests were adopted, before anything may be asked. */
  recover(): Promise<void>
  forgetVm(vmId: string): void
}

export function createSnapshotRoom(room: SnapshotRoomDeps): SnapshotRoom {
  const { deps, records, volumes, qemuImg, journal, launcher } = room
  const { data, store, supervisor, hub, identity, log } = deps
  const warn = (message: string, error?: unknown) => log.warn(error === undefined ? {} : { err: error }, message)
  const now = () => new Date(deps.labClock?.wallMs() ?? Date.now())

  const changed = (vmId: string): void => {
    const ownerId = records.get(vmId)?.ownerId
    if (ownerId !== undefined) hub.publish('snapshot', vmId, null, undefined, { ownerId })
  }
  const snapshotRecords = createSnapshotRecords(store, changed)
  volumes.registerHolder({
    holds(layerId) {
      for (const { document } of snapshotRecords.all())
        for (const disk of document.disks) {
          if (disk.overlayId === layerId) return `the snapshot “${document.name}”`
          if (disk.layerId !== layerId) continue
          // The file of a disk that holds its snapshots inside is written on; it is kept once it is no disk's any more.
          if (document.kind === 'memory' && volumes.volumeOfHead(layerId) !== null) continue
          return `the snapshot “${document.name}”`
        }
      return null
    },
  })

  const mustRecord = (vmId: string): VmRecord => {
    const record = records.get(vmId)
    if (record === null) throw new EngineError('not_found', 'There is no such VM.')
    return record
  }
  const replaced = (vmId: string, spec: VmSpec): void => {
    const record = mustRecord(vmId)
    if (records.replace(record, spec, now().toISOString(), record.revision) === null)
      throw new EngineError('stale_revision', 'This VM changed meanwhile; its definition was not put back.')
    records.renewGeneration(vmId)
  }

  const context: SnapshotContext = {
    data,
    store,
    records: snapshotRecords,
    volumes,
    qemuImg,
    files: createSideFiles(data, qemuImg),
    supervisor,
    readersGid: identity.readersGid,
    now,
    warn,
    vm: mustRecord,
    replaceSpec: replaced,
    specReplaced: (vmId) => room.onDefinition(mustRecord(vmId)),
    planOf: createRunningPlan({ records, supervisor, launcher }),
    async start(vmId, by, load) {
      const started = supervisor.start(vmId, by, async () => {
        const record = mustRecord(vmId)
        await room.authority.assertLaunchable(record.spec, room.runningBut(vmId))
        room.admission.admit(record)
        return { ...(await launcher.prepare(record)), load }
      })
      await started.finally(() => room.admission.settle(vmId))
    },
  }

  // Disks that are half gone back to a snapshot are of no moment at all.
  room.busy.addGuard((vmId, action) => {
    const { reverting } = snapshotRecords.place(vmId)
    if (reverting === null || (action !== 'start' && typeof action !== 'object')) return
    if (typeof action === 'object' && action.work === 'snapshotRevert') return
    const name = snapshotRecords.get(reverting)?.document.name ?? 'a snapshot'
    throw new EngineError(
      'wrong_state',
      `This VM was going back to ${name} when that was interrupted, so its disks are not all of one moment. Go back to ${name} again first.`,
    )
  })

  const scheduler = createScheduler({
    store,
    clock: { now },
    warn,
    onChange: ({ kind, target }) => {
      if (kind === 'power') hub.publish('lab', null, null)
      else if (kind === 'backup') hub.publish('backup', target.id, null)
      else changed(target.id)
    },
    onFailed({ target, ownerId }, { message }) {
      const record = target.type === 'vm' ? records.get(target.id) : null
      journal.write({
        what: 'scheduleFailed',
        text: `${record === null ? 'A schedule' : `A schedule of ${record.spec.name}`} failed: ${message}`,
        result: 'failed',
        caller: null,
        who: room.userName(ownerId),
        userId: ownerId,
        ...(record !== null && {
          topic: 'vm' as const,
          objectId: record.id,
          objectName: record.spec.name,
          ownerId: record.ownerId,
        }),
      })
    },
  })

  const snapshots = createSnapshotEngine({
    context,
    records,
    busy: room.busy,
    jobs: room.jobs,
    journal,
    locks: room.locks,
    scheduler,
    userName: room.userName,
    hold: room.hold,
    ...{ becomes: room.becomes, assertMayBecome: room.assertMayBecome },
    authorityOf(userId) {
      const person = room.person(userId)
      return person === null ? null : { ...person, userId, via: 'session' }
    },
  })

  const freeze = (vmId: string, snapshotId: string): FrozenSnapshot => {
    const stored = snapshotRecords.get(snapshotId)
    if (stored === null || stored.document.vmId !== vmId)
      throw new EngineError('not_found', 'This VM has no such snapshot.')
    const { document } = stored
    if (document.state !== 'complete')
      throw new EngineError('wrong_state', 'This snapshot is not complete; nothing can be made of it.')
    const chains = new Map(document.disks.map(({ device, layerId }) => [device, volumes.chain(layerId)]))
    return document.kind === 'disk'
      ? { kind: 'layers', document, chains }
      : { kind: 'inside', document, tag: tagOf(document.id), chains }
  }

  return {
    snapshots,
    schedules: createScheduleEngine(scheduler, records, room.userName),
    scheduler,
    freeze,
    source: {
      kindOf: (vmId) => kindOf(snapshotRecords, vmId),
      baseOf(vmId, snapshotId) {
        const { document, kind } = freeze(vmId, snapshotId)
        if (kind === 'inside' && document.nvram === 'copied')
          throw new EngineError(
            'conflict',
            'The UEFI variables of this snapshot lie apart from its disks; it cannot be cloned. Go back to it and clone the VM.',
          )
        const { id, name, nvram, tpm, disks, spec } = document
        return {
          ...{ name, kind: document.kind, spec, disks },
          tag: kind === 'inside' ? tagOf(id) : null,
          nvram: nvram === 'none' ? null : nvram === 'inside' ? data.nvram(vmId) : data.snapshotNvram(vmId, id),
          tpm: tpm === 'copied' ? data.snapshotTpm(vmId, id) : null,
        }
      },
    },
    countOf: (vmId) => snapshotRecords.ofVm(vmId).length,
    holdsMemory: (vmId) => snapshotRecords.ofVm(vmId).some(({ document }) => document.kind === 'memory'),
    imagesOf: (vmId) =>
      snapshotRecords
        .ofVm(vmId)
        .flatMap(({ document }) => document.spec.disks.flatMap(({ image }) => (image === null ? [] : [image]))),
    load() {
      snapshotRecords.load(warn)
      // A deletion that a crash interrupted.
      for (const vmId of snapshotRecords.vmIds()) if (!records.isStored(vmId)) snapshotRecords.forgetVm(vmId)
      for (const { document } of scheduler.list())
        if (document.target.type === 'vm' && !records.isStored(document.target.id)) scheduler.remove(document.id)
    },
    async recover() {
      const known = new Set([...snapshotRecords.all()].map(({ document }) => document.id))
      await Promise.all(
        [...snapshotRecords.vmIds()].map(async (vmId) => {
          const record = records.get(vmId)
          if (record === null) return
          await recoverVm(context, record)
          await context.files.sweep(vmId, known).catch((error: unknown) => warn('Sweeping snapshots failed.', error))
        }),
      )
    },
    forgetVm(vmId) {
      snapshotRecords.forgetVm(vmId)
      scheduler.removeOf('vm', vmId)
    },
  }
}
