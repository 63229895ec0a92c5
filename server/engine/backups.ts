/** Backups as the API knows them: who may see and do what, and the jobs they become. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { may } from '#lib/auth/privileges.ts'
import type { Backup } from '#lib/schema/backup.ts'
import { VmName } from '#lib/schema/vm-spec.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import { type Catalog, filesOf, type StoredBackup } from '#server/backup/catalog.ts'
import { childrenOf } from '#server/backup/chain.ts'
import { replaceDurably } from '#server/backup/files.ts'
import { type BackupNotes, BackupNotes as BackupNotesSchema, FILES } from '#server/backup/manifest.ts'
import { diskFilesOf } from '#server/backup/read.ts'
import { mergeInto, removeBackup } from '#server/backup/remove.ts'
import { verifyFiles } from '#server/backup/verify.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import { readPlainFile } from '#server/platform/fs.ts'
import type { Scheduler } from '#server/schedules/scheduler.ts'
import { LOCAL_POOL_ID, type PoolDocument, type Pools } from '#server/storage/pools.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { canSeeVm, requireVm } from './access.ts'
import type { BackupMaker } from './backup-make.ts'
import type { Prover } from './backup-proof.ts'
import type { Restorer } from './backup-restore.ts'
import { type createBackupSchedules, forecastOf } from './backup-schedules.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { BackupEngine, Caller } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmDefiner } from './vm-define.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface BackupEngineDeps {
  readonly binary: string
  readonly catalog: Catalog
  readonly pools: Pools
  readonly qemuImg: QemuImg
  readonly records: VmRecords
  readonly supervisor: Supervisor
  readonly jobs: JobRegistry
  readonly busy: VmBusy
  readonly journal: Journal
  readonly definer: VmDefiner
  readonly maker: BackupMaker
  readonly restorer: Restorer
  readonly prover: Prover
  readonly scheduler: Scheduler
  readonly schedules: ReturnType<typeof createBackupSchedules>
  readonly userName: (id: string) => string
  /** One piece of work at a time on the backups of a VM. */
  readonly exclusive: <T>(vmId: string, work: () => Promise<T>) => Promise<T>
  readonly onChange: (backupId: string, ownerId: string, vmId: string) => void
}

const SCREEN_MAX_BYTES = 16 * 2 ** 20

