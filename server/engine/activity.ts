/** The activity log as the API knows it. */
import type { Store } from '#server/store/types.ts'
import { canSeeVm } from './access.ts'
import { exportLog } from './activity-export.ts'
import type { Journal } from './journal.ts'
import type { Engine } from './types.ts'
import type { VmRecords } from './vm-records.ts'

export interface ActivityDeps {
  readonly records: VmRecords
  readonly store: Store
  readonly journal: Journal
}

export function createActivity({
  records,
  store,
  journal,
}: ActivityDeps): Pick<Engine, 'record' | 'activity' | 'verifyActivity' | 'exportActivity'> {
  return {
    record: ({ what, text, result, caller, who, from }) =>
      journal.write({
        ...{ what, text, result, caller },
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
        what: 'activityExport',
        text: `${caller.name} exported the activity log (${only}).`,
        result: 'ok',
        caller,
        durable: true,
      })
      return exportLog(store, query, format)
    },
  }
}
