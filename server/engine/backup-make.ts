/** Backups of VMs as work of the engine: which disks, by which QEMU, one piece of work at a time, and after a crash. */
import { randomUUIDv7 } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import type { BackupOptions } from '#lib/schema/backup.ts'
import type { Job } from '#lib/schema/job.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { type BlockMonitor, nodesByFile } from '#server/backup/block-jobs.ts'
import { type Catalog, readBackup } from '#server/backup/catalog.ts'
import { backupDir, bitmapOf, PART } from '#server/backup/layout.ts'
import { candidatesOf, isOurName, type MakeDeps, makeBackup } from '#server/backup/make.ts'
import { type OpenSource, openParts, type SourcePart, withDisksOfOffGuest } from '#server/backup/source.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import { rootActs } from '#server/launcher/acts.ts'
import type { DataPaths } from '#server/paths.ts'
import { thaw } from '#server/snapshots/freeze.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'
import type { LayerReaders } from '#server/storage/layer-readers.ts'
import { readNvramOrigin } from '#server/storage/nvram.ts'
import { LOCAL_POOL_ID, type Pools } from '#server/storage/pools.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { listJobs } from '#server/vm/block/run-job.ts'
import type { Supervisor } from '#server/vm/types.ts'
import type { GuestWork } from '#server/vm/work.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface BackupMakeDeps {
  readonly data: DataPaths
  readonly binary: string
  readonly catalog: Catalog
  readonly pools: Pools
  readonly volumes: Volumes
  readonly qemuImg: QemuImg
  readonly identity: GuestIdentity
  readonly layerReaders: Pick<LayerReaders, 'admit'>
  readonly supervisor: Supervisor
  readonly records: VmRecords
  readonly jobs: JobRegistry
  readonly busy: VmBusy
  readonly journal: Journal
  /** Room for a backup of it, which counts until released. @throws EngineError quota_exceeded */
  readonly hold: (record: VmRecord) => () => void
  readonly onChange: (backupId: string, ownerId: string, vmId: string) => void
  readonly warn: (message: string, error?: unknown) => void
}

export interface BackupStart {
  readonly jobId: string
  view(): Job
  /** The backup's id. */
  readonly finished: Promise<string>
}

export interface BackupMaker {
  /** @throws EngineError vm_busy, wrong_state, pool_unavailable, quota_exceeded */
  start(
    record: VmRecord,
    options: BackupOptions,
    by: { readonly userId: string; readonly name: string },
    scheduleId: string | null,
  ): BackupStart
}

const ABOUT = 'backup-create'
const About = z.object({ poolId: z.string(), id: z.string(), frozen: z.boolean() })

/** QEMU's monitor of a guest, as the copies need it. */
const monitorOf = (work: GuestWork): BlockMonitor => ({ execute: (command, args) => work.ask(command, args) })

