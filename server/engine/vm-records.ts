/**
 * Every VM document in memory. The store is written first, then this; requests read only this.
 *
 * A record also remembers what is being created, so that two concurrent creates cannot take the same name, host port,
 * MAC or uid: `claim` is synchronous and stands until the create succeeds or is undone.
 */
import { randomUUID } from 'node:crypto'
import * as z from 'zod'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { VmExit } from '#lib/schema/vm-state.ts'
import type { Store, VmDocument } from '#server/store/types.ts'

export interface VmRecord {
  readonly id: string
  readonly ownerId: string
  readonly uid: number | null
  readonly spec: VmSpec
  readonly revision: number
  readonly createdAt: string
  readonly updatedAt: string
}

/** A VM that is being created: takes part in uniqueness checks, is not listed. */
export interface VmClaim {
  readonly id: string
  readonly ownerId: string
  readonly uid: number | null
  readonly spec: VmSpec
  /** Of one that is being created; of the others the placement says. */
  readonly projectId?: string | null
}

const Document = z.object({
  v: z.literal(1),
  id: z.string(),
  ownerId: z.string(),
  spec: StoredVmSpec,
  createdAt: z.string(),
  updatedAt: z.string(),
  uid: z.number().int().nullable(),
})

export interface VmRecords {
  load(): void
  get(id: string): VmRecord | null
  /** Sorted by id, which is by creation. */
  all(): readonly VmRecord[]
  /** Listed VMs and those being created. */
  claims(): Iterable<VmClaim>
  claim(claim: VmClaim): () => void
  /**
   * @param alongside stores what belongs to it, in the same transaction
   * @returns null when the id is taken
   */
  insert(claim: VmClaim, at: string, alongside?: () => void): VmRecord | null
  /** @returns null when the stored revision is not `expected` */
  replace(record: VmRecord, spec: VmSpec, at: string, expected: number): VmRecord | null
  /**
   * Gives it to somebody else.
   * @param alongside stores what goes with it, in the same transaction
   * @returns null when the stored revision is not `expected`
   */
  giveTo(record: VmRecord, ownerId: string, at: string, expected: number, alongside: () => void): VmRecord | null
  /** False when the stored revision is not `expected`. */
  remove(record: VmRecord, expected: number): boolean
  /** Whether the store has anything under this id, readable or not. */
  isStored(id: string): boolean
  readonly uids: ReadonlySet<number>
  /** What tells this VM's guest from its copies and from its own past. A VM that was never put back has its id. */
  generationOf(id: string): string
  /** It goes back to a snapshot or a backup. Call it in the transaction that stores that. */
  renewGeneration(id: string): void
  lastExits(): Map<string, VmExit>
  /** Never throws: what a full disk refuses is kept for `saveLate`. */
  saveExit(id: string, exit: VmExit): void
  /** Tries again what could not be saved. Cheap when there is nothing. */
  saveLate(): void
}

/** The end of the last run has a key of its own: it must not change the revision an operator's edit is based on. */
const exitKey = (id: string) => `vm-exit:${id}`
/** So must this. */
const generationKey = (id: string) => `vm-generation:${id}`
const Generation = z.object({ guid: z.guid() })

export function createVmRecords(store: Store, warn: (message: string, error?: unknown) => void): VmRecords {
  const records = new Map<string, VmRecord>()
  const pending = new Map<string, VmClaim>()
  /** Of VMs that are left out: their files still belong to that user. */
  const unreadableUids = new Set<number>()
  let sorted: readonly VmRecord[] | null = null
  const unsavedExits = new Map<string, VmExit>()

  const set = (record: VmRecord): VmRecord => {
    records.set(record.id, record)
    sorted = null
    return record
  }
  const documentOf = (claim: VmClaim, createdAt: string, updatedAt: string): VmDocument => ({
    v: 1,
    id: claim.id,
    ownerId: claim.ownerId,
    spec: claim.spec,
    createdAt,
    updatedAt,
    uid: claim.uid,
    lastExit: null,
  })

  return {
    load() {
      for (const { key, revision, value } of store.list('vm')) {
        const parsed = Document.safeParse(value)
        if (!parsed.success) {
          warn(`The stored VM ${key} is unreadable and is left out; its files stay.`, parsed.error)
          const uid = z.object({ uid: z.number() }).safeParse(value).data?.uid
          if (uid !== undefined) unreadableUids.add(uid)
          continue
        }
        const { v: _, ...document } = parsed.data
        set({ ...document, revision })
      }
    },
    get: (id) => records.get(id) ?? null,
    all() {
      sorted ??= [...records.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
      return sorted
    },
    *claims() {
      yield* records.values()
      yield* pending.values()
    },
    claim(claim) {
      pending.set(claim.id, claim)
      return () => pending.delete(claim.id)
    },
    insert(claim, at, alongside) {
      const revision = store.transaction(() => {
        const fresh = store.cas('vm', claim.id, documentOf(claim, at, at), 0)
        if (fresh !== null) alongside?.()
        return fresh
      })
      if (revision === null) return null
      pending.delete(claim.id)
      const { projectId: _, ...record } = claim
      return set({ ...record, revision, createdAt: at, updatedAt: at })
    },
    replace(record, spec, at, expected) {
      const next = { ...record, spec }
      const revision = store.cas('vm', record.id, documentOf(next, record.createdAt, at), expected)
      return revision === null ? null : set({ ...next, revision, updatedAt: at })
    },
    giveTo(record, ownerId, at, expected, alongside) {
      const next = { ...record, ownerId }
      const revision = store.transaction(() => {
        const stored = store.cas('vm', record.id, documentOf(next, record.createdAt, at), expected)
        if (stored !== null) alongside()
        return stored
      })
      return revision === null ? null : set({ ...next, revision, updatedAt: at })
    },
    remove(record, expected) {
      const gone = store.transaction(() => {
        if (!store.delete('vm', record.id, expected)) return false
        store.delete('meta', exitKey(record.id))
        store.delete('meta', generationKey(record.id))
        return true
      })
      if (!gone) return false
      unsavedExits.delete(record.id)
      records.delete(record.id)
      sorted = null
      return true
    },
    isStored: (id) => store.get('vm', id) !== null,
    get uids() {
      const uids = new Set(unreadableUids)
      for (const { uid } of this.claims()) if (uid !== null) uids.add(uid)
      return uids
    },
    generationOf: (id) => Generation.safeParse(store.get('meta', generationKey(id))?.value).data?.guid ?? id,
    renewGeneration: (id) => {
      store.put('meta', generationKey(id), { guid: randomUUID() })
    },
    lastExits() {
      const exits = new Map<string, VmExit>()
      for (const { key, value } of store.list('meta')) {
        if (!key.startsWith('vm-exit:')) continue
        const parsed = VmExit.safeParse(value)
        if (parsed.success) exits.set(key.slice('vm-exit:'.length), parsed.data)
      }
      return exits
    },
    saveExit(id, exit) {
      try {
        store.put('meta', exitKey(id), exit)
        unsavedExits.delete(id)
      } catch (error) {
        unsavedExits.set(id, exit)
        warn(`How the last run of ${id} ended could not be saved; it is tried again.`, error)
      }
    },
    saveLate() {
      for (const [id, exit] of unsavedExits) {
        store.put('meta', exitKey(id), exit)
        unsavedExits.delete(id)
      }
    },
  }
}
