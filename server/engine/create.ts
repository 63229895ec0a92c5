/**
 * Joins the rooms into the engine.
 *
 * Start: `open` prepares directories, loads documents, adopts running guests, sweeps what a crash left, then (on the
 * first start after the host booted) starts what should run. Stop: `close` lets go of guests without stopping them.
 */
import { mkdir, readFile } from 'node:fs/promises'
import * as z from 'zod'
import { may } from '#lib/auth/privileges.ts'
import { Role } from '#lib/schema/user.ts'
import type { VmExit } from '#lib/schema/vm-state.ts'
import { createLineage } from '#server/clones/lineage.ts'
import { parseAllowList } from '#server/fetch/url-guard.ts'
import { createAdmission } from '#server/images/admission.ts'
import { createCatalogue } from '#server/images/catalogue.ts'
import { createImageLibrary, type ImageUse } from '#server/images/library.ts'
import { createJobRegistry } from '#server/jobs/registry.ts'
import { createMetrics } from '#server/metrics/metrics.ts'
import { openPathForGuests, prepareDataDirs } from '#server/storage/dirs.ts'
import { childFiles, directFiles } from '#server/storage/layer-files.ts'
import { createPoolHealth } from '#server/storage/pool-health.ts'
import { createPools, LOCAL_POOL_ID } from '#server/storage/pools.ts'
import { createQemuImg } from '#server/storage/qemu-img.ts'
import { createToolSandbox } from '#server/storage/sandbox.ts'
import { createSeedFiles } from '#server/storage/seed-files.ts'
import { createSharedDisks } from '#server/storage/shared-disks.ts'
import { createSpaceLedger } from '#server/storage/space.ts'
import { createUsage } from '#server/storage/usage.ts'
import { createVmFiles } from '#server/storage/vm-files.ts'
import { createVolumes, type LegacyDisk } from '#server/storage/volumes.ts'
import type { AdoptReport, VmRuntime } from '#server/vm/types.ts'
import { canSeeVm, requireVm } from './access.ts'
import { exportLog } from './activity-export.ts'
import { createApplianceEngine } from './appliances.ts'
import { createBackups } from './backup-setup.ts'
import { createCloneEngine, templateRules } from './clones.ts'
import { type ConsoleRecord, createConsoleRecord } from './console-record.ts'
import type { EngineDeps } from './deps.ts'
import { EngineError } from './errors.ts'
import { createEventEngine } from './event-stream.ts'
import { createImageEngine, usersVisibleTo } from './images.ts'
import { createJournal } from './journal.ts'
import { createKeyedLock } from './keyed-lock.ts'
import { createLauncher } from './launch.ts'
import { createLossRecord } from './loss-record.ts'
import { stopPngWorker } from './png.ts'
import { createPoolEngine } from './pools.ts'
import { createSeeds } from './seeds.ts'
import { createSnapshotRoom } from './snapshot-room.ts'
import { createStorageViews } from './storage-views.ts'
import { createTransferEngine } from './transfers.ts'
import type { Caller, Engine } from './types.ts'
import { createVmAnnouncer } from './vm-announcer.ts'
import { createVmAuthority } from './vm-authority.ts'
import { createVmBusy, type VmBusy } from './vm-busy.ts'
import { createVmDefiner } from './vm-define.ts'
import { createVmDisks } from './vm-disks.ts'
import { createVmRecords, type VmRecord } from './vm-records.ts'
import { createVmSeeds } from './vm-seeds.ts'
import { createVmViews } from './vm-views.ts'
import { createVmEngine } from './vms.ts'
import { createVolumeLocks } from './volume-locks.ts'
import { createVolumeWork } from './volume-work.ts'
import { createVolumeEngine } from './volumes.ts'

