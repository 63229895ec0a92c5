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
import { cloneNotes, cloneObstacle, cloneSpec, ownDisks, TEMPLATE_STAYS_OFF } from '#lib/clones/rules.ts'
import type { CloneFacts, CloneInput } from '#lib/schema/clone.ts'
import { VmId } from '#lib/schema/ids.ts'
import type { CloneKind } from '#lib/schema/origin.ts'
import type { SnapshotKind } from '#lib/schema/snapshot.ts'
import { VmName, type VmSpec, type VmSpecPatch } from '#lib/schema/vm-spec.ts'
import type { Base, CloneContext } from '#server/clones/context.ts'
import { atOnce, dropLayers, toolUser } from '#server/clones/context.ts'
import { chainBytes, fillFirmware, fillFull, fillLinked, readTpm } from '#server/clones/fill.ts'
import {
  basesOf,
  type DiskOf,
  forgetOldNames,
  freezeHeads,
  ownLayer,
  repairLayers,
  shareLayers,
} from '#server/clones/freeze.ts'
import type { Lineage } from '#server/clones/lineage.ts'
import { copyLive, freezeLive, recoverLive } from '#server/clones/live.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { canSeeVm, requireVm, viewpointOf } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Caller, CloneEngine } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmDefiner } from './vm-define.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'
import type { VmViews } from './vm-views.ts'

const TEMPLATE_STAYS_SO =
  'This is a template, whose disks stay as they are. Make a VM of it, or make it an ordinary VM again first.'

/** Work that leaves a template's disks alone. */
const READS_ONLY = new Set(['backup-create', 'clone'])

/** A snapshot as a clone needs it. */
export interface SnapshotBase {
  readonly name: string
  readonly kind: SnapshotKind
  readonly spec: VmSpec
  readonly disks: readonly { readonly device: string; readonly layerId: string; readonly sizeBytes: number }[]
  /** Inside the files of the disks and of the variables; null: the layers themselves. */
  readonly tag: string | null
  readonly nvram: string | null
  readonly tpm: string | null
}

export interface SnapshotSource {
  /** Kind of the snapshots a VM has; null: none. */
  kindOf(vmId: string): SnapshotKind | null
  /** @throws EngineError not_found, wrong_state when it is not complete */
  baseOf(vmId: string, snapshotId: string): SnapshotBase
}

