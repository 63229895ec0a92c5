/** Recordings that are there: their documents, their files, what they take, and how long they are kept. */
import { createReadStream } from 'node:fs'
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Readable } from 'node:stream'
import * as z from 'zod'
import { ConsoleKind } from '#lib/schema/console.ts'
import { Instant } from '#lib/schema/ids.ts'
import {
  DEFAULT_RECORDING_SETTINGS,
  Recording,
  RecordingRule,
  RecordingSettings,
  RecordingState,
} from '#lib/schema/recording.ts'
import { mendRecording } from '#server/console/recording/mend.ts'
import type { DataPaths } from '#server/paths.ts'
import type { Store } from '#server/store/types.ts'

const DAY_MS = 24 * 3_600_000
const NO_RULE: RecordingRule = { vnc: false, serial: false }
const INTERRUPTED = 'The dashboard ended in the middle of it.'

const Document = z.object({
  v: z.literal(1),
  id: z.string(),
  vmId: z.string(),
  kind: ConsoleKind,
  by: z.string(),
  always: z.boolean(),
  startedAt: Instant,
  endedAt: Instant.nullable(),
  /** By the clock that nobody sets; null: of an older release, or of one that a crash cut off. */
  endedSteadyMs: z.number().nullable().default(null),
  durationMs: z.number(),
  sizeBytes: z.number(),
  state: RecordingState,
  reason: z.string().nullable(),
})
export type RecordingDocument = z.output<typeof Document>

const ruleKey = (vmId: string) => `recording-rule:${vmId}`
const SETTINGS = 'recording-settings'
/** What an older release did not know has its default. */
const StoredSettings = z
  .record(z.string(), z.unknown())
  .transform((stored) => ({ ...DEFAULT_RECORDING_SETTINGS, ...stored }))
  .pipe(RecordingSettings)

export interface RecordingShelf {
  /** Mends what a crash cut off, and forgets what has no VM or no file. @returns sentences for the log */
  open(hasVm: (vmId: string) => boolean): Promise<string[]>
  get(id: string): RecordingDocument | null
  /** Newest first. */
  ofVm(vmId: string): RecordingDocument[]
  bytesOf(vmId: string): number
  /** Of each VM with recordings. */
  totals(): Iterable<{ readonly vmId: string; readonly sizeBytes: number }>
  put(document: RecordingDocument): void
  /** Makes the directory. @returns where the file goes */
  place(document: Pick<RecordingDocument, 'id' | 'vmId' | 'kind'>): Promise<string>
  read(document: RecordingDocument, range: { from: number; to: number } | null): Readable
  sizeOnDisk(document: RecordingDocument): Promise<number>
  /** File first: what is left of a crash in between is a document without a file, which goes at start. */
  remove(document: RecordingDocument): Promise<void>
  /** Documents alone; the files go with the VM's directory. */
  forgetVm(vmId: string): void
  /** Ended so long ago that they are to be deleted. A date that is set wrong deletes nothing whose end was seen. */
  expired(now: { readonly steadyMs: number; readonly wallMs: number }): RecordingDocument[]
  view(document: RecordingDocument, live: { durationMs: number; sizeBytes: number } | null): Recording
  rule(vmId: string): RecordingRule
  setRule(vmId: string, rule: RecordingRule): void
  settings(): RecordingSettings
  setSettings(settings: RecordingSettings): void
}

