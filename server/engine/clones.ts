/**
 * Clones and templates as the API knows them.
 *
 *   checks ─▶ job: the moment is kept (`Base`) ─▶ for each name: files, then the VM, in one transaction ─▶ started
 *
 * The source is held (`vm-busy`) while its moment is kept, and while files that its guest writes are read. One that
 * fails leaves nothing and does not stop the rest; the job then tells of each.
 */

import { privilegesOn } from '#lib/auth/privileges.ts'
import { cloneNames } from '#lib/clones/names.ts'
import { cleanUpObstacle, cloneNotes, cloneObstacle, cloneSpec } from '#lib/clones/rules.ts'
import type { CleanUpInput, CloneInput } from '#lib/schema/clone.ts'
import { VmId } from '#lib/schema/ids.ts'
import type { CloneKind } from '#lib/schema/origin.ts'
import { VmName } from '#lib/schema/vm-spec.ts'
import { hostNameOf } from '#lib/seed/variables.ts'
import type { CloneCleaner } from '#server/clones/clean-up/clean-up.ts'
import type { Base, CloneContext } from '#server/clones/context.ts'
import { chainBytes, type Filled, fillFirmware, fillFull, fillLinked, giveTo } from '#server/clones/fill.ts'
import { forgetOldNames, repairLayers, settleOwners } from '#server/clones/freeze.ts'
import type { Lineage } from '#server/clones/lineage.ts'
import { recoverLive } from '#server/clones/live.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import { toolUser } from '#server/storage/tool-user.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { requireVm, viewpointOf } from './access.ts'
import { createCloneMoments, type SnapshotBase, type SnapshotSource } from './clone-moment.ts'
import { createTemplates, visible } from './clone-templates.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Caller, CloneEngine } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmDefiner } from './vm-define.ts'
import { holderFor, type VmPlaces } from './vm-place.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'
import type { VmViews } from './vm-views.ts'

export interface CloneDeps {
  readonly context: CloneContext
  readonly cleaner: CloneCleaner
  readonly lineage: Lineage
  readonly records: VmRecords
  readonly views: VmViews
  readonly supervisor: Supervisor
  readonly definer: VmDefiner
  readonly journal: Journal
  readonly jobs: JobRegistry
  readonly locks: KeyedLock
  readonly busy: VmBusy
  readonly snapshots: SnapshotSource
  readonly places: VmPlaces
  readonly start: (caller: Caller, vmId: string) => Promise<unknown>
  /** The view of a VM has changed without its definition. */
  readonly announce: (record: VmRecord) => void
}

export interface CloneEngineWithUpkeep extends CloneEngine {
  /** A run of the VM has ended. */
  afterExit(vmId: string): Promise<void>
  /** Puts right what a crash left. Before guests are started. @returns sentences for the log */
  open(): Promise<string[]>
}

/** For what is counted of a clone, which no address is. */
const NO_ADDRESSES = { nextMac: () => '52:54:00:00:00:00', nextCid: () => 3 }

