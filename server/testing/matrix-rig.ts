/**
 * For the test of the permission table: a dashboard with one object of every kind that a member owns, seven callers, and
 * for each operation of the contract a call that means something. Nothing but tests imports this.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { WebSocket } from 'ws'
import { API_BASE, type OperationId } from '#lib/api/contract.ts'
import { COLUMNS, type ColumnId } from '#lib/auth/permission-table.ts'
import type { Job } from '#lib/schema/job.ts'
import { type Answer, send } from '#server/http/test-rig.ts'
import { qemuImg, rawDisk } from '#server/images/testing/forge.ts'
import { ovf, tar } from '#server/interop/ova/testing/forge.ts'
import { dir, PASSWORD } from '#server/testing/process-rig.ts'

const PATIENCE_MS = 120_000
const MiB = 2 ** 20
const TUS = { 'tus-resumable': '1.0.0' }
const NOBODY = '0190f000-0000-7000-8000-000000000000'
export const DONGLE = { type: 'usb-id', vendor: '1234', product: 'abcd' }

export type Headers = Record<string, string>
export interface Call {
  /** Of the path: `id` unless said otherwise. */
  readonly params?: Record<string, string>
  readonly query?: string
  readonly body?: unknown
  readonly bytes?: Buffer
  readonly headers?: Headers
}

let count = 0
const unique = (what: string) => {
  count += 1
  return `${what} ${count}`
}

