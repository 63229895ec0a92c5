/**
 * Snapshots in the store, and where each VM is among them. The files carry the snapshot's id (`tagOf`), never its name:
 * a name may change, and a tag of digits would be taken for a number by qemu-img.
 */
import * as z from 'zod'
import { SnapshotConsistency, SnapshotKind, SnapshotState } from '#lib/schema/snapshot.ts'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

const SnapshotDisk = z.object({
  device: z.string(),
  volumeId: z.string(),
  volumeName: z.string(),
  /** The file that holds it: of `memory` the disk's own, of `disk` the layer that is written no more. */
  layerId: z.string(),
  /** Layer that takes the guest's writes from then on, while it is being made; null afterwards and of `memory`. */
  overlayId: z.string().nullable(),
  sizeBytes: z.number(),
})
export type SnapshotDisk = z.output<typeof SnapshotDisk>

const Document = z.object({
  v: z.literal(1),
  id: z.string(),
  vmId: z.string(),
  kind: SnapshotKind,
  parent: z.string().nullable(),
  name: z.string(),
  note: z.string(),
  state: SnapshotState,
  detail: z.string().nullable(),
  runState: z.enum(['running', 'paused', 'off']),
  consistency: SnapshotConsistency,
  /** Bytes of the guest's memory in it; null: none. */
  memoryBytes: z.number().nullable(),
  spec: StoredVmSpec,
  disks: z.array(SnapshotDisk),
  /** `inside`: a snapshot within the file, as of the disks. `copied`: a file beside. */
  nvram: z.enum(['none', 'inside', 'copied']),
  /** `inside`: part of the saved memory. */
  tpm: z.enum(['none', 'inside', 'copied']),
  hasScreenshot: z.boolean(),
  scheduleId: z.string().nullable(),
  createdAt: z.string(),
  createdBy: z.string(),
})
export type SnapshotDocument = z.output<typeof Document>

/** Where a VM is, and what was begun. */
const Place = z.object({
  current: z.string().nullable(),
  /** Being gone back to: its disks are being changed, and must all be changed. */
  reverting: z.string().nullable().default(null),
  /** Of `reverting`: whether the definition goes back as well. */
  definition: z.enum(['restore', 'keep']).default('restore'),
  /** The guest's file systems may be frozen: to be thawed before anything else. */
  frozen: z.boolean().default(false),
  /** The guest was stopped for the last moment of a merge, and is to go on. */
  stopped: z.boolean().default(false),
})
export type SnapshotPlace = z.output<typeof Place>

export interface StoredSnapshot {
  readonly document: SnapshotDocument
  readonly revision: number
}

/** What the disk files call it. Never all digits. */
export const tagOf = (snapshotId: string): string => `gd-${snapshotId}`

const placeKey = (vmId: string) => `snapshot-place:${vmId}`
const HOME: SnapshotPlace = Place.parse({ current: null })

export interface SnapshotRecords {
  load(warn: (message: string, error?: unknown) => void): void
  get(id: string): StoredSnapshot | null
  /** Oldest first. */
  ofVm(vmId: string): readonly StoredSnapshot[]
  all(): Iterable<StoredSnapshot>
  place(vmId: string): SnapshotPlace
  setPlace(vmId: string, change: Partial<SnapshotPlace>): void
  /** @throws EngineError stale_revision */
  put(document: SnapshotDocument, expected?: number): StoredSnapshot
  /** Changes what is stored now. @throws EngineError not_found */
  change(id: string, change: Partial<Omit<SnapshotDocument, 'v' | 'id' | 'vmId'>>): StoredSnapshot
  remove(id: string): void
  /** The VM has gone, with every snapshot of it. */
  forgetVm(vmId: string): void
  /** VMs anything is stored of. */
  vmIds(): ReadonlySet<string>
}

export function createSnapshotRecords(store: Store, onChange: (vmId: string) => void): SnapshotRecords {
  const byId = new Map<string, StoredSnapshot>()
  const places = new Map<string, SnapshotPlace>()

  const put = (document: SnapshotDocument, expected?: number): StoredSnapshot => {
    const revision =
      expected === undefined
        ? store.put('snapshot', document.id, document)
        : store.cas('snapshot', document.id, document, expected)
    if (revision === null)
      throw new EngineError('stale_revision', 'Somebody changed this snapshot meanwhile; look at it again.')
    const stored = { document, revision }
    byId.set(document.id, stored)
    onChange(document.vmId)
    return stored
  }
  const ofVm = (vmId: string) =>
    [...byId.values()]
      .filter(({ document }) => document.vmId === vmId)
      .sort((a, b) => (a.document.id < b.document.id ? -1 : 1))

  return {
    load(warn) {
      for (const { key, revision, value } of store.list('snapshot')) {
        const parsed = Document.safeParse(value)
        if (parsed.success) byId.set(key, { document: parsed.data, revision })
        else warn(`The stored snapshot ${key} is unreadable and is left out; its data stays.`, parsed.error)
      }
      for (const { key, value } of store.list('meta')) {
        if (!key.startsWith('snapshot-place:')) continue
        const parsed = Place.safeParse(value)
        if (parsed.success) places.set(key.slice('snapshot-place:'.length), parsed.data)
      }
    },
    get: (id) => byId.get(id) ?? null,
    ofVm,
    all: () => byId.values(),
    place: (vmId) => places.get(vmId) ?? HOME,
    setPlace(vmId, change) {
      const place = { ...(places.get(vmId) ?? HOME), ...change }
      store.put('meta', placeKey(vmId), place)
      places.set(vmId, place)
      onChange(vmId)
    },
    put,
    change(id, change) {
      const stored = byId.get(id)
      if (stored === undefined) throw new EngineError('not_found', 'There is no such snapshot.')
      return put({ ...stored.document, ...change })
    },
    remove(id) {
      const stored = byId.get(id)
      if (stored === undefined) return
      store.delete('snapshot', id)
      byId.delete(id)
      onChange(stored.document.vmId)
    },
    forgetVm(vmId) {
      store.transaction(() => {
        for (const { document } of ofVm(vmId)) store.delete('snapshot', document.id)
        store.delete('meta', placeKey(vmId))
      })
      for (const { document } of ofVm(vmId)) byId.delete(document.id)
      places.delete(vmId)
    },
    vmIds: () => new Set([...[...byId.values()].map(({ document }) => document.vmId), ...places.keys()]),
  }
}
