/**
 * The store: JSON documents by key with a revision each, and an append-only log. SQLite today (`sqlite.ts`),
 * NATS JetStream KV for a fleet later, so nothing beyond this interface may be asked of it.
 * A write that returned survives `kill -9` and power loss (`synchronous=FULL`), the latter unless it was relaxed.
 */
import type { ActivityEntry } from '#lib/schema/event.ts'

/** First part of a key. One collection per kind of object. */
export type Collection =
  | 'vm'
  | 'image'
  | 'appliance'
  | 'pool'
  | 'volume'
  | 'layer'
  | 'snapshot'
  | 'backup'
  | 'schedule'
  | 'seed'
  | 'lineage'
  | 'user'
  | 'role'
  | 'group'
  | 'project'
  | 'placement'
  | 'network'
  | 'quota'
  | 'session'
  | 'token'
  | 'guest-link'
  | 'recording'
  | 'factor'
  | 'upload'
  | 'download'
  | 'job'
  | 'lab'
  | 'booking'
  | 'meta'

export interface ActivityQuery {
  readonly before?: number
  readonly limit: number
  readonly objectId?: string
  readonly mine?: { readonly userId: string; readonly objectIds: readonly string[] }
  /** Part of the sentence, the object's or the person's name, without regard to case. */
  readonly text?: string
  readonly what?: string
  readonly who?: string
  readonly result?: ActivityEntry['result']
  /** Instants; from inclusive, until exclusive. */
  readonly from?: string
  readonly until?: string
}

export interface LogVerdict {
  readonly isIntact: boolean
  readonly lines: number
  /** Lines older than the chain. */
  readonly unchained: number
  /** Line at which the chain breaks; null when it does not. */
  readonly brokenAt: number | null
  readonly firstId: number | null
  readonly lastId: number | null
  /** Hash of the newest line: compare it with one noted or shipped elsewhere. */
  readonly head: string | null
}

export interface Stored<T> {
  readonly key: string
  readonly revision: number
  readonly value: T
}

export interface Store {
  get<T>(collection: Collection, key: string): Stored<T> | null
  /** Sorted by key. */
  list<T>(collection: Collection): Stored<T>[]
  /** Creates or replaces whatever is there. Returns the new revision. */
  put<T>(collection: Collection, key: string, value: T): number
  /**
   * Compare-and-set. `expected` 0 means "must not exist".
   * Returns the new revision, or null when the stored revision differs (nothing was written).
   */
  cas<T>(collection: Collection, key: string, value: T, expected: number): number | null
  /** True when it existed (and, if given, had that revision). */
  delete(collection: Collection, key: string, expected?: number): boolean
  /**
   * Runs writes as one atomic unit; rolls back when `work` throws. Synchronous, so nothing interleaves.
   * @param options.relaxed not flushed by itself: it survives `kill -9`, but a power cut may take it. The next write that
   *   is flushed takes it along, so what is lost is never older than what is kept. Within another transaction: as that one
   */
  transaction<T>(work: () => T, options?: { readonly relaxed?: boolean }): T
  /** Called after each committed change made through this handle. Returns the unsubscribe function. */
  watch(collection: Collection, listener: (change: { key: string; revision: number | null }) => void): () => void

  /** Appends to the activity log; batched lines are flushed within 100 ms unless `durable`. */
  log(entry: Omit<ActivityEntry, 'id'> & { readonly userId: string | null }, options?: { durable?: boolean }): void
  /** Newest first. `mine` limits to what a user did or to the objects named. */
  activity(query: ActivityQuery): ActivityEntry[]
  /** Oldest first, from after line `id` on, with the hash each is chained by; null for lines older than the chain. */
  logAfter(id: number, limit: number): (ActivityEntry & { readonly hash: string | null })[]
  /** Reads the whole log and checks that no line was changed, added or taken out. */
  verifyLog(): LogVerdict
  /** Called after lines were written. */
  onLog(listener: () => void): () => void

  close(): void
}

/** Stored documents. Versioned so that a later release can migrate them: `v` is the document's schema version. */
export interface VmDocument {
  readonly v: 1
  readonly id: string
  readonly ownerId: string
  readonly spec: unknown
  readonly createdAt: string
  readonly updatedAt: string
  /** Uid QEMU runs as when the dashboard is root; unique per VM. */
  readonly uid: number | null
  /** Intent: was it running when last seen; drives nothing but explanations and autostart. */
  readonly lastExit: unknown
}