export interface CloneDeps {
  readonly context: CloneContext
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

function visible(records: VmRecords, caller: Caller, ids: readonly string[]): CloneFacts['standing'] {
  const known = ids.flatMap((id) => records.get(id) ?? [])
  const seen = known.filter((record) => canSeeVm(caller, record))
  return {
    vms: seen.map(({ id, spec }) => ({ id: VmId.parse(id), name: spec.name })),
    others: ids.length - seen.length,
  }
}

export function createCloneEngine(deps: CloneDeps): CloneEngineWithUpkeep {
  const { context, lineage, records, views, supervisor, definer, journal, jobs, locks, busy, snapshots } = deps
  const { volumes, data } = context

  busy.addGuard((vmId, action) => {
    if (!lineage.isTemplate(vmId)) return
    if (action === 'start') throw new EngineError('wrong_state', TEMPLATE_STAYS_OFF)
    if (action === 'revert' || (typeof action === 'object' && !READS_ONLY.has(action.work)))
      throw new EngineError('wrong_state', TEMPLATE_STAYS_SO)
  })

  const isOff = (id: string): boolean => ['off', 'crashed'].includes(supervisor.runtime(id).state)
  const must = (id: string): VmRecord => {
    const record = records.get(id)
    if (record === null) throw new EngineError('not_found', 'There is no such VM.')
    return record
  }

  const disksOf = (vmId: string, spec: VmSpec): DiskOf[] =>
    ownDisks(spec).map((disk) => {
      const volume = volumes.find(vmId, disk.id)
      if (volume === null)
        throw new EngineError(
          'volume_missing',
          `The files of the disk “${disk.id}” are not known; it cannot be cloned.`,
        )
      return { device: disk.id, volume }
    })

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

  /** Directory of what the TPM knows; null: it is not taken over. */
  const tpmOf = (record: VmRecord, spec: VmSpec, input: CloneInput): string | null =>
    spec.tpm !== 'none' && input.tpm === 'copy' ? data.tpmDir(record.id) : null
  const sideOf = async (record: VmRecord, spec: VmSpec, input: CloneInput) => {
    const tpm = tpmOf(record, spec, input)
    return {
      nvram: spec.firmware === 'uefi' ? data.nvram(record.id) : null,
      tpm: tpm === null ? null : await readTpm(tpm),
      user: toolUser(context, record.uid),
    }
  }

  /** Keeps the moment, makes clones of it with `make`, lets go. */
  const withBase = async (
    record: VmRecord,
    input: CloneInput,
    from: SnapshotBase | null,
    job: JobContext,
    caller: Caller,
    make: (base: Base) => Promise<void>,
  ): Promise<void> => {
    const { id } = record
    using pins = new DisposableStack()
    const pinned = async (base: Base) => {
      for (const { layerId } of base.disks) pins.defer(volumes.pin(layerId))
      await make(base)
    }
    const held = { what: 'clone', by: caller.name, jobId: job.jobId }

    if (from !== null) {
      const disks = from.disks.map(({ device, layerId, sizeBytes }) => {
        const layer = volumes.layer(layerId)
        if (layer === null) throw new EngineError('volume_missing', `The files of “${device}” have gone.`)
        return { device, layerId, poolId: layer.poolId, sizeBytes }
      })
      const base = {
        ...{ spec: from.spec, disks, tag: from.tag, isForOne: false },
        ...{ user: toolUser(context, record.uid), nvram: from.nvram },
        tpm: input.tpm === 'copy' && from.tpm !== null ? await readTpm(from.tpm) : null,
      }
      // Neither may it be deleted, nor be merged with others, before the clones stand on it.
      const sentence = 'A snapshot of it is being cloned'
      const blocks = from.tag === null ? (['change', 'delete', 'revert'] as const) : undefined
      await busy.run(id, { ...held, sentence, isAtomic: true, ...(blocks && { blocks }) }, async () => {
        if (input.kind === 'linked')
          await shareLayers(
            context,
            disks.map(({ layerId }) => layerId),
          )
        await pinned(base)
      })
      return
    }
    if (!isOff(id)) {
      await whileLive(record, input, job, held, pinned)
      return
    }
    const whole = async () => ({
      ...{ spec: record.spec, tag: null, isForOne: false },
      ...(await sideOf(record, record.spec, input)),
    })
    if (lineage.isTemplate(id)) {
      // No file of it is written, so nobody need wait.
      const disks = disksOf(id, record.spec)
      await shareLayers(
        context,
        disks.map(({ volume }) => volume.head),
      )
      await pinned({ ...(await whole()), disks: basesOf(context, disks) })
      return
    }
    const sentence = 'It is being cloned'
    if (input.kind === 'full') {
      await busy.run(id, { ...held, sentence, isAtomic: true }, async () => {
        assertOff(id)
        await pinned({ ...(await whole()), disks: basesOf(context, disksOf(id, record.spec)) })
      })
      return
    }
    // Variables and TPM are read until the last clone is made; then the source may start again.
    await busy.run(id, { ...held, sentence, isAtomic: true }, async () => {
      const disks = await locks.run(id, async () => {
        assertOff(id)
        return freezeHeads(context, record.uid, disksOf(id, record.spec))
      })
      await pinned({ ...(await whole()), disks })
    })
  }
  /** Of a guest that runs: its disks as of one moment, whatever it writes meanwhile. */
  const whileLive = async (
    record: VmRecord,
    input: CloneInput,
    job: JobContext,
    held: { what: string; by: string; jobId: string },
    make: (base: Base) => Promise<void>,
  ): Promise<void> => {
    const { id, uid } = record
    const ids = (spec: VmSpec) =>
      ownDisks(spec)
        .map((disk) => disk.id)
        .join()
    await busy.run(id, { ...held, sentence: 'It is being cloned' }, async (note) => {
      const running = supervisor.runtime(id).launchedSpec
      if (running === null) throw new EngineError('wrong_state', 'What this guest runs is not known; try again.')
      // A disk that is to come with the next start is not there yet, one that is to go still is.
      const spec = ids(running) === ids(record.spec) ? record.spec : running
      const source = { id, uid, spec: running, disks: disksOf(id, running) }
      const progress = {
        signal: job.signal,
        step: job.step,
        progress: (done: number, total: number) => job.progress(done, total),
        note,
      }
      const take = input.kind === 'linked' ? freezeLive : copyLive
      const moment = await supervisor.work(id, (guest) =>
        take(context, guest, source, tpmOf(record, running, input), progress),
      )
      try {
        await make({
          ...{ spec, disks: moment.disks, tag: null, user: toolUser(context, uid) },
          nvram: moment.nvram === null ? null : volumes.pathOf(moment.nvram),
          tpm: moment.tpm,
          isForOne: input.kind === 'full' && input.count === 1,
        })
      } finally {
        await dropLayers(
          context,
          moment.made.filter((layer) => volumes.volumeOfHead(layer.id) === null),
        )
      }
    })
  }
  busy.onRecovery('clone', async (vmId, left) => {
    const { state } = supervisor.runtime(vmId)
    const isReachable = !['off', 'crashed', 'unmanageable'].includes(state)
    const notes = isReachable
      ? await supervisor.work(vmId, (guest) => recoverLive(context, guest, left.about))
      : await recoverLive(context, null, left.about)
    for (const sentence of notes) context.warn(`${records.get(vmId)?.spec.name ?? vmId}: ${sentence}`)
  })

  const assertOff = (id: string): void => {
    if (!isOff(id)) throw new EngineError('wrong_state', 'The guest was started meanwhile; try again.')
  }

  const makeOne = async (
    caller: Caller,
    record: VmRecord,
    base: Base,
    input: CloneInput,
    one: { readonly name: string; readonly index: number },
    about: { readonly snapshot: string | null; readonly signal: AbortSignal; progress(done: number): void },
  ): Promise<string> => {
    const words = input.kind === 'linked' ? 'a linked clone' : 'a full clone'
    const made = await definer.derive(caller, {
      spec: (known) => cloneSpec(base.spec, input.kind, { name: one.name, ...known }),
      seed: input.seed === undefined ? undefined : { ...input.seed, index: one.index },
      from: record.id,
      done: `${caller.name} made ${one.name}, ${words} of ${record.spec.name}.`,
      async fill(claim, undo) {
        const target = { id: claim.id, ownerId: claim.ownerId, uid: claim.uid, name: one.name }
        const store =
          input.kind === 'linked'
            ? await fillLinked(context, base, target, undo)
            : await fillFull(context, base, target, undo, about)
        await fillFirmware(context, base, target, record.id)
        undo.defer(async () => lineage.forget(claim.id))
        return () => {
          store()
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
    await withBase(record, input, from, job, caller, async (base) => {
      const bytes =
        input.kind === 'full'
          ? (await Promise.all(base.disks.map(({ layerId }) => chainBytes(context, layerId)))).reduce(
              (a, b) => a + b,
              0,
            )
          : 0
      for (const [position, one] of names.entries()) {
        job.signal.throwIfAborted()
        job.step(names.length === 1 ? one.name : `${position + 1} of ${names.length}: ${one.name}`)
        const total = bytes * names.length
        const about = {
          snapshot: from?.name ?? null,
          signal: job.signal,
          progress: (done: number) => job.progress(Math.round(position * bytes + done), Math.round(total)),
        }
        const run = () => makeOne(caller, record, base, input, one, about)
        try {
          made.push(input.kind === 'full' && !base.isForOne ? await job.inQueue('convert', run) : await run())
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
      const [first] = names
      if (first !== undefined)
        await definer.assertDerivable(caller, {
          spec: (known) => cloneSpec(from?.spec ?? record.spec, input.kind, { name: first.name, ...known }),
          seed: input.seed === undefined ? undefined : { ...input.seed, index: first.index },
          from: record.id,
        })
      const title =
        names.length === 1
          ? `${first?.name ?? ''}, a clone of ${record.spec.name}`
          : `${names.length} clones of ${record.spec.name}`
      return jobs
        .start({
          kind: 'vm-clone',
          title,
          owner: { userId: caller.userId, name: caller.name },
          totalBytes: null,
          target: { type: 'vm', id: vmId },
          work: (job) => work(caller, must(vmId), input, from, names, job),
        })
        .view()
    },
    async facts(caller, vmId) {
      const record = requireVm(records, caller, vmId)
      const subject = subjectOf(record, null)
      const state = (why: string | null) => ({ allowed: why === null, reason: why })
      const isTemplate = lineage.isTemplate(vmId)
      const own = volumes.ofVm(vmId)
      const allocated = await Promise.all(own.map(({ head }) => chainBytes(context, head).catch(() => 0)))
      const standing = visible(records, caller, isTemplate ? lineage.standingOn(vmId) : lineage.sharing(vmId))
      const mayUnset = isTemplate
        ? standing.vms.length + standing.others > 0
          ? 'Linked clones stand on its disks; delete them first.'
          : null
        : 'It is not a template.'
      return {
        linked: state(cloneObstacle(subject, 'linked')),
        full: state(cloneObstacle(subject, 'full')),
        notes: cloneNotes(record.spec),
        template: { set: state(setObstacle(record)), unset: state(mayUnset) },
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
            template ? makeTemplate(caller, must(vmId)) : unmakeTemplate(caller, must(vmId)),
          )
        deps.announce(must(vmId))
        return views.view(must(vmId), viewpointOf(privilegesOn(caller, record)))
      })
    },
    async afterExit(vmId) {
      await locks.run(vmId, async () => {
        if (records.get(vmId) !== null && isOff(vmId)) await forgetOldNames(context, vmId)
      })
    },
    async open() {
      lineage.load(records.isStored)
      return repairLayers(context)
    },
  }

  function setObstacle(record: VmRecord): string | null {
    if (lineage.isTemplate(record.id)) return 'It is a template already.'
    if (!isOff(record.id)) return 'Shut the guest down first.'
    if (snapshots.kindOf(record.id) !== null)
      return 'It has snapshots, which a template cannot go back to; delete them.'
    return cloneObstacle({ spec: record.spec, snapshots: null, from: null, isOff: true }, 'linked')
  }

  async function makeTemplate(caller: Caller, record: VmRecord): Promise<void> {
    const why = setObstacle(record)
    if (why !== null) throw new EngineError(isOff(record.id) ? 'conflict' : 'wrong_state', why)
    const request = { what: 'template', sentence: 'It is becoming a template', by: caller.name, isAtomic: true }
    await busy.run(record.id, request, async () => {
      assertOff(record.id)
      // Before its files are for all to read nobody may begin to write them, and this says so.
      lineage.change(record.id, { template: { by: caller.name, at: new Date().toISOString() } })
      await shareLayers(
        context,
        disksOf(record.id, record.spec).map(({ volume }) => volume.head),
      )
    })
  }

  async function unmakeTemplate(caller: Caller, record: VmRecord): Promise<void> {
    const heads = disksOf(record.id, record.spec).map(({ volume }) => volume.head)
    const assertUnused = () => {
      refuseWhileStanding(lineage, records, caller, record.id, 'Delete them first, then it can become a VM again.')
      if (heads.some((id) => volumes.childrenOf(id).length > 0))
        throw new EngineError(
          'in_use',
          'Disks in the trash still stand on it, or a clone is being made just now: empty the trash, or wait.',
        )
    }
    assertUnused()
    atOnce(context, () => {
      for (const id of heads) volumes.changeLayer(id, { uid: record.uid })
      lineage.change(record.id, { template: null })
    })
    for (const id of heads) {
      const layer = volumes.layer(id)
      if (layer !== null) await ownLayer(context, layer)
    }
  }
}