export function createCloneEngine(deps: CloneDeps): CloneEngineWithUpkeep {
  const { context, cleaner, lineage, records, views, supervisor, definer, journal, jobs, locks, busy, snapshots } = deps
  const { volumes } = context

  const moments = createCloneMoments({ context, lineage, supervisor, locks, busy })
  const templates = createTemplates({ context, lineage, records, busy, snapshots, moments })
  const { isOff } = moments
  const must = (id: string): VmRecord => {
    const record = records.get(id)
    if (record === null) throw new EngineError('not_found', 'There is no such VM.')
    return record
  }

  const subjectOf = (record: VmRecord, from: SnapshotBase | null) => ({
    spec: from?.spec ?? record.spec,
    snapshots: lineage.isTemplate(record.id) ? null : snapshots.kindOf(record.id),
    from: from?.kind ?? null,
    isOff: isOff(record.id),
  })

  /** @throws EngineError conflict */
  const assertPossible = (record: VmRecord, kind: CloneKind, from: SnapshotBase | null): void => {
    const why = cloneObstacle(subjectOf(record, from), kind)
    if (why !== null) throw new EngineError('conflict', why)
  }

  busy.onRecovery('clone', async (vmId, left) => {
    const { state } = supervisor.runtime(vmId)
    const isReachable = !['off', 'crashed', 'unmanageable'].includes(state)
    const notes = isReachable
      ? await supervisor.work(vmId, (guest) => recoverLive(context, guest, left.about))
      : await recoverLive(context, null, left.about)
    for (const sentence of notes) context.warn(`${records.get(vmId)?.spec.name ?? vmId}: ${sentence}`)
  })

  /** Inside its disks, while no VM has them: what is half changed goes with the clone. */
  const cleanUp = async (
    { layers }: Filled,
    wish: CleanUpInput,
    uid: number | null,
    { name, index }: { readonly name: string; readonly index: number },
    progress: { readonly signal: AbortSignal; step(words: string): void },
  ): Promise<void> => {
    const hostName = wish.hostName === null ? null : hostNameOf(wish.hostName, name, index)
    const chains = layers.map(({ id }) => volumes.chain(id).map(({ path, format }) => ({ path, format })))
    await cleaner.cleanUp({ chains, user: toolUser(context, uid) }, wish, hostName, progress)
    for (const layer of layers) await giveTo(volumes.pathOf(layer), uid)
  }

  const makeOne = async (
    caller: Caller,
    record: VmRecord,
    base: Base,
    input: CloneInput,
    one: { readonly name: string; readonly index: number },
    about: {
      readonly snapshot: string | null
      readonly signal: AbortSignal
      readonly letGo: () => void
      progress(done: number): void
      step(words: string): void
    },
  ): Promise<string> => {
    const cleaned = input.cleanUp === undefined ? '' : ', cleaned up inside,'
    const words = `${input.kind === 'linked' ? 'a linked clone' : 'a full clone'}${cleaned}`
    const made = await definer.derive(caller, {
      spec: (known) => cloneSpec(base.spec, input.kind, { name: one.name, ...known }),
      seed: input.seed === undefined ? undefined : { ...input.seed, index: one.index },
      from: record.id,
      done: `${caller.name} made ${one.name}, ${words} of ${record.spec.name}.`,
      letGo: about.letGo,
      async fill(claim, undo) {
        const target = { id: claim.id, ownerId: claim.ownerId, uid: claim.uid, name: one.name }
        const filled =
          input.kind === 'linked'
            ? await fillLinked(context, base, target, undo)
            : await fillFull(context, base, target, undo, about)
        await fillFirmware(context, base, target, record.id)
        if (input.cleanUp !== undefined) await cleanUp(filled, input.cleanUp, target.uid, one, about)
        undo.defer(async () => lineage.forget(claim.id))
        return () => {
          filled.store()
          lineage.change(claim.id, {
            origin: {
              kind: input.kind,
              vmId: VmId.parse(record.id),
              name: record.spec.name,
              snapshot: about.snapshot,
              at: new Date().toISOString(),
            },
          })
        }
      },
    })
    return made.id
  }

  const work = async (
    caller: Caller,
    record: VmRecord,
    input: CloneInput,
    from: SnapshotBase | null,
    names: readonly { readonly name: string; readonly index: number }[],
    promised: readonly (() => void)[],
    job: JobContext,
  ): Promise<string> => {
    const made: string[] = []
    const failures: { name: string; why: string; error: unknown }[] = []
    const fail = (name: string, error: unknown): void => {
      const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
      failures.push({ name, why, error })
      if (!(error instanceof EngineError)) context.warn(`The clone ${name} failed.`, error)
      journal.write({
        what: 'vmClone',
        text: `${name} was not made of ${record.spec.name}: ${why}`,
        result: 'failed',
        caller,
        topic: 'vm',
        objectId: record.id,
        objectName: record.spec.name,
        ownerId: record.ownerId,
      })
    }
    await moments.withBase(record, input, from, job, caller, async (base) => {
      const bytes =
        input.kind === 'full'
          ? (await Promise.all(base.disks.map(({ layerId }) => chainBytes(context, layerId)))).reduce(
              (a, b) => a + b,
              0,
            )
          : 0
      for (const [position, one] of names.entries()) {
        job.signal.throwIfAborted()
        const which = names.length === 1 ? one.name : `${position + 1} of ${names.length}: ${one.name}`
        job.step(which)
        const total = bytes * names.length
        const about = {
          snapshot: from?.name ?? null,
          signal: job.signal,
          letGo: () => promised[position]?.(),
          progress: (done: number) => job.progress(Math.round(position * bytes + done), Math.round(total)),
          step: (words: string) => job.step(`${which}: clean-up: ${words}`),
        }
        const run = () => makeOne(caller, record, base, input, one, about)
        try {
          const isHeavy = (input.kind === 'full' && !base.isForOne) || input.cleanUp !== undefined
          made.push(isHeavy ? await job.inQueue('convert', run) : await run())
        } catch (error) {
          if (job.signal.aborted) throw error
          fail(one.name, error)
        }
      }
    })
    if (input.start)
      for (const id of made)
        try {
          job.step(`Starting ${must(id).spec.name}`)
          await deps.start(caller, id)
        } catch (error) {
          fail(records.get(id)?.spec.name ?? 'A clone', error)
        }
    const [first] = failures
    if (first !== undefined) {
      if (names.length === 1) throw first.error
      const list = failures.map(({ name, why }) => `${name}: ${why}`).join(' ')
      throw new EngineError('conflict', `${made.length} of ${names.length} were made. ${list}`.slice(0, 2000))
    }
    return made[0] ?? record.id
  }

  return {
    async clone(caller, vmId, input) {
      const record = requireVm(records, caller, vmId)
      const from = input.snapshot === undefined ? null : snapshots.baseOf(vmId, input.snapshot)
      const names = cloneNames(input.name, record.spec.name, input.firstIndex, input.count)
      for (const { name } of names) {
        const parsed = VmName.safeParse(name)
        if (!parsed.success)
          throw new EngineError('bad_input', `“${name}” cannot be a name: ${parsed.error.issues[0]?.message ?? ''}.`, {
            field: 'name',
          })
      }
      if (new Set(names.map(({ name }) => name)).size < names.length)
        throw new EngineError('bad_input', 'The pattern is too long: the names would not differ.', { field: 'name' })
      assertPossible(record, input.kind, from)
      if (input.cleanUp !== undefined) {
        const why = cleanUpObstacle(from?.spec ?? record.spec, cleaner.obstacle())
        if (why !== null) throw new EngineError('conflict', why, { field: 'cleanUp' })
      }
      const [first] = names
      if (first !== undefined)
        await definer.assertDerivable(caller, {
          spec: (known) => cloneSpec(from?.spec ?? record.spec, input.kind, { name: first.name, ...known }),
          seed: input.seed === undefined ? undefined : { ...input.seed, index: first.index },
          from: record.id,
        })
      // All of them together, so that it is said now and not by the last of them; each is judged again when it is made.
      const promised = deps.places.promiseMany(
        holderFor(caller.userId, deps.places.forCopy(caller, record.id)),
        cloneSpec(from?.spec ?? record.spec, input.kind, { ...NO_ADDRESSES, name: first?.name ?? '' }),
        names.length,
      )
      const release = () => promised.forEach((one) => void one())
      const title =
        names.length === 1
          ? `${first?.name ?? ''}, a clone of ${record.spec.name}`
          : `${names.length} clones of ${record.spec.name}`
      try {
        return jobs
          .start({
            kind: 'vm-clone',
            title,
            owner: { userId: caller.userId, name: caller.name },
            totalBytes: null,
            target: { type: 'vm', id: vmId },
            work: (job) => work(caller, must(vmId), input, from, names, promised, job).finally(release),
          })
          .view()
      } catch (error) {
        release()
        throw error
      }
    },
    async facts(caller, vmId) {
      const record = requireVm(records, caller, vmId)
      const subject = subjectOf(record, null)
      const state = (why: string | null) => ({ allowed: why === null, reason: why })
      const isTemplate = lineage.isTemplate(vmId)
      const own = volumes.ofVm(vmId)
      const allocated = await Promise.all(own.map(({ head }) => chainBytes(context, head).catch(() => 0)))
      const standing = visible(records, caller, isTemplate ? lineage.standingOn(vmId) : lineage.sharing(vmId))
      return {
        linked: state(cloneObstacle(subject, 'linked')),
        full: state(cloneObstacle(subject, 'full')),
        cleanUp: state(cleanUpObstacle(record.spec, cleaner.obstacle())),
        notes: cloneNotes(record.spec),
        template: {
          set: state(templates.setObstacle(record)),
          unset: state(templates.unsetObstacle(caller, record)),
        },
        standing,
        sizeBytes: own.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        allocatedBytes: Math.round(allocated.reduce((sum, one) => sum + one, 0)),
      }
    },
    async setTemplate(caller, vmId, { template }) {
      const record = requireVm(records, caller, vmId)
      const done = template ? 'made a template of' : 'took back the template'
      return journal.vmOperation('vmTemplateSet', caller, record, done, async () => {
        if (template !== lineage.isTemplate(vmId))
          await locks.run(vmId, () =>
            template ? templates.make(caller, must(vmId)) : templates.unmake(caller, must(vmId)),
          )
        deps.announce(must(vmId))
        return views.view(must(vmId), viewpointOf(privilegesOn(caller, record)))
      })
    },
    async afterExit(vmId) {
      await locks.run(vmId, async () => {
        const record = records.get(vmId)
        if (record === null || !isOff(vmId)) return
        await settleOwners(context, vmId, record.uid)
        await forgetOldNames(context, vmId)
      })
    },
    async open() {
      lineage.load(records.isStored)
      return repairLayers(context)
    },
  }
}
