/**
 * The engine facade: everything the HTTP side may ask. Inputs and outputs serialise (byte streams aside),
 * so that the engine can later stand behind a socket or on another host.
 *
 * Every method takes the caller first. A VM the caller may not see is `not_found`, checked before anything else.
 * The HTTP side has already checked the operation's declared privilege; the engine checks ownership.
 */

import type { Readable } from 'node:stream'
import type * as z from 'zod'
import type { Operations } from '#lib/api/contract.ts'
import type { AboutKind } from '#lib/api/object-of.ts'
import type { Authority, ObjectKind, Privilege } from '#lib/auth/privileges.ts'
import type { DiskFiles, FileQuery, FilesQuery } from '#lib/schema/disk-files.ts'
import type { DeckEvent } from '#lib/schema/event.ts'
import type { TicketGrant } from '#server/console/types.ts'

export interface Caller extends Authority {
  readonly userId: string
  readonly name: string
  /** Remote address as text, for the record. */
  readonly from: string
  /** Session or token id; ends consoles and event sockets when revoked. */
  readonly credentialId: string
}

type Out<K extends keyof Operations> = Operations[K] extends { response: infer R extends z.ZodType }
  ? z.output<R>
  : undefined
type Body<K extends keyof Operations> = Operations[K] extends { body: infer B extends z.ZodType } ? z.output<B> : never
type Query<K extends keyof Operations> = Operations[K] extends { query: infer Q extends z.ZodType }
  ? z.output<Q>
  : never

export interface VmEngine {
  list(caller: Caller): Promise<Out<'vmList'>>
  /** What `list` answers, as JSON text joined from cached pieces: for lists of hundreds, asked for every second. */
  listText?(caller: Caller): string
  view(caller: Caller, id: string): Promise<Out<'vmView'>>
  create(caller: Caller, input: Body<'vmCreate'>): Promise<Out<'vmCreate'>>
  preview(caller: Caller, input: Body<'vmPreview'>): Promise<Out<'vmPreview'>>
  /** @param query `apply` is `now` when left out */
  update(
    caller: Caller,
    id: string,
    patch: Body<'vmUpdate'>,
    expectedRevision: number | null,
    query?: Query<'vmUpdate'>,
  ): Promise<Out<'vmUpdate'>>
  /** No side effects. */
  previewChange(caller: Caller, id: string, patch: Body<'vmChangePreview'>): Promise<Out<'vmChangePreview'>>
  /** @param disks what becomes of its disks; `trash` when left out */
  delete(
    caller: Caller,
    id: string,
    expectedRevision: number | null,
    disks?: 'trash' | 'delete' | 'keep',
  ): Promise<void>
  resetFirmware(caller: Caller, id: string): Promise<Out<'vmFirmwareReset'>>
  start(caller: Caller, id: string): Promise<Out<'vmStart'>>
  shutdown(caller: Caller, id: string): Promise<Out<'vmShutdown'>>
  /** Asked to shut down, then started again; another shutdown, poweroff or reset takes the start back. */
  restart(caller: Caller, id: string): Promise<Out<'vmRestart'>>
  poweroff(caller: Caller, id: string): Promise<Out<'vmPoweroff'>>
  reset(caller: Caller, id: string): Promise<Out<'vmReset'>>
  pause(caller: Caller, id: string): Promise<Out<'vmPause'>>
  resume(caller: Caller, id: string): Promise<Out<'vmResume'>>
  commandLine(caller: Caller, id: string, query: Query<'vmCommandLine'>): Promise<Out<'vmCommandLine'>>
  /** @throws EngineError wrong_state while off */
  devices(caller: Caller, id: string): Promise<Out<'vmDevices'>>
  screenshot(caller: Caller, id: string, query: Query<'vmScreenshot'>): Promise<Buffer>
  consoleTicket(caller: Caller, id: string, input: Body<'vmConsoleTicketCreate'>): Promise<Out<'vmConsoleTicketCreate'>>
  activity(caller: Caller, id: string, query: Query<'vmActivity'>): Promise<Out<'vmActivity'>>
}

