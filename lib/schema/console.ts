/** Who is at a console, what they may do there, and what goes over its WebSocket beside the bytes. */
import * as z from 'zod'
import { Instant } from './ids.ts'

export const ConsoleKind = z.enum(['vnc', 'serial'])
export type ConsoleKind = z.output<typeof ConsoleKind>
/** What somebody may do at a console; whether they can just now is also a matter of who holds it. */
export const ConsoleMode = z.enum(['control', 'view'])
export type ConsoleMode = z.output<typeof ConsoleMode>

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
/** One connection of one person to one console. */
export const ViewerId = z.string().regex(UUID).brand('ViewerId').meta({ id: 'ViewerId' })
export type ViewerId = z.output<typeof ViewerId>

export const ConsoleViewer = z
  .strictObject({
    id: ViewerId,
    /** Of the person; of a guest, the label of their link. */
    name: z.string(),
    /** Came by a guest link, without an account. */
    guest: z.boolean(),
    kind: ConsoleKind,
    mode: ConsoleMode,
    since: Instant,
    /** Has sole control: nobody else's input reaches the guest. */
    holds: z.boolean(),
    /** Asks for control since then; null: does not. */
    asksSince: Instant.nullable(),
  })
  .meta({ id: 'ConsoleViewer' })
export type ConsoleViewer = z.output<typeof ConsoleViewer>

/** A recording under way, as everybody at the console sees it. */
export const RecordingMark = z
  .strictObject({ id: z.string(), kind: ConsoleKind, by: z.string(), since: Instant })
  .meta({ id: 'RecordingMark' })
export type RecordingMark = z.output<typeof RecordingMark>

/**
 * What a viewer may ask of the others at its console, as a text message on the WebSocket. `hold`: sole control, where
 * nobody has it. `release`: give it up, so that all who may control can again. `ask`, `withdraw`: of whoever has it.
 * `give`, `decline`: the answer, by whoever has it. `take`: by who manages the console, whoever has it.
 */
export const ConsoleWish = z.discriminatedUnion('do', [
  z.strictObject({ do: z.enum(['hold', 'release', 'ask', 'withdraw', 'take']) }),
  z.strictObject({ do: z.enum(['give', 'decline']), to: ViewerId }),
])
export type ConsoleWish = z.output<typeof ConsoleWish>

/** Text messages from the dashboard to a viewer that asked for them when it got its ticket. */
export type ConsoleNews =
  | {
      readonly type: 'presence'
      /** The viewer this is sent to. */
      readonly you: string
      /** May take control back, hand it to others and end them. */
      readonly manages: boolean
      /** Everybody at any console of the VM, longest first. */
      readonly viewers: readonly ConsoleViewer[]
      readonly recordings: readonly RecordingMark[]
    }
  | { readonly type: 'refused'; readonly message: string }
