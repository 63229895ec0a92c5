/**
 * Schedules in the store. What a person decided and how it goes lie apart: a run must not change the revision that an
 * edit is based on.
 */
import * as z from 'zod'
import { Retention, Schedule, ScheduleKind, ScheduleRun } from '#lib/schema/schedule.ts'
import type { Store } from '#server/store/types.ts'

const Document = z.object({
  v: z.literal(1),
  id: z.string(),
  kind: ScheduleKind,
  target: Schedule.shape.target,
  /** The person in whose name it runs. */
  ownerId: z.string(),
  cron: z.string(),
  timeZone: z.string(),
  retention: Retention,
  options: z.json(),
  paused: z.boolean(),
  createdAt: z.string(),
})
export type ScheduleDocument = z.output<typeof Document>

const Progress = z.object({
  /** Up to when everything due was seen to; milliseconds. */
  handledMs: z.number(),
  lastRun: ScheduleRun.nullable(),
})
export type ScheduleProgress = z.output<typeof Progress>

export interface StoredSchedule {
  readonly document: ScheduleDocument
  readonly revision: number
  readonly progress: ScheduleProgress
}

const progressKey = (id: string) => `schedule:${id}`

export interface ScheduleStore {
  load(nowMs: number, warn: (message: string, error?: unknown) => void): StoredSchedule[]
  /** @returns null when the stored revision is not `expected`; 0: must not exist */
  write(document: ScheduleDocument, expected: number): number | null
  /** @throws Error when the disk is full */
  saveProgress(id: string, progress: ScheduleProgress): void
  remove(id: string, expected?: number): boolean
}

export function createScheduleStore(store: Store): ScheduleStore {
  return {
    load(nowMs, warn) {
      const found: StoredSchedule[] = []
      for (const { key, revision, value } of store.list('schedule')) {
        const parsed = Document.safeParse(value)
        if (!parsed.success) {
          warn(`The stored schedule ${key} is unreadable and does not run.`, parsed.error)
          continue
        }
        const progress = Progress.safeParse(store.get('meta', progressKey(key))?.value)
        found.push({
          document: parsed.data,
          revision,
          // Without it nobody knows what was missed: nothing is made up for.
          progress: progress.success ? progress.data : { handledMs: nowMs, lastRun: null },
        })
      }
      return found
    },
    write: (document, expected) => store.cas('schedule', document.id, document, expected),
    saveProgress: (id, progress) => void store.put('meta', progressKey(id), progress),
    remove: (id, expected) =>
      store.transaction(() => {
        if (!store.delete('schedule', id, expected)) return false
        store.delete('meta', progressKey(id))
        return true
      }),
  }
}