/** Between two automatic starts, so that a host that just booted is not flooded. */
const AUTOSTART_STAGGER_MS = 2000
/** Image files are looked at this often (a missing one shows in the library), and refused writes tried again. */
const REFRESH_MS = 30_000
/** After somebody looked at live numbers without an event socket. */
const INTEREST_MS = 10_000
/** Of a pool whose reserve nobody has set. */
const MINIMUM_RESERVE_BYTES = 5 * 2 ** 30
const USABLE_POOL: ReadonlySet<string> = new Set(['ok', 'low', 'full', 'read-only'])
const BOOT_ID_KEY = 'boot-id'

export interface RunningEngine extends Engine {
  /** What the start found: for the log and the ready line. */
  readonly adopted: AdoptReport
  /** Long work on VMs; for tests and for what comes beside the facade. */
  readonly busy: VmBusy
  /** How well helper tools are locked in: for the host page. */
  readonly toolSandbox: 'full' | 'limits' | 'none'
  /** For the console router: what its viewers do becomes part of the VM's view and of the activity log. */
  readonly consoles: ConsoleRecord & { presenceChanged(vmId: string): void }
  /** Starts VMs with `autostart` when this is the first start since the host booted. Resolves when all were tried. */
  autostart(signal?: AbortSignal): Promise<void>
  /** Lets go of guests, ends jobs and timers. */
  close(): Promise<void>
}

const UserName = z.object({ name: z.string() })
const User = z.object({ name: z.string(), role: Role, disabled: z.boolean().default(false) })

/** Disks as definitions name them; those older than volumes get one of these. */
function* legacyDisks(records: readonly VmRecord[]): Generator<LegacyDisk> {
  for (const { id: vmId, ownerId, uid, spec, createdAt } of records)
    for (const drive of spec.disks)
      if (drive.device === 'disk' && !drive.shared)
        yield {
          ...{ vmId, vmName: spec.name, ownerId, uid, createdAt },
          ...{ device: drive.id, sizeGiB: drive.sizeGiB, image: drive.image },
        }
}

