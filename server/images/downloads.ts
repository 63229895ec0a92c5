/**
 * Downloads into the library by address: a job each, which survives a restart of the dashboard.
 *
 *   asked → list of checksums read → bytes, over broken connections and mirrors → checksum → image
 *
 * A connection that breaks is taken up where it ended, and so is a download after a restart, but only when the server
 * shows that it is still the same file: same length, and same ETag or same date. Otherwise it begins anew. What a
 * server says about names is ignored; what it says about lengths is checked.
 */
import { randomUUIDv7 } from 'node:crypto'
import { rm, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { Job } from '#lib/schema/job.ts'
import { EngineError } from '#server/engine/errors.ts'
import { assertPlain, type FetchAnswer, fetchGuarded, type Guard } from '#server/fetch/client.ts'
import { parseSource, shownUrl } from '#server/fetch/url-guard.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import type { DataPaths } from '#server/paths.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { Store } from '#server/store/types.ts'
import type { Admit } from './admission.ts'
import { DownloadPlan, fileNameOf, resolvePlan } from './download-plan.ts'
import type { Intake } from './intake.ts'
import { assertChecksum, createPartial, PartialFile } from './partial-file.ts'
import { MAX_IMAGE_BYTES } from './upload-sessions.ts'

const MAX_EACH = 8
const MAX_ALL = 16
const SAFE_EVERY_BYTES = 64 * 2 ** 20
/** Slower than this over a whole window is as good as broken. */
const SLOW_BYTES_PER_SECOND = 1024
const SLOW_WINDOW_MS = 60_000
/** An attempt that brought less brought nothing: a server must not keep us coming back for a byte at a time. */
const PROGRESS_BYTES = 64 * 1024
/** Waits between attempts that brought nothing; after the last one the download fails. */
const PATIENCE_MS = [1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 60_000]

const DownloadDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  owner: z.object({ id: z.string(), name: z.string() }),
  plan: DownloadPlan,
  isResolved: z.boolean(),
  /** Which of the addresses the bytes come from. */
  source: z.number(),
  offsetBytes: z.number(),
  totalBytes: z.number().nullable(),
  etag: z.string().nullable(),
  lastModified: z.string().nullable(),
  catalogue: z.string().nullable(),
  createdAt: z.string(),
})
type DownloadDocument = z.output<typeof DownloadDocument>

interface Person {
  readonly id: string
  readonly name: string
}

export interface DownloadsDeps {
  readonly data: DataPaths
  readonly store: Store
  readonly space: SpaceLedger
  readonly jobs: JobRegistry
  readonly guard: Guard
  readonly admit: Admit
  readonly intake: Intake
  readonly isAdmitted: (id: string) => boolean
  readonly onEnd: (download: {
    name: string
    owner: Person
    imageId: string | null
    origin: string
    error: unknown
  }) => void
  readonly warn: (message: string, error?: unknown) => void
  /** Smaller and quicker in tests. */
  readonly limits?: Partial<Limits>
}

interface Limits {
  readonly maxBytes: number
  readonly slowWindowMs: number
  readonly patienceMs: readonly number[]
}

export interface WantedDownload {
  /** Cleaned. */
  readonly name: string
  readonly plan: DownloadPlan
  readonly catalogue: string | null
}

export interface Downloads {
  /** After the library is open, before uploads: takes up what a restart interrupted. */
  open(): Promise<void>
  /** @throws EngineError busy */
  start(owner: Person, wanted: WantedDownload): Promise<Job>
  /** Of catalogue entries under way: entry id → job id. */
  underWay(): ReadonlyMap<string, string>
}

