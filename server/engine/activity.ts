/** The activity log as the API knows it. */
import type { AboutKind } from '#lib/api/object-of.ts'
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
  /** Null: of this kind nothing is named. */
  readonly nameOf: (kind: AboutKind, id: string) => { readonly name: string; readonly ownerId?: string } | null
}

export function createActivity({
  records,
  store,
  journal,
  nameOf,
}: ActivityDeps): Pick<Engine, 'record' | 'denied' | 'activity' | 'verifyActivity' | 'exportActivity'> {
  return {
    record: ({ what, text, result, caller, who, userId, from }) =>
      journal.write({
        ...{ what, text, result, caller },
        ...(who !== undefined && { who }),
        ...(userId !== undefined && { userId }),
        ...(from !== undefined && { from }),
      }),
    denied(what, text, caller, about) {
      const named = about === null ? null : nameOf(about.kind, about.id)
      const end = named === null ? '.' : `: ${named.name}.`
      journal.write({
        ...{ what, text: `${text}${end}`, result: 'denied', caller },
        ...(about !== null && { objectId: about.id }),
        ...(about?.kind === 'vm' && { topic: 'vm' as const }),
        ...(named !== null && { objectName: named.name }),
        ...(named?.ownerId !== undefined && { ownerId: named.ownerId }),
      })
    },
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
