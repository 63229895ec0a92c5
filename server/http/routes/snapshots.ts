/** Snapshots and schedules: each operation is one call of the engine. */
import type { snapshotsOperations } from '#lib/api/operations/snapshots.ts'
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

export function snapshotRoutes({ snapshots, schedules }: Engine): Pick<Handlers, keyof typeof snapshotsOperations> {
  return {
    snapshotList: ({ caller, params }) => snapshots.list(caller, params.id),
    snapshotCreate: ({ caller, params, body }) => snapshots.create(caller, params.id, body),
    snapshotUpdate: ({ caller, params, body, expectedRevision }) =>
      snapshots.update(caller, params.id, params.snapshotId, body, expectedRevision),
    snapshotCompare: ({ caller, params }) => snapshots.compare(caller, params.id, params.snapshotId),
    snapshotRevert: ({ caller, params, body }) => snapshots.revert(caller, params.id, params.snapshotId, body),
    snapshotDelete: ({ caller, params }) => snapshots.delete(caller, params.id, params.snapshotId),
    snapshotScreenshot: ({ caller, params }) => snapshots.screenshot(caller, params.id, params.snapshotId),
    snapshotScheduleList: ({ caller, params }) => snapshots.schedules(caller, params.id),
    snapshotScheduleCreate: ({ caller, params, body }) => snapshots.createSchedule(caller, params.id, body),
    snapshotScheduleUpdate: ({ caller, params, body, expectedRevision }) =>
      snapshots.updateSchedule(caller, params.id, params.scheduleId, body, expectedRevision),
    snapshotScheduleDelete: ({ caller, params, expectedRevision }) =>
      snapshots.deleteSchedule(caller, params.id, params.scheduleId, expectedRevision),
    snapshotScheduleRun: ({ caller, params }) => snapshots.runSchedule(caller, params.id, params.scheduleId),
    schedulePreview: ({ body }) => schedules.preview(body),
    scheduleList: ({ caller }) => schedules.list(caller),
  }
}
