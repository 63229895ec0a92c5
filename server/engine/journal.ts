/** The activity log from the engine's side: one place that knows who may read which line and tells the event hub. */

import { may, seesAllVms } from '#lib/auth/privileges.ts'
import type { ActivityEntry, ActivitySearch } from '#lib/schema/event.ts'
import type { EventHub } from '#server/events/hub.ts'
import type { ActivityQuery, Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { Caller } from './types.ts'
import type { VmRecord } from './vm-records.ts'

interface JournalLine {
  readonly what: string
  readonly text: string
  readonly result: ActivityEntry['result']
  readonly caller: Caller | null
  readonly who?: string
  /** Of the person named in `who`, where there is no caller. */
  readonly userId?: string
  readonly from?: string
  readonly topic?: ActivityEntry['topic']
  readonly objectId?: string
  readonly objectName?: string
  /** Owner of the object: may read the line. */
  readonly ownerId?: string
  readonly durable?: boolean
}

export interface Journal {
  write(line: JournalLine): void
  /** Runs an operation on a VM and records how it went; with `done` null only when it failed. Rethrows. */
  vmOperation<T>(
    what: string,
    caller: Caller,
    record: VmRecord,
    done: string | null,
    work: () => Promise<T>,
  ): Promise<T>
  ofVm(vmId: string, query: { before?: number | undefined; limit: number }): ActivityEntry[]
  all(
    caller: Caller,
    ownVmIds: () => readonly string[],
    query: ActivitySearch & { before?: number | undefined; limit: number },
  ): ActivityEntry[]
}

/** Guest- and client-made text on one line and of bounded length. */
const oneLine = (text: string) => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ').slice(0, 1000)

export function createJournal(store: Store, hub: EventHub, now: () => Date = () => new Date()): Journal {
  const page = (query: ActivitySearch & { before?: number | undefined; limit: number }): ActivityQuery =>
    // Conditions that were not given are left out, not undefined.
    Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined)) as unknown as ActivityQuery
  const write = (line: JournalLine): void => {
    store.log(
      {
        at: now().toISOString(),
        what: line.what,
        text: oneLine(line.text),
        result: line.result,
        who: line.caller?.name ?? line.who ?? null,
        from: line.caller?.from ?? line.from ?? null,
        topic: line.topic ?? null,
        objectId: line.objectId ?? null,
        objectName: line.objectName ?? null,
        userId: line.caller?.userId ?? line.userId ?? null,
      },
      { durable: line.durable ?? false },
    )
    hub.publish('activity', line.objectId ?? null, null, undefined, {
      ownerId: line.ownerId ?? line.caller?.userId ?? null,
      ...(line.topic === 'vm' && line.objectId !== undefined && { about: { kind: 'vm', id: line.objectId } }),
    })
  }
  return {
    write,
    async vmOperation(what, caller, record, done, work) {
      const about = {
        what,
        caller,
        topic: 'vm' as const,
        objectId: record.id,
        objectName: record.spec.name,
        ownerId: record.ownerId,
      }
      try {
        const result = await work()
        if (done !== null) write({ ...about, text: `${caller.name} ${done} ${record.spec.name}.`, result: 'ok' })
        return result
      } catch (error) {
        const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
        const denied = error instanceof EngineError && error.code === 'forbidden'
        write({ ...about, text: `${record.spec.name}: ${why}`, result: denied ? 'denied' : 'failed' })
        throw error
      }
    },
    ofVm: (vmId, query) => store.activity({ ...page(query), objectId: vmId }),
    all(caller, ownVmIds, query) {
      // A narrowed token reads about the VMs it reaches, and nothing else its owner did.
      if ((caller.scope ?? null) !== null && !may(caller, 'activity.view.all')) {
        return store.activity({ ...page(query), mine: { userId: '', objectIds: ownVmIds() } })
      }
      if (may(caller, 'activity.view.all')) return store.activity(page(query))
      const objectIds = seesAllVms(caller.role) ? [] : ownVmIds()
      return store.activity({ ...page(query), mine: { userId: caller.userId, objectIds } })
    },
  }
}
