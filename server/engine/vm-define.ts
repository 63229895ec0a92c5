/** Creating, changing and deleting VMs: definition, files and supervisor in step, whatever fails in between. */
import { randomUUIDv7 } from 'node:crypto'
import type { CommandLine } from '#lib/schema/command-line.ts'
import type { SeedInput } from '#lib/schema/seed.ts'
import type { VmChangePreview } from '#lib/schema/vm-devices.ts'
import type { VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import { changeWarnings } from '#server/spec/warnings/change.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import { canUnplugCpus, fieldsToApply, heldDisks, pendingOf } from './live-change.ts'
import { scaleDownPng } from './png.ts'
import type { Caller } from './types.ts'
import { BYTES_PER_NEW_FILE, createVmDefineFiles } from './vm-define-files.ts'
import type { DefineDeps, DerivedVm } from './vm-define-types.ts'
import { createVmWishes, PREVIEW_ID } from './vm-define-wishes.ts'
import type { DiskFate } from './vm-disks.ts'
import type { VmRecord } from './vm-records.ts'

export interface VmDefiner {
  /**
   * @param projectId whose it is to be; left out: the caller's own
   * @param alongside stores what belongs to it, in the same transaction
   * @throws EngineError bad_input, name_taken, image_missing, port_in_use, conflict, no_space, quota_exceeded
   */
  create(
    caller: Caller,
    input: VmSpecInput,
    seed?: SeedInput,
    projectId?: string | null,
    alongside?: (vmId: string) => void,
  ): Promise<VmRecord>
  /**
   * A VM made from another. From the checks to the stored VM as `create`: whole, or nothing of it.
   * @throws EngineError what create throws; what `fill` throws
   */
  derive(caller: Caller, request: DerivedVm): Promise<VmRecord>
  /** Throws what `derive` would say of the definition. No side effects. */
  assertDerivable(caller: Caller, request: Pick<DerivedVm, 'spec' | 'seed' | 'from'>): Promise<void>
  /** No side effects. */
  preview(
    caller: Caller,
    input: VmSpecInput,
    seed?: SeedInput,
    projectId?: string | null,
  ): Promise<{ spec: VmSpec; commandLine: CommandLine }>
  /**
   * @param apply `now`: what a running guest can take, it takes at once; an empty patch takes up all that was left
   * @throws EngineError stale_revision and what create throws; what the running guest refused, with its field
   */
  update(
    caller: Caller,
    id: string,
    patch: VmSpecPatch,
    expectedRevision: number | null,
    apply: 'now' | 'next-start',
  ): Promise<VmRecord>
  /** What `update` would do. No side effects. */
  previewChange(caller: Caller, id: string, patch: VmSpecPatch): Promise<VmChangePreview>
  /**
   * Fresh UEFI variables, with keys enrolled where Secure Boot is on; boot entries and settings of the old are lost.
   * @throws EngineError wrong_state unless it is off and has UEFI; no_space
   */
  resetFirmware(id: string): Promise<VmRecord>
  /** @throws EngineError wrong_state, stale_revision */
  delete(caller: Caller | null, id: string, expectedRevision: number | null, disks?: DiskFate): Promise<void>
  /** Before a start, within the VM's lock: its disks are reachable, and as large as was asked. @throws EngineError */
  readyDisks(record: VmRecord): Promise<void>
  /** Call when a running guest has let go of a disk: its file goes unless the definition names it. */
  afterRelease(id: string): Promise<void>
  /** Call when a run has ended: removes disks that were taken out of the definition while the guest had them. */
  afterExit(id: string): Promise<void>
  thumbnail(png: Buffer, width: number): Promise<Buffer>
}

export function createVmDefiner(deps: DefineDeps): VmDefiner {
  const { records, supervisor, files, volumes, disks, seeds, space, identity, launcher, journal, locks, authority } =
    deps
  const { facts, check, changed, subjectOf, wanted, derived } = createVmWishes(deps)
  const { pinImages, nvramTemplate, createFiles, isOff, isInUse, sweep, sweepShared } = createVmDefineFiles(deps)
  const now = () => (deps.now ?? (() => new Date()))().toISOString()

  const requireRecord = (id: string): VmRecord => {
    const record = records.get(id)
    if (record === null) throw new EngineError('not_found', 'There is no such VM.')
    return record
  }

  const assertRevision = (record: VmRecord, expected: number | null): void => {
    if (expected === null || expected === record.revision) return
    throw new EngineError(
      'stale_revision',
      'Somebody changed this VM since you loaded it. Nothing was saved: load it again and repeat your change.',
      { details: { expected, actual: record.revision } },
    )
  }

  /** What a definition names on the host; only where that changed, so that a rename never fails for it. */
  const assertHost = async (id: string, caller: Caller, before: VmSpec, after: VmSpec): Promise<void> => {
    const named = (spec: VmSpec) => JSON.stringify([spec.shares, spec.directKernel, spec.hostDevices])
    if (named(before) === named(after)) return
    if (isOff(id)) await authority.assertHostPaths(after)
    else await authority.assertLaunchable(after, deps.runningBut(id, caller))
  }

  /** What a running guest would be given at once. @returns what ends the promise @throws EngineError */
  const letGrow = (before: VmRecord, spec: VmSpec, patch: VmSpecPatch, { launchedSpec }: VmRuntime): (() => void) => {
    if (launchedSpec === null) return () => {}
    const { fields } = fieldsToApply(before.spec, spec, patch)
    const taken = (field: keyof VmSpec) => fields === undefined || fields.has(field)
    if (taken('hostDevices')) deps.assertMayPlug(before.ownerId, spec, launchedSpec)
    return deps.admission.grow(before, {
      ...launchedSpec,
      ...(taken('cpus') && { cpus: spec.cpus }),
      ...(taken('dimms') && { dimms: spec.dimms }),
      ...(taken('virtioMem') && { virtioMem: spec.virtioMem }),
    })
  }

  const auditRawArgs = (caller: Caller, record: VmRecord, before: VmSpec | null): void => {
    const { rawArgs } = record.spec
    if (rawArgs.join('\0') === (before?.rawArgs ?? []).join('\0')) return
    journal.write({
      what: 'vmRawArgs',
      text:
        rawArgs.length === 0
          ? `${caller.name} took the raw options out of ${record.spec.name}.`
          : `${caller.name} set raw options of ${record.spec.name}: ${rawArgs.join(' ')}`,
      result: 'ok',
      caller,
      topic: 'vm',
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
      durable: true,
    })
  }

  return {
    async create(caller, input, seed, projectId = null, alongside) {
      const { spec, seedId, wishes } = await wanted(caller, input, seed, projectId)
      // From here to `claim` nothing awaits, so that two creates cannot both find a name, port or address free.
      check(spec, caller, caller.userId, null, seedId, projectId, wishes)
      const uid = identity.allocate(records.uids.union(disks.uids()))
      const claim = { id: randomUUIDv7(), ownerId: caller.userId, uid, spec, projectId }
      using holds = new DisposableStack()
      holds.defer(records.claim(claim))
      holds.defer(pinImages(spec))
      await using undo = new AsyncDisposableStack()
      await files.createDir(claim.id, uid)
      undo.defer(() => files.remove(claim.id))
      await createFiles(claim, spec, null, undo, wishes)
      if (seed !== undefined && seedId !== null)
        await seeds.write(seed, seedId, subjectOf(claim.id, uid, spec), caller.name, undo)
      // A definition that cannot compile is refused now, not at its first start.
      await launcher.assertCompiles(claim)
      await files.settle(claim.id)
      const record = records.insert(claim, now(), () => {
        if (projectId !== null) deps.place(claim.id, projectId)
        alongside?.(claim.id)
      })
      if (record === null) throw new EngineError('conflict', 'A VM with this id already exists. Try again.')
      undo.move()
      if (seedId !== null) seeds.named(seedId)
      supervisor.register(record.id)
      await files.finish(record.id)
      journal.write({
        what: 'vmCreate',
        text: `${caller.name} created ${spec.name}.`,
        result: 'ok',
        caller,
        topic: 'vm',
        objectId: record.id,
        objectName: spec.name,
        ownerId: record.ownerId,
        durable: true,
      })
      auditRawArgs(caller, record, null)
      deps.onChange(record, false)
      return record
    },
    async derive(caller, request) {
      const { spec, seedId, projectId } = await derived(caller, request)
      // As in `create`: nothing awaits from here to `claim`.
      request.letGo?.()
      check(spec, caller, caller.userId, null, seedId, projectId)
      const uid = identity.allocate(records.uids)
      const claim = { id: randomUUIDv7(), ownerId: caller.userId, uid, spec, projectId }
      using holds = new DisposableStack()
      holds.defer(records.claim(claim))
      holds.defer(pinImages(spec))
      await using undo = new AsyncDisposableStack()
      await files.createDir(claim.id, claim.uid)
      undo.defer(() => files.remove(claim.id))
      // The files are made while the definition is compiled; whatever fails, both have ended before anything is undone.
      const [filled, compiled] = await Promise.allSettled([request.fill(claim, undo), launcher.assertCompiles(claim)])
      if (filled.status === 'rejected') throw filled.reason
      if (compiled.status === 'rejected') throw compiled.reason
      const alongside = filled.value
      if (request.seed !== undefined && seedId !== null)
        await seeds.write(request.seed, seedId, subjectOf(claim.id, claim.uid, spec), caller.name, undo)
      await files.settle(claim.id)
      const record = volumes.together(() =>
        records.insert(claim, now(), () => {
          alongside()
          if (projectId !== null) deps.place(claim.id, projectId)
          journal.write({
            what: 'vmCreate',
            text: request.done,
            result: 'ok',
            caller,
            topic: 'vm',
            objectId: claim.id,
            objectName: spec.name,
            ownerId: claim.ownerId,
            durable: true,
          })
        }),
      )
      if (record === null) throw new EngineError('conflict', 'A VM with this id already exists. Try again.')
      undo.move()
      if (seedId !== null) seeds.named(seedId)
      supervisor.register(record.id)
      await files.finish(record.id)
      auditRawArgs(caller, record, null)
      deps.onChange(record, false)
      return record
    },
    async assertDerivable(caller, request) {
      const { spec, seedId, projectId } = await derived(caller, request)
      check(spec, caller, caller.userId, null, seedId, projectId)
    },
    async preview(caller, input, seed, projectId = null) {
      const { spec, seedId, wishes } = await wanted(caller, input, seed, projectId)
      check(spec, caller, caller.userId, null, seedId, projectId, wishes)
      const uid = identity.allocate(records.uids.union(disks.uids()))
      return { spec, commandLine: await launcher.explain({ id: PREVIEW_ID, ownerId: caller.userId, uid, spec }, null) }
    },
    async update(caller, id, asked, expectedRevision, apply) {
      return locks.run(id, async () => {
        const known = await facts(caller, requireRecord(id).spec)
        const before = requireRecord(id)
        assertRevision(before, expectedRevision)
        authority.assertMayAsk(caller, before.spec, asked)
        const { input: patch, wishes } = disks.resolve(caller, before.ownerId, asked)
        const runtime = supervisor.runtime(id)
        const spec = changed(before.spec, patch, known, runtime)
        disks.assertSizes(id, before.spec, spec)
        authority.assertMaySet(caller, before.spec, spec, deps.projectOf(id))
        await assertHost(id, caller, before.spec, spec)
        check(spec, caller, before.ownerId, id, null, null, wishes)
        const held = heldDisks(spec, before.spec, runtime.launchedSpec)
        using holds = new DisposableStack()
        if (apply === 'now') holds.defer(letGrow(before, spec, patch, runtime))
        // Others must see the new name and ports as taken while the files are made.
        holds.defer(records.claim({ id, ownerId: before.ownerId, uid: before.uid, spec }))
        holds.defer(pinImages(spec))
        await using undo = new AsyncDisposableStack()
        const present = { ...before.spec, disks: [...before.spec.disks, ...held] }
        // A dashboard that ended in the middle of a change may have left files.
        await sweep(before)
        await createFiles(before, spec, present, undo, wishes, (diskId) => isInUse(id, diskId))
        await launcher.assertCompiles({ ...before, spec })
        await files.settle(id)
        const isOpen = (diskId: string) => isInUse(id, diskId)
        // Those that nobody has open; the others grow with the live change, or at the next start.
        await disks.growClosed(id, spec, (diskId) => isOpen(diskId) || !isOff(id))
        let record: VmRecord | null = null
        const commit = () => {
          record = records.replace(before, spec, now(), before.revision)
          if (record === null) {
            throw new EngineError('stale_revision', 'This VM changed meanwhile. Nothing was saved: load it again.')
          }
        }
        if (runtime.launchedSpec === null || apply === 'next-start') commit()
        else {
          await supervisor.change(id, {
            next: spec,
            ...fieldsToApply(before.spec, spec, patch),
            canUnplugCpus: canUnplugCpus(runtime),
            user: identity.launchUser(before.uid, null, []),
            compile: await launcher.compiler({ ...before, spec }, runtime.accelerator),
            commit,
          })
          const { launchedSpec } = supervisor.runtime(id)
          if (launchedSpec !== null) disks.noteGrown(id, launchedSpec, isOpen)
        }
        undo.move()
        const stored = requireRecord(id)
        auditRawArgs(caller, stored, before.spec)
        deps.onChange(stored, false)
        await sweep(stored)
        await sweepShared(before.ownerId, before.spec)
        return stored
      })
    },
    async previewChange(caller, id, asked) {
      const before = requireRecord(id)
      const known = await facts(caller, before.spec)
      authority.assertMayAsk(caller, before.spec, asked)
      const { input: patch, wishes } = disks.resolve(caller, before.ownerId, asked)
      const runtime = supervisor.runtime(id)
      const spec = changed(before.spec, patch, known, runtime)
      disks.assertSizes(id, before.spec, spec)
      authority.assertMaySet(caller, before.spec, spec, deps.projectOf(id))
      await assertHost(id, caller, before.spec, spec)
      check(spec, caller, before.ownerId, id, null, null, wishes)
      letGrow(before, spec, patch, runtime)()
      heldDisks(spec, before.spec, runtime.launchedSpec)
      const subject = { ...before, spec }
      const compile = await launcher.compiler({ ...subject, spec: before.spec }, null)
      const commandLine = await launcher.explain(subject, compile(before.spec))
      return {
        spec,
        changes: pendingOf(spec, runtime),
        commandLine: {
          ...commandLine,
          warnings: [...changeWarnings(before.spec, spec), ...commandLine.warnings],
        },
      }
    },
    async resetFirmware(id) {
      return locks.run(id, async () => {
        const record = requireRecord(id)
        if (record.spec.firmware !== 'uefi')
          throw new EngineError('wrong_state', 'This VM starts with BIOS, which keeps no variables.')
        if (!isOff(id))
          throw new EngineError('wrong_state', 'The guest holds its UEFI variables while it runs; shut it down first.')
        const reservation = await space.reserve(BYTES_PER_NEW_FILE, 'The UEFI variables')
        try {
          await files.resetNvram(id, record.uid, await nvramTemplate(record.spec))
        } finally {
          reservation.release()
        }
        return record
      })
    },
    async delete(_caller, id, expectedRevision, fate = 'trash') {
      await locks.run(id, async () => {
        const record = requireRecord(id)
        assertRevision(record, expectedRevision)
        const allowed = allowedAction(supervisor.runtime(id).state, 'delete')
        if (!allowed.allowed) throw new EngineError('wrong_state', allowed.reason ?? 'Shut the guest down first.')
        await files.markUnfinished(id)
        // Synchronous from here to `remove`: no start can slip in. `forget` refuses unless off.
        try {
          supervisor.forget(id)
        } catch (error) {
          await files.finish(id)
          throw error
        }
        const settle = disks.leaveVm(id, record.spec.name, fate, () => records.remove(record, record.revision))
        if (settle === null) {
          supervisor.register(id)
          await files.finish(id)
          throw new EngineError('stale_revision', 'This VM changed meanwhile. Nothing was deleted: load it again.')
        }
        deps.onChange(record, true)
        await settle()
        seeds.forget(id)
        await files.remove(id)
        await sweepShared(record.ownerId, record.spec)
      })
    },
    async readyDisks({ id, spec }) {
      await disks.assertStartable(id, spec)
      await disks.growClosed(id, spec, () => false)
    },
    async afterRelease(id) {
      await locks.run(id, async () => {
        const record = records.get(id)
        if (record !== null) await sweep(record)
      })
    },
    async afterExit(id) {
      await locks.run(id, async () => {
        const record = records.get(id)
        if (record !== null && isOff(id)) await sweep(record)
      })
    },
    thumbnail: scaleDownPng,
  }
}
