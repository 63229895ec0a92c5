/**
 * Resumable uploads (tus 1.0.0): created with their size, appended to at an offset, finished when all bytes are there.
 *
 *   created ─append…→ complete ─admit→ image
 *      │                  └─ refused: removed, the job says why
 *      └─ cancelled, expired: removed
 *
 * An offset is stored, and told to the sender, only after the bytes before it were flushed to the disk; so a resume
 * continues exactly there, whatever ended the dashboard. Room for the whole file is kept from the start, so that no
 * second upload is promised the same bytes. Each upload has one job for its life in this process; after a restart the
 * next piece, or the completeness of the file, begins another. A sender that comes back while its old connection still
 * hangs takes over: the old one is cut, what it had sent is kept.
 */
import { createHash, randomUUIDv7 } from 'node:crypto'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import * as z from 'zod'
import { ImageId, JobId } from '#lib/schema/ids.ts'
import type { UploadSession } from '#lib/schema/transfer.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext, JobHandle, JobRegistry } from '#server/jobs/registry.ts'
import type { DataPaths } from '#server/paths.ts'
import type { SpaceLedger, SpaceReservation } from '#server/storage/space.ts'
import type { Store } from '#server/store/types.ts'
import type { Admit } from './admission.ts'
import type { Intake } from './intake.ts'
import { assertChecksum, createPartial, PartialFile } from './partial-file.ts'

export const MAX_IMAGE_BYTES = 16 * 2 ** 40
const MAX_UNFINISHED_EACH = 16
const MAX_UNFINISHED = 64
/** Counted from the last byte. */
const EXPIRES_MS = 48 * 3_600_000
const SWEEP_MS = 10 * 60_000
const SAFE_EVERY_BYTES = 64 * 2 ** 20
/** A sender whose old connection hangs waits so long for it to let go. */
const TAKE_OVER_MS = 10_000

const UploadDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  owner: z.object({ id: z.string(), name: z.string() }),
  sizeBytes: z.number(),
  offsetBytes: z.number(),
  sha256: z.string().nullable(),
  /** Of the file at the sender: tells whether a file chosen later is the same one. */
  lastModifiedMs: z.number().nullable(),
  createdAt: z.string(),
  touchedAt: z.string(),
})
type UploadDocument = z.output<typeof UploadDocument>

export interface CreateUpload {
  /** Cleaned. */
  readonly name: string
  readonly sizeBytes: number
  readonly sha256: string | null
  readonly lastModifiedMs: number | null
}

export interface AppendUpload {
  readonly offsetBytes: number
  readonly declaredBytes: number | null
  readonly body: Readable
  readonly checksum: { readonly algorithm: 'sha1' | 'sha256' | 'sha512'; readonly base64: string } | null
}

interface Person {
  readonly id: string
  readonly name: string
}

export interface UploadSessionsDeps {
  readonly data: DataPaths
  readonly store: Store
  readonly space: SpaceLedger
  readonly jobs: JobRegistry
  readonly admit: Admit
  readonly intake: Intake
  /** Whether an image of this id exists already: the upload got through before a crash. */
  readonly isAdmitted: (id: string) => boolean
  /** Told once for each upload that ended: for the activity log. */
  readonly onEnd: (upload: { name: string; owner: Person; imageId: string | null; error: unknown }) => void
  readonly warn: (message: string, error?: unknown) => void
  readonly now?: () => Date
}

export interface UploadSessions {
  /** After the library is open. */
  open(): Promise<void>
  /** @param ownerId null: everybody's */
  list(ownerId: string | null): UploadSession[]
  /** @throws EngineError not_found */
  view(id: string, ownerId: string | null): UploadSession
  /** Cuts a connection that still sends to it, so that the offset stands. @throws EngineError not_found */
  settle(id: string, ownerId: string): Promise<UploadSession>
  /** @throws EngineError no_space, too_large, busy, bad_input */
  create(owner: Person, request: CreateUpload): Promise<UploadSession>
  /** @returns the new offset @throws EngineError not_found, conflict, too_large, no_space, chunk_mismatch */
  append(id: string, ownerId: string, request: AppendUpload): Promise<number>
  /** Tries again to add a complete upload whose check could not be finished. @throws EngineError wrong_state */
  finish(id: string, ownerId: string): Promise<UploadSession>
  /** @throws EngineError not_found, wrong_state */
  remove(id: string, ownerId: string | null): Promise<void>
  close(): void
}

