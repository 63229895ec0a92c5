/**
 * Snapshots as the API knows them: who may, whether it can be, the job that does it. The work itself is in
 * `server/snapshots`, the schedules' clock in `server/schedules`.
 */
import { randomUUIDv7 } from 'node:crypto'
import { may, mayOn } from '#lib/auth/privileges.ts'
import { ScheduleId, SnapshotId, UserId, VmId } from '#lib/schema/ids.ts'
import type { Job, JobKind } from '#lib/schema/job.ts'
import type { Snapshot, SnapshotKind } from '#lib/schema/snapshot.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { blockedInWords, mixedKinds, snapshotObstacles } from '#lib/snapshots/rules.ts'
import { proposeName } from '#lib/snapshots/tree.ts'
import { pendingChanges } from '#lib/vm/pending.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import type { Scheduler } from '#server/schedules/scheduler.ts'
import { kindOf, powerOf, type SnapshotContext } from '#server/snapshots/context.ts'
import { createSnapshot } from '#server/snapshots/create.ts'
import type { SnapshotDocument, StoredSnapshot } from '#server/snapshots/documents.ts'
import { blockedReasons } from '#server/snapshots/live.ts'
import { removeSnapshot } from '#server/snapshots/remove.ts'
import { consequences, definitionAfter, restoredSpec, revertSnapshot } from '#server/snapshots/revert.ts'
import { allocatedBytes } from '#server/storage/volumes.ts'
import { LOOK_ONLY, requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import { scaleDownPng } from './png.ts'
import { type Actor, createSnapshotSchedules, type SnapshotScheduleDeps } from './snapshot-schedules.ts'
import type { Caller, SnapshotEngine } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

/** More than anybody finds their way among; each costs a file or tables in one. */
export const MAX_SNAPSHOTS = 64
const SCREEN_WIDTH = 480

export interface SnapshotEngineDeps {
  readonly context: SnapshotContext
  readonly records: VmRecords
  readonly busy: VmBusy
  readonly jobs: JobRegistry
  readonly journal: Journal
  readonly locks: KeyedLock
  readonly scheduler: Scheduler
  readonly userName: (id: string) => string
  /** What a person may now; null: gone, or may not sign in. */
  readonly authorityOf: SnapshotScheduleDeps['authorityOf']
  /** Counts one more against its owner's or project's quota until it is released. @throws EngineError quota_exceeded */
  readonly hold: (record: VmRecord) => () => void
  /** Whether this person may give the VM what this definition has. @throws EngineError forbidden */
  readonly assertMayBecome: (caller: Caller, record: VmRecord, spec: VmSpec) => void
  /** Counts a definition in place of the one there is until it is released. @throws EngineError quota_exceeded */
  readonly becomes: (record: VmRecord, spec: VmSpec) => () => void
}

const YES = { allowed: true, reason: null }
const no = (reason: string) => ({ allowed: false, reason })

export function createSnapshotEngine(deps: SnapshotEngineDeps): SnapshotEngine {
  const { context, records, busy, jobs, journal, locks, scheduler, userName } = deps
  const { records: snapshots, supervisor, volumes } = context

  const mustSee = (caller: Caller, vmId: string, snapshotId: string): { record: VmRecord; stored: StoredSnapshot } => {
    const record = requireVm(records, caller, vmId)
    const stored = snapshots.get(snapshotId)
    if (stored === null || stored.document.vmId !== vmId)
      throw new EngineError('not_found', 'This VM has no such snapshot.')
    return { record, stored }
  }
  const assertMay = (caller: Caller): void => {
    if (!may(caller, 'vm.snapshot')) throw new EngineError('forbidden', LOOK_ONLY)
  }

  const isRunning = (record: VmRecord): boolean => {
    const { state } = supervisor.runtime(record.id)
    return state !== 'off' && state !== 'crashed'
  }
  const specNow = (record: VmRecord) => supervisor.runtime(record.id).launchedSpec ?? record.spec
  const formatsOf = (record: VmRecord) =>
    new Map(
      volumes.ofVm(record.id).flatMap(({ vm, head }) => {
        const format = volumes.layer(head)?.format
        return vm === null || format === undefined ? [] : [[vm.device, format] as const]
      }),
    )

  /** Why none of this kind can be taken now, the first reason a person can do something about; null: it can. */
  const obstacle = (record: VmRecord, kind: SnapshotKind): string | null => {
    const left = busy.get(record.id)
    if (left !== null) return `${left.sentence}; wait until it is done.`
    const existing = kindOf(snapshots, record.id)
    if (existing !== null && existing !== kind) return mixedKinds(existing)
    if (snapshots.ofVm(record.id).length >= MAX_SNAPSHOTS)
      return `This VM has ${MAX_SNAPSHOTS} snapshots, which is as many as it may have; delete some first.`
    const facts = { isRunning: isRunning(record), formats: formatsOf(record) }
    return snapshotObstacles(specNow(record), kind, facts)[0]?.sentence ?? null
  }

  const actionsOf = (caller: Caller, record: VmRecord, document: SnapshotDocument): Snapshot['actions'] => {
    if (!mayOn(caller, record, 'vm.snapshot'))
      return { revert: no(LOOK_ONLY), delete: no(LOOK_ONLY), change: no(LOOK_ONLY) }
    const left = busy.get(record.id)
    const wait = left === null ? null : no(`${left.sentence}; wait until it is done.`)
    return {
      revert:
        document.state === 'complete'
          ? (wait ?? YES)
          : no('It is not complete, so nothing can go back to it; it can only be deleted.'),
      delete: wait ?? YES,
      change: YES,
    }
  }

  const view = async (caller: Caller, record: VmRecord, stored: StoredSnapshot): Promise<Snapshot> => {
    const { document, revision } = stored
    const held =
      document.kind === 'disk'
        ? await Promise.all(
            document.disks.map(({ layerId }) => {
              const layer = volumes.layer(layerId)
              return layer === null ? 0 : allocatedBytes(volumes.pathOf(layer)).catch(() => 0)
            }),
          )
        : [document.memoryBytes ?? 0]
    const beside = await context.files.bytes(document.vmId, document.id)
    return {
      id: SnapshotId.parse(document.id),
      vmId: VmId.parse(document.vmId),
      kind: document.kind,
      parent: document.parent === null ? null : SnapshotId.parse(document.parent),
      name: document.name,
      note: document.note,
      state: document.state,
      detail: document.detail,
      runState: document.runState,
      consistency: document.consistency,
      memoryBytes: document.memoryBytes,
      sizeBytes: document.state === 'creating' ? null : held.reduce((sum, bytes) => sum + bytes, beside),
      disks: document.disks.map(({ device, sizeBytes }) => ({ device, sizeBytes })),
      hasScreenshot: document.hasScreenshot,
      scheduleId: document.scheduleId === null ? null : ScheduleId.parse(document.scheduleId),
      createdAt: document.createdAt,
      createdBy: { id: UserId.parse(document.createdBy), name: userName(document.createdBy) },
      actions: actionsOf(caller, record, document),
      revision,
    }
  }

  /** One job, during which nothing else may be done to the VM. */
  const startJob = (
    actor: Actor,
    record: VmRecord,
    about: { kind: JobKind; title: string; sentence: string; done: string; what: string; cancellable: boolean },
    work: (context: JobContext) => Promise<string>,
  ): { view: Job; finished: Promise<string> } => {
    busy.assertFree(record.id, 'revert')
    const line = {
      what: about.what,
      caller: null,
      who: actor.name,
      userId: actor.userId,
      topic: 'vm' as const,
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    }
    const handle = jobs.start({
      kind: about.kind,
      title: about.title,
      owner: actor,
      totalBytes: null,
      target: { type: 'vm', id: record.id },
      cancellable: about.cancellable,
      work: async (job) => {
        try {
          const result = await busy.run(
            record.id,
            { what: about.kind, sentence: about.sentence, by: actor.name, jobId: job.jobId },
            () => locks.run(record.id, () => work(job)),
          )
          journal.write({ ...line, text: `${actor.name} ${about.done}`, result: 'ok' })
          return result
        } catch (error) {
          const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
          if (!(error instanceof EngineError)) context.warn(`${about.title}: failed.`, error)
          else if (error.cause !== undefined) context.warn(`${about.title}: ${error.message}`, error.cause)
          journal.write({ ...line, text: `${about.title}: ${why}`, result: 'failed' })
          throw error
        }
      },
    })
    return { view: handle.view(), finished: handle.finished }
  }

  const takeScreen = async (record: VmRecord): Promise<Buffer | null> => {
    if (!isRunning(record) || specNow(record).display === 'none') return null
    try {
      return await scaleDownPng(await supervisor.screenshot(record.id), SCREEN_WIDTH)
    } catch {
      // A picture is a comfort.
      return null
    }
  }

  const namesOf = (vmId: string, but?: string) =>
    new Set(snapshots.ofVm(vmId).flatMap(({ document }) => (document.id === but ? [] : [document.name])))
  /** @throws EngineError name_taken */
  const assertNameFree = (vmId: string, name: string, but?: string): void => {
    if (namesOf(vmId, but).has(name))
      throw new EngineError('name_taken', `This VM has a snapshot called ${name} already.`, { field: 'name' })
  }

  /** What QEMU itself would refuse. @throws EngineError conflict */
  const assertSavable = async (record: VmRecord): Promise<void> => {
    if (powerOf(context, record.id) === 'off') return
    const reasons = await supervisor.work(record.id, blockedReasons)
    if (reasons.length > 0)
      throw new EngineError('conflict', reasons.map(blockedInWords).join(' '), {
        details: { reasons: reasons.map(blockedInWords) },
      })
  }

  const chooseKind = (record: VmRecord, wanted: SnapshotKind | undefined): SnapshotKind =>
    wanted ?? kindOf(snapshots, record.id) ?? (obstacle(record, 'memory') === null ? 'memory' : 'disk')

  const take = async (
    actor: Actor,
    record: VmRecord,
    input: { name?: string | undefined; note: string; kind?: SnapshotKind | undefined; scheduleId: string | null },
  ): Promise<{ view: Job; finished: Promise<string> }> => {
    busy.assertFree(record.id, 'revert')
    powerOf(context, record.id)
    const kind = chooseKind(record, input.kind)
    const why = obstacle(record, kind)
    if (why !== null) throw new EngineError('conflict', why, { field: 'kind' })
    if (kind === 'memory') await assertSavable(record)
    const name = input.name ?? proposeName(context.now(), namesOf(record.id))
    assertNameFree(record.id, name)
    const release = deps.hold(record)
    const begin = () =>
      startJob(
        actor,
        record,
        {
          kind: 'snapshot-create',
          what: 'snapshotCreate',
          title: `Snapshot ${name} of ${record.spec.name}`,
          sentence: `The snapshot ${name} is being taken`,
          done: `took the snapshot ${name} of ${record.spec.name}.`,
          cancellable: kind === 'disk',
        },
        async (job) => {
          assertNameFree(record.id, name)
          const id = randomUUIDv7()
          await createSnapshot(
            context,
            context.vm(record.id),
            {
              id,
              kind,
              name,
              note: input.note,
              scheduleId: input.scheduleId,
              createdBy: actor.userId,
              screen: await takeScreen(record),
            },
            job,
          )
          return id
        },
      )
    try {
      const job = begin()
      // Counted by itself from then on, or gone.
      void job.finished.catch(() => {}).finally(release)
      return job
    } catch (error) {
      release()
      throw error
    }
  }

  const drop = (actor: Actor, record: VmRecord, id: string): { view: Job; finished: Promise<string> } => {
    const name = snapshots.get(id)?.document.name ?? 'a snapshot'
    return startJob(
      actor,
      record,
      {
        kind: 'snapshot-delete',
        what: 'snapshotDelete',
        title: `Deleting the snapshot ${name} of ${record.spec.name}`,
        sentence: `The snapshot ${name} is being deleted`,
        done: `deleted the snapshot ${name} of ${record.spec.name}.`,
        cancellable: true,
      },
      async (job) => {
        const stored = snapshots.get(id)
        if (stored === null) throw new EngineError('not_found', 'This VM has no such snapshot.')
        await removeSnapshot(context, context.vm(record.id), stored.document, job)
        return id
      },
    )
  }

  const schedules = createSnapshotSchedules({
    ...{
      snapshots,
      records,
      busy,
      journal,
      scheduler,
      userName,
      authorityOf: deps.authorityOf,
      max: MAX_SNAPSHOTS,
      assertMay,
      take,
      drop,
    },
  })

  return {
    async list(caller, vmId) {
      const record = requireVm(records, caller, vmId)
      const isAllowed = mayOn(caller, record, 'vm.snapshot')
      const offer = (kind: SnapshotKind) => {
        if (!isAllowed) return no(LOOK_ONLY)
        const why = obstacle(record, kind)
        return why === null ? YES : no(why)
      }
      const current = snapshots.place(vmId).current
      return {
        items: await Promise.all(snapshots.ofVm(vmId).map((stored) => view(caller, record, stored))),
        current: current === null ? null : SnapshotId.parse(current),
        kind: kindOf(snapshots, vmId),
        create: { memory: offer('memory'), disk: offer('disk') },
        max: MAX_SNAPSHOTS,
      }
    },
    async create(caller, vmId, input) {
      const record = requireVm(records, caller, vmId)
      assertMay(caller)
      return (await take(caller, record, { ...input, scheduleId: null })).view
    },
    async update(caller, vmId, snapshotId, patch, expected) {
      const { record, stored } = mustSee(caller, vmId, snapshotId)
      assertMay(caller)
      if (patch.name !== undefined) assertNameFree(vmId, patch.name, snapshotId)
      const { name = stored.document.name, note = stored.document.note } = patch
      const after = snapshots.put({ ...stored.document, name, note }, expected ?? stored.revision)
      return view(caller, record, after)
    },
    async compare(caller, vmId, snapshotId) {
      const { record, stored } = mustSee(caller, vmId, snapshotId)
      return {
        changes: pendingChanges(record.spec, restoredSpec(record.spec, stored.document.spec)),
        ...consequences(context, record, stored.document),
      }
    },
    async revert(caller, vmId, snapshotId, input) {
      const { record, stored } = mustSee(caller, vmId, snapshotId)
      assertMay(caller)
      if (!mayOn(caller, record, 'vm.power')) throw new EngineError('forbidden', LOOK_ONLY)
      if (stored.document.state !== 'complete')
        throw new EngineError('wrong_state', 'This snapshot is not complete; nothing can go back to it. Delete it.')
      powerOf(context, vmId)
      if (input.keepPresent) {
        const why = obstacle(record, stored.document.kind)
        if (why !== null)
          throw new EngineError('conflict', `The present cannot be kept: ${why}`, { field: 'keepPresent' })
        if (stored.document.kind === 'memory') await assertSavable(record)
      }
      const { name } = stored.document
      const { memoryBytes } = stored.document
      const after = definitionAfter(record.spec, stored.document, memoryBytes === null ? input.definition : 'restore')
      try {
        deps.assertMayBecome(caller, record, after)
      } catch (error) {
        if (!(error instanceof EngineError) || error.code !== 'forbidden') throw error
        throw new EngineError(
          'forbidden',
          `Going back would change what this VM has of the host. ${error.message} ${memoryBytes === null ? 'Keep the present definition, or ask one.' : 'Ask one.'}`,
          { cause: error },
        )
      }
      using promised = new DisposableStack()
      promised.defer(deps.becomes(record, after))
      if (input.keepPresent) promised.defer(deps.hold(record))
      const job = startJob(
        caller,
        record,
        {
          kind: 'snapshot-revert',
          what: 'snapshotRevert',
          title: `Going back to ${name} of ${record.spec.name}`,
          sentence: `The VM is going back to the snapshot ${name}`,
          done: `went back to the snapshot ${name} of ${record.spec.name}.`,
          cancellable: false,
        },
        async (job) => {
          if (input.keepPresent) {
            const id = randomUUIDv7()
            await createSnapshot(
              context,
              context.vm(vmId),
              {
                id,
                kind: stored.document.kind,
                name: proposeName(context.now(), namesOf(vmId)),
                note: `Before going back to ${name}`,
                scheduleId: null,
                createdBy: caller.userId,
                screen: await takeScreen(record),
              },
              job,
            )
          }
          const target = snapshots.get(snapshotId)
          if (target === null) throw new EngineError('not_found', 'This VM has no such snapshot.')
          await revertSnapshot(context, context.vm(vmId), target.document, { ...input, by: caller.name }, job)
          return snapshotId
        },
      )
      const held = promised.move()
      void job.finished.catch(() => {}).finally(() => held.dispose())
      return job.view
    },
    async delete(caller, vmId, snapshotId) {
      const { record } = mustSee(caller, vmId, snapshotId)
      assertMay(caller)
      powerOf(context, vmId)
      return drop(caller, record, snapshotId).view
    },
    async screenshot(caller, vmId, snapshotId) {
      const { stored } = mustSee(caller, vmId, snapshotId)
      const png = stored.document.hasScreenshot ? await context.files.screen(vmId, snapshotId) : null
      if (png === null) throw new EngineError('not_found', 'This snapshot has no picture of the screen.')
      return png
    },
    ...schedules,
  }
}
