/** Schedules of every kind, as lists and the overview show them. Each kind makes and changes its own. */
import { ScheduleId, UserId } from '#lib/schema/ids.ts'
import { previewTiming } from '#server/schedules/cron.ts'
import type { Scheduler, ScheduleState } from '#server/schedules/scheduler.ts'
import { canSeeVm } from './access.ts'
import type { ScheduleEngine } from './types.ts'
import type { VmRecords } from './vm-records.ts'

export function createScheduleEngine(
  scheduler: Scheduler,
  records: VmRecords,
  userName: (id: string) => string,
): ScheduleEngine {
  const view = ({ document, revision, progress, nextAt }: ScheduleState) => ({
    id: ScheduleId.parse(document.id),
    kind: document.kind,
    target: document.target,
    cron: document.cron,
    timeZone: document.timeZone,
    retention: document.retention,
    options: document.options,
    paused: document.paused,
    nextAt: nextAt?.toISOString() ?? null,
    lastRun: progress.lastRun,
    owner: { id: UserId.parse(document.ownerId), name: userName(document.ownerId) },
    createdAt: document.createdAt,
    revision,
  })
  return {
    preview: async (timing) => previewTiming(timing, Date.now()),
    async list(caller) {
      const seen = scheduler.list().filter(({ document: { target, ownerId } }) => {
        if (ownerId === caller.userId) return true
        // One about a tag covers VMs of others: only who sees all of them sees it.
        if (target.type === 'tag') return canSeeVm(caller, { ownerId: '' })
        const record = records.get(target.id)
        return record !== null && canSeeVm(caller, record)
      })
      return { items: seen.map(view) }
    },
  }
}