export interface ViewerEngine {
  list(caller: Caller, vmId: string): Promise<Out<'vmViewerList'>>
  end(caller: Caller, vmId: string, viewerId: string, input: Body<'vmViewerEnd'>): Promise<void>
  giveControl(caller: Caller, vmId: string, viewerId: string): Promise<void>
  releaseControl(caller: Caller, vmId: string, input: Body<'vmControlRelease'>): Promise<void>
}

export interface GuestLinkEngine {
  list(caller: Caller, vmId: string): Promise<Out<'guestLinkList'>>
  create(caller: Caller, vmId: string, input: Body<'guestLinkCreate'>): Promise<Out<'guestLinkCreate'>>
  revoke(caller: Caller, vmId: string, linkId: string): Promise<void>
  /** Anybody's, from that address. @throws EngineError not_found, wrong_state while the guest is off, rate_limited, busy */
  ticket(from: string, input: Body<'guestTicketCreate'>): Promise<Out<'guestTicketCreate'>>
}

export interface RecordingEngine {
  list(caller: Caller, vmId: string): Promise<Out<'recordingList'>>
  view(caller: Caller, vmId: string, id: string): Promise<Out<'recordingView'>>
  /** Resolves once it records. */
  start(caller: Caller, vmId: string, input: Body<'recordingStart'>): Promise<Out<'recordingStart'>>
  /** Resolves once its file is whole. */
  stop(caller: Caller, vmId: string, id: string): Promise<Out<'recordingStop'>>
  /** @param rangeOf what is wanted of so many bytes, both ends included; null: all of them */
  content(
    caller: Caller,
    vmId: string,
    id: string,
    rangeOf: (sizeBytes: number) => ByteRange | null,
    withBody: boolean,
  ): Promise<{ name: string; sizeBytes: number; range: ByteRange | null; body: Readable | null }>
  delete(caller: Caller, vmId: string, id: string): Promise<void>
  setRule(caller: Caller, vmId: string, patch: Body<'recordingRuleSet'>): Promise<Out<'recordingRuleSet'>>
  settings(caller: Caller): Promise<Out<'recordingSettingsView'>>
  updateSettings(caller: Caller, patch: Body<'recordingSettingsUpdate'>): Promise<Out<'recordingSettingsUpdate'>>
}

export interface ByteRange {
  readonly from: number
  readonly to: number
}

export interface ApplianceEngine {
  importFile(caller: Caller, input: Body<'imageImport'>): Promise<Out<'imageImport'>>
  list(caller: Caller): Promise<Out<'applianceList'>>
  view(caller: Caller, id: string): Promise<Out<'applianceView'>>
  delete(caller: Caller, id: string): Promise<void>
}

export interface CloneEngine {
  /** Checks, then goes on as a job; its result is the id of the first VM made. */
  clone(caller: Caller, vmId: string, input: Body<'vmClone'>): Promise<Out<'vmClone'>>
  facts(caller: Caller, vmId: string): Promise<Out<'vmCloneFacts'>>
  setTemplate(caller: Caller, vmId: string, input: Body<'vmTemplateSet'>): Promise<Out<'vmTemplateSet'>>
}

export interface ImageEngine {
  list(caller: Caller): Promise<Out<'imageList'>>
  view(caller: Caller, id: string): Promise<Out<'imageView'>>
  /** @param declaredBytes Content-Length, or null; used to refuse early for want of space. */
  upload(
    caller: Caller,
    query: Query<'imageUpload'>,
    body: Readable,
    declaredBytes: number | null,
  ): Promise<Out<'imageUpload'>>
  register(caller: Caller, input: Body<'imageRegister'>): Promise<Out<'imageRegister'>>
  sources(caller: Caller): Promise<Out<'imageSources'>>
  starters(caller: Caller): Promise<Out<'starterList'>>
  addStarter(caller: Caller, id: string): Promise<Out<'starterAdd'>>
  update(caller: Caller, id: string, change: Body<'imageUpdate'>): Promise<Out<'imageUpdate'>>
  /** @param rangeOf what is wanted of so many bytes, both ends included; null: all of them */
  content(
    caller: Caller,
    id: string,
    rangeOf: (sizeBytes: number) => ByteRange | null,
    withBody: boolean,
  ): Promise<{ name: string; sizeBytes: number; range: ByteRange | null; body: Readable | null }>
  delete(caller: Caller, id: string): Promise<void>
}