export async function matrixRig(port: number, root: Headers) {
  const origin = `http://127.0.0.1:${port}`
  const ask = (who: Headers, method: string, path: string, { query, body, bytes, headers }: Call = {}) =>
    send(port, method, `${API_BASE}${path}${query === undefined ? '' : `?${query}`}`, {
      headers: { ...who, ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      body: bytes ?? (body === undefined ? undefined : JSON.stringify(body)),
    })
  const done = async (who: Headers, method: string, path: string, call?: Call): Promise<Answer> => {
    const answer = await ask(who, method, path, call)
    expect(answer.status, `${method} ${path}: ${answer.text}`).toBeLessThan(300)
    return answer
  }
  const made = async (who: Headers, path: string, body: unknown) => (await done(who, 'POST', path, { body })).json
  const ended = async (who: Headers, job: Job): Promise<Job> => {
    let now = job
    await expect
      .poll(
        async () => {
          now = (await done(who, 'GET', `/jobs/${job.id}`)).json
          return now.endedAt
        },
        { timeout: PATIENCE_MS },
      )
      .not.toBeNull()
    expect(now, JSON.stringify(now.error)).toMatchObject({ state: 'done' })
    return now
  }

  const ids = {} as Record<ColumnId, string>
  const headers = { anonymous: {} } as Record<ColumnId, Headers>
  const signIn = async (column: ColumnId): Promise<void> => {
    if (column === 'anonymous' || column === 'token') return
    const answer = await done({ origin }, 'POST', '/session', { body: { name: column, password: PASSWORD } })
    headers[column] = { cookie: String(answer.headers['set-cookie']).split(';')[0] ?? '', origin }
  }
  for (const column of ['viewer', 'owner', 'other', 'operator', 'administrator'] as const) {
    const { role } = COLUMNS[column]
    ids[column] = (await made(root, '/users', { name: column, password: PASSWORD, role })).id
    await signIn(column)
  }
  const { owner, administrator } = headers

  const vm = async (disks: unknown[] = []): Promise<string> =>
    (await made(owner, '/vms', { name: unique('vm'), memoryMiB: 32, cpus: 1, disks, networks: [] })).id
  const volume = async () => (await made(owner, '/volumes', { name: unique('disk'), sizeGiB: 1 })).id
  const upload = (who: Headers) =>
    done(who, 'POST', '/images/upload', {
      query: `name=${encodeURIComponent(unique('image'))}.img`,
      bytes: rawDisk(MiB),
      headers: { 'content-type': 'application/octet-stream' },
    })
  const begin = async (name: string, sizeBytes: number): Promise<string> => {
    const metadata = `filename ${Buffer.from(name).toString('base64')}`
    const answer = await done(owner, 'POST', '/images/uploads', {
      headers: { ...TUS, 'upload-length': String(sizeBytes), 'upload-metadata': metadata },
    })
    return answer.json.id
  }
  const append = (id: string, bytes: Buffer): Call => ({
    params: { id },
    bytes,
    headers: { ...TUS, 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' },
  })
  let ova: Buffer | null = null
  const appliance = async (): Promise<string> => {
    if (ova === null) {
      mkdirSync(join(dir, 'forge'), { recursive: true })
      const file = (name: string) => join(dir, 'forge', name)
      writeFileSync(file('raw'), rawDisk(8 * MiB))
      qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', file('raw'), file('vmdk'))
      ova = tar([
        { name: 'box.ovf', content: ovf() },
        { name: 'disk.vmdk', content: readFileSync(file('vmdk')) },
      ])
    }
    const known = new Set<string>(
      (await done(owner, 'GET', '/appliances')).json.items.map((one: { id: string }) => one.id),
    )
    const id = await begin(`${unique('box')}.ova`, ova.length)
    await done(owner, 'PATCH', `/images/uploads/${id}`, append(id, ova))
    const fresh = async (): Promise<string | undefined> =>
      (await done(owner, 'GET', '/appliances')).json.items.find((one: { id: string }) => !known.has(one.id))?.id
    await expect.poll(fresh, { timeout: PATIENCE_MS }).toBeDefined()
    return (await fresh()) ?? ''
  }
  const timing = {
    cron: '0 3 * * *',
    timeZone: 'UTC',
    retention: { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 },
  }
  const power = (id: string) => ({ target: { type: 'vm', id }, action: 'on', cron: timing.cron, timeZone: 'UTC' })
  let slot = 0
  const booking = () => {
    slot += 1
    const at = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString()
    return { device: DONGLE, from: at(2 * slot), until: at(2 * slot + 1) }
  }
  const member = (id: string, role: string) => ({ to: { type: 'person', id }, role })
  const link = { label: 'class', kind: 'vnc', mode: 'view', expiresInMinutes: 60 }

  const main = await vm([{ device: 'disk', sizeGiB: 1 }])
  const runner = await vm()
  const snapshot = (await ended(owner, await made(owner, `/vms/${main}/snapshots`, { kind: 'disk' }))).result ?? ''
  const backupJob = await ended(owner, await made(owner, `/vms/${main}/backups`, {}))
  const { token, entry } = await made(owner, '/tokens', {
    label: 'scoped',
    scope: { privileges: [...COLUMNS.token.scope], vmIds: [main] },
  })
  headers.token = { authorization: `Bearer ${token}` }
  await done(owner, 'POST', `/vms/${runner}/start`)
  await done(administrator, 'PATCH', '/lab/policy', { body: { devices: [{ device: DONGLE, name: 'dongle' }] } })

  /** What is used up by a call that succeeds is made anew for each; all belongs to the owner. */
  const make = {
    vm: () => vm(),
    volume,
    image: async () => (await upload(owner)).json.id,
    upload: () => begin(`${unique('image')}.img`, 4),
    appliance,
    project: async () =>
      (await made(administrator, '/projects', { name: unique('lab'), members: [member(ids.owner, 'admin')] })).id,
    snapshotSchedule: async () => (await made(owner, `/vms/${main}/snapshot-schedules`, timing)).id,
    backupSchedule: async () => (await made(owner, `/vms/${main}/backup-schedules`, { ...timing, options: {} })).id,
    powerSchedule: async () => (await made(owner, '/power-schedules', power(main))).id,
    booking: async () => (await made(owner, '/bookings', booking())).id,
    guestLink: async () => (await made(owner, `/vms/${main}/guest-links`, link)).link.id,
    recording: async () => {
      const { id } = await made(owner, `/vms/${runner}/recordings`, { kind: 'serial' })
      await done(owner, 'POST', `/vms/${runner}/recordings/${id}/stop`)
      return id
    },
    group: async () => (await made(administrator, '/groups', { name: unique('group') })).id,
    network: async () => (await made(administrator, '/networks', { name: unique('lan'), bridge: 'br0' })).id,
    role: async () => (await made(administrator, '/roles', { name: unique('role'), privileges: ['vm.view'] })).id,
    user: async () =>
      (await made(root, '/users', { name: unique('user').replace(' ', ''), password: PASSWORD, role: 'viewer' })).id,
    ownToken: async () => (await made(owner, '/tokens', { label: unique('token') })).entry.id,
    session: async () => {
      await signIn('owner')
      const { items } = (await done(headers.owner, 'GET', '/account/sessions')).json
      return items.find((one: { current: boolean }) => !one.current).id
    },
    // At the serial console, which nobody has to greet.
    viewer: async () => {
      const { ticket, path, viewer } = await made(owner, `/vms/${runner}/console-tickets`, {
        kind: 'serial',
        mode: 'view',
      })
      const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, ['binary', ticket], { headers: headers.owner })
      ws.on('error', () => {})
      await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
      return viewer as string
    },
  } satisfies Record<string, () => Promise<string>>
  const { items: pools } = (await done(owner, 'GET', '/pools')).json
  return {
    ...{
      port,
      origin,
      ask,
      done,
      signIn,
      headers,
      ids,
      make,
      main,
      runner,
      snapshot,
      timing,
      link,
      power,
      booking,
      append,
    },
    ...{
      unique,
      backup: backupJob.result ?? '',
      job: backupJob.id,
      scopedToken: entry.id,
      pool: pools[0].id as string,
    },
  }
}
export type MatrixRig = Awaited<ReturnType<typeof matrixRig>>
export type Make = MatrixRig['make']

type Recipe = (rig: MatrixRig, make: Make) => Call | Promise<Call>
const plain: Recipe = () => ({})
const body =
  (value: unknown): Recipe =>
  () => ({ body: value })
/** An image that is nobody else's. */
const upload: Recipe = (rig) => ({
  query: `name=${encodeURIComponent(rig.unique('image'))}.img`,
  bytes: rawDisk(MiB),
  headers: { 'content-type': 'application/octet-stream' },
})
/** Past every check and refused for its form: what it would do costs too much, or needs what is not here. */
const malformed: Recipe = () => ({ body: { nothing: 1 } })
const id = (params: { id: string }, value?: unknown): Call => ({ params, ...(value !== undefined && { body: value }) })
const main =
  (value?: unknown): Recipe =>
  (rig) =>
    id({ id: rig.main }, value)
const runner =
  (value?: unknown): Recipe =>
  (rig) =>
    id({ id: rig.runner }, value)
const fresh =
  (kind: keyof Make, value?: unknown): Recipe =>
  async (_rig, make) =>
    id({ id: await make[kind]() }, value)
const snapshot =
  (call: Call = {}): Recipe =>
  (rig) => ({ params: { id: rig.main, snapshotId: rig.snapshot }, ...call })
const snapshotSchedule =
  (value?: unknown): Recipe =>
  async (rig, make) => ({
    params: { id: rig.main, scheduleId: await make.snapshotSchedule() },
    ...(value !== undefined && { body: value }),
  })
const recording: Recipe = async (rig, make) => ({ params: { id: rig.runner, recording: await make.recording() } })
const backup =
  (call: Call = {}): Recipe =>
  (rig) => ({ params: { id: rig.backup }, ...call })
const odd = 'nothing=1'
const files = 'path=/'

/** A call of each operation; one that is missing does not compile. */
export const RECIPES: Readonly<Record<OperationId, Recipe>> = {
  sessionView: plain,
  setupCreate: malformed,
  signInWays: plain,
  sessionCreate: malformed,
  secondFactorCreate: malformed,
  passkeyOptions: malformed,
  passkeySession: malformed,
  oidcBegin: malformed,
  oidcSession: malformed,
  sessionDelete: plain,
  oidcSignOut: plain,
  sessionConfirm: body({ password: PASSWORD }),
  passwordChange: malformed,
  signInView: plain,
  signInUpdate: body({ policy: { secondFactorRoles: [] } }),
  signInCheck: malformed,
  accountView: plain,
  sessionList: plain,
  sessionRevoke: fresh('session'),
  sessionRevokeAll: body({}),
  totpBegin: plain,
  totpConfirm: malformed,
  totpDelete: plain,
  recoveryCreate: plain,
  passkeyBegin: plain,
  passkeyCreate: malformed,
  passkeyDelete: () => ({ params: { id: NOBODY } }),
  tokenList: plain,
  tokenCreate: body({ label: 'one more' }),
  tokenDelete: fresh('ownToken'),
  userList: plain,
  userCreate: malformed,
  userUpdate: fresh('user', { disabled: true }),
  userDelete: fresh('user'),
  userLogins: fresh('user', { logins: [] }),
  userSignOut: fresh('user'),
  userFactorsReset: fresh('user'),
  userTokenList: (rig) => id({ id: rig.ids.owner }),
  userTokenDelete: async (rig, make) => ({ params: { id: rig.ids.owner, token: await make.ownToken() } }),
  projectList: plain,
  projectCreate: (rig) => ({ body: { name: rig.unique('lab') } }),
  projectView: fresh('project'),
  projectUpdate: fresh('project', { description: 'other' }),
  projectDelete: fresh('project'),
  directoryList: plain,
  groupList: plain,
  groupCreate: (rig) => ({ body: { name: rig.unique('group') } }),
  groupUpdate: fresh('group', { memberIds: [] }),
  groupDelete: fresh('group'),
  roleList: plain,
  roleCreate: (rig) => ({ body: { name: rig.unique('role'), privileges: ['vm.view'] } }),
  roleUpdate: fresh('role', { description: 'other' }),
  roleDelete: fresh('role'),
  vmAccessView: main(),
  vmAccessUpdate: main({ shares: [] }),
  imageAccessView: fresh('image'),
  imageAccessUpdate: fresh('image', { shares: [] }),
  volumeAccessView: fresh('volume'),
  volumeAccessUpdate: fresh('volume', { shares: [] }),
  networkList: plain,
  networkCreate: (rig) => ({ body: { name: rig.unique('lan'), bridge: 'br0' } }),
  networkUpdate: fresh('network', { description: 'other' }),
  networkDelete: fresh('network'),
  usageView: plain,
  quotaUpdate: (rig) => ({ params: { type: 'person', id: rig.ids.other }, body: { limits: null } }),
  vmList: plain,
  vmCreate: (rig) => ({ body: { name: rig.unique('vm'), memoryMiB: 32, disks: [], networks: [] } }),
  vmPreview: (rig) => ({ body: { name: rig.unique('vm'), memoryMiB: 32, disks: [], networks: [] } }),
  vmView: main(),
  vmUpdate: main({ description: 'other' }),
  vmChangePreview: main({ description: 'other' }),
  vmDelete: fresh('vm'),
  vmFirmwareReset: main(),
  vmStart: main(),
  vmShutdown: main(),
  vmRestart: main(),
  vmPoweroff: main(),
  vmReset: main(),
  vmPause: main(),
  vmResume: main(),
  vmCommandLine: main(),
  vmDevices: main(),
  vmScreenshot: runner(),
  vmConsoleTicketCreate: runner({ kind: 'vnc', mode: 'view' }),
  vmActivity: main(),
  vmViewerList: runner(),
  vmViewerEnd: async (rig, make) => ({ params: { id: rig.runner, viewer: await make.viewer() }, body: {} }),
  vmViewerControl: async (rig, make) => ({ params: { id: rig.runner, viewer: await make.viewer() } }),
  vmControlRelease: runner({ kind: 'vnc' }),
  guestLinkList: main(),
  guestLinkCreate: (rig) => id({ id: rig.main }, rig.link),
  guestLinkRevoke: async (rig, make) => ({ params: { id: rig.main, link: await make.guestLink() } }),
  guestTicketCreate: malformed,
  recordingList: runner(),
  recordingStart: runner({ kind: 'vnc' }),
  recordingView: recording,
  recordingStop: recording,
  recordingContent: recording,
  recordingDelete: recording,
  recordingRuleSet: runner({}),
  recordingSettingsView: plain,
  recordingSettingsUpdate: body({}),
  vmSeedView: main(),
  vmSeedReplace: main({ nothing: 1 }),
  vmSeedRemove: (rig) => ({ params: { id: rig.main }, query: odd }),
  seedPasswordHash: body({ password: PASSWORD }),
  vmCloneFacts: main(),
  vmClone: main({ nothing: 1 }),
  vmTemplateSet: main({ template: false }),
  snapshotList: main(),
  snapshotCreate: main({ nothing: 1 }),
  snapshotUpdate: snapshot({ body: { note: 'other' } }),
  snapshotCompare: snapshot(),
  snapshotRevert: snapshot({ body: { nothing: 1 } }),
  snapshotDelete: snapshot({ query: odd }),
  snapshotScreenshot: snapshot({ query: odd }),
  snapshotScheduleList: main(),
  snapshotScheduleCreate: (rig) => id({ id: rig.main }, rig.timing),
  snapshotScheduleUpdate: snapshotSchedule({ paused: true }),
  snapshotScheduleDelete: snapshotSchedule(),
  snapshotScheduleRun: snapshotSchedule(),
  schedulePreview: (rig) => ({ body: { cron: rig.timing.cron, timeZone: 'UTC' } }),
  scheduleList: plain,
  imageList: plain,
  imageUpload: upload,
  imagePut: upload,
  imageRegister: malformed,
  imageSources: plain,
  starterList: plain,
  starterAdd: () => ({ params: { id: 'ipxe' }, query: odd }),
  imageView: fresh('image'),
  imageUpdate: fresh('image', { description: 'other' }),
  imageContent: fresh('image'),
  imageDelete: fresh('image'),
  imageFileList: async (_rig, make) => ({ params: { id: await make.image() }, query: files }),
  imageFileContent: async (_rig, make) => ({ params: { id: await make.image() } }),
  volumeFileList: async (_rig, make) => ({ params: { id: await make.volume() }, query: files }),
  volumeFileContent: async (_rig, make) => ({ params: { id: await make.volume() } }),
  snapshotFileList: snapshot({ query: odd }),
  snapshotFileContent: snapshot(),
  backupFileList: backup({ query: odd }),
  backupFileContent: backup(),
  uploadList: plain,
  uploadCreate: () => ({
    headers: { ...TUS, 'upload-length': '4', 'upload-metadata': `filename ${Buffer.from('a.img').toString('base64')}` },
  }),
  uploadView: fresh('upload'),
  uploadAppend: async (rig, make) => rig.append(await make.upload(), Buffer.from('abc')),
  uploadDelete: fresh('upload'),
  uploadFinish: fresh('upload'),
  imageDownload: malformed,
  imageDownloadPreview: malformed,
  catalogueList: plain,
  catalogueFetch: () => ({ params: { id: 'debian-12' }, query: odd }),
  backupList: plain,
  backupCreate: main({ nothing: 1 }),
  backupView: backup(),
  backupUpdate: backup({ body: { note: 'other' } }),
  backupDelete: backup({ query: odd }),
  backupRestore: backup({ body: { nothing: 1 } }),
  backupVerify: backup({ body: { nothing: 1 } }),
  backupScreenshot: backup({ query: odd }),
  backupScheduleList: plain,
  backupScheduleCreate: (rig) => id({ id: rig.main }, { ...rig.timing, options: {} }),
  backupScheduleUpdate: fresh('backupSchedule', { paused: true }),
  backupScheduleDelete: fresh('backupSchedule'),
  backupScheduleRun: fresh('backupSchedule'),
  backupScheduleForecast: fresh('backupSchedule'),
  imageImport: malformed,
  applianceList: plain,
  applianceView: fresh('appliance'),
  applianceDelete: fresh('appliance'),
  hostView: plain,
  capabilitiesView: plain,
  deviceTypeView: () => ({ params: { type: 'virtio-rng-pci' } }),
  hostDeviceList: plain,
  jobList: plain,
  jobView: (rig) => id({ id: rig.job }),
  jobCancel: (rig) => id({ id: rig.job }),
  activityList: plain,
  activityVerify: plain,
  activityExportJson: plain,
  activityExportCsv: plain,
  poolList: plain,
  poolCreate: malformed,
  poolUpdate: (rig) => id({ id: rig.pool }, {}),
  poolDelete: (rig) => id({ id: rig.pool }),
  poolCheck: (rig) => id({ id: rig.pool }),
  storageNeedList: plain,
  volumeList: plain,
  volumeCreate: (rig) => ({ body: { name: rig.unique('disk'), sizeGiB: 1 } }),
  volumeView: fresh('volume'),
  volumeUpdate: async (rig, make) => id({ id: await make.volume() }, { name: rig.unique('disk') }),
  volumeGrow: fresh('volume', { sizeGiB: 2 }),
  volumeAttach: async (rig, make) => id({ id: await make.volume() }, { vmId: rig.main }),
  volumeDetach: fresh('volume'),
  volumeCopy: fresh('volume', { nothing: 1 }),
  volumeConvert: fresh('volume', { nothing: 1 }),
  volumeCompact: async (_rig, make) => ({ params: { id: await make.volume() }, query: odd }),
  volumeMove: async (rig, make) => id({ id: await make.volume() }, { poolId: rig.pool }),
  volumeDelete: fresh('volume'),
  volumeRestore: fresh('volume'),
  trashEmpty: plain,
  labPolicyView: plain,
  labPolicyUpdate: body({ bookingMaxDays: 14 }),
  leaseList: plain,
  vmLeaseView: main(),
  vmLeaseExtend: main(),
  vmLeaseSet: main({ endsAt: null }),
  powerScheduleList: plain,
  powerScheduleCreate: (rig) => ({ body: rig.power(rig.main) }),
  powerScheduleUpdate: fresh('powerSchedule', { paused: true }),
  powerScheduleDelete: fresh('powerSchedule'),
  powerScheduleSkip: fresh('powerSchedule', { skip: true }),
  bookingList: plain,
  bookingCreate: (rig) => ({ body: rig.booking() }),
  bookingDelete: fresh('booking'),
}
