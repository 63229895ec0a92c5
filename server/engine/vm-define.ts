/** Creating, changing and deleting VMs: definition, files and supervisor in step, whatever fails in between. */
import { randomBytes, randomUUIDv7 } from 'node:crypto'
import type { CommandLine } from '#lib/schema/command-line.ts'
import type { SeedId } from '#lib/schema/ids.ts'
import type { SeedInput } from '#lib/schema/seed.ts'
import type { VmChangePreview } from '#lib/schema/vm-devices.ts'
import type { VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import type { ImageLibrary } from '#server/images/library.ts'
import { flashFor } from '#server/spec/devices/firmware.ts'
import { applyPatch, normalizeSpec } from '#server/spec/normalize.ts'
import type { NormalizeFacts } from '#server/spec/types.ts'
import { changeWarnings } from '#server/spec/warnings/change.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'
import type { NvramTemplate } from '#server/storage/nvram.ts'
import { type SharedDisks, sharedDisksOf } from '#server/storage/shared-disks.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { VmFiles } from '#server/storage/vm-files.ts'
import type { Volumes } from '#server/storage/volumes.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { canSeeVm } from './access.ts'
import type { CapabilitySource } from './deps.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Launcher } from './launch.ts'
import { canUnplugCpus, deviceIdsOf, fieldsToApply, heldDisks, pendingOf, placed } from './live-change.ts'
import { scaleDownPng } from './png.ts'
import { seedsIn, withSeed } from './seed-drive.ts'
import type { Seeds } from './seeds.ts'
import type { Caller } from './types.ts'
import type { RunningVm, VmAuthority } from './vm-authority.ts'
import { checkAgainstOthers } from './vm-checks.ts'
import type { DiskFate, DiskWishes, VmDisks } from './vm-disks.ts'
import type { VmClaim, VmRecord, VmRecords } from './vm-records.ts'

/** A new qcow2 file takes a few hundred KiB; UEFI variables take less than one MiB. */
const BYTES_PER_NEW_FILE = 2 ** 20
/** Id of the VM that a preview describes; never stored. */
const PREVIEW_ID = '00000000-0000-7000-8000-000000000000'

export interface VmDefiner {
  /** @throws EngineError bad_input, name_taken, image_missing, port_in_use, conflict, no_space */
  create(caller: Caller, input: VmSpecInput, seed?: SeedInput): Promise<VmRecord>
  /**
   * A VM made from another. From the checks to the stored VM as `create`: whole, or nothing of it.
   * @throws EngineError what create throws; what `fill` throws
   */
  derive(caller: Caller, request: DerivedVm): Promise<VmRecord>
  /** Throws what `derive` would say of the definition. No side effects. */
  assertDerivable(caller: Caller, request: Pick<DerivedVm, 'spec' | 'seed'>): Promise<void>
  /** No side effects. */
  preview(caller: Caller, input: VmSpecInput, seed?: SeedInput): Promise<{ spec: VmSpec; commandLine: CommandLine }>
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

/** A VM with the definition of another. */
export interface DerivedVm {
  spec(known: DeriveFacts): VmSpec
  readonly seed: SeedInput | undefined
  /**
   * Makes its files in the directory that is there. What is made is registered with `undo`.
   * @returns what to store with it, in the same transaction
   */
  fill(target: VmClaim, undo: AsyncDisposableStack): Promise<() => void>
  /** Sentence for the log. */
  readonly done: string
}

export interface DeriveFacts {
  readonly nextMac: () => string
  readonly nextCid: () => number
}

/** The lowest vsock address that is not the host's or somebody's by custom. */
const FIRST_CID = 3

export interface DefineDeps {
  readonly records: VmRecords
  readonly supervisor: Supervisor
  readonly library: ImageLibrary
  readonly files: VmFiles
  readonly volumes: Volumes
  readonly disks: VmDisks
  readonly shared: SharedDisks
  readonly seeds: Seeds
  readonly space: SpaceLedger
  readonly identity: GuestIdentity
  readonly capabilities: CapabilitySource
  readonly launcher: Launcher
  readonly journal: Journal
  readonly locks: KeyedLock
  readonly authority: VmAuthority
  /** Running VMs but the one given: what they hold of the host. */
  readonly runningBut: (vmId: string, caller: Caller) => readonly RunningVm[]
  /** Port the dashboard listens on, which no guest may take. */
  readonly dashboardPort: () => number
  /** After the definition is stored; null: it has gone. */
  readonly onChange: (record: VmRecord, gone: boolean) => void
  readonly now?: () => Date
}

/** Locally administered prefix that QEMU and KVM tools use. */
const freshMac = (): string => `52:54:00:${[...randomBytes(3)].map((b) => b.toString(16).padStart(2, '0')).join(':')}`

export function createVmDefiner(deps: DefineDeps): VmDefiner {
  const {
    records,
    supervisor,
    library,
    files,
    volumes,
    disks,
    shared,
    seeds,
    space,
    identity,
    launcher,
    journal,
    locks,
    authority,
  } = deps
  const now = () => (deps.now ?? (() => new Date()))().toISOString()

  const facts = async (): Promise<NormalizeFacts> => {
    const capabilities = await deps.capabilities.current()
    const images = new Map(library.all().map((document) => [document.id, document]))
    const taken = new Set<string>()
    for (const claim of records.claims()) for (const card of claim.spec.networks) taken.add(card.mac)
    return {
      capabilities,
      images,
      nextMac() {
        for (;;) {
          const mac = freshMac()
          if (!taken.has(mac)) {
            taken.add(mac)
            return mac
          }
        }
      },
    }
  }

  /**
   * @param newSeed one that is being made for it
   * @throws EngineError name_taken, port_in_use, conflict, image_missing, bad_input
   */
  const check = (
    spec: VmSpec,
    caller: Caller,
    ownerId: string,
    selfId: string | null,
    newSeed: SeedId | null = null,
  ): void => {
    checkAgainstOthers(spec, {
      others: records.claims(),
      ownerId,
      selfId,
      dashboardPort: deps.dashboardPort(),
      canSee: (owner) => canSeeVm(caller, owner),
    })
    spec.disks.forEach((drive, index) => {
      if (drive.device === 'cdrom' && drive.seed !== null && drive.seed !== newSeed) {
        if (selfId === null || !seeds.has(selfId, drive.seed))
          throw new EngineError('bad_input', 'This VM has no such seed; give it one where its seed is set.', {
            field: `disks.${index}.seed`,
          })
      }
      if (drive.image !== null && !library.isPresent(drive.image)) {
        throw new EngineError(
          'image_missing',
          'The file of this image has gone or changed since it was added. Put it back, or choose another image.',
          { field: `disks.${index}.image` },
        )
      }
    })
  }

  /** @throws EngineError bad_input */
  const changed = (before: VmSpec, patch: VmSpecPatch, known: NormalizeFacts, runtime: VmRuntime): VmSpec => {
    const spec = placed(applyPatch(before, patch, { ...known, heldIds: deviceIdsOf(runtime) }), before, patch, runtime)
    return spec
  }

  const pinImages = (spec: VmSpec): (() => void) => {
    const releases = spec.disks.flatMap((drive) => (drive.image === null ? [] : [library.pin(drive.image)]))
    return () => {
      for (const release of releases) release()
    }
  }

  /** @throws EngineError bad_input when the host has no such firmware */
  const nvramTemplate = async (spec: VmSpec): Promise<NvramTemplate> => {
    const flash = flashFor(spec, await deps.capabilities.current())
    if (flash === null) {
      throw new EngineError('bad_input', 'UEFI firmware (OVMF) is not installed on the host.', {
        field: spec.secureBoot ? 'secureBoot' : 'firmware',
      })
    }
    return { path: flash.vars, format: flash.format, secureBoot: spec.secureBoot }
  }

  /** Creates what `spec` has and `before` had not. Every file made is registered with `undo` at once. */
  const createFiles = async (
    vm: { id: string; ownerId: string; uid: number | null },
    spec: VmSpec,
    before: VmSpec | null,
    undo: AsyncDisposableStack,
    wishes: DiskWishes,
    isHeld: (diskId: string) => boolean = () => false,
  ): Promise<void> => {
    const known = new Set(before?.disks.map((drive) => drive.id))
    const fresh = spec.disks.filter((drive) => drive.device === 'disk').filter((disk) => !known.has(disk.id))
    const needsNvram = spec.firmware === 'uefi' && before?.firmware !== 'uefi'
    // Nothing to write: a rename must work on a full disk too.
    if (fresh.length === 0 && !needsNvram) return
    using _room = await disks.reserve(fresh, spec, wishes, BYTES_PER_NEW_FILE)
    const ownFiles = sharedDisksOf({ disks: fresh }).length + (needsNvram ? 1 : 0)
    const reservation = ownFiles === 0 ? null : await space.reserve(ownFiles * BYTES_PER_NEW_FILE, 'The VM')
    try {
      for (const disk of sharedDisksOf({ disks: fresh })) {
        const made = await shared.ensure(vm.ownerId, disk)
        if (made) undo.defer(() => sweepShared(vm.ownerId, { disks: [disk] }, vm.id))
      }
      for (const disk of fresh) {
        if (disk.shared) continue
        await disks.make(vm, spec, disk, wishes, undo, () => isHeld(disk.id))
      }
      if (needsNvram) {
        const made = await files.createNvram(vm.id, vm.uid, await nvramTemplate(spec))
        if (made) undo.defer(() => files.removeNvram(vm.id))
      }
    } finally {
      reservation?.release()
    }
  }

  const isOff = (id: string): boolean => {
    const { state } = supervisor.runtime(id)
    return state === 'off' || state === 'crashed'
  }

  /** Whether QEMU may have the disk's file open. */
  const isInUse = (id: string, diskId: string): boolean =>
    supervisor.runtime(id).launchedSpec?.disks.some((drive) => drive.id === diskId) ?? false

  /** Disks that neither the definition nor the running guest has any more. */
  const sweep = async ({ id, spec }: VmRecord): Promise<void> => {
    const { launchedSpec } = supervisor.runtime(id)
    // A guest whose disks are not on record may have any of them.
    if (launchedSpec === null && !isOff(id)) return
    const wanted = new Set([...spec.disks, ...(launchedSpec?.disks ?? [])].map((drive) => drive.id))
    for (const volume of volumes.ofVm(id))
      if (volume.vm !== null && !wanted.has(volume.vm.device)) await disks.release(volume, spec.name)
    await seeds.sweep(id, [...seedsIn(spec), ...seedsIn(launchedSpec)])
  }

  /**
   * Removes the shared disks of `was` that no VM of the owner has, in its definition or its running machine.
   * @param failed VM whose change is being undone: only what is stored of it counts
   */
  const sweepShared = async (ownerId: string, was: Pick<VmSpec, 'disks'>, failed?: string): Promise<void> => {
    const left = new Set(sharedDisksOf(was).map((disk) => disk.serial))
    for (const claim of records.claims()) {
      if (claim.ownerId !== ownerId || left.size === 0) continue
      const stored = records.get(claim.id)
      const wanted = claim.id === failed ? stored?.spec : claim.spec
      // One that is being created runs nothing yet.
      const running = stored === null ? null : supervisor.runtime(claim.id).launchedSpec
      for (const spec of [wanted, running])
        for (const disk of sharedDisksOf(spec ?? { disks: [] })) left.delete(disk.serial)
    }
    for (const serial of left) await shared.remove(ownerId, serial)
  }

  const subjectOf = (id: string, uid: number | null, spec: VmSpec) => ({
    id,
    uid,
    name: spec.name,
    macs: spec.networks.map((card) => card.mac),
  })

  /** What is asked for, completed; with the drive of its seed. */
  const wanted = async (caller: Caller, asked: VmSpecInput, seed: SeedInput | undefined) => {
    authority.assertMayAsk(caller, null, asked)
    const { input, wishes } = disks.resolve(caller, caller.userId, asked)
    const known = await facts()
    const seedId = seed === undefined ? null : seeds.newId()
    let spec = normalizeSpec(input, known)
    if (seed !== undefined && seedId !== null) {
      spec = applyPatch(spec, withSeed(spec, { id: seedId, bus: seed.bus }), known)
      seeds.assertGood(seed, subjectOf(PREVIEW_ID, null, spec))
    }
    authority.assertMaySet(caller, null, spec)
    await authority.assertHostPaths(spec)
    return { spec, seedId, wishes }
  }

  /** Definition of a derived VM, with the drive of its seed. */
  const derived = async (caller: Caller, request: Pick<DerivedVm, 'spec' | 'seed'>) => {
    const known = await facts()
    const cids = new Set([...records.claims()].flatMap((claim) => claim.spec.vsock?.cid ?? []))
    const nextCid = () => {
      let cid = FIRST_CID
      while (cids.has(cid)) cid += 1
      cids.add(cid)
      return cid
    }
    const seedId = request.seed === undefined ? null : seeds.newId()
    let spec = request.spec({ nextMac: known.nextMac, nextCid })
    if (request.seed !== undefined && seedId !== null) {
      spec = applyPatch(spec, withSeed(spec, { id: seedId, bus: request.seed.bus }), known)
      seeds.assertGood(request.seed, subjectOf(PREVIEW_ID, null, spec))
    }
    authority.assertMaySet(caller, null, spec)
    await authority.assertHostPaths(spec)
    return { spec, seedId }
  }

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
    async create(caller, input, seed) {
      const { spec, seedId, wishes } = await wanted(caller, input, seed)
      // From here to `claim` nothing awaits, so that two creates cannot both find a name, port or address free.
      check(spec, caller, caller.userId, null, seedId)
      const uid = identity.allocate(records.uids.union(disks.uids()))
      const claim = { id: randomUUIDv7(), ownerId: caller.userId, uid, spec }
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
      await launcher.explain(claim, null)
      await files.settle(claim.id)
      const record = records.insert(claim, now())
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
      const { spec, seedId } = await derived(caller, request)
      // As in `create`: nothing awaits from here to `claim`.
      check(spec, caller, caller.userId, null, seedId)
      const claim = { id: randomUUIDv7(), ownerId: caller.userId, uid: identity.allocate(records.uids), spec }
      using holds = new DisposableStack()
      holds.defer(records.claim(claim))
      holds.defer(pinImages(spec))
      await using undo = new AsyncDisposableStack()
      await files.createDir(claim.id, claim.uid)
      undo.defer(() => files.remove(claim.id))
      const alongside = await request.fill(claim, undo)
      if (request.seed !== undefined && seedId !== null)
        await seeds.write(request.seed, seedId, subjectOf(claim.id, claim.uid, spec), caller.name, undo)
      await launcher.explain(claim, null)
      await files.settle(claim.id)
      const record = volumes.together(() =>
        records.insert(claim, now(), () => {
          alongside()
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
      const { spec, seedId } = await derived(caller, request)
      check(spec, caller, caller.userId, null, seedId)
    },
    async preview(caller, input, seed) {
      const { spec, seedId } = await wanted(caller, input, seed)
      check(spec, caller, caller.userId, null, seedId)
      const uid = identity.allocate(records.uids.union(disks.uids()))
      return { spec, commandLine: await launcher.explain({ id: PREVIEW_ID, ownerId: caller.userId, uid, spec }, null) }
    },
    async update(caller, id, asked, expectedRevision, apply) {
      return locks.run(id, async () => {
        const known = await facts()
        const before = requireRecord(id)
        assertRevision(before, expectedRevision)
        authority.assertMayAsk(caller, before.spec, asked)
        const { input: patch, wishes } = disks.resolve(caller, before.ownerId, asked)
        const runtime = supervisor.runtime(id)
        const spec = changed(before.spec, patch, known, runtime)
        disks.assertSizes(id, before.spec, spec)
        authority.assertMaySet(caller, before.spec, spec)
        await assertHost(id, caller, before.spec, spec)
        check(spec, caller, before.ownerId, id)
        const held = heldDisks(spec, before.spec, runtime.launchedSpec)
        using holds = new DisposableStack()
        // Others must see the new name and ports as taken while the files are made.
        holds.defer(records.claim({ id, ownerId: before.ownerId, uid: before.uid, spec }))
        holds.defer(pinImages(spec))
        await using undo = new AsyncDisposableStack()
        const present = { ...before.spec, disks: [...before.spec.disks, ...held] }
        // A dashboard that ended in the middle of a change may have left files.
        await sweep(before)
        await createFiles(before, spec, present, undo, wishes, (diskId) => isInUse(id, diskId))
        await launcher.explain({ ...before, spec }, null)
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
            user: identity.launchUser(before.uid, null),
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
      const known = await facts()
      const before = requireRecord(id)
      authority.assertMayAsk(caller, before.spec, asked)
      const { input: patch } = disks.resolve(caller, before.ownerId, asked)
      const runtime = supervisor.runtime(id)
      const spec = changed(before.spec, patch, known, runtime)
      disks.assertSizes(id, before.spec, spec)
      authority.assertMaySet(caller, before.spec, spec)
      await assertHost(id, caller, before.spec, spec)
      check(spec, caller, before.ownerId, id)
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