export interface SeedEngine {
  /** Null: it has none and had none. */
  view(caller: Caller, vmId: string): Promise<Out<'vmSeedView'>>
  replace(caller: Caller, vmId: string, input: Body<'vmSeedReplace'>): Promise<NonNullable<Out<'vmSeedReplace'>>>
  remove(caller: Caller, vmId: string): Promise<void>
  /** Nothing of the password is kept. */
  hash(caller: Caller, input: Body<'seedPasswordHash'>): Out<'seedPasswordHash'>
}

/** A piece of a resumable upload. */
export interface UploadPiece {
  readonly offsetBytes: number
  /** Content-Length; null when unknown. */
  readonly declaredBytes: number | null
  readonly body: Readable
  readonly checksum: { readonly algorithm: 'sha1' | 'sha256' | 'sha512'; readonly base64: string } | null
}

export interface TransferEngine {
  uploadList(caller: Caller): Promise<Out<'uploadList'>>
  uploadView(caller: Caller, id: string): Promise<Out<'uploadView'>>
  /** Cuts a connection that still sends to it, so that the offset stands. */
  uploadSettle(caller: Caller, id: string): Promise<Out<'uploadView'>>
  uploadCreate(
    caller: Caller,
    request: { name: string; sizeBytes: number; sha256: string | null; lastModifiedMs: number | null },
  ): Promise<Out<'uploadCreate'>>
  /** @returns the new offset */
  uploadAppend(caller: Caller, id: string, piece: UploadPiece): Promise<number>
  uploadFinish(caller: Caller, id: string): Promise<Out<'uploadFinish'>>
  uploadDelete(caller: Caller, id: string): Promise<void>
  download(caller: Caller, input: Body<'imageDownload'>): Promise<Out<'imageDownload'>>
  downloadPreview(caller: Caller, input: Body<'imageDownloadPreview'>): Promise<Out<'imageDownloadPreview'>>
  catalogueList(caller: Caller): Promise<Out<'catalogueList'>>
  catalogueFetch(caller: Caller, id: string): Promise<Out<'catalogueFetch'>>
}

export type FileSourceName =
  | { readonly kind: 'image' | 'volume' | 'backup'; readonly id: string }
  | { readonly kind: 'snapshot'; readonly vmId: string; readonly id: string }

export interface FileEngine {
  list(caller: Caller, name: FileSourceName, query: FilesQuery): Promise<DiskFiles>
  content(
    caller: Caller,
    name: FileSourceName,
    query: FileQuery,
    withBody: boolean,
  ): Promise<{ name: string; sizeBytes: number; body: Readable | null }>
}

export interface BackupDiskFiles {
  readonly device: string
  /** Top first, absolute. */
  readonly files: readonly { readonly path: string; readonly format: 'qcow2' }[]
}

