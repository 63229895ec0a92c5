/** What `/api/v1/events` sends, one JSON text message each. */
import * as z from 'zod'

export const EventTopic = z.enum(['vm', 'image', 'job', 'host', 'activity', 'user']).meta({ id: 'EventTopic' })

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