export function createDownloads(deps: DownloadsDeps): Downloads {
  const { data, store, space, jobs, guard, intake } = deps
  const limits: Limits = {
    maxBytes: MAX_IMAGE_BYTES,
    slowWindowMs: SLOW_WINDOW_MS,
    patienceMs: PATIENCE_MS,
    ...deps.limits,
  }
  const active = new Map<string, { document: DownloadDocument; jobId: string }>()
  let creating = 0

  /** Bytes from one address, from where the file ends. @returns whether the file is complete */
  const attempt = async (download: Live, context: JobContext): Promise<boolean> => {
    const { file } = download
    const raw = download.document.plan.urls[download.document.source]
    if (raw === undefined) throw new Error('no such address')
    const resume = resumeHeaders(download.document)
    const stopper = new AbortController()
    const signal = AbortSignal.any([context.signal, stopper.signal])
    const answer = await fetchGuarded(parseSource(raw, 'url'), guard, {
      method: 'GET',
      headers: resume ?? {},
      mayDowngrade: download.document.plan.checksum !== null,
      signal,
    })
    const { message } = answer
    try {
      if (answer.status === 416 && resume !== null) {
        message.destroy()
        download.save({ offsetBytes: 0, totalBytes: null, etag: null, lastModified: null })
        return false
      }
      assertPlain(answer)
      const begin = resume === null ? 0 : continuesAt(answer, download.document)
      if (begin === null) {
        // Another file by now, or another one on this mirror: what is here does not belong to it.
        message.destroy()
        download.save({ offsetBytes: 0, totalBytes: null, etag: null, lastModified: null })
        return false
      }
      if (begin === 0) {
        if (answer.status !== 200) {
          throw new EngineError(
            'source_failed',
            `${shownUrl(answer.url)} answers ${answer.status} instead of the file.`,
          )
        }
        const totalBytes = declaredLength(message.headers['content-length'])
        const { etag, 'last-modified': lastModified } = message.headers
        download.save({ offsetBytes: 0, totalBytes, etag: etag ?? null, lastModified: lastModified ?? null })
      }
      const { id, totalBytes, owner } = download.document
      if ((totalBytes ?? 0) > limits.maxBytes) throw tooLarge(limits.maxBytes)
      intake.resize(id, totalBytes ?? begin)
      context.progress(begin, totalBytes ?? undefined)
      const reservedBytes = totalBytes === null ? 0 : totalBytes - begin
      const reservation = await space.reserve(reservedBytes, 'The download')
      let windowBytes = 0
      const watch = setInterval(() => {
        // A full buffer means that our disk is slower than the server.
        const waitsForUs = message.readableLength >= message.readableHighWaterMark
        if (windowBytes < (SLOW_BYTES_PER_SECOND * limits.slowWindowMs) / 1000 && !waitsForUs) {
          const slow = new EngineError('source_failed', `${shownUrl(answer.url)} sends less than 1 KiB a second.`)
          stopper.abort(slow)
          message.destroy(slow)
        }
        windowBytes = 0
      }, limits.slowWindowMs)
      try {
        const { bytes, fault } = await file.append(message, begin, {
          reservation,
          reservedBytes,
          maxBytes: (totalBytes ?? Math.min(limits.maxBytes, begin + (intake.roomFor(owner.id) ?? Infinity))) - begin,
          signal,
          onProgress: (position) => context.progress(position, totalBytes ?? undefined),
          onSafe: (position) => download.save({ offsetBytes: position }),
          safeEveryBytes: SAFE_EVERY_BYTES,
          onChunk: (chunk) => {
            windowBytes += chunk.byteLength
          },
        })
        context.signal.throwIfAborted()
        if (stopper.signal.aborted) throw stopper.signal.reason
        if (fault instanceof EngineError && fault.code === 'too_large') {
          // Says which quota, where it was that which ended it.
          if (totalBytes === null) intake.resize(id, begin + bytes + 1)
          throw tooLarge(limits.maxBytes)
        }
        if (fault instanceof EngineError) throw fault
        if (totalBytes === null) intake.resize(id, begin + bytes)
        if (fault !== null || (totalBytes !== null && begin + bytes < totalBytes)) {
          throw new EngineError('source_failed', `${shownUrl(answer.url)} broke off after ${begin + bytes} bytes.`, {
            cause: fault ?? undefined,
          })
        }
        if (begin + bytes === 0) throw new EngineError('image_refused', `${shownUrl(answer.url)} is empty.`)
        return true
      } finally {
        clearInterval(watch)
        reservation.release()
      }
    } finally {
      message.destroy()
    }
  }

  /** Over all addresses, with patience. */
  const receive = async (download: Live, context: JobContext): Promise<void> => {
    const dead = new Set<number>()
    let failures = 0
    for (;;) {
      const before = download.document.offsetBytes
      const { source } = download.document
      const { urls } = download.document.plan
      context.step(`Downloading from ${new URL(urls[source] ?? '').host}`)
      try {
        if (await attempt(download, context)) return
        // It begins anew, once: a server that changes the file with every answer is as good as broken.
        failures += 1
        if (failures > limits.patienceMs.length)
          throw new EngineError('source_failed', 'The file changes all the time.')
      } catch (error) {
        context.signal.throwIfAborted()
        if (!(error instanceof EngineError) || !RETRIED.has(error.code)) throw error
        if (!isPassing(error)) dead.add(source)
        if (dead.size === urls.length) throw error
        failures = download.document.offsetBytes >= before + PROGRESS_BYTES ? 0 : failures + 1
        const waitMs = failures === 0 ? 0 : limits.patienceMs[failures - 1]
        if (waitMs === undefined) throw error
        const next = nextAlive(source, urls.length, dead)
        if (next !== source) download.save({ source: next })
        context.step(`${error.message} Trying again.`)
        if (next === source || dead.size === 0) await sleep(waitMs, undefined, { signal: context.signal })
      }
    }
  }

  interface Live {
    readonly document: DownloadDocument
    readonly file: PartialFile
    save(change: Partial<DownloadDocument>): void
  }

  const run = async (entry: { document: DownloadDocument }, context: JobContext): Promise<string> => {
    const { id, name, owner, catalogue } = entry.document
    const path = data.partial(id)
    const save = (change: Partial<DownloadDocument>): void => {
      entry.document = { ...entry.document, ...change }
      store.put('download', id, entry.document)
    }
    try {
      if (deps.isAdmitted(id)) return id
      await rm(data.image(id), { force: true })
      if (!entry.document.isResolved) {
        context.step('Reading the list of checksums')
        const { urls, checksum } = await resolvePlan(entry.document.plan, guard, context.signal)
        save({ isResolved: true, plan: { ...entry.document.plan, urls: [...urls], checksum } })
      }
      const { checksum } = entry.document.plan
      const file = new PartialFile(path, checksum?.algorithm === 'sha512' ? ['sha256', 'sha512'] : ['sha256'])
      const download: Live = {
        get document() {
          return entry.document
        },
        file,
        save,
      }
      await receive(download, context)
      context.step('Checking the file')
      const sizeBytes = entry.document.offsetBytes
      const digests = await file.digests(sizeBytes, context.signal, () => {})
      assertChecksum(checksum, digests, 'Its source may be damaged or changed: compare the checksum at its publisher.')
      const { sha256 } = digests
      if (sha256 === undefined) throw new Error('no checksum was made')
      const downloadedFrom = shownUrl(entry.document.plan.urls[entry.document.source] ?? '')
      const request = { id, name, owner, source: 'download', sha256, downloadedFrom, catalogue } as const
      return await deps.admit(path, request, context)
    } catch (error) {
      // The dashboard ends: the download goes on after its next start.
      if (context.signal.aborted && !(context.signal.reason instanceof EngineError)) throw error
      await forget(id)
      throw error
    }
  }
  const forget = async (id: string): Promise<void> => {
    store.delete('download', id)
    await rm(data.partial(id), { force: true })
  }

  const launch = (document: DownloadDocument): Job => {
    const { id, name, owner } = document
    const entry = { document, jobId: '' }
    const job = jobs.start({
      kind: 'image-download',
      title: name,
      owner: { userId: owner.id, name: owner.name },
      totalBytes: document.totalBytes,
      async work(context) {
        try {
          const imageId = await run(entry, context)
          await forget(id)
          return imageId
        } finally {
          active.delete(id)
          intake.end(id)
        }
      },
    })
    entry.jobId = job.id
    active.set(id, entry)
    const origin = () => shownUrl(entry.document.plan.urls[entry.document.source] ?? '')
    job.finished
      .then((imageId) => deps.onEnd({ name, owner, imageId, origin: origin(), error: null }))
      .catch((error: unknown) => deps.onEnd({ name, owner, imageId: null, origin: origin(), error }))
      .catch((error: unknown) => deps.warn(`Recording the download ${name} failed.`, error))
    return job.view()
  }

  return {
    async open() {
      for (const { key, value } of store.list('download')) {
        const parsed = DownloadDocument.safeParse(value)
        const facts = await stat(data.partial(key)).catch(() => null)
        if (!parsed.success || (facts === null && !deps.isAdmitted(key))) {
          deps.warn(`The unfinished download ${key} cannot be continued and is removed.`)
          await forget(key)
          continue
        }
        intake.resume(key, parsed.data.owner.id, parsed.data.totalBytes ?? parsed.data.offsetBytes)
        const lost = facts !== null && facts.size < parsed.data.offsetBytes
        launch(
          lost ? { ...parsed.data, offsetBytes: 0, totalBytes: null, etag: null, lastModified: null } : parsed.data,
        )
      }
    },
    async start(owner, { name, plan, catalogue }) {
      const own = [...active.values()].filter(({ document }) => document.owner.id === owner.id).length
      if (own >= MAX_EACH || active.size + creating >= MAX_ALL) {
        throw new EngineError('busy', 'Too many downloads are under way. Start this one when some are done.')
      }
      const id = randomUUIDv7()
      intake.begin(id, owner.id, 0)
      creating += 1
      try {
        const document: DownloadDocument = {
          ...{ v: 1, id, name, owner, plan, isResolved: plan.lists.length === 0, source: 0, offsetBytes: 0 },
          ...{ totalBytes: null, etag: null, lastModified: null, catalogue, createdAt: new Date().toISOString() },
        }
        try {
          await createPartial(data.partial(id))
          store.put('download', id, document)
        } catch (error) {
          await rm(data.partial(id), { force: true })
          throw error
        }
        return launch(document)
      } catch (error) {
        intake.end(id)
        throw error
      } finally {
        creating -= 1
      }
    },
    underWay() {
      const found = new Map<string, string>()
      for (const { document, jobId } of active.values()) {
        if (document.catalogue !== null) found.set(document.catalogue, jobId)
      }
      return found
    },
  }
}