export function createBackupMaker(deps: BackupMakeDeps): BackupMaker {
  const { data, catalog, pools, volumes, supervisor, busy, identity, layerReaders } = deps

  const partsOf = (record: VmRecord, spec: VmSpec): { parts: SourcePart[]; left: string[] } => {
    const parts: SourcePart[] = []
    const left: string[] = []
    for (const drive of spec.disks) {
      if (drive.device !== 'disk') continue
      if (drive.shared) {
        left.push(`The disk “${drive.id}” is shared with other VMs and is not in the backup.`)
        continue
      }
      const chain = volumes.chainOf(record.id, drive.id)
      if (chain === null) left.push(`The disk “${drive.id}” has no file and is not in the backup.`)
      else parts.push({ device: drive.id, chain })
    }
    if (spec.firmware === 'uefi' && existsSync(data.nvram(record.id)))
      parts.push({ device: null, chain: [{ path: data.nvram(record.id), format: 'qcow2' }] })
    return { parts, left }
  }

  /** @throws EngineError wrong_state while the VM is between on and off */
  const withSource = async <T>(
    record: VmRecord,
    signal: AbortSignal,
    use: (source: OpenSource, spec: VmSpec, left: readonly string[], signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    const { state } = supervisor.runtime(record.id)
    if (state === 'off' || state === 'crashed') {
      const user = identity.launchUser(record.uid, null, await layerReaders.admit(record.id))
      const { parts, left } = partsOf(record, record.spec)
      return withDisksOfOffGuest({ binary: deps.binary, user, parts, signal }, (source) =>
        use(source, record.spec, left, signal),
      )
    }
    if (state !== 'running' && state !== 'paused')
      throw new EngineError('wrong_state', 'The VM is just being started or stopped. Try again in a moment.')
    return supervisor.work(record.id, async (work) => {
      const spec = work.spec ?? record.spec
      const { parts, left } = partsOf(record, spec)
      const monitor = monitorOf(work)
      const open = await openParts(monitor, parts)
      const lost = parts.find((part) => part.device !== null && !open.some(({ device }) => device === part.device))
      if (lost !== undefined)
        throw new EngineError(
          'conflict',
          `The running guest does not have the file of “${lost.device}” open that is on record.`,
        )
      try {
        return await use(
          {
            monitor,
            writer: identity.launchUser(record.uid, null, []),
            parts: open,
            running: true,
            agent: state === 'running' && work.agent?.open === true ? work.agent.path : null,
          },
          spec,
          left,
          AbortSignal.any([signal, work.signal]),
        )
      } catch (error) {
        signal.throwIfAborted()
        if (work.signal.aborted)
          throw new EngineError('wrong_state', 'The backup was broken off: the guest ended meanwhile.', {
            cause: error,
          })
        throw error
      }
    })
  }

  const run = async (
    record: VmRecord,
    options: BackupOptions,
    scheduleId: string | null,
    id: string,
    note: (about: z.output<typeof About>) => void,
    context: JobContext,
  ): Promise<void> => {
    const pool = pools.require(options.pool ?? LOCAL_POOL_ID)
    const poolRoot = pools.rootOf(pool)
    context.step('Looking at the target')
    await catalog.refresh(pool.id)
    await rootActs()
      .openPath({ dir: poolRoot, readersGid: identity.readersGid })
      .catch((error: unknown) => {
        throw new EngineError(
          'pool_unavailable',
          `Guests cannot reach the pool ${pool.name}: one of the directories above it lets only some users through.`,
          { cause: error },
        )
      })
    const chainLengthOf = (backupId: string) => {
      const backup = catalog.get(backupId)
      const chain = catalog.chain(backupId)
      return backup === null || catalog.problemOf(backup) !== null || !chain.ok ? null : chain.chain.length
    }
    const made = await withSource(record, context.signal, async (source, spec, left, signal) => {
      const makeDeps: MakeDeps = {
        createTarget: (path, sizeBytes, compression, below) =>
          deps.qemuImg.createBackupFile(path, { sizeBytes, compression, below }, { signal }),
        reserve: (bytes) => pools.space(pool.id).reserve(bytes, 'The backup'),
        noteFrozen: (frozen) => note({ poolId: pool.id, id, frozen }),
        // Of this pool only the new one is stood on next; of others the last may yet be.
        isNeeded: (other) => (catalog.get(other)?.poolId ?? pool.id) !== pool.id,
        warn: deps.warn,
      }
      return makeBackup(
        makeDeps,
        source,
        {
          id,
          vm: { id: record.id, ownerId: record.ownerId, spec },
          poolRoot,
          options,
          scheduleId,
          createdAt: new Date().toISOString(),
          candidates: candidatesOf(catalog.ofVm(record.id, pool.id), chainLengthOf),
          tpmDir: spec.tpm === 'none' ? null : join(data.vmDir(record.id), 'tpm'),
          secureBoot: readNvramOrigin(data, record.id)?.secureBoot ?? spec.secureBoot,
          left,
        },
        { ...context, signal },
      )
    })
    const stored = await readBackup(poolRoot, pool.id, record.id, id)
    if (typeof stored === 'string')
      throw new EngineError('internal', `The backup was written but cannot be read: ${stored}`)
    catalog.put(stored)
    if (made.why !== null) deps.warn(`Backup of ${record.id}: ${made.why}`)
    deps.onChange(id, record.ownerId, record.id)
  }

  /** What a crash of the dashboard left in a guest and in the pool: the guest first, which may be frozen. */
  busy.onRecovery(ABOUT, async (vmId, left) => {
    const about = About.safeParse(left.about).data
    if (about === undefined) return
    const { state } = supervisor.runtime(vmId)
    const isOn = state === 'running' || state === 'paused'
    if (isOn) {
      await supervisor
        .work(vmId, async (work) => {
          if (about.frozen && work.agent !== null && !(await thaw(work.agent.path)))
            deps.warn(`The guest ${vmId} may still be frozen.`)
        })
        .catch((error: unknown) => deps.warn(`The guest ${vmId} may still be frozen.`, error))
      await supervisor
        .work(vmId, (work) => clearGuest(work, about.id))
        .catch((error: unknown) => deps.warn(`What a broken off backup left in ${vmId} is still there.`, error))
    }
    const pool = pools.get(about.poolId)
    if (pool === null) return
    await rm(`${backupDir(pools.rootOf(pool), vmId, about.id)}${PART}`, { recursive: true, force: true })
  })

  return {
    start(record, options, by, scheduleId) {
      const id = randomUUIDv7()
      const pool = pools.require(options.pool ?? LOCAL_POOL_ID)
      const release = deps.hold(record)
      const handle = deps.jobs.start({
        kind: 'backup-create',
        title: `Backup of ${record.spec.name}`,
        owner: by,
        totalBytes: null,
        target: { type: 'vm', id: record.id },
        async work(context) {
          const about = { poolId: pool.id, id, frozen: false }
          const line = {
            what: 'backupCreate',
            caller: null,
            who: by.name,
            userId: by.userId,
            topic: 'vm' as const,
            objectId: record.id,
            objectName: record.spec.name,
            ownerId: record.ownerId,
          }
          try {
            await busy.run(
              record.id,
              { what: ABOUT, sentence: 'A backup is being made', by: by.name, jobId: context.jobId, about },
              (note) => run(record, options, scheduleId, id, note, context),
            )
            deps.journal.write({ ...line, text: `${record.spec.name} was backed up to ${pool.name}.`, result: 'ok' })
            return id
          } catch (error) {
            if (!context.signal.aborted)
              deps.journal.write({
                ...line,
                text: `The backup of ${record.spec.name} failed: ${error instanceof EngineError ? error.message : 'something went wrong in the dashboard itself.'}`,
                result: 'failed',
              })
            throw error
          }
        },
      })
      void handle.finished.then(release, release)
      return { jobId: handle.id, view: handle.view, finished: handle.finished }
    },
  }
}

/** Ends the jobs of a broken off backup, lets go of its files, and drops the bitmap that was begun with it. */
async function clearGuest(work: GuestWork, id: string): Promise<void> {
  const jobs = (await listJobs(work)).filter((job) => isOurName(id, job.id))
  for (const job of jobs) await work.ask('job-cancel', { id: job.id }).catch(() => null)
  for (let tries = 0; tries < 200; tries += 1) {
    const open = (await listJobs(work)).filter((job) => isOurName(id, job.id))
    if (open.length === 0) break
    for (const job of open)
      if (job.status === 'concluded') await work.ask('job-dismiss', { id: job.id }).catch(() => null)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  for (const node of (await nodesByFile(monitorOf(work))).values()) {
    if (isOurName(id, node.name)) await work.ask('blockdev-del', { 'node-name': node.name }).catch(() => null)
    for (const { name } of node.bitmaps)
      if (name === bitmapOf(id))
        await work.ask('block-dirty-bitmap-remove', { node: node.name, name }).catch(() => null)
  }
}