/** @throws Error when the data directory cannot be used */
export async function createEngine(deps: EngineDeps): Promise<RunningEngine> {
  const { config, data, store, supervisor, hub, identity, log } = deps
  const warn = (message: string, error?: unknown) => log.warn(error === undefined ? {} : { err: error }, message)

  for (const note of await prepareDataDirs(data, identity.readersGid)) log.info({}, note)
  await mkdir(config.runDir, { recursive: true, mode: identity.readersGid === null ? 0o700 : 0o711 })
  for (const note of await openPathForGuests(config.runDir, identity.readersGid)) log.info({}, note)

  const sandbox = await createToolSandbox()
  if (sandbox.level !== 'full') {
    warn('Helper tools run without a namespace sandbox: bubblewrap is missing or the kernel refuses user namespaces.')
  }
  const looseTools =
    sandbox.level === 'full' ? '' : ' Helper tools that read disks run without a namespace sandbox; install bubblewrap.'
  const space = createSpaceLedger(data.root, deps.minimumReserveBytes)
  const qemuImg = createQemuImg(sandbox)
  const files = createVmFiles(data, qemuImg)
  const pools = createPools(data, store, space, warn, deps.minimumReserveBytes, (id) => roomOf(id))
  pools.open()
  const health = createPoolHealth({
    pools,
    minimumReserveBytes: deps.minimumReserveBytes ?? MINIMUM_RESERVE_BYTES,
    ...(deps.poolTimes ?? {}),
  })
  const roomOf = async (id: string) => {
    const { look, reserveBytes, evidence } = await health.look(id)
    if (look === null) throw new EngineError('pool_unavailable', `The storage pool cannot be used: ${evidence}`)
    return { ...look, reserveBytes }
  }
  const layerFiles = (poolId: string) => (poolId === LOCAL_POOL_ID ? directFiles() : childFiles(health.childOf(poolId)))
  const shared = createSharedDisks(data, identity.readersGid)
  const records = createVmRecords(store, warn)
  const journal = createJournal(store, hub)
  const locks = createKeyedLock()
  const busy = createVmBusy(store, warn)

  const userNames = new Map<string, string>()
  const userName = (id: string): string => {
    let name = userNames.get(id)
    if (name === undefined) {
      name = UserName.safeParse(store.get('user', id)?.value).data?.name ?? 'unknown'
      userNames.set(id, name)
    }
    return name
  }

  const views = createVmViews({
    supervisor,
    viewers: deps.viewers,
    accelerator: deps.accelerator,
    userName,
    busy: (vmId) => busy.get(vmId),
    lineage: (vmId) => lineage.of(vmId),
  })
  const unwatchUsers = store.watch('user', ({ key }) => {
    userNames.delete(key)
    views.invalidate()
  })
  const unwatchVerdict = deps.accelerator.onChange(() => {
    views.invalidate()
    hub.publish('host', null, null)
  })

  const volumes = createVolumes({
    data,
    store,
    pools,
    qemuImg,
    readersGid: identity.readersGid,
    warn,
    files: layerFiles,
    image(id) {
      const document = library.get(id)
      return document === null ? null : { path: library.filePath(document), format: document.format }
    },
  })
  const lineage = createLineage(store, volumes, warn)
  /** CDs by the definition, disks by what they stand on, wherever they are. */
  const usesOf = (imageId: string): ImageUse[] => {
    const standing = volumes.standingOn(imageId)
    const holding = new Set(standing.flatMap(({ vm }) => (vm === null ? [] : [vm.id])))
    const users = records.all().filter((record) => {
      const names = (spec: { disks: readonly { device: string; image: string | null }[] } | null) =>
        spec?.disks.some((drive) => drive.device === 'cdrom' && drive.image === imageId) ?? false
      return (
        holding.has(record.id) ||
        room.imagesOf(record.id).includes(imageId) ||
        names(record.spec) ||
        names(supervisor.runtime(record.id).launchedSpec)
      )
    })
    return [
      ...users.map(({ id, spec, ownerId }) => ({ id, name: spec.name, ownerId })),
      ...standing.filter(({ vm }) => vm === null).map(({ id, name, ownerId }) => ({ id, name, ownerId })),
    ]
  }

  const library = createImageLibrary({
    data,
    store,
    readersGid: identity.readersGid,
    uses: usesOf,
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
  const jobs = createJobRegistry({
    onChange: (job, ownerId) => void hub.publish('job', job.id, null, job, { ownerId }),
    store,
    warn,
  })
  jobs.open()
  /** Administrators see everybody's work: it is their disk. */
  const whose = (caller: Caller) => (may(caller, 'activity.view.all') ? null : caller.userId)
  const launcher = createLauncher({
    data,
    runDir: config.runDir,
    library,
    volumes,
    identity,
    capabilities: deps.capabilities,
    accelerator: deps.accelerator,
  })
  const authority = createVmAuthority({
    allowRawArgs: config.allowRawArgs,
    shareDirs: config.shareDirs,
    imageDirs: config.imageDirs,
    ownDirs: [config.dataDir, config.runDir],
    hostDevices: () => deps.host.devices({ details: true }),
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
    const record = records.get(vmId)
    if (record !== null) announcer.definitionChanged(record, false)
  })
  /** Images each VM's CDs and each volume need, as last announced: an image's `usedBy` changes with them. */
  const imagesOf = new Map<string, ReadonlySet<string>>()
  const announceImages = (record: VmRecord, gone: boolean): void => {
    announceUses(record.id, gone ? [] : mediaOf(record))
  }
  const mediaOf = ({ id, spec }: VmRecord) => [
    ...spec.disks.flatMap((drive) => (drive.device === 'disk' || drive.image === null ? [] : [drive.image])),
    ...volumes.ofVm(id).flatMap((volume) => volumes.imagesOf(volume)),
  ]
  const announceUses = (user: string, images: readonly string[]): void => {
    const after = new Set(images)
    const before = imagesOf.get(user) ?? new Set<string>()
    if (after.size === 0) imagesOf.delete(user)
    else imagesOf.set(user, after)
    for (const id of before.symmetricDifference(after)) {
      const document = library.get(id)
      if (document !== null)
        hub.publish(
          'image',
          id,
          null,
          library.view(document, () => true),
        )
    }
  }
  const usage = createUsage(volumes, layerFiles, (id) => USABLE_POOL.has(health.view(id).state))
  const volumeLocks = createVolumeLocks()
  const volumeWork = createVolumeWork({
    ...{ pools, volumes, health, usage, qemuImg, jobs, journal, warn, busy, supervisor },
    ...{ locks: volumeLocks, readersGid: identity.readersGid, trashDays: config.trashDays },
  })
  const disks = createVmDisks({
    ...{ store, pools, volumes, health, usage, work: volumeWork, locks: volumeLocks, trashDays: config.trashDays },
  })
  const storageViews = createStorageViews({
    ...{ pools, volumes, health, usage, library, userName, trashDays: config.trashDays },
    vm: (id) => records.get(id),
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
    runningBut,
    dashboardPort: deps.listenPort ?? (() => config.port),
    onChange(record, gone) {
      if (gone) {
        views.forget(record.id)
        lineage.forget(record.id)
        room.forgetVm(record.id)
      }
      announcer.definitionChanged(record, gone)
      announceImages(record, gone)
    },
  })

  const room = createSnapshotRoom({
    ...{ deps, records, volumes, qemuImg, busy, jobs, journal, locks, launcher, authority, userName },
    runningBut: (vmId) => runningBut(vmId, null),
    onDefinition(record) {
      announcer.definitionChanged(record, false)
      announceImages(record, false)
    },
  })
  const vmSeeds = createVmSeeds({ records, supervisor, seeds, definer, journal })

  let readers = 0
  let interestTimer: NodeJS.Timeout | null = null
  const showInterest = () => supervisor.setInterest(readers > 0 || interestTimer !== null)
  const watched = (): void => {
    if (interestTimer !== null) {
      interestTimer.refresh()
      return
    }
    interestTimer = setTimeout(() => {
      interestTimer = null
      showInterest()
    }, INTEREST_MS)
    interestTimer.unref()
    showInterest()
  }

  const vms = createVmEngine({
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
    watched,
  })
  const appliances = createApplianceEngine({
    store,
    jobs,
    journal,
    imageDirs: config.imageDirs,
    door: { data, store, library, space, qemuImg, sandbox },
  })
  const clones = createCloneEngine({
    context: { data, store, pools, volumes, qemuImg, readersGid: identity.readersGid, warn },
    ...{ lineage, records, views, supervisor, definer, journal, jobs, locks, busy },
    snapshots: room.source,
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
    imageDirs: config.imageDirs,
    readersGid: identity.readersGid,
  })
  const mirror = config.catalogueMirror
  const transfers = createTransferEngine({
    ...{ data, store, library, jobs, space, journal, warn },
    admit: createAdmission({ data, store, library, space, qemuImg, sandbox }),
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
    identity,
    supervisor,
    records,
    jobs,
    busy,
    journal,
    definer,
    scheduler,
    capabilities: deps.capabilities,
    isImage: (id) => library.get(id) !== null,
    deleteVm: (vmId) => definer.delete(null, vmId, null),
    user(id) {
      const user = User.safeParse(store.get('user', id)?.value).data
      return user === undefined || user.disabled ? null : user
    },
    userName,
    onRestored(record) {
      views.forget(record.id)
      announcer.definitionChanged(record, false)
    },
    onBackup: (id, ownerId) => void hub.publish('backup', id, null, undefined, { ownerId }),
    warn,
  })
  const events = createEventEngine({
    hub,
    imageFor(caller, id) {
      const document = library.get(id)
      return document === null ? null : library.view(document, usersVisibleTo(caller))
    },
    onReaders(count) {
      readers = count
      showInterest()
    },
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
  await library.open()
  for (const note of await volumes.open(legacyDisks(records.all()))) log.warn({}, note)
  for (const volume of volumes.all()) {
    // A deletion that a crash interrupted.
    if (volume.vm !== null && !records.isStored(volume.vm.id)) await volumes.remove(volume.id)
    // Or one whose disks were kept, before their files were out of the VM's directory.
    else if (volume.vm === null && volumes.liesWithVm(volume.id))
      await volumes
        .handOver(volume.id, null)
        .catch((error: unknown) => warn(`The disk ${volume.name} stayed behind.`, error))
  }
  for (const record of records.all()) imagesOf.set(record.id, new Set(mediaOf(record)))
  const holderOf = new Map(volumes.all().map(({ id, vm }) => [id, vm?.id ?? null]))
  volumes.onChange((id, volume) => {
    for (const vmId of new Set([holderOf.get(id), volume?.vm?.id])) {
      const record = vmId == null ? null : records.get(vmId)
      if (record !== null) announceImages(record, false)
    }
    if (volume === null) holderOf.delete(id)
    else holderOf.set(id, volume.vm?.id ?? null)
    hub.publish('volume', id, null, undefined, {
      kind: volume === null ? 'gone' : 'change',
      ownerId: volume?.ownerId ?? null,
    })
    // A free one is a user of its own; that of a VM being created is announced with the VM.
    announceUses(id, volume === null || volume.vm !== null ? [] : volumes.imagesOf(volume))
  })
  await transfers.open()
  const exits = records.lastExits()
  /** Disks each running guest had when it was last heard of: the file of one it let go of may go. */
  const disksOf = new Map<string, readonly string[]>()
  const watchDisks = (vmId: string, { launchedSpec }: VmRuntime): void => {
    const before = disksOf.get(vmId) ?? []
    if (launchedSpec === null) {
      disksOf.delete(vmId)
      return
    }
    const after = launchedSpec.disks.map((drive) => drive.id)
    disksOf.set(vmId, after)
    if (before.every((id) => after.includes(id))) return
    definer.afterRelease(vmId).catch((error: unknown) => warn(`Cleaning up disks of ${vmId} failed.`, error))
  }
  const losses = createLossRecord(records, journal)
  const stopListening = supervisor.onChange((vmId, runtime: VmRuntime, exited) => {
    if (exited !== null) onExit(vmId, exited)
    watchDisks(vmId, runtime)
    losses.changed(vmId, runtime)
    announcer.runtimeChanged(vmId, runtime, exited)
    vms.runtimeChanged(vmId, runtime, exited)
    seeds.runtimeChanged(vmId, runtime, exited)
  })
  const adopted = await supervisor.adoptAll(
    new Map(records.all().map((record) => [record.id, { lastExit: exits.get(record.id) ?? null }])),
  )
  for (const note of await files.sweep(records.isStored, new Set(adopted.strangers))) log.warn({}, note)
  for (const note of await clones.open()) log.warn({}, note)
  await vmSeeds.open()
  await room.recover()
  await busy.recover()
  await backups.open()
  scheduler.open()
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
  }, REFRESH_MS)
  refresh.unref()
  health.onChange((id) => void hub.publish('pool', id, null))
  await health.lookAtAll()
  health.start()

  const metrics = createMetrics(function* () {
    for (const { id, spec } of records.all()) yield { id, name: spec.name, runtime: supervisor.runtime(id) }
  })

  const hostFacts = () => {
    let running = 0
    const promised = { cpus: 0, memoryMiB: 0, diskBytes: 0 }
    for (const { id, spec } of records.all()) {
      for (const drive of spec.disks) if (drive.device === 'disk') promised.diskBytes += drive.sizeGiB * 2 ** 30
      const { launchedSpec, state } = supervisor.runtime(id)
      if (state === 'off' || state === 'crashed') continue
      running += 1
      promised.cpus += (launchedSpec ?? spec).cpus
      promised.memoryMiB += (launchedSpec ?? spec).memoryMiB
    }
    return {
      counts: { vms: records.all().length, running },
      promised,
      isolation: { privileged: identity.readersGid !== null, summary: `${identity.summary}${looseTools}` },
    }
  }

  return {
    vms,
    seeds: vmSeeds,
    clones,
    images,
    transfers,
    backups: backups.engine,
    appliances,
    pools: poolEngine,
    volumes: volumeEngine,
    snapshots: room.snapshots,
    schedules: room.schedules,
    host: {
      view: (_caller, options) => deps.host.view(hostFacts(), options),
      capabilities: () => deps.host.capabilities(),
      deviceType: (_caller, type) => deps.host.deviceType(type),
      devices: (caller) => deps.host.devices({ details: may(caller, 'vm.host') }),
    },
    jobs: {
      list: async (caller) => ({ items: jobs.list(whose(caller)) }),
      async view(caller, id) {
        const job = jobs.view(id, whose(caller))
        if (job === null) throw new EngineError('not_found', 'There is no such job.')
        return job
      },
      cancel: async (caller, id) => jobs.cancel(id, whose(caller)),
    },
    events,
    record: ({ what, text, result, caller, who, from }) =>
      journal.write({
        what,
        text,
        result,
        caller,
        ...(who !== undefined && { who }),
        ...(from !== undefined && { from }),
      }),
    async activity(caller, query) {
      const own = () =>
        records
          .all()
          .filter((record) => canSeeVm(caller, record))
          .map((record) => record.id)
      return { items: journal.all(caller, own, query) }
    },
    verifyActivity: async () => store.verifyLog(),
    async exportActivity(caller, query, format) {
      // Recorded first, so that the export itself is the last line of what it holds.
      const asked = Object.entries(query).filter(([, value]) => value !== undefined)
      const only = asked.length === 0 ? 'all of it' : asked.map(([key, value]) => `${key} ${value}`).join(', ')
      journal.write({
        ...{
          what: 'activityExport',
          text: `${caller.name} exported the activity log (${only}).`,
          result: 'ok',
          caller,
        },
        durable: true,
      })
      return exportLog(store, query, format)
    },
    redeemConsoleTicket: (ticket, vmId, kind) => deps.tickets.redeem(ticket, vmId, kind),
    metrics: () => metrics.text(),
    adopted,
    busy,
    toolSandbox: sandbox.level,
    consoles: { ...createConsoleRecord(records, journal), presenceChanged: announcer.viewersChanged },
    async autostart(signal) {
      const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
      if (store.get<string>('meta', BOOT_ID_KEY)?.value === bootId) return
      store.put('meta', BOOT_ID_KEY, bootId)
      for (const record of records.all()) {
        if (signal?.aborted) return
        const { state } = supervisor.runtime(record.id)
        if (lineage.isTemplate(record.id) || !record.spec.autostart || (state !== 'off' && state !== 'crashed'))
          continue
        await vms
          .autostart(record)
          .catch((error: unknown) => warn(`${record.spec.name} did not start by itself.`, error))
        await new Promise((resolve) => setTimeout(resolve, AUTOSTART_STAGGER_MS))
      }
    },
    async close() {
      clearInterval(refresh)
      health.close()
      seeds.close()
      if (interestTimer !== null) clearTimeout(interestTimer)
      stopListening()
      unwatchUsers()
      unwatchVerdict()
      announcer.close()
      transfers.close()
      await scheduler.close()
      await jobs.close()
      await supervisor.detach()
      await stopPngWorker()
    },
  }
}