export interface SourceFacts {
  readonly name: string
  readonly url: string
  readonly sizeBytes: number | null
  readonly type: string | null
  readonly lastModified: string | null
  readonly canResume: boolean
}

/** What lies at an address, without fetching it. @throws EngineError source_failed, blocked_address, bad_input */
export async function lookAt(
  raw: string,
  guard: Guard,
  mayDowngrade: boolean,
  signal: AbortSignal,
): Promise<SourceFacts> {
  const url = parseSource(raw, 'url')
  let answer = await fetchGuarded(url, guard, { method: 'HEAD', mayDowngrade, signal })
  answer.message.destroy()
  // Some servers, and signed addresses, know GET alone.
  if ([400, 403, 405, 501].includes(answer.status)) {
    answer = await fetchGuarded(url, guard, { method: 'GET', mayDowngrade, signal })
    answer.message.destroy()
  }
  assertPlain(answer)
  const { headers } = answer.message
  const date = Date.parse(headers['last-modified'] ?? '')
  return {
    name: fileNameOf(url),
    url: shownUrl(answer.url),
    sizeBytes: declaredLength(headers['content-length']),
    type: headers['content-type']?.slice(0, 100) ?? null,
    lastModified: Number.isNaN(date) ? null : new Date(date).toISOString(),
    canResume: headers['accept-ranges'] === 'bytes' && (strong(headers.etag) || headers['last-modified'] !== undefined),
  }
}

