/**
 * Seeds of VMs: their CDs, what is known of them, and when they are used up.
 *
 *   written (file, document) ─▶ named by the definition: waiting ─▶ used ─▶ removed (the document alone)
 *                           └▶ the change failed or the dashboard died: both go
 *
 * What counts is whether the definition, or the running guest, names the seed. The file is written before and removed
 * after; `sweep` puts right what a crash left between. The store knows how a seed is made up and nothing of its text.
 */
import { randomUUIDv7 } from 'node:crypto'
import * as z from 'zod'
import { Instant, SeedId, VmId } from '#lib/schema/ids.ts'
import { type SeedInput, SeedKind, SeedState, SeedSummary, type SeedView } from '#lib/schema/seed.ts'
import type { VmExit } from '#lib/schema/vm-state.ts'
import { buildSeed } from '#lib/seed/build.ts'
import { errorCode } from '#server/platform/fs.ts'
import { hashGuestPassword } from '#server/seed/sha512-crypt.ts'
import { writeIso } from '#server/storage/iso9660.ts'
import type { SeedFiles } from '#server/storage/seed-files.ts'
import type { Store } from '#server/store/types.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import { seedsIn } from './seed-drive.ts'
import { nextLook, SEED_TIMES, type SeedRun, type SeedTimes, seedUsed } from './seed-use.ts'

const Document = z.object({
  v: z.literal(1),
  id: SeedId,
  vmId: VmId,
  kind: SeedKind,
  state: SeedState,
  /** Whether a definition has named it: what has not is left over from a change that did not happen. */
  wasNamed: z.boolean(),
  removeAfterUse: z.boolean(),
  label: z.string(),
  sizeBytes: z.number(),
  summary: SeedSummary,
  by: z.string(),
  createdAt: Instant,
  usedAt: Instant.nullable(),
  usedWhy: z.string().nullable(),
  removedAt: Instant.nullable(),
})
type Document = z.output<typeof Document>

/** What a seed depends on of its VM. */
export interface SeedSubject {
  readonly id: string
  readonly uid: number | null
  readonly name: string
  readonly macs: readonly string[]
}

