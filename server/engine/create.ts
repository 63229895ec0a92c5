/**
 * Joins the rooms into the engine.
 *
 * Start: `open` prepares directories, loads documents, adopts running guests, sweeps what a crash left, then (on the
 * first start after the host booted) starts what should run. Stop: `close` lets go of guests without stopping them.
 */
import { may, type ObjectKind } from '#lib/auth/privileges.ts'
import { ProjectId } from '#lib/schema/ids.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { VmExit } from '#lib/schema/vm-state.ts'
import { type Access, createAccess } from '#server/access/access.ts'
import { placementKey } from '#server/access/documents.ts'
import { createNetworks } from '#server/access/networks.ts'
import { createQuotas } from '#server/access/quotas.ts'
import { createSteadyClock } from '#server/auth/steady-clock.ts'
import { createCloneCleaner } from '#server/clones/clean-up/clean-up.ts'
import { createLineage } from '#server/clones/lineage.ts'
import type { TicketGrant } from '#server/console/types.ts'
import { parseAllowList } from '#server/fetch/url-guard.ts'
import { createAdmission } from '#server/images/admission.ts'
import { createCatalogue } from '#server/images/catalogue.ts'
import { createImageInspector, inspectOld } from '#server/images/inspection.ts'
import { createIntake } from '#server/images/intake.ts'
import { createImageLibrary } from '#server/images/library.ts'
import { createJobRegistry } from '#server/jobs/registry.ts'
import { createMetrics } from '#server/metrics/metrics.ts'
import { diskReadersDir } from '#server/paths.ts'
import { readGroups } from '#server/platform/process.ts'
import { createSmallSystems } from '#server/small-system/build.ts'
import { createLayerReaders } from '#server/storage/layer-readers.ts'
import { createSeedFiles } from '#server/storage/seed-files.ts'
import { createUsage } from '#server/storage/usage.ts'
import type { AdoptReport, VmRuntime } from '#server/vm/types.ts'
import { decideFor } from './accelerator-choice.ts'
import { canSeeVm, requireVm } from './access.ts'
import { createActivity } from './activity.ts'
import { createApplianceEngine } from './appliances.ts'
import { createAuthorize } from './authorize.ts'
import { createBackups } from './backup-setup.ts'
import { templateRules } from './clone-templates.ts'
import { createCloneEngine } from './clones.ts'
import { type ConsoleRecord, createConsoleRecord } from './console-record.ts'
import type { EngineDeps } from './deps.ts'
import { createDiskPauses } from './disk-pauses.ts'
import { autostart, legacyDisks, settleDeleted, settleOwnersOfBefore, watchDisks } from './engine-start.ts'
import { createEventEngine } from './event-stream.ts'
import { setUpFileBrowser } from './file-browser-setup.ts'
import { createGuestLinks, type GuestLinks } from './guest-links.ts'
import { watchGuests } from './guest-watch.ts'
import { hostFacts } from './host-facts.ts'
import { createImageUses } from './image-uses.ts'
import { canSeeImage, createImageEngine, usersVisibleTo } from './images.ts'
import { createJobs } from './jobs.ts'
import { createJournal } from './journal.ts'
import { createKeyedLock } from './keyed-lock.ts'
import { createLabRoom } from './lab.ts'
import { createLauncher } from './launch.ts'
import { createLossRecord } from './loss-record.ts'
import { createNetworkEngine } from './networks.ts'
import { createObjectAccess } from './object-access.ts'
import { createPeople } from './people.ts'
import { careForPlacements } from './placement-care.ts'
import { stopPngWorker } from './png.ts'
import { createPoolEngine } from './pools.ts'
import { createNames } from './project-names.ts'
import { createProjectEngine } from './projects.ts'
import { createQuotaDoors } from './quota-doors.ts'
import { allocatedOf, createQuotaSources } from './quota-sources.ts'
import { createReaders } from './readers.ts'
import { createRecordingShelf } from './recording-shelf.ts'
import { createRecordings } from './recordings.ts'
import { createRoomWatch } from './room-watch.ts'
import { createRunningPlan } from './running-plan.ts'
import { createSeeds } from './seeds.ts'
import { createSnapshotRoom } from './snapshot-room.ts'
import { createStartAdmission } from './start-admission.ts'
import { createStorageRoom } from './storage-room.ts'
import { createStorageViews } from './storage-views.ts'
import { createTransferEngine } from './transfers.ts'
import type { Caller, Engine } from './types.ts'
import { createUsageEngine } from './usage.ts'
import { createViewerEngine } from './viewers.ts'
import { createVmAnnouncer } from './vm-announcer.ts'
import { createVmAuthority } from './vm-authority.ts'
import { createVmBusy, type VmBusy } from './vm-busy.ts'
import { createVmDefiner } from './vm-define.ts'
import { createVmDisks } from './vm-disks.ts'
import { createVmPlaces } from './vm-place.ts'
import { createVmRecords, type VmRecord } from './vm-records.ts'
import { createVmSeeds } from './vm-seeds.ts'
import { createVmViews } from './vm-views.ts'
import { createVmEngine } from './vms.ts'
import { createVolumeLocks } from './volume-locks.ts'
import { createVolumeWork } from './volume-work.ts'
import { createVolumeEngine } from './volumes.ts'