export interface BackupEngine {
  list(caller: Caller, query: Query<'backupList'>): Promise<Out<'backupList'>>
  create(caller: Caller, vmId: string, options: Body<'backupCreate'>): Promise<Out<'backupCreate'>>
  view(caller: Caller, id: string): Promise<Out<'backupView'>>
  update(caller: Caller, id: string, change: Body<'backupUpdate'>): Promise<Out<'backupUpdate'>>
  delete(caller: Caller, id: string, query: Query<'backupDelete'>): Promise<Out<'backupDelete'>>
  restore(caller: Caller, id: string, input: Body<'backupRestore'>): Promise<Out<'backupRestore'>>
  verify(caller: Caller, id: string, input: Body<'backupVerify'>): Promise<Out<'backupVerify'>>
  screenshot(caller: Caller, id: string): Promise<Buffer>
  /** Of each disk, the files to read it from. For looking at what is on it; not part of the API. */
  filesOf(
    caller: Caller,
    id: string,
  ): Promise<{
    readonly title: string
    readonly ownerId: string
    readonly disks: readonly BackupDiskFiles[]
    check(): void
  }>
  schedules(caller: Caller, query: Query<'backupScheduleList'>): Promise<Out<'backupScheduleList'>>
  createSchedule(
    caller: Caller,
    vmId: string,
    input: Body<'backupScheduleCreate'>,
  ): Promise<Out<'backupScheduleCreate'>>
  updateSchedule(
    caller: Caller,
    id: string,
    patch: Body<'backupScheduleUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'backupScheduleUpdate'>>
  deleteSchedule(caller: Caller, id: string, expectedRevision: number | null): Promise<void>
  runSchedule(caller: Caller, id: string): Promise<Out<'backupScheduleRun'>>
  forecast(caller: Caller, id: string): Promise<Out<'backupScheduleForecast'>>
}

export interface ProjectEngine {
  list(caller: Caller): Promise<Out<'projectList'>>
  view(caller: Caller, id: string): Promise<Out<'projectView'>>
  create(caller: Caller, input: Body<'projectCreate'>): Promise<Out<'projectCreate'>>
  update(
    caller: Caller,
    id: string,
    patch: Body<'projectUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'projectUpdate'>>
  delete(caller: Caller, id: string): Promise<void>
  directory(caller: Caller): Promise<Out<'directoryList'>>
  groups(): Promise<Out<'groupList'>>
  createGroup(caller: Caller, input: Body<'groupCreate'>): Promise<Out<'groupCreate'>>
  updateGroup(
    caller: Caller,
    id: string,
    patch: Body<'groupUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'groupUpdate'>>
  deleteGroup(caller: Caller, id: string): Promise<void>
  roles(caller: Caller): Promise<Out<'roleList'>>
  createRole(caller: Caller, input: Body<'roleCreate'>): Promise<Out<'roleCreate'>>
  updateRole(
    caller: Caller,
    id: string,
    patch: Body<'roleUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'roleUpdate'>>
  deleteRole(caller: Caller, id: string): Promise<void>
}

export interface ObjectAccessEngine {
  view(caller: Caller, kind: ObjectKind, id: string): Promise<Out<'vmAccessView'>>
  update(
    caller: Caller,
    kind: ObjectKind,
    id: string,
    patch: Body<'vmAccessUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'vmAccessUpdate'>>
}

export interface NetworkEngine {
  list(caller: Caller): Promise<Out<'networkList'>>
  create(caller: Caller, input: Body<'networkCreate'>): Promise<Out<'networkCreate'>>
  update(
    caller: Caller,
    id: string,
    patch: Body<'networkUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'networkUpdate'>>
  delete(caller: Caller, id: string): Promise<void>
}

export interface UsageEngine {
  view(caller: Caller): Promise<Out<'usageView'>>
  setQuota(
    caller: Caller,
    holder: { readonly type: 'person' | 'project' | 'default'; readonly id: string },
    limits: Body<'quotaUpdate'>['limits'],
  ): Promise<Out<'quotaUpdate'>>
}

export interface PoolEngine {
  list(caller: Caller): Promise<Out<'poolList'>>
  create(caller: Caller, input: Body<'poolCreate'>): Promise<Out<'poolCreate'>>
  update(caller: Caller, id: string, patch: Body<'poolUpdate'>): Promise<Out<'poolUpdate'>>
  delete(caller: Caller, id: string): Promise<void>
  check(caller: Caller, id: string): Promise<Out<'poolCheck'>>
  needs(caller: Caller): Promise<Out<'storageNeedList'>>
}

export interface VolumeEngine {
  list(caller: Caller): Promise<Out<'volumeList'>>
  view(caller: Caller, id: string): Promise<Out<'volumeView'>>
  create(caller: Caller, input: Body<'volumeCreate'>): Promise<Out<'volumeCreate'>>
  rename(caller: Caller, id: string, name: string): Promise<Out<'volumeUpdate'>>
  grow(caller: Caller, id: string, sizeGiB: number): Promise<Out<'volumeGrow'>>
  attach(caller: Caller, id: string, vmId: string): Promise<Out<'volumeAttach'>>
  detach(caller: Caller, id: string): Promise<Out<'volumeDetach'>>
  copy(caller: Caller, id: string, input: Body<'volumeCopy'>): Promise<Out<'volumeCopy'>>
  convert(caller: Caller, id: string, format: 'qcow2' | 'raw'): Promise<Out<'volumeConvert'>>
  compact(caller: Caller, id: string): Promise<Out<'volumeCompact'>>
  move(caller: Caller, id: string, input: Body<'volumeMove'>): Promise<Out<'volumeMove'>>
  /** A free disk goes to the trash; one in the trash goes for good. */
  delete(caller: Caller, id: string): Promise<void>
  restore(caller: Caller, id: string): Promise<Out<'volumeRestore'>>
  emptyTrash(caller: Caller): Promise<Out<'trashEmpty'>>
}

export interface SnapshotEngine {
  list(caller: Caller, vmId: string): Promise<Out<'snapshotList'>>
  create(caller: Caller, vmId: string, input: Body<'snapshotCreate'>): Promise<Out<'snapshotCreate'>>
  update(
    caller: Caller,
    vmId: string,
    snapshotId: string,
    patch: Body<'snapshotUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'snapshotUpdate'>>
  /** No side effects. */
  compare(caller: Caller, vmId: string, snapshotId: string): Promise<Out<'snapshotCompare'>>
  revert(
    caller: Caller,
    vmId: string,
    snapshotId: string,
    input: Body<'snapshotRevert'>,
  ): Promise<Out<'snapshotRevert'>>
  delete(caller: Caller, vmId: string, snapshotId: string): Promise<Out<'snapshotDelete'>>
  screenshot(caller: Caller, vmId: string, snapshotId: string): Promise<Buffer>
  schedules(caller: Caller, vmId: string): Promise<Out<'snapshotScheduleList'>>
  createSchedule(
    caller: Caller,
    vmId: string,
    input: Body<'snapshotScheduleCreate'>,
  ): Promise<Out<'snapshotScheduleCreate'>>
  updateSchedule(
    caller: Caller,
    vmId: string,
    scheduleId: string,
    patch: Body<'snapshotScheduleUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'snapshotScheduleUpdate'>>
  deleteSchedule(caller: Caller, vmId: string, scheduleId: string, expectedRevision: number | null): Promise<void>
  runSchedule(caller: Caller, vmId: string, scheduleId: string): Promise<Out<'snapshotScheduleRun'>>
}

export interface ScheduleEngine {
  preview(timing: Body<'schedulePreview'>): Promise<Out<'schedulePreview'>>
  /** Of what the caller may see, and the caller's own. */
  list(caller: Caller): Promise<Out<'scheduleList'>>
}

export interface LabEngine {
  policy(caller: Caller): Promise<Out<'labPolicyView'>>
  updatePolicy(
    caller: Caller,
    patch: Body<'labPolicyUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'labPolicyUpdate'>>
  leases(caller: Caller): Promise<Out<'leaseList'>>
  lease(caller: Caller, vmId: string): Promise<Out<'vmLeaseView'>>
  /** Undoes what the end of the lease did as well. */
  extend(caller: Caller, vmId: string): Promise<Out<'vmLeaseExtend'>>
  setLease(caller: Caller, vmId: string, input: Body<'vmLeaseSet'>): Promise<Out<'vmLeaseSet'>>
  powerSchedules(caller: Caller, query: Query<'powerScheduleList'>): Promise<Out<'powerScheduleList'>>
  createPowerSchedule(caller: Caller, input: Body<'powerScheduleCreate'>): Promise<Out<'powerScheduleCreate'>>
  updatePowerSchedule(
    caller: Caller,
    id: string,
    patch: Body<'powerScheduleUpdate'>,
    expectedRevision: number | null,
  ): Promise<Out<'powerScheduleUpdate'>>
  deletePowerSchedule(caller: Caller, id: string, expectedRevision: number | null): Promise<void>
  skipPowerSchedule(caller: Caller, id: string, input: Body<'powerScheduleSkip'>): Promise<Out<'powerScheduleSkip'>>
  bookings(caller: Caller, query: Query<'bookingList'>): Promise<Out<'bookingList'>>
  book(caller: Caller, input: Body<'bookingCreate'>): Promise<Out<'bookingCreate'>>
  unbook(caller: Caller, id: string): Promise<void>
}

interface HostEngine {
  view(caller: Caller, options: { refresh: boolean }): Promise<Out<'hostView'>>
  capabilities(caller: Caller): Promise<Out<'capabilitiesView'>>
  /** @throws EngineError not_found for a type this QEMU does not have */
  deviceType(caller: Caller, type: string): Promise<Out<'deviceTypeView'>>
  /** Mount points and hardware addresses are for administrators. */
  devices(caller: Caller): Promise<Out<'hostDeviceList'>>
}

export interface JobEngine {
  list(caller: Caller): Promise<Out<'jobList'>>
  /** @param until the job's end is waited for until this is aborted; left out: the job as it is */
  view(caller: Caller, id: string, until?: AbortSignal): Promise<Out<'jobView'>>
  cancel(caller: Caller, id: string): Promise<Out<'jobCancel'>>
}

export interface EventEngine {
  /**
   * Every event the caller may see, filtered. With `since` of this epoch, replays what the ring still holds,
   * otherwise sends `reset` first. Listener must not block. Returns the unsubscribe function.
   */
  subscribe(
    caller: Caller,
    since: { epoch: string | null; seq: number } | null,
    listener: (event: DeckEvent, text: string) => void,
  ): () => void
  readonly epoch: string
}

export interface Engine {
  readonly vms: VmEngine
  readonly viewers: ViewerEngine
  readonly guestLinks: GuestLinkEngine
  readonly recordings: RecordingEngine
  readonly seeds: SeedEngine
  readonly clones: CloneEngine
  readonly images: ImageEngine
  readonly files: FileEngine
  readonly transfers: TransferEngine
  readonly backups: BackupEngine
  readonly appliances: ApplianceEngine
  readonly projects: ProjectEngine
  readonly objectAccess: ObjectAccessEngine
  readonly networks: NetworkEngine
  readonly usage: UsageEngine
  readonly pools: PoolEngine
  readonly volumes: VolumeEngine
  readonly snapshots: SnapshotEngine
  readonly schedules: ScheduleEngine
  readonly lab: LabEngine
  readonly host: HostEngine
  readonly jobs: JobEngine
  /** Judges an operation on an object, before it is asked for. @throws EngineError not_found, forbidden */
  authorize(caller: Caller, privilege: Privilege, kind: AboutKind, id: string): Promise<void>
  readonly events: EventEngine
  /** Records a line on behalf of the HTTP side (sign-ins, denials). */
  record(entry: {
    what: string
    text: string
    result: 'ok' | 'denied' | 'failed' | 'info'
    caller: Caller | null
    who?: string
    /** Of the person named in `who`, where there is no caller: they may read the line. */
    userId?: string
    from?: string
  }): void
  /** Records that somebody asked for what they may not; `about` is an object they reach, and is named. */
  denied(what: string, text: string, caller: Caller, about: { kind: AboutKind; id: string } | null): void
  activity(caller: Caller, query: Query<'activityList'>): Promise<Out<'activityList'>>
  verifyActivity(caller: Caller): Promise<Out<'activityVerify'>>
  /** @returns the whole text */
  exportActivity(caller: Caller, query: Query<'activityExportJson'>, format: 'jsonl' | 'csv'): Promise<Buffer>
  /** Redeems a console ticket and opens the stream source; used by the WebSocket router only. */
  redeemConsoleTicket(ticket: string, vmId: string, kind: 'vnc' | 'serial'): TicketGrant | null
  /** Prometheus text about what the caller may see. */
  metrics(caller: Caller): Promise<string>
}
