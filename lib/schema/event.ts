/** What `/api/v1/events` sends, one JSON text message each. */
import * as z from 'zod'

export const EventTopic = z
  .enum(['vm', 'image', 'pool', 'volume', 'job', 'backup', 'snapshot', 'host', 'activity', 'user', 'lab'])
  .meta({ id: 'EventTopic' })

/**
 * `change`: the object has a new revision or live state; its view is inlined in `object` for vm, job and image.
 * `gone`: it was deleted or the reader may no longer see it. `reset`: events before `seq` were lost, fetch again.
 */
export const DeckEvent = z
  .strictObject({
    /** Grows by one per event of this server run; resume with `?since=`. */
    seq: z.int(),
    /** Distinguishes server runs: another epoch means sequence numbers started over. */
    epoch: z.string(),
    kind: z.enum(['hello', 'change', 'gone', 'reset']),
    topic: EventTopic.nullable(),
    id: z.string().nullable(),
    revision: z.int().nullable(),
    object: z.json().optional(),
    at: z.iso.datetime(),
  })
  .meta({ id: 'DeckEvent' })
export type DeckEvent = z.output<typeof DeckEvent>

/** One line of what happened, for the activity pages. */
export const ActivityEntry = z
  .strictObject({
    id: z.int(),
    at: z.iso.datetime(),
    /** Operation id or system event, for example `vmStart`, `vmCrashed`, `sessionCreate`. */
    what: z.string(),
    /** Sentence for people. */
    text: z.string(),
    result: z.enum(['ok', 'denied', 'failed', 'info']),
    who: z.string().nullable(),
    from: z.string().nullable(),
    topic: EventTopic.nullable(),
    objectId: z.string().nullable(),
    objectName: z.string().nullable(),
  })
  .meta({ id: 'ActivityEntry' })
export type ActivityEntry = z.output<typeof ActivityEntry>

/** What a search of the log may ask for; all conditions must hold. */
export const ActivitySearch = z.strictObject({
  /** Part of the sentence, of the object's or person's name, or of the address. */
  text: z.string().min(1).max(200).optional(),
  /** Operation or event, for example `vmStart`. */
  what: z
    .string()
    .regex(/^[A-Za-z]{1,64}$/)
    .optional(),
  who: z.string().min(1).max(64).optional(),
  result: ActivityEntry.shape.result.optional(),
  from: z.iso.datetime().optional(),
  until: z.iso.datetime().optional(),
})
export type ActivitySearch = z.output<typeof ActivitySearch>

/** Whether the log is as it was written. */
export const ActivityVerdict = z
  .strictObject({
    isIntact: z.boolean(),
    lines: z.int(),
    /** Lines of releases that did not chain them yet. */
    unchained: z.int(),
    /** Line at which the chain breaks. */
    brokenAt: z.int().nullable(),
    firstId: z.int().nullable(),
    lastId: z.int().nullable(),
    /** Hash of the newest line; compare it with one noted or sent elsewhere. */
    head: z.string().nullable(),
  })
  .meta({ id: 'ActivityVerdict' })
export type ActivityVerdict = z.output<typeof ActivityVerdict>