export function createBackupEngine(deps: BackupEngineDeps): BackupEngine {
  const { catalog, pools, records, jobs, journal, definer, restorer, schedules } = deps

  /** The VM's owner, where it is still there; else whom the backup names. */
  const ownerOf = ({ manifest }: StoredBackup) => records.get(manifest.vm.id)?.ownerId ?? manifest.ownerId
  const canSee = (caller: Caller, backup: StoredBackup) =>
    canSeeVm(caller, { id: backup.manifest.vm.id, ownerId: ownerOf(backup) })
  /** @throws EngineError not_found */
  const require = async (caller: Caller, id: string): Promise<StoredBackup> => {
    if (catalog.get(id) === null) await catalog.fresh()
    const backup = catalog.get(id)
    if (backup === null || !canSee(caller, backup)) throw new EngineError('not_found', 'There is no such backup.')
    return backup
  }
  const poolOf = (id: string) => ({ id, name: pools.get(id)?.name ?? 'removed pool' })

  const view = (backup: StoredBackup): Backup => {
    const { manifest, notes } = backup
    const record = records.get(manifest.vm.id)
    return {
      id: manifest.id,
      vm: { ...manifest.vm, name: record?.spec.name ?? manifest.vm.name, exists: record !== null },
      pool: poolOf(backup.poolId),
      createdAt: manifest.createdAt,
      kind: manifest.kind,
      parent: manifest.parent,
      children: childrenOf(backup.id, catalog.all()).map(({ manifest: child }) => child.id),
      running: manifest.running,
      frozen: manifest.frozen,
      compression: manifest.compression,
      sizeBytes: filesOf(manifest).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      changedBytes:
        manifest.kind === 'full' ? null : manifest.disks.reduce((sum, disk) => sum + (disk.changedBytes ?? 0), 0),
      disks: manifest.disks.map(({ device, kind, virtualSizeBytes, sizeBytes }) => ({
        device,
        kind,
        virtualSizeBytes,
        sizeBytes,
      })),
      nvram: manifest.nvram !== null,
      tpm: manifest.tpm.length > 0,
      left: manifest.left,
      scheduleId: manifest.scheduleId,
      note: notes.note,
      keep: notes.keep,
      verified: notes.verified,
      problem: catalog.problemOf(backup),
      owner: { id: manifest.ownerId, name: deps.userName(ownerOf(backup)) },
    }
  }

  const saveNotes = async (backup: StoredBackup, change: Partial<BackupNotes>): Promise<StoredBackup> => {
    const present = catalog.get(backup.id) ?? backup
    const notes = BackupNotesSchema.parse({ ...present.notes, ...change })
    await replaceDurably(join(backup.dir, FILES.notes), `${JSON.stringify(notes, null, 2)}\n`)
    const changed = { ...present, notes }
    catalog.put(changed)
    deps.onChange(backup.id, ownerOf(backup), backup.manifest.vm.id)
    return changed
  }

  const note = (caller: Caller, backup: StoredBackup, what: string, text: string, result: 'ok' | 'failed' = 'ok') =>
    journal.write({
      what,
      text,
      result,
      caller,
      topic: 'vm',
      objectId: backup.manifest.vm.id,
      objectName: backup.manifest.vm.name,
      ownerId: ownerOf(backup),
    })
  const when = ({ manifest }: StoredBackup) => manifest.createdAt.slice(0, 16).replace('T', ' ')

  const start = (
    caller: Caller,
    backup: StoredBackup,
    kind: 'backup-restore' | 'backup-verify' | 'backup-delete',
    title: string,
    work: (context: JobContext) => Promise<string>,
    target: { type: 'vm' | 'backup'; id: string } = { type: 'backup', id: backup.id },
  ) =>
    jobs
      .start({
        kind,
        title,
        owner: { userId: caller.userId, name: caller.name },
        totalBytes: null,
        target,
        async work(context) {
          try {
            return await work(context)
          } catch (error) {
            if (!context.signal.aborted)
              note(
                caller,
                backup,
                kind,
                `${title}: ${error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'}`,
                'failed',
              )
            throw error
          }
        },
      })
      .view()

  const remove = async (backup: StoredBackup, merge: boolean, context: JobContext): Promise<string> =>
    deps.exclusive(backup.manifest.vm.id, async () => {
      const children = childrenOf(backup.id, catalog.all())
      if (children.length > 0 && !merge) throw standsOn(children.length)
      for (const child of children) {
        const manifest = await mergeInto(
          {
            binary: deps.binary,
            renameBacking: (path, below) => deps.qemuImg.renameBackupBacking(path, below),
          },
          child,
          backup,
          context,
        )
        catalog.put({ ...child, manifest })
        deps.onChange(child.id, ownerOf(child), child.manifest.vm.id)
      }
      context.settle()
      context.step('Removing the files')
      await removeBackup(backup)
      catalog.forget(backup.id)
      deps.onChange(backup.id, ownerOf(backup), backup.manifest.vm.id)
      return backup.id
    })

  const verify = async (
    backup: StoredBackup,
    input: { boot: boolean; waitSeconds: number },
    context: JobContext,
  ): Promise<string> => {
    const chain = restorer.chainOf(backup)
    const wrong = await verifyFiles({ check: (path, signal) => deps.qemuImg.check(path, { signal }) }, chain, context)
    let message = wrong ?? 'All files are there, whole and unchanged.'
    let booted = false
    if (wrong === null && input.boot) {
      context.step('Starting it, cut off from everything')
      const proof = await deps.prover.boot(backup, chain, input.waitSeconds, context)
      if (proof.png !== null) await replaceDurably(join(backup.dir, FILES.screen), proof.png)
      booted = proof.png !== null
      message = `${message} ${proof.message}`
    }
    await saveNotes(backup, {
      verified: {
        // ISO 8601 by construction.
        at: new Date().toISOString() as NonNullable<BackupNotes['verified']>['at'],
        ok: wrong === null && (!input.boot || booted),
        message,
        booted,
      },
    })
    if (wrong !== null) throw new EngineError('checksum_mismatch', wrong)
    return backup.id
  }

  const scheduleFor = (caller: Caller, id: string) => {
    const state = schedules.require(id)
    const record = records.get(state.document.target.id)
    if (record === null || !canSeeVm(caller, record)) throw new EngineError('not_found', 'There is no such schedule.')
    return { state, record }
  }

  return {
    async list(caller, query) {
      await catalog.fresh()
      if (query.vm !== undefined) {
        const record = records.get(query.vm)
        if (record !== null && !canSeeVm(caller, record)) throw new EngineError('not_found', 'There is no such VM.')
      }
      const items = catalog
        .all()
        .filter((backup) => canSee(caller, backup) && (query.vm === undefined || backup.manifest.vm.id === query.vm))
      return {
        items: items.map(view),
        broken:
          caller.role === 'admin'
            ? catalog.broken().map(({ poolId, folder, reason }) => ({ pool: poolOf(poolId), folder, reason }))
            : [],
        targets: pools
          .all()
          .filter(isTarget)
          .map(({ id, name }) => ({ id, name })),
        concerns: records
          .all()
          .filter((record) => canSeeVm(caller, record) && (query.vm === undefined || record.id === query.vm))
          .flatMap((record) => schedules.concernsOf(record, Date.now())),
      }
    },
    async create(caller, vmId, options) {
      const record = requireVm(records, caller, vmId)
      if (pools.get(options.pool ?? LOCAL_POOL_ID) === null)
        throw new EngineError('bad_input', 'There is no such storage pool.', { field: 'pool' })
      if (!isTarget(pools.require(options.pool ?? LOCAL_POOL_ID)))
        throw new EngineError('bad_input', 'This storage pool does not take backups.', { field: 'pool' })
      const other = deps.busy.get(vmId)
      if (other !== null) deps.busy.assertFree(vmId, other.blocks[0] ?? 'change')
      return deps.maker.start(record, options, { userId: caller.userId, name: caller.name }, null).view()
    },
    view: async (caller, id) => view(await require(caller, id)),
    async update(caller, id, change) {
      const backup = await require(caller, id)
      return view(
        await saveNotes(backup, {
          ...(change.note !== undefined && { note: change.note }),
          ...(change.keep !== undefined && { keep: change.keep }),
        }),
      )
    },
    async delete(caller, id, { dependents }) {
      const backup = await require(caller, id)
      const children = childrenOf(id, catalog.all())
      if (children.length > 0 && dependents === 'refuse') throw standsOn(children.length)
      const title = `Deletion of the backup of ${backup.manifest.vm.name} of ${when(backup)}`
      return start(caller, backup, 'backup-delete', title, async (context) => {
        const result = await remove(backup, dependents === 'merge', context)
        note(
          caller,
          backup,
          'backupDelete',
          `${caller.name} deleted the backup of ${backup.manifest.vm.name} of ${when(backup)}.`,
        )
        return result
      })
    },
    async filesOf(caller, id) {
      const backup = await require(caller, id)
      const disks = await diskFilesOf(restorer.chainOf(backup))
      return {
        title: `${backup.manifest.vm.name}, ${when(backup)}`,
        ownerId: ownerOf(backup),
        disks,
        check() {
          // Merging and deleting change files of the chain; either ends what this one was.
          if (catalog.get(id) === null || restorer.chainOf(backup).length === 0)
            throw new EngineError('wrong_state', 'The backup was changed meanwhile. Look again.')
        },
      }
    },
    async restore(caller, id, input) {
      const backup = await require(caller, id)
      restorer.chainOf(backup)
      let record: VmRecord
      if (input.as === 'new') {
        const name = VmName.safeParse(input.name)
        if (!name.success)
          throw new EngineError('bad_input', `The name: ${name.error.issues[0]?.message ?? 'not usable'}.`, {
            field: 'name',
          })
        // A token for some VMs makes no others.
        if (!may(caller, 'vm.create')) throw new EngineError('forbidden', 'You may not create VMs.', { field: 'as' })
        const announce = (vmId: string) => restorer.announce(vmId, caller.name)
        record = await definer.create(caller, restorer.inputOf(backup, name.data), undefined, null, announce)
      } else {
        record = requireVm(records, caller, backup.manifest.vm.id)
        const allowed = allowedAction(deps.supervisor.runtime(record.id).state, 'delete')
        if (!allowed.allowed)
          throw new EngineError(
            'wrong_state',
            'Shut the guest down first: its disks are replaced by those of the backup.',
          )
        deps.busy.assertFree(record.id, 'revert')
      }
      const title = `Restore of ${record.spec.name}`
      return start(
        caller,
        backup,
        'backup-restore',
        title,
        async (context) => {
          const result = await restorer.run(record, backup, input.as, caller.name, context)
          note(
            caller,
            backup,
            'backupRestore',
            `${caller.name} restored the backup of ${when(backup)} to ${record.spec.name}.`,
          )
          return result
        },
        { type: 'vm', id: record.id },
      )
    },
    async verify(caller, id, input) {
      const backup = await require(caller, id)
      restorer.chainOf(backup)
      return start(
        caller,
        backup,
        'backup-verify',
        `Check of the backup of ${backup.manifest.vm.name} of ${when(backup)}`,
        (context) => verify(backup, input, context),
      )
    },
    async screenshot(caller, id) {
      const backup = await require(caller, id)
      const path = join(backup.dir, FILES.screen)
      if (!existsSync(path)) throw new EngineError('not_found', 'This backup was not started yet.')
      return readPlainFile(path, SCREEN_MAX_BYTES)
    },
    async schedules(caller, query) {
      return {
        items: schedules.list(query.vm).flatMap((state) => {
          const record = records.get(state.document.target.id)
          return record === null || !canSeeVm(caller, record) ? [] : [schedules.view(state, record)]
        }),
      }
    },
    async createSchedule(caller, vmId, input) {
      const record = requireVm(records, caller, vmId)
      const { options, ...rest } = input
      const state = deps.scheduler.create({
        ...rest,
        kind: 'backup',
        target: { type: 'vm', id: vmId },
        ownerId: caller.userId,
        options: { ...options, pool: options.pool ?? LOCAL_POOL_ID },
      })
      return schedules.view(state, record)
    },
    async updateSchedule(caller, id, patch, expected) {
      const { record } = scheduleFor(caller, id)
      const change = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined))
      return schedules.view(deps.scheduler.update(id, change, expected), record)
    },
    async deleteSchedule(caller, id, expected) {
      scheduleFor(caller, id)
      deps.scheduler.remove(id, expected)
    },
    async runSchedule(caller, id) {
      const { record } = scheduleFor(caller, id)
      return schedules.view(deps.scheduler.runNow(id), record)
    },
    async forecast(caller, id) {
      const { state } = scheduleFor(caller, id)
      await catalog.fresh()
      return {
        items: forecastOf(catalog, state.document).map(({ backup, keep, why }) => ({
          id: backup.manifest.id,
          createdAt: backup.manifest.createdAt,
          keep,
          why: [...why],
        })),
      }
    },
  }
}

/** The built-in pool takes backups always: better there than nowhere. */
const isTarget = (pool: PoolDocument) => pool.id === LOCAL_POOL_ID || pool.purposes.includes('backups')

const standsOn = (children: number) =>
  new EngineError(
    'in_use',
    `${children === 1 ? 'Another backup stands' : `${children} other backups stand`} on this one. Delete ${children === 1 ? 'it' : 'them'} first, or let this one be merged into ${children === 1 ? 'it' : 'them'}.`,
  )