export interface SeedDeps {
  readonly store: Store
  readonly files: SeedFiles
  readonly warn: (message: string, error?: unknown) => void
  /** Takes a used seed out of its VM. */
  readonly takeOut: (vmId: string) => Promise<void>
  readonly onUsed: (vmId: string, why: string) => void
  readonly times?: SeedTimes
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

export interface Seeds {
  load(): void
  /** Whether the VM has this one. */
  has(vmId: string, seedId: string): boolean
  /** A new id; no side effects. */
  newId(): SeedId
  /** Says what is wrong with the input without writing anything. @throws EngineError bad_input */
  assertGood(input: SeedInput, subject: SeedSubject): void
  /**
   * Writes file and document. Both go when the stack is disposed of before `named`.
   * @throws EngineError bad_input
   */
  write(input: SeedInput, seedId: SeedId, subject: SeedSubject, by: string, undo: AsyncDisposableStack): Promise<void>
  /** The definition names it now. */
  named(seedId: string): void
  /** Removes what neither the definition nor the running guest names. */
  sweep(vmId: string, named: readonly string[]): Promise<void>
  /** After a crash: documents of VMs that are not there any more. */
  forgetAllBut(isStored: (vmId: string) => boolean): void
  forget(vmId: string): void
  view(
    vmId: string,
    drives: { readonly id: string; readonly seed: string | null }[],
    inGuest: readonly string[],
  ): SeedView | null
  runtimeChanged(vmId: string, runtime: VmRuntime, exited: VmExit | null): void
  /** Used ones that are to be removed and were not, when the dashboard ended before. */
  leftIn(vmId: string, named: readonly string[]): boolean
  close(): void
}

export function createSeeds(deps: SeedDeps): Seeds {
  const { store, files, warn } = deps
  const times = deps.times ?? SEED_TIMES
  const clock = deps.now ?? Date.now
  const instant = () => new Date(clock()).toISOString()
  const documents = new Map<string, Document>()
  /** Being written; the definition is about to name them. */
  const fresh = new Set<string>()
  interface Watch extends SeedRun {
    readonly seeds: readonly string[]
    timer: NodeJS.Timeout | null
  }
  const watches = new Map<string, Watch>()

  const keep = (document: Document): void => {
    store.put('seed', document.id, document)
    documents.set(document.id, document)
  }
  const drop = (id: string): void => {
    store.delete('seed', id)
    documents.delete(id)
  }
  const ofVm = (vmId: string) => [...documents.values()].filter((document) => document.vmId === vmId)
  const isWaiting = (id: string) => documents.get(id)?.state === 'waiting'

  const build = (input: SeedInput, seedId: string, subject: SeedSubject, hash: (clear: string) => string) => {
    const built = buildSeed(input, {
      vmName: subject.name,
      macs: subject.macs,
      instanceId: `guestdeck-${seedId}`,
      hash,
    })
    if (!built.ok) throw new EngineError('bad_input', built.message, { field: built.field })
    return built.seed
  }

  const stopWatching = (vmId: string): void => {
    const timer = watches.get(vmId)?.timer
    if (timer) clearTimeout(timer)
    watches.delete(vmId)
  }

  const used = (vmId: string, seeds: readonly string[], why: string): void => {
    const waiting = seeds.flatMap((id) => (isWaiting(id) ? [documents.get(id)] : [])).filter((one) => one !== undefined)
    if (waiting.length === 0) return
    for (const document of waiting) keep({ ...document, state: 'used', usedAt: instant(), usedWhy: why })
    deps.onUsed(vmId, why)
    if (!waiting.some((document) => document.removeAfterUse)) return
    deps.takeOut(vmId).catch((error: unknown) => warn(`The used seed of ${vmId} could not be taken out.`, error))
  }

  const look = (vmId: string, watch: Watch): void => {
    if (watch.timer !== null) clearTimeout(watch.timer)
    const why = seedUsed(watch, clock(), times, false)
    if (why !== null) {
      stopWatching(vmId)
      used(vmId, watch.seeds, why)
      return
    }
    watch.timer = setTimeout(() => look(vmId, watch), Math.max(nextLook(watch, times) - clock(), 50))
    watch.timer.unref()
    watches.set(vmId, watch)
  }

  return {
    load() {
      for (const { key, value } of store.list('seed')) {
        const parsed = Document.safeParse(value)
        if (parsed.success) documents.set(key, parsed.data)
        else warn(`What was stored of the seed ${key} is unreadable and is left out.`, parsed.error)
      }
    },
    has: (vmId, seedId) => documents.get(seedId)?.vmId === vmId && documents.get(seedId)?.state !== 'removed',
    newId: () => SeedId.parse(randomUUIDv7()),
    assertGood(input, subject) {
      build(input, 'preview', subject, () => '$6$preview$preview')
    },
    async write(input, seedId, subject, by, undo) {
      const { label, files: parts, summary } = build(input, seedId, subject, hashGuestPassword)
      const at = clock()
      const image = writeIso(
        label,
        parts.map(({ name, content }) => ({ name, content: Buffer.from(content, 'utf8') })),
        new Date(at),
      )
      fresh.add(seedId)
      undo.defer(async () => {
        const document = documents.get(seedId)
        if (document?.wasNamed !== true) {
          if (document !== undefined) drop(seedId)
          await files.remove(subject.id, seedId)
        }
        fresh.delete(seedId)
      })
      try {
        await files.write(subject.id, subject.uid, seedId, image)
      } catch (error) {
        const code = errorCode(error)
        if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
        throw new EngineError('no_space', 'The host has no space left for the seed CD.', { cause: error })
      }
      keep({
        v: 1,
        id: seedId,
        vmId: VmId.parse(subject.id),
        kind: input.kind,
        state: 'waiting',
        wasNamed: false,
        removeAfterUse: input.removeAfterUse,
        label,
        sizeBytes: image.length,
        summary,
        by,
        createdAt: new Date(at).toISOString(),
        usedAt: null,
        usedWhy: null,
        removedAt: null,
      })
    },
    named(seedId) {
      fresh.delete(seedId)
      const document = documents.get(seedId)
      if (document !== undefined && !document.wasNamed) keep({ ...document, wasNamed: true })
    },
    async sweep(vmId, named) {
      const stays = (id: string) => named.includes(id) || fresh.has(id)
      for (const id of named) {
        const document = documents.get(id)
        if (document !== undefined && !document.wasNamed && !fresh.has(id)) keep({ ...document, wasNamed: true })
      }
      for (const id of await files.list(vmId)) if (!stays(id)) await files.remove(vmId, id)
      const known = ofVm(vmId)
      const isReplaced = known.some(({ id }) => stays(id))
      for (const document of known) {
        if (stays(document.id)) continue
        // One removed seed stays on record, until another takes its place.
        if (!document.wasNamed || isReplaced) drop(document.id)
        else if (document.state !== 'removed') keep({ ...document, state: 'removed', removedAt: instant() })
      }
    },
    forgetAllBut(isStored) {
      for (const document of [...documents.values()]) if (!isStored(document.vmId)) drop(document.id)
    },
    forget(vmId) {
      stopWatching(vmId)
      for (const { id } of ofVm(vmId)) drop(id)
    },
    view(vmId, drives, inGuest) {
      const known = ofVm(vmId)
      const present = known.find(({ id }) => drives.some((drive) => drive.seed === id))
      const document = present ?? known.filter(({ state }) => state === 'removed').at(-1)
      if (document === undefined) return null
      const { v: _, vmId: __, wasNamed: ___, ...told } = document
      return {
        ...told,
        drive: drives.find((drive) => drive.seed === document.id)?.id ?? null,
        inserted: inGuest.includes(document.id),
      }
    },
    runtimeChanged(vmId, runtime, exited) {
      const watch = watches.get(vmId)
      if (exited !== null && watch !== undefined) {
        stopWatching(vmId)
        const why = seedUsed(watch, clock(), times, exited.kind === 'guest-shutdown')
        if (why !== null) used(vmId, watch.seeds, why)
        return
      }
      const seeds = seedsIn(runtime.launchedSpec).filter(isWaiting)
      if (seeds.length === 0 || (runtime.state !== 'running' && watch === undefined)) {
        if (watch !== undefined && seeds.length === 0) stopWatching(vmId)
        return
      }
      const hasAgent = runtime.live?.agent === true
      const startedAt = watch?.startedAt ?? Math.min(Date.parse(runtime.since), clock())
      const agentSince = hasAgent ? (watch?.agentSince ?? clock()) : null
      const isSame = watch !== undefined && watch.agentSince === agentSince && watch.seeds.join() === seeds.join()
      if (isSame) return
      // Another seed put in meanwhile has its time before it.
      const isOther = watch !== undefined && watch.seeds.join() !== seeds.join()
      stopWatching(vmId)
      look(vmId, {
        seeds,
        startedAt: isOther ? clock() : startedAt,
        agentSince: isOther && agentSince !== null ? clock() : agentSince,
        timer: null,
      })
    },
    leftIn: (vmId, named) =>
      ofVm(vmId).some(
        (document) => document.state === 'used' && document.removeAfterUse && named.includes(document.id),
      ),
    close() {
      for (const vmId of [...watches.keys()]) stopWatching(vmId)
    },
  }
}
