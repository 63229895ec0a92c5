/** Backups and their schedules. */
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names =
  | 'backupList'
  | 'backupCreate'
  | 'backupView'
  | 'backupUpdate'
  | 'backupDelete'
  | 'backupRestore'
  | 'backupVerify'
  | 'backupScreenshot'
  | 'backupScheduleList'
  | 'backupScheduleCreate'
  | 'backupScheduleUpdate'
  | 'backupScheduleDelete'
  | 'backupScheduleRun'
  | 'backupScheduleForecast'

export function backupRoutes({ backups }: Engine): Pick<Handlers, Names> {
  return {
    backupList: ({ caller, query }) => backups.list(caller, query),
    backupCreate: ({ caller, params, body }) => backups.create(caller, params.id, body),
    backupView: ({ caller, params }) => backups.view(caller, params.id),
    backupUpdate: ({ caller, params, body }) => backups.update(caller, params.id, body),
    backupDelete: ({ caller, params, query }) => backups.delete(caller, params.id, query),
    backupRestore: ({ caller, params, body }) => backups.restore(caller, params.id, body),
    backupVerify: ({ caller, params, body }) => backups.verify(caller, params.id, body),
    backupScreenshot: ({ caller, params }) => backups.screenshot(caller, params.id),
    backupScheduleList: ({ caller, query }) => backups.schedules(caller, query),
    backupScheduleCreate: ({ caller, params, body }) => backups.createSchedule(caller, params.id, body),
    backupScheduleUpdate: ({ caller, params, body, expectedRevision }) =>
      backups.updateSchedule(caller, params.id, body, expectedRevision),
    backupScheduleDelete: ({ caller, params, expectedRevision }) =>
      backups.deleteSchedule(caller, params.id, expectedRevision),
    backupScheduleRun: ({ caller, params }) => backups.runSchedule(caller, params.id),
    backupScheduleForecast: ({ caller, params }) => backups.forecast(caller, params.id),
  }
}