const RETRIED: ReadonlySet<string> = new Set(['source_failed', 'blocked_address', 'bad_input'])
/** Whether the same address may work a little later. */
function isPassing(error: EngineError): boolean {
  if (error.code !== 'source_failed') return false
  const { details } = error
  return !(typeof details === 'object' && details !== null && 'again' in details && details.again === false)
}

function nextAlive(source: number, count: number, dead: ReadonlySet<number>): number {
  for (let step = 1; step <= count; step++) {
    const next = (source + step) % count
    if (!dead.has(next)) return next
  }
  return source
}

const strong = (etag: string | null | undefined): boolean => typeof etag === 'string' && etag.startsWith('"')

function declaredLength(header: string | undefined): number | null {
  return header !== undefined && /^\d{1,16}$/.test(header) ? Number(header) : null
}

/** Null: from the beginning. */
function resumeHeaders({
  offsetBytes,
  totalBytes,
  etag,
  lastModified,
}: DownloadDocument): Record<string, string> | null {
  const validator = etag !== null && strong(etag) ? etag : lastModified
  if (offsetBytes === 0 || totalBytes === null || offsetBytes >= totalBytes || validator === null) return null
  return { range: `bytes=${offsetBytes}-`, 'if-range': validator }
}

/** Where the answer to a resumed request begins; null: it is not (or not surely) the same file. Pure. */
export function continuesAt(
  { status, message: { headers } }: Pick<FetchAnswer, 'status'> & { message: Pick<FetchAnswer['message'], 'headers'> },
  known: Pick<DownloadDocument, 'offsetBytes' | 'totalBytes' | 'etag' | 'lastModified'>,
): number | null {
  if (status === 200) return 0
  const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers['content-range'] ?? '')
  if (status !== 206 || range === null) return null
  const sameLength = Number(range[3]) === known.totalBytes && Number(range[2]) === (known.totalBytes ?? 0) - 1
  const sameTag = strong(known.etag) && headers.etag === known.etag
  const sameDate = known.lastModified !== null && headers['last-modified'] === known.lastModified
  // A tag that differs outweighs a date that agrees.
  const differs = strong(known.etag) && strong(headers.etag) && headers.etag !== known.etag
  if (!sameLength || differs || !(sameTag || sameDate)) return null
  return Number(range[1]) === known.offsetBytes ? known.offsetBytes : null
}

const tooLarge = (maxBytes: number) =>
  new EngineError(
    'too_large',
    `The file is larger than the ${Math.floor(maxBytes / 2 ** 20)} MiB that are allowed here.`,
  )