export function createRecordingShelf(
  store: Store,
  data: DataPaths,
  warn: (message: string, error?: unknown) => void,
): RecordingShelf {
  const documents = new Map<string, RecordingDocument>()
  const pathOf = ({ vmId, id, kind }: Pick<RecordingDocument, 'id' | 'vmId' | 'kind'>) => data.recording(vmId, id, kind)
  const settings = (): RecordingSettings =>
    StoredSettings.safeParse(store.get('meta', SETTINGS)?.value).data ?? DEFAULT_RECORDING_SETTINGS
  const expiresAt = ({ endedAt }: RecordingDocument): string | null => {
    const { keepDays } = settings()
    return endedAt === null || keepDays === null
      ? null
      : new Date(Date.parse(endedAt) + keepDays * DAY_MS).toISOString()
  }
  const put = (document: RecordingDocument): void => {
    store.put('recording', document.id, document)
    documents.set(document.id, document)
  }
  const forget = (id: string): void => {
    store.delete('recording', id)
    documents.delete(id)
  }

  /** @returns what to say about it, or null */
  const settle = async (document: RecordingDocument): Promise<string | null> => {
    const path = pathOf(document)
    const facts = await stat(path).catch(() => null)
    if (facts === null) {
      forget(document.id)
      return document.endedAt === null ? null : `The recording ${document.id} has no file any more and is forgotten.`
    }
    if (document.endedAt !== null) return null
    const mended = await mendRecording(path, document.kind)
    if (mended === null) {
      await rm(path, { force: true })
      forget(document.id)
      return `The recording ${document.id} had just begun and is removed.`
    }
    const { sizeBytes, durationMs, isWhole } = mended
    put({
      ...document,
      ...{ sizeBytes, durationMs },
      endedAt: new Date(Math.max(Date.parse(document.startedAt), facts.mtimeMs)).toISOString(),
      state: isWhole ? 'complete' : 'incomplete',
      reason: INTERRUPTED,
    })
    return null
  }
  /** Files of recordings that were being deleted, or begun, when the dashboard ended. */
  const sweep = async (vmId: string, unread: ReadonlySet<string>): Promise<void> => {
    const dir = data.recordingsDir(vmId)
    for (const name of await readdir(dir).catch(() => [])) {
      const id = /^([0-9a-f-]{36})\.(gdscreen|cast)$/.exec(name)?.[1]
      if (id !== undefined && !documents.has(id) && !unread.has(id))
        await rm(join(dir, basename(name)), { force: true })
    }
  }

  return {
    async open(hasVm) {
      const notes: string[] = []
      const vmIds = new Set<string>()
      /** Of a later version, or damaged: neither shown nor removed. */
      const unread = new Set<string>()
      for (const { key, value } of store.list('recording')) {
        const document = Document.safeParse(value).data
        if (document === undefined) {
          unread.add(key)
          notes.push(`The recording ${key} cannot be read by this version; it is left as it is.`)
          continue
        }
        if (!hasVm(document.vmId)) {
          store.delete('recording', key)
          continue
        }
        documents.set(document.id, document)
        vmIds.add(document.vmId)
        try {
          const note = await settle(document)
          if (note !== null) notes.push(note)
        } catch (error) {
          warn(`The recording ${document.id} could not be looked at.`, error)
        }
      }
      for (const vmId of vmIds) await sweep(vmId, unread)
      return notes
    },
    get: (id) => documents.get(id) ?? null,
    ofVm: (vmId) =>
      [...documents.values()].filter((document) => document.vmId === vmId).sort((a, b) => (a.id < b.id ? 1 : -1)),
    bytesOf: (vmId) => [...documents.values()].reduce((sum, d) => sum + (d.vmId === vmId ? d.sizeBytes : 0), 0),
    totals() {
      const totals = new Map<string, number>()
      for (const { vmId, sizeBytes } of documents.values()) totals.set(vmId, (totals.get(vmId) ?? 0) + sizeBytes)
      return [...totals].map(([vmId, sizeBytes]) => ({ vmId, sizeBytes }))
    },
    put,
    async place(document) {
      await mkdir(data.recordingsDir(document.vmId), { mode: 0o700, recursive: true })
      return pathOf(document)
    },
    read: (document, range) =>
      createReadStream(pathOf(document), range === null ? {} : { start: range.from, end: range.to }),
    async sizeOnDisk(document) {
      return document.endedAt === null ? (await stat(pathOf(document))).size : document.sizeBytes
    },
    async remove(document) {
      await rm(pathOf(document), { force: true })
      forget(document.id)
    },
    forgetVm(vmId) {
      for (const { id } of [...documents.values()].filter((document) => document.vmId === vmId)) forget(id)
      store.delete('meta', ruleKey(vmId))
    },
    expired({ steadyMs, wallMs }) {
      const { keepDays } = settings()
      if (keepDays === null) return []
      return [...documents.values()].filter(({ endedAt, endedSteadyMs }) => {
        if (endedAt === null) return false
        const ageMs = endedSteadyMs === null ? wallMs - Date.parse(endedAt) : steadyMs - endedSteadyMs
        return ageMs >= keepDays * DAY_MS
      })
    },
    view: (document, live) => ({
      ...Recording.parse({
        id: document.id,
        vmId: document.vmId,
        kind: document.kind,
        by: document.by,
        always: document.always,
        startedAt: document.startedAt,
        endedAt: document.endedAt,
        durationMs: Math.round(document.durationMs),
        sizeBytes: document.sizeBytes,
        state: document.state,
        reason: document.reason,
        expiresAt: expiresAt(document),
        ...live,
      }),
    }),
    rule: (vmId) => RecordingRule.safeParse(store.get('meta', ruleKey(vmId))?.value).data ?? NO_RULE,
    setRule(vmId, rule) {
      if (rule.vnc || rule.serial) store.put('meta', ruleKey(vmId), rule)
      else store.delete('meta', ruleKey(vmId))
    },
    settings,
    setSettings: (value) => void store.put('meta', SETTINGS, value),
  }
}