interface Session {
  document: UploadDocument
  readonly file: PartialFile
  /** Null: the room could not be kept (after a restart); asked for again by the next piece. */
  reservation: SpaceReservation | null
  job: {
    readonly handle: JobHandle
    readonly context: JobContext
    resolve(id: string): void
    reject(e: unknown): void
  } | null
  writer: { readonly abort: AbortController; readonly done: Promise<unknown> } | null
  checking: boolean
  /** Why a complete upload is not an image yet. */
  problem: string | null
}

export function createUploadSessions(deps: UploadSessionsDeps): UploadSessions {
  const { data, store, space, jobs, intake } = deps
  const now = deps.now ?? (() => new Date())
  const sessions = new Map<string, Session>()
  let creating = 0

  const view = ({ document: d, job, writer, checking, problem }: Session): UploadSession => ({
    id: ImageId.parse(d.id),
    name: d.name,
    sizeBytes: d.sizeBytes,
    offsetBytes: d.offsetBytes,
    lastModifiedMs: d.lastModifiedMs,
    state: checking ? 'checking' : d.offsetBytes === d.sizeBytes ? 'held' : writer === null ? 'waiting' : 'receiving',
    problem,
    jobId: job === null ? null : JobId.parse(job.handle.id),
    createdAt: d.createdAt,
    expiresAt: expiry(d),
    startedBy: d.owner.name,
  })
  const expiry = (d: UploadDocument) => new Date(Date.parse(d.touchedAt) + EXPIRES_MS).toISOString()

  const find = (id: string, ownerId: string | null): Session => {
    const session = sessions.get(id)
    if (session === undefined || (ownerId !== null && session.document.owner.id !== ownerId)) {
      throw new EngineError('not_found', 'There is no such upload. It may have ended or expired; start it again.')
    }
    return session
  }
  const save = (session: Session, change: Partial<UploadDocument>): void => {
    const document = { ...session.document, ...change }
    store.put('upload', document.id, document)
    session.document = document
  }

  /** Takes it out of everything; the file goes last, so that a crash leaves a file without a record, which is swept. */
  const drop = async (session: Session): Promise<void> => {
    const { id } = session.document
    sessions.delete(id)
    session.writer?.abort.abort(new EngineError('not_found', 'The upload was cancelled.'))
    await session.writer?.done.catch(() => {})
    store.delete('upload', id)
    session.reservation?.release()
    try {
      await session.file.remove()
    } finally {
      intake.end(id)
    }
  }

  const startJob = (session: Session): NonNullable<Session['job']> => {
    if (session.job !== null) return session.job
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    let context: JobContext | null = null
    const { id, name, owner, sizeBytes, offsetBytes } = session.document
    const handle = jobs.start({
      kind: 'image-upload',
      title: name,
      // How it ended is found by it when the upload itself is gone.
      target: { type: 'image', id },
      owner: { userId: owner.id, name: owner.name },
      totalBytes: sizeBytes,
      work(given) {
        context = given
        given.signal.addEventListener('abort', () => reject(given.signal.reason), { once: true })
        return promise
      },
    })
    if (context === null) throw new Error('a job without a queue begins at once')
    const job = { handle, context: context as JobContext, resolve, reject }
    session.job = job
    job.context.progress(offsetBytes)
    handle.finished
      .then((imageId) => deps.onEnd({ name, owner, imageId, error: null }))
      .catch(async (error: unknown) => {
        const { signal } = job.context
        // The dashboard ends: the upload goes on after its next start.
        if (signal.aborted && !(signal.reason instanceof EngineError)) return
        session.job = null
        if (sessions.get(session.document.id) === session && !keepsFile(error)) await drop(session)
        deps.onEnd({ name, owner, imageId: null, error })
      })
      .catch((error: unknown) => deps.warn(`Ending the upload ${name} failed.`, error))
    return job
  }

  /** All bytes are there: checksums, the door, the image. Not awaited by the sender: it may take minutes. */
  const complete = (session: Session): void => {
    const job = startJob(session)
    session.checking = true
    session.problem = null
    const { document } = session
    const check = async (): Promise<string> => {
      const { signal } = job.context
      // Its image was stored before a crash; only this record was left.
      if (deps.isAdmitted(document.id)) return document.id
      await rm(data.image(document.id), { force: true })
      job.context.step('Checking the file')
      const digests = await session.file.digests(document.sizeBytes, signal, () => {})
      assertChecksum(
        document.sha256 === null ? null : { algorithm: 'sha256', value: document.sha256 },
        digests,
        'Download it again from its source.',
      )
      const sha256 = digests.sha256
      if (sha256 === undefined) throw new Error('no checksum was made')
      const { id, name, owner } = document
      return deps.admit(session.file.path, { id, name, owner, source: 'upload', sha256 }, job.context)
    }
    check()
      .then(async (imageId) => {
        session.checking = false
        await drop(session)
        job.resolve(imageId)
      })
      .catch((error: unknown) => {
        session.checking = false
        if (keepsFile(error))
          session.problem = error instanceof EngineError ? error.message : 'It could not be checked.'
        job.reject(error)
      })
  }

  const load = async (): Promise<void> => {
    for (const { key, value } of store.list('upload')) {
      const parsed = UploadDocument.safeParse(value)
      const facts = await stat(data.partial(key)).catch(() => null)
      if (!parsed.success || facts === null || facts.size < parsed.data.offsetBytes) {
        if (parsed.success && deps.isAdmitted(key)) await rm(data.partial(key), { force: true })
        else deps.warn(`The unfinished upload ${key} cannot be continued and is removed.`)
        store.delete('upload', key)
        continue
      }
      const session: Session = {
        ...{ document: parsed.data, reservation: null, job: null, writer: null, checking: false, problem: null },
        file: new PartialFile(data.partial(key), ['sha256']),
      }
      sessions.set(key, session)
      intake.resume(key, parsed.data.owner.id, parsed.data.sizeBytes)
      const left = parsed.data.sizeBytes - parsed.data.offsetBytes
      session.reservation = await space.reserve(left, 'The upload').catch(() => null)
      if (left === 0) complete(session)
    }
  }

  const expire = async (): Promise<void> => {
    for (const session of [...sessions.values()]) {
      const { document, writer, checking, job } = session
      if (writer !== null || checking || Date.parse(expiry(document)) > now().getTime()) continue
      await drop(session)
      job?.reject(
        new EngineError('conflict', 'Nothing came for two days, so the upload was removed. Send the file again.'),
      )
    }
  }
  const timer = setInterval(() => {
    expire().catch((error: unknown) => deps.warn('Removing expired uploads failed.', error))
  }, SWEEP_MS)
  timer.unref()

  const stopWriter = async (session: Session): Promise<void> => {
    const { writer } = session
    if (writer === null) return
    writer.abort.abort(new EngineError('conflict', 'Another connection goes on with this upload.'))
    await Promise.race([
      writer.done.catch(() => {}),
      new Promise((resolve) => setTimeout(resolve, TAKE_OVER_MS).unref()),
    ])
    if (session.writer !== null) throw new EngineError('busy', 'The upload is still being written to. Try again.')
  }

  const receive = async (session: Session, request: AppendUpload, abort: AbortController): Promise<number> => {
    const { document, file } = session
    const left = document.sizeBytes - document.offsetBytes
    const job = startJob(session)
    session.reservation ??= await space.reserve(left, 'The rest of the upload')
    const hash = request.checksum === null ? null : createHash(request.checksum.algorithm)
    const from = document.offsetBytes
    const { body } = request
    const cut = () => body.destroy(abort.signal.reason)
    abort.signal.addEventListener('abort', cut, { once: true })
    const keep = (position: number) => {
      // A piece with a checksum counts only when all of it is right.
      if (hash === null) save(session, { offsetBytes: position, touchedAt: now().toISOString() })
    }
    try {
      const { bytes, fault } = await file.append(body.iterator({ destroyOnReturn: false }), from, {
        reservation: session.reservation,
        reservedBytes: left,
        maxBytes: Math.min(left, request.declaredBytes ?? left),
        signal: abort.signal,
        onProgress: (position) => job.context.progress(position),
        onSafe: keep,
        safeEveryBytes: SAFE_EVERY_BYTES,
        ...(hash !== null && { onChunk: (chunk: Uint8Array) => hash.update(chunk) }),
      })
      if (hash !== null) {
        if (fault !== null || hash.digest('base64') !== request.checksum?.base64) {
          await file.truncate(from)
          await session.reservation.extend(bytes).catch(() => {})
          throw (
            brokenOff(fault) ??
            new EngineError('chunk_mismatch', 'This piece arrived damaged and was not kept. Send it again.')
          )
        }
        save(session, { offsetBytes: from + bytes, touchedAt: now().toISOString() })
      }
      if (fault !== null) throw brokenOff(fault)
      return session.document.offsetBytes
    } finally {
      abort.signal.removeEventListener('abort', cut)
    }
  }

  return {
    async open() {
      await load()
      for (const name of await readdir(data.uploadsDir)) {
        if (!name.endsWith('.partial')) continue
        const id = name.slice(0, -'.partial'.length)
        if (!sessions.has(id) && store.get('download', id) === null)
          await rm(join(data.uploadsDir, name), { force: true })
      }
      await expire()
    },
    list: (ownerId) =>
      [...sessions.values()].filter(({ document }) => ownerId === null || document.owner.id === ownerId).map(view),
    view: (id, ownerId) => view(find(id, ownerId)),
    async settle(id, ownerId) {
      const session = find(id, ownerId)
      await stopWriter(session)
      return view(session)
    },
    async create(owner, request) {
      if (request.sizeBytes > MAX_IMAGE_BYTES) {
        throw new EngineError('too_large', 'An image of more than 16 TiB cannot be uploaded.')
      }
      if (request.sizeBytes === 0) throw new EngineError('image_refused', 'The file is empty.')
      const own = [...sessions.values()].filter(({ document }) => document.owner.id === owner.id).length
      if (own >= MAX_UNFINISHED_EACH || sessions.size + creating >= MAX_UNFINISHED) {
        throw new EngineError(
          'busy',
          own >= MAX_UNFINISHED_EACH
            ? `You have ${own} unfinished uploads. Go on with them, or cancel some, before you start another.`
            : 'Too many uploads are unfinished on this host. Try again when some are done.',
        )
      }
      const id = randomUUIDv7()
      intake.begin(id, owner.id, request.sizeBytes)
      creating += 1
      try {
        const reservation = await space.reserve(request.sizeBytes, 'The upload')
        const at = now().toISOString()
        const document: UploadDocument = {
          ...{ v: 1, id, name: request.name, owner, sizeBytes: request.sizeBytes, offsetBytes: 0 },
          ...{ sha256: request.sha256, lastModifiedMs: request.lastModifiedMs, createdAt: at, touchedAt: at },
        }
        const path = data.partial(id)
        try {
          await createPartial(path)
          store.put('upload', id, document)
        } catch (error) {
          reservation.release()
          await rm(path, { force: true })
          throw error
        }
        const session: Session = {
          ...{ document, reservation, job: null, writer: null, checking: false, problem: null },
          file: new PartialFile(path, ['sha256']),
        }
        sessions.set(id, session)
        startJob(session)
        return view(session)
      } catch (error) {
        if (!sessions.has(id)) intake.end(id)
        throw error
      } finally {
        creating -= 1
      }
    },
    async append(id, ownerId, request) {
      const session = find(id, ownerId)
      await stopWriter(session)
      // What another call did while this one waited.
      if (find(id, ownerId) !== session || session.writer !== null || session.checking) {
        throw new EngineError('conflict', 'The upload has gone on meanwhile. Ask for its offset again.')
      }
      const { offsetBytes, sizeBytes } = session.document
      if (request.offsetBytes !== offsetBytes) {
        throw new EngineError('conflict', `The upload stands at ${offsetBytes} bytes, not at ${request.offsetBytes}.`, {
          field: 'Upload-Offset',
          details: { offsetBytes },
        })
      }
      if (request.declaredBytes !== null && request.declaredBytes > sizeBytes - offsetBytes) {
        throw new EngineError('too_large', 'This piece is longer than what is left of the upload.')
      }
      const abort = new AbortController()
      const signal = session.job?.context.signal
      const onCancel = () => abort.abort(signal?.reason)
      signal?.addEventListener('abort', onCancel, { once: true })
      const done = receive(session, request, abort).finally(() => {
        session.writer = null
        signal?.removeEventListener('abort', onCancel)
      })
      session.writer = { abort, done }
      const position = await done
      if (position === sizeBytes) complete(session)
      return position
    },
    async finish(id, ownerId) {
      const session = find(id, ownerId)
      if (session.checking || session.document.offsetBytes < session.document.sizeBytes) {
        throw new EngineError(
          'wrong_state',
          session.checking ? 'It is being checked.' : 'Not all of the file is here yet.',
        )
      }
      complete(session)
      return view(session)
    },
    async remove(id, ownerId) {
      const session = find(id, ownerId)
      if (session.checking)
        throw new EngineError('wrong_state', 'All of it has arrived and is being checked. Cancel its job.')
      const { job } = session
      const dropping = drop(session)
      if (job?.handle.view().cancellable) jobs.cancel(job.handle.id, null)
      await dropping
    },
    close() {
      clearInterval(timer)
    },
  }
}

/** What failed for want of room or by a fault of ours is worth another try with the same bytes. */
const keepsFile = (error: unknown): boolean =>
  !(error instanceof EngineError) || error.code === 'no_space' || error.code === 'busy' || error.code === 'internal'

/** The sender went away: an outcome, not a fault of ours. */
function brokenOff(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (code !== 'ECONNRESET' && code !== 'ERR_STREAM_PREMATURE_CLOSE' && code !== 'ABORT_ERR') return error
  return new EngineError('bad_input', 'The connection ended. What arrived is kept; go on from there.', { cause: error })
}
