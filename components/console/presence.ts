/** What a console's page knows of the others at it. */
import type { ConsoleNews, ConsoleViewer, ConsoleWish } from '#lib/schema/console.ts'

export type Presence = Extract<ConsoleNews, { type: 'presence' }>
/** A wish as it is written by hand: ids come from what the server sent. */
export type Wish =
  | { readonly do: Exclude<ConsoleWish['do'], 'give' | 'decline'> }
  | { readonly do: 'give' | 'decline'; readonly to: string }

export const yourself = (presence: Presence | null): ConsoleViewer | null =>
  presence?.viewers.find(({ id }) => id === presence.you) ?? null

/** Who has sole control of the console this page shows; null: nobody has. */
export function holderOf(presence: Presence | null): ConsoleViewer | null {
  const kind = yourself(presence)?.kind
  return presence?.viewers.find((viewer) => viewer.holds && viewer.kind === kind) ?? null
}

/** Somebody else has sole control: what is typed here goes nowhere. */
export function heldByOther(presence: Presence | null): ConsoleViewer | null {
  const holder = holderOf(presence)
  return holder === null || holder.id === presence?.you ? null : holder
}
