/**
 * What is stored of a VM's life in the lab: its lease, a pause for idleness, a shutdown whose power will be cut. Apart
 * from its definition: time passing must not change the revision that an edit is based on.
 */
import * as z from 'zod'
import { LeasePhase } from '#lib/schema/lab.ts'
import type { Store } from '#server/store/types.ts'

const StoredLease = z.object({
  phase: LeasePhase,
  /** Milliseconds of the steady clock, like `phaseMs`. */
  endMs: z.number().nullable(),
  phaseMs: z.number(),
  todo: z.enum(['suspend', 'archive']).nullable(),
  /** As promised to people; shown while the wall clock agrees. */
  endsAt: z.string().nullable(),
  phaseAt: z.string(),
  /** What the guest did when it was suspended. */
  ran: z.enum(['running', 'paused', 'off']).nullable(),
  done: z.string().nullable(),
})
export type StoredLease = z.output<typeof StoredLease>

const Document = z.object({
  v: z.literal(1),
  lease: StoredLease.nullable(),
  idlePaused: z.object({ at: z.string(), since: z.string(), evidence: z.string() }).nullable(),
  /** It was asked to shut down; its power is cut at this moment of the steady clock. */
  off: z.object({ atMs: z.number(), by: z.string() }).nullable(),
})
export type LabDocument = z.output<typeof Document>

const NONE: LabDocument = { v: 1, lease: null, idlePaused: null, off: null }

export interface LabRecords {
  /** Forgets VMs that are gone. */
  load(isStored: (vmId: string) => boolean, warn: (message: string, error?: unknown) => void): void
  /** Whether anything was ever decided about it. */
  has(vmId: string): boolean
  of(vmId: string): LabDocument
  ids(): readonly string[]
  /** @throws EngineError when the disk is full; nothing is changed then */
  change(vmId: string, change: Partial<Omit<LabDocument, 'v'>>): void
  forget(vmId: string): void
}

export function createLabRecords(store: Store, onChange: (vmId: string) => void): LabRecords {
  const documents = new Map<string, LabDocument>()
  return {
    load(isStored, warn) {
      for (const { key, value } of store.list('lab')) {
        const parsed = Document.safeParse(value)
        if (!isStored(key)) store.delete('lab', key)
        else if (parsed.success) documents.set(key, parsed.data)
        else warn(`The stored lease of ${key} is unreadable; the VM has none until one is set.`, parsed.error)
      }
    },
    has: (vmId) => documents.has(vmId),
    of: (vmId) => documents.get(vmId) ?? NONE,
    ids: () => [...documents.keys()],
    change(vmId, change) {
      const document = { ...(documents.get(vmId) ?? NONE), ...change }
      store.put('lab', vmId, document)
      documents.set(vmId, document)
      onChange(vmId)
    },
    forget(vmId) {
      if (documents.delete(vmId)) store.delete('lab', vmId)
    },
  }
}
