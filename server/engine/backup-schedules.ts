/** Schedules of backups: what they run, what they keep afterwards, and which of them need somebody. */

import { type Grants, mayOn } from '#lib/auth/privileges.ts'
import { type RetentionRule, retain } from '#lib/schedules/retention.ts'
import { type BackupConcern, BackupOptions, type BackupSchedule } from '#lib/schema/backup.ts'
import type { Role } from '#lib/schema/user.ts'
import type { Catalog, StoredBackup } from '#server/backup/catalog.ts'
import { removable } from '#server/backup/chain.ts'
import { removeBackup } from '#server/backup/remove.ts'
import type { ScheduleDocument } from '#server/schedules/documents.ts'
import type { RunContext, Scheduler, ScheduleState } from '#server/schedules/scheduler.ts'
import type { BackupMaker } from './backup-make.ts'
import { EngineError } from './errors.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface BackupScheduleDeps {
  readonly scheduler: Scheduler
  readonly catalog: Catalog
  readonly maker: BackupMaker
  readonly records: VmRecords
  /** Null: the person has gone or may not sign in. */
  readonly user: (id: string) => { readonly name: string; readonly role: Role; readonly grants?: Grants } | null
  readonly userName: (id: string) => string
  /** One piece of work at a time on the backups of a VM. */
  readonly exclusive: <T>(vmId: string, work: () => Promise<T>) => Promise<T>
  readonly onChange: (backupId: string, ownerId: string, vmId: string) => void
}

type Why = RetentionRule | 'needed' | 'pinned'

export interface Forecast {
  readonly backup: StoredBackup
  readonly keep: boolean
  readonly why: readonly Why[]
}

/** A schedule's own backups of its VM, newest first, with what becomes of each. */
export function forecastOf(catalog: Catalog, document: ScheduleDocument): Forecast[] {
  const all = catalog.ofVm(document.target.id)
  const own = all.filter(({ manifest }) => manifest.scheduleId === document.id)
  const kept = retain(
    own.map(({ id, manifest }) => ({ id, atMs: Date.parse(manifest.createdAt) })),
    document.retention,
    document.timeZone,
  )
  const isKept = (backup: StoredBackup) => kept.has(backup.id) || backup.notes.keep
  const gone = new Set(removable(own, all, isKept).map(({ id }) => id))
  return own.map((backup) => {
    const why: Why[] = [...(kept.get(backup.id) ?? []), ...(backup.notes.keep ? (['pinned'] as const) : [])]
    return { backup, keep: !gone.has(backup.id), why: why.length === 0 && !gone.has(backup.id) ? ['needed'] : why }
  })
}

/** A backup this much later than it should be is missed. */
const LATE_FACTOR = 2
const LATE_AT_LEAST_MS = 3_600_000

export function createBackupSchedules(deps: BackupScheduleDeps) {
  const { scheduler, catalog, records } = deps

  const prune = async (document: ScheduleDocument): Promise<number> =>
    deps.exclusive(document.target.id, async () => {
      const all = catalog.ofVm(document.target.id)
      const keep = new Set(forecastOf(catalog, document).flatMap(({ backup, keep }) => (keep ? [backup.id] : [])))
      const own = all.filter(({ manifest }) => manifest.scheduleId === document.id)
      const gone = removable(own, all, ({ id }) => keep.has(id))
      for (const backup of gone) {
        await removeBackup(backup)
        catalog.forget(backup.id)
        deps.onChange(backup.id, backup.manifest.ownerId, backup.manifest.vm.id)
      }
      return gone.length
    })

  const run = async (document: ScheduleDocument, context: RunContext) => {
    const record = records.get(document.target.id)
    if (record === null) return { result: 'skipped' as const, message: 'The VM is no longer there.' }
    const user = deps.user(document.ownerId)
    if (user === null || !mayOn({ ...user, via: 'session', userId: document.ownerId }, record, 'vm.backup'))
      throw new EngineError('forbidden', 'The person this schedule runs for may no longer back up this VM.')
    const options = BackupOptions.parse(document.options)
    const started = deps.maker.start(record, options, { userId: document.ownerId, name: user.name }, document.id)
    context.setJob(started.jobId)
    await started.finished
    const removed = await prune(document)
    return {
      result: 'ok' as const,
      message: removed === 0 ? 'Backed up.' : `Backed up; ${removed} older ${removed === 1 ? 'one' : 'ones'} removed.`,
    }
  }
  scheduler.handle('backup', { run })

  const view = ({ document, revision, progress, nextAt }: ScheduleState, record: VmRecord): BackupSchedule => ({
    // Ids come from the store, whose documents were parsed when they were written.
    id: document.id as BackupSchedule['id'],
    vm: { id: record.id as BackupSchedule['vm']['id'], name: record.spec.name },
    cron: document.cron,
    timeZone: document.timeZone,
    retention: document.retention,
    options: BackupOptions.parse(document.options),
    paused: document.paused,
    nextAt: nextAt?.toISOString() ?? null,
    lastRun: progress.lastRun,
    owner: { id: document.ownerId as BackupSchedule['owner']['id'], name: deps.userName(document.ownerId) },
    revision,
  })

  return {
    view,
    list: (targetId?: string) => scheduler.list({ kind: 'backup', ...(targetId !== undefined && { targetId }) }),
    /** @throws EngineError not_found */
    require(id: string): ScheduleState {
      const state = scheduler.get(id)
      if (state === null || state.document.kind !== 'backup')
        throw new EngineError('not_found', 'There is no such schedule.')
      return state
    },
    concernsOf(record: VmRecord, nowMs: number): BackupConcern[] {
      const vm = { id: record.id as BackupConcern['vm']['id'], name: record.spec.name }
      return scheduler
        .list({ kind: 'backup', targetId: record.id })
        .flatMap(({ document, progress, nextAt }): BackupConcern[] => {
          if (document.paused) return []
          const { lastRun } = progress
          if (lastRun !== null && (lastRun.result === 'failed' || lastRun.result === 'interrupted'))
            return [{ vm, kind: 'failed', message: lastRun.message, since: lastRun.endedAt ?? lastRun.startedAt }]
          if (nextAt === null) return []
          const last = catalog.ofVm(record.id).find(({ manifest }) => manifest.scheduleId === document.id)
          const sinceMs = Date.parse(last?.manifest.createdAt ?? document.createdAt)
          const everyMs = Math.max(LATE_AT_LEAST_MS, nextAt.getTime() - sinceMs)
          if (nowMs - sinceMs <= everyMs * LATE_FACTOR) return []
          return [
            {
              vm,
              kind: 'late',
              message: 'There has been no backup for much longer than its schedule says.',
              since: new Date(sinceMs).toISOString() as BackupConcern['since'],
            },
          ]
        })
    },
  }
}