/** Image files are looked at this often (a missing one shows in the library), and refused writes tried again. */
const REFRESH_MS = 30_000
const USABLE_POOL: ReadonlySet<string> = new Set(['ok', 'low', 'full', 'read-only'])

export interface RunningEngine extends Engine {
  /** What the start found: for the log and the ready line. */
  readonly adopted: AdoptReport
  /** Who reaches what; one for engine and sign-in, so that both see a change at the same moment. */
  readonly access: Access
  /** Long work on VMs; for tests and for what comes beside the facade. */
  readonly busy: VmBusy
  /** Looks at schedules, leases, idle VMs and recordings now; for tests, which set the clock. */
  readonly labTick: () => Promise<void>
  /** How well helper tools are locked in: for the host page. */
  readonly toolSandbox: 'full' | 'limits' | 'none'
  /** For the console router: what its viewers do becomes part of the VM's view and of the activity log. */
  readonly consoles: ConsoleRecord &
    Pick<GuestLinks, 'onRevoked'> & {
      presenceChanged(vmId: string): void
      /** Calls back when a person no longer reaches the VM so far. Returns the unsubscribe function. */
      onOutOfReach(grant: TicketGrant, listener: () => void): () => void
    }
  /** Starts VMs with `autostart` when this is the first start since the host booted. Resolves when all were tried. */
  autostart(signal?: AbortSignal): Promise<void>
  /** Lets go of guests, ends jobs and timers. */
  close(): Promise<void>
}

/** @throws Error when the data directory cannot be used */
export async function createEngine(deps: EngineDeps): Promise<RunningEngine> {
  const { config, data, store, supervisor, hub, identity, log } = deps
  const warn = (message: string, error?: unknown) => log.warn(error === undefined ? {} : { err: error }, message)

  const storage = await createStorageRoom(deps, warn, (id) => {
    const document = library.get(id)
    return document === null ? null : { path: library.filePath(document), format: document.format }
  })
  const { sandbox, space, qemuImg, files, pools, health, layerFiles, shared, volumes, diskReader } = storage
  const access = deps.access ?? createAccess(store, warn)
  const records = createVmRecords(store, warn)
  const journal = createJournal(store, hub)
  const locks = createKeyedLock()
  const busy = createVmBusy(store, warn)

  const people = createPeople(store, access, () => views.invalidate())
  const { name: userName, person } = people

  const projectOf = (kind: ObjectKind, id: string) => {
    const project = access.projects.get(access.projectOf(kind, id) ?? '')
    return project === undefined ? null : { id: ProjectId.parse(project.id), name: project.name }
  }
  const views = createVmViews({
    supervisor,
    rooms: deps.rooms,
    accelerator: deps.accelerator,
    userName,
    busy: (vmId) => busy.get(vmId),
    pause: (vmId) => pauses.of(vmId),
    lineage: (vmId) => lineage.of(vmId),
    lab: (vmId) => lab.of(vmId),
    projectOf: (vmId) => projectOf('vm', vmId),
  })
  access.onChange(() => views.invalidate())
  const unwatchVerdict = deps.accelerator.onChange(() => {
    views.invalidate()
    hub.publish('host', null, null)
  })

  const lineage = createLineage(store, volumes, warn)
  const uses = createImageUses({
    ...{ records, volumes, supervisor, hub },
    library: () => library,
    snapshotImages: (vmId) => room.imagesOf(vmId),
  })
  const intake = createIntake({
    assertFits: (id, { bytes, count }) =>
      quotas.assertFits({ type: 'person', id }, { uploads: count, libraryMiB: bytes / 2 ** 20 }),
    roomFor(id) {
      const limit = quotas.limitsOf({ type: 'person', id }).limits.libraryMiB
      return limit === null ? null : Math.max(0, limit * 2 ** 20 - sources.libraryBytesOf({ type: 'person', id }))
    },
    isAdmitted: (id) => library.get(id) !== null,
  })
  const library = createImageLibrary({
    data,
    store,
    readersGid: identity.readersGid,
    uses: uses.of,
    projectOf: (id) => projectOf('image', id),
    assertAdoptable: intake.assertAdoptable,
    warn,
    onChange(id, document) {
      if (document === null) hub.publish('image', id, null, undefined, { kind: 'gone' })
      else
        hub.publish(
          'image',
          id,
          null,
          library.view(document, () => true),
        )
    },
  })
  const inspector = createImageInspector(diskReader)
  const looking = new AbortController()
  const jobs = createJobRegistry({
    onChange(job, ownerId) {
      const about = job.target?.type === 'vm' ? ({ kind: 'vm', id: job.target.id } as const) : null
      doors.jobChanged(job)
      hub.publish('job', job.id, null, job, { ownerId, about })
    },
    store,
    warn,
  })
  jobs.open()
  /** Administrators see everybody's work: it is their disk. */
  const whose = (caller: Caller) => (may(caller, 'activity.view.all') ? null : caller.userId)
  const layerReaders = createLayerReaders({
    ...{ volumes, identity, warn },
    stateOf(id) {
      // One that is being created is not known to the supervisor yet.
      if (records.get(id) === null) return 'off'
      const { state } = supervisor.runtime(id)
      return state === 'off' || state === 'crashed' ? 'off' : state === 'starting' ? 'starting' : 'up'
    },
    groupsOf: (id) => readGroups(supervisor.runtime(id).live?.pid ?? 0),
  })
  const launcher = createLauncher({
    data,
    runDir: config.runDir,
    library,
    volumes,
    ...{ identity, layerReaders },
    capabilities: deps.capabilities,
    accelerator: deps.accelerator,
    generationOf: records.generationOf,
    confine: storage.confine,
  })
  const networks = createNetworks(store)
  const authority = createVmAuthority({
    allowRawArgs: config.allowRawArgs,
    shareDirs: config.shareDirs,
    imageDirs: config.imageDirs,
    ownDirs: [config.dataDir, config.runDir],
    hostDevices: () => deps.host.devices({ details: true }),
    isOpen: (bridge, projectId) => networks.isOpen(bridge, projectId),
  })
  /** @param caller who may be told their names; null: nobody */
  const runningBut = (vmId: string, caller: Caller | null) =>
    records.all().flatMap((record) => {
      const { launchedSpec } = supervisor.runtime(record.id)
      const name = caller !== null && canSeeVm(caller, record) ? record.spec.name : 'Another VM'
      return record.id === vmId || launchedSpec === null ? [] : [{ id: record.id, name, spec: launchedSpec }]
    })
  const announcer = createVmAnnouncer(records, views, hub)
  busy.onChange((vmId) => {
    fileBrowser.vmChanged(vmId)
    const record = records.get(vmId)
    if (record === null) return
    announcer.definitionChanged(record, false)
    // What may be done with its snapshots depends on it.
    hub.publish('snapshot', vmId, null, undefined, { ownerId: record.ownerId })
  })
  const usage = createUsage(
    volumes,
    layerFiles,
    (id) => USABLE_POOL.has(health.view(id).state),
    (id) => void hub.publish('pool', id, null),
    async (id) => USABLE_POOL.has((await health.look(id)).state),
  )
  const volumeLocks = createVolumeLocks()
  const volumeWork = createVolumeWork({
    ...{ pools, volumes, health, usage, qemuImg, jobs, journal, warn, busy, supervisor },
    ...{ locks: volumeLocks, readersGid: identity.readersGid, trashDays: config.trashDays },
    planOf: createRunningPlan({ records, supervisor, launcher }),
  })
  const disks = createVmDisks({
    ...{ store, pools, volumes, health, usage, work: volumeWork, locks: volumeLocks, layerReaders },
    trashDays: config.trashDays,
  })
  const storageViews = createStorageViews({
    ...{ pools, volumes, health, usage, library, userName, projectOf, trashDays: config.trashDays },
    vm: (id) => records.get(id),
    runtime: (id) => supervisor.runtime(id),
    warnings: () => roomWatch.warnings(),
    pause: (id) => pauses.of(id),
  })
  const roomWatch = createRoomWatch({
    ...{ pools, volumes, health, journal, warn },
    onChange: (id) => void hub.publish('pool', id, null),
  })
  const pauses = createDiskPauses({
    ...{ runDir: config.runDir, supervisor, records, pools, volumes, health, journal, warn },
    isBusy: (vmId) => busy.get(vmId) !== null,
    assertMayRun: (vmId) => lab.assertMayRun(vmId),
    onChange(vmId) {
      const record = records.get(vmId)
      if (record !== null) announcer.definitionChanged(record, false)
      for (const id of new Set(volumes.ofVm(vmId).map(({ poolId }) => poolId))) hub.publish('pool', id, null)
    },
  })
  const snapshotsOf = (vmId: string) => room.countOf(vmId)
  const names = createNames(store, access, userName)
  const sources = createQuotaSources({
    ...{ access, records, volumes, intake, snapshotsOf, nameOf: names.party },
    images: () => library.all(),
    recordings: () => recordings.totals(),
    backups: () => backups.sizes(),
    runningSpec: (id) => admission.runningSpec(id),
  })
  const quotas = createQuotas(store, sources)
  const doors = createQuotaDoors({ quotas, access, volumes })
  const places = createVmPlaces(access, quotas)
  /** A definition that is about to be put in place of the one there is: it counts from here on. */
  const becomes = ({ id, ownerId, uid, spec: before }: VmRecord, spec: VmSpec): (() => void) => {
    places.assertFits(places.holderOf(id, ownerId), spec, before)
    return records.claim({ id, ownerId, uid, spec })
  }
  const admission = createStartAdmission({
    ...{ records, holderOf: places.holderOf, quotas: () => quotas },
    runtime: (id) => supervisor.runtime(id),
  })
  const seeds = createSeeds({
    store,
    files: createSeedFiles(data),
    warn,
    takeOut: (vmId) => vmSeeds.takeOut(vmId),
    onUsed: (vmId, why) => vmSeeds.used(vmId, why),
    ...(deps.seedTimes && { times: deps.seedTimes }),
  })
  const definer = createVmDefiner({
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
    capabilities: deps.capabilities,
    launcher,
    journal,
    locks,
    authority,
    ...{ runningBut, places, admission },
    projectOf: (id) => access.projectOf('vm', id),
    assertMayPlug: (ownerId, spec, launched) => lab.assertMayPlug(ownerId, spec, launched),
    place: (vmId, projectId) => void store.put('placement', placementKey('vm', vmId), { v: 1, projectId, shares: [] }),
    dashboardPort: deps.listenPort ?? (() => config.port),
    onChange(record, gone) {
      if (gone) {
        views.forget(record.id)
        lineage.forget(record.id)
        room.forgetVm(record.id)
        guestLinks.forgetVm(record.id)
        recordings.forgetVm(record.id)
      }
      lab.definitionChanged(record, gone)
      announcer.definitionChanged(record, gone)
      uses.announce(record, gone)
    },
  })

  const room = createSnapshotRoom({
    ...{ deps, records, volumes, qemuImg, busy, jobs, journal, locks, launcher, authority, userName, person },
    runningBut: (vmId) => runningBut(vmId, null),
    hold: ({ id, ownerId }) => quotas.hold(places.holderOf(id, ownerId), 'snapshots'),
    ...{ becomes, admission },
    assertMayBecome: (caller, { id, spec }, next) =>
      authority.assertMaySet(caller, spec, next, access.projectOf('vm', id)),
    onDefinition(record) {
      announcer.definitionChanged(record, false)
      uses.announce(record, false)
    },
  })
  const vmSeeds = createVmSeeds({ records, supervisor, seeds, definer, journal })

  const readers = createReaders(supervisor)
  const clock = deps.labClock ?? { steadyMs: createSteadyClock(store).now, wallMs: () => Date.now() }
  const lab = createLabRoom({
    ...{ store, records, supervisor, journal, busy, viewers: deps.rooms, hub, userName, warn },
    scheduler: room.scheduler,
    ...{ clock, times: deps.labTimes },
    hostDevices: () => deps.host.devices({ details: true }),
    isTemplate: (vmId) => lineage.isTemplate(vmId),
    user: person,
    start: (caller, vmId) => vms.start(caller, vmId),
    announce: (record) => announcer.definitionChanged(record, false),
  })
  const guestLinks = createGuestLinks({
    ...{ store, records, journal, userName, rooms: deps.rooms, tickets: deps.tickets, sources: supervisor, person },
    runtime: (id) => supervisor.runtime(id),
  })
  const recordings = createRecordings({
    ...{ records, rooms: deps.rooms, sources: supervisor, journal, clock, warn },
    shelf: createRecordingShelf(store, data, warn),
    runtime: (id) => supervisor.runtime(id),
    space: () => space,
    hold: ({ id, ownerId }, gib) => quotas.hold(places.holderOf(id, ownerId), 'diskGiB', gib),
  })

  const vms = createVmEngine({
    admission,
    records,
    views,
    supervisor,
    launcher,
    definer,
    journal,
    tickets: deps.tickets,
    locks,
    busy,
    authority,
    runningBut: (vmId) => runningBut(vmId, null),
    templates: templateRules(lineage, records),
    assertMayRun: lab.assertMayRun,
    holdPaused: (vmId, by) => pauses.hold(vmId, by),
    holdsMemory: room.holdsMemory,
    watched: readers.looked,
  })
  const appliances = createApplianceEngine({
    store,
    jobs,
    journal,
    imageDirs: config.imageDirs,
    intake,
    door: { data, store, library, space, qemuImg, sandbox, inspector },
  })
  const smallSystems = createSmallSystems({ ...{ data, sandbox, space }, readersGid: identity.readersGid })
  await smallSystems.open()
  /** What a small system runs on. */
  const accelerator = async (uid: number | null) => {
    const { kind, kvmGid } = await decideFor(deps.accelerator, 'auto', uid)
    return { kind: kind ?? 'tcg', kvmGid } as const
  }
  const clones = createCloneEngine({
    cleaner: createCloneCleaner({
      ...{ sandbox, appliances: smallSystems, disks: storage.diskServer, accelerator },
    }),
    context: { data, store, pools, volumes, qemuImg, readersGid: identity.readersGid, warn },
    ...{ lineage, records, views, supervisor, definer, journal, jobs, locks, busy },
    snapshots: room.source,
    places,
    start: (caller, vmId) => vms.start(caller, vmId),
    announce: (record) => announcer.definitionChanged(record, false),
  })
  const poolEngine = createPoolEngine({
    ...{
      pools,
      volumes,
      health,
      views: storageViews,
      journal,
      roots: config.poolDirs,
      readersGid: identity.readersGid,
    },
    ownDirs: [config.dataDir, config.runDir],
    usedBy: (id) => backups.usesPool(id),
    onChange: (id) => void hub.publish('pool', id, null),
  })
  const volumeEngine = createVolumeEngine({
    ...{ pools, volumes, health, usage, views: storageViews, work: volumeWork, locks: volumeLocks, journal },
    requireVm: (caller, id) => requireVm(records, caller, id),
    changeVm: (caller, id, patch) => vms.update(caller, id, patch, null),
    keepWhenReleased: disks.keepWhenReleased,
    holdsSnapshots: room.holdsMemory,
  })
  const images = createImageEngine({
    data,
    store,
    library,
    jobs,
    space,
    journal,
    sandbox,
    qemuImg,
    inspector,
    intake,
    imageDirs: config.imageDirs,
    readersGid: identity.readersGid,
  })
  const mirror = config.catalogueMirror
  const transfers = createTransferEngine({
    ...{ data, store, library, jobs, space, journal, intake, warn },
    admit: createAdmission({ data, store, library, space, qemuImg, sandbox, inspector }),
    // Who names a mirror means it to be reached.
    guard: { allow: parseAllowList([...config.downloadAllow, ...(mirror === null ? [] : [new URL(mirror).host])]) },
    catalogue: createCatalogue(config.catalogueFile ?? data.catalogue, mirror),
  })
  const { scheduler } = room
  const backups = createBackups({
    data,
    binary: config.qemu,
    store,
    pools,
    volumes,
    qemuImg,
    ...{ identity, layerReaders },
    supervisor,
    records,
    jobs,
    busy,
    journal,
    definer,
    scheduler,
    capabilities: deps.capabilities,
    isImage: (id) => library.get(id) !== null,
    becomes,
    hold: ({ id, ownerId }) =>
      // At least something: who has nothing left makes none.
      quotas.hold(places.holderOf(id, ownerId), 'backupGiB', Math.max(1, allocatedOf(volumes, usage, id)) / 2 ** 30),
    deleteVm: (vmId) => definer.delete(null, vmId, null),
    user: person,
    userName,
    onRestored(record) {
      views.forget(record.id)
      announcer.definitionChanged(record, false)
    },
    onBackup(id, ownerId, vmId) {
      hub.publish('backup', id, null, undefined, { ownerId, about: { kind: 'vm', id: vmId } })
    },
    warn,
  })
  const fileBrowser = setUpFileBrowser({
    ...{ disks: diskReader, sandbox, accelerator, systems: smallSystems, parent: diskReadersDir(config.runDir) },
    ...{ library, volumes, records, supervisor, busy, locks: volumeLocks, snapshots: room.source },
    ...{ backups: backups.engine, readersGid: identity.readersGid, journal },
    ...deps.fileHelpers,
  })
  const events = createEventEngine({
    ...{ hub, access },
    vms: { all: () => records.all(), ownerOf: (id) => records.get(id)?.ownerId ?? null },
    imageFor(caller, id) {
      const document = library.get(id)
      return document === null || !canSeeImage(caller, document) ? null : library.view(document, usersVisibleTo(caller))
    },
    onReaders: readers.count,
  })

  const onExit = (vmId: string, exit: VmExit): void => {
    records.saveExit(vmId, exit)
    const record = records.get(vmId)
    if (record === null) return
    const bad = exit.kind === 'crash' || exit.kind === 'launch-failure'
    journal.write({
      what: bad ? 'vmCrashed' : 'vmEnded',
      text: `${record.spec.name}: ${exit.summary}`,
      result: bad ? 'failed' : 'info',
      caller: null,
      ...(exit.by !== null && { who: exit.by }),
      topic: 'vm',
      objectId: vmId,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    })
    clones.afterExit(vmId).catch((error: unknown) => warn(`Old disk names of ${vmId} could not be removed.`, error))
    definer.afterExit(vmId).catch((error: unknown) => warn(`Cleaning up after ${vmId} failed.`, error))
  }

  records.load()
  room.load()
  seeds.load()
  lab.load()
  await library.open()
  for (const note of await volumes.open(legacyDisks(records.all()))) log.warn({}, note)
  await settleDeleted(records, volumes, warn)
  uses.open()
  careForPlacements({
    ...{ store, access, volumes },
    exists: {
      vm: records.isStored,
      image: (id) => library.get(id) !== null,
      volume: (id) => volumes.get(id) !== null,
    },
  })
  await transfers.open()
  const exits = records.lastExits()
  const released = watchDisks((vmId) => definer.afterRelease(vmId), warn)
  const losses = createLossRecord(records, journal)
  const followGuests = watchGuests(supervisor, (work) => {
    roomWatch.follow(work)
    pauses.follow(work)
  })
  const stopListening = supervisor.onChange((vmId, runtime: VmRuntime, exited) => {
    followGuests(vmId, runtime)
    roomWatch.runtimeChanged(vmId, runtime)
    pauses.runtimeChanged(vmId, runtime)
    if (exited !== null) onExit(vmId, exited)
    admission.settle(vmId)
    released(vmId, runtime)
    fileBrowser.vmChanged(vmId)
    losses.changed(vmId, runtime)
    announcer.runtimeChanged(vmId, runtime, exited)
    vms.runtimeChanged(vmId, runtime, exited)
    seeds.runtimeChanged(vmId, runtime, exited)
    lab.runtimeChanged(vmId, runtime)
    recordings.runtimeChanged(vmId, runtime)
  })
  const adopted = await supervisor.adoptAll(
    new Map(records.all().map((record) => [record.id, { lastExit: exits.get(record.id) ?? null }])),
  )
  for (const note of await files.sweep(records.isStored, new Set(adopted.strangers))) log.warn({}, note)
  for (const note of await clones.open()) log.warn({}, note)
  await settleOwnersOfBefore(
    { data, identity, pools, volumes, health, log, warn },
    // A directory of no VM is left alone too.
    (id) => !records.isStored(id) || supervisor.runtime(id).live !== null,
  )
  await vmSeeds.open()
  // At once: a guest whose file systems are frozen waits for it.
  await Promise.all([room.recover(), busy.recover()])
  await backups.open()
  scheduler.open()
  lab.open()
  for (const note of await recordings.open()) log.warn({}, note)
  await volumes.collect()
  const refresh = setInterval(() => {
    library.refresh().catch((error: unknown) => warn('Looking at the image files failed.', error))
    for (const { id } of pools.all()) void usage.refresh(id)
    void volumeWork.purge()
    try {
      records.saveLate()
    } catch {
      // The disk is still full, which was said.
    }
  }, deps.poolTimes?.refreshMs ?? REFRESH_MS)
  refresh.unref()
  const lookedInside = inspectOld(library, inspector, looking.signal, warn)
  health.onChange((id) => void hub.publish('pool', id, null))
  await health.lookAtAll()
  health.start()

  const contents = (projectId: string) => {
    const counts = { vms: 0, running: 0, volumes: 0, images: 0 }
    for (const { kind, id, placement } of access.placements()) {
      if (placement.projectId !== projectId) continue
      if (kind === 'vm' && records.get(id) !== null) {
        counts.vms += 1
        if (admission.runningSpec(id) !== null) counts.running += 1
      } else if (kind === 'volume' && volumes.get(id)?.vm === null) counts.volumes += 1
      else if (kind === 'image' && library.get(id) !== null) counts.images += 1
    }
    return counts
  }
  const jobEngine = createJobs({ jobs, records, whose })
  const metrics = createMetrics(function* () {
    for (const { id, ownerId, spec } of records.all())
      yield { id, ownerId, name: spec.name, runtime: supervisor.runtime(id) }
  })

  const record = createConsoleRecord(records, journal, guestLinks.used)
  const authorize = createAuthorize({
    access,
    find: {
      vm: (id) => records.get(id),
      image(id) {
        const document = library.get(id)
        return document === null ? null : { kind: 'image', id, ownerId: document.addedBy.id }
      },
      volume(id) {
        const volume = volumes.get(id)
        if (volume === null) return null
        const { vm, ownerId } = volume
        return vm === null ? { kind: 'volume', id, ownerId } : { kind: 'vm', id: vm.id, ownerId }
      },
      backup: backups.reachable,
      'backup-schedule': (id) => records.get(scheduler.get(id)?.document.target.id ?? ''),
    },
  })

  return {
    vms: doors.vms(vms),
    viewers: createViewerEngine({ records, journal, rooms: deps.rooms }),
    guestLinks,
    recordings: recordings.engine,
    seeds: vmSeeds,
    clones,
    images,
    files: fileBrowser,
    transfers,
    backups: backups.engine,
    appliances,
    projects: createProjectEngine({ store, access, journal, names, quotas, contents }),
    objectAccess: createObjectAccess({
      ...{ store, access, quotas, records, volumes, library, journal, locks, names, networks },
      snapshotsOf,
      runningSpec: admission.runningSpec,
      announce: (record) => announcer.definitionChanged(record, false),
    }),
    networks: createNetworkEngine({ store, access, networks, records, journal }),
    usage: createUsageEngine({
      ...{ store, access, quotas, sources, volumes, usage, health, names, journal, library, intake },
      isImageUsed: (id) => uses.of(id).length > 0,
    }),
    pools: poolEngine,
    volumes: doors.volumes(volumeEngine),
    snapshots: room.snapshots,
    schedules: room.schedules,
    lab: lab.engine,
    host: {
      view: (_caller, options) => deps.host.view(hostFacts(records, supervisor, storage.isolation), options),
      capabilities: () => deps.host.capabilities(),
      deviceType: (_caller, type) => deps.host.deviceType(type),
      devices: (caller) => deps.host.devices({ details: may(caller, 'vm.host') }),
    },
    jobs: jobEngine,
    events,
    ...createActivity({
      ...{ records, store, journal },
      nameOf(kind, id) {
        if (kind === 'project') return access.projects.get(id) ?? null
        const record = kind === 'vm' ? records.get(id) : null
        if (record !== null) return { name: record.spec.name, ownerId: record.ownerId }
        return (kind === 'image' ? library.get(id) : kind === 'volume' ? volumes.get(id) : null) ?? null
      },
    }),
    redeemConsoleTicket: (ticket, vmId, kind) => deps.tickets.redeem(ticket, vmId, kind),
    authorize,
    async metrics(caller) {
      return metrics.text((vm) => canSeeVm(caller, vm))
    },
    adopted,
    access,
    busy,
    async labTick() {
      scheduler.tick()
      await scheduler.idle()
      await lab.tick()
      await recordings.tick()
    },
    toolSandbox: sandbox.level,
    consoles: {
      opened(session) {
        doors.consoleOpened(session)
        record.opened(session)
      },
      closed(session, end) {
        doors.consoleClosed(session)
        record.closed(session, end)
      },
      control: record.control,
      onRevoked: guestLinks.onRevoked,
      presenceChanged(vmId) {
        announcer.viewersChanged(vmId)
        lab.viewersChanged(vmId)
      },
      onOutOfReach(grant, listener) {
        const wanted = grant.mode === 'control' ? 'vm.console.control' : 'vm.console.view'
        return access.onChange(() => {
          const vm = records.get(grant.vmId)
          // What is deleted ends its consoles by itself.
          if (vm !== null && !access.grantsOf(grant.userId).on(vm).has(wanted)) listener()
        })
      },
    },
    autostart(signal) {
      recordings.followRules()
      return autostart(
        store,
        records.all().filter(({ id, spec }) => spec.autostart && !lineage.isTemplate(id) && !lab.isHeld(id)),
        async (record) => {
          const { state } = supervisor.runtime(record.id)
          if (state !== 'off' && state !== 'crashed') return false
          await vms
            .autostart(record)
            .catch((error: unknown) => warn(`${record.spec.name} did not start by itself.`, error))
          return true
        },
        signal,
      )
    },
    async close() {
      if (deps.access === undefined) access.close()
      clearInterval(refresh)
      looking.abort(new Error('closing'))
      await lookedInside
      await fileBrowser.close()
      health.close()
      roomWatch.close()
      pauses.close()
      seeds.close()
      guestLinks.close()
      await recordings.close()
      readers.close()
      stopListening()
      people.close()
      unwatchVerdict()
      announcer.close()
      transfers.close()
      await scheduler.close()
      await lab.close()
      await jobs.close()
      await supervisor.detach()
      await stopPngWorker()
    },
  }
}
