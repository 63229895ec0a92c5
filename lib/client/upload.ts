/**
 * Image uploads, resumable by the tus protocol. They belong to the page as a whole, not to a component: going to another
 * page does not stop them. After a reload the host still has what arrived; choosing the same file again goes on there,
 * in this browser or in another, because the host itself is asked what is unfinished.
 */
import type { Upload as TusUpload } from 'tus-js-client'
import type { Image } from '#lib/schema/image.ts'
import type { Job } from '#lib/schema/job.ts'
import type { UploadSession } from '#lib/schema/transfer.ts'
import { ApiError, call, operationUrl, toApiError } from './api-client.ts'
import { createStore } from './store.ts'

export interface Upload {
  readonly key: number
  /** Of the host's record; null until there is one. The image gets the same id. */
  readonly id: string | null
  readonly name: string
  readonly sentBytes: number
  readonly totalBytes: number
  /** Bytes per second over the last seconds; null until it can be told. */
  readonly rate: number | null
  /** `broken`: many tries failed; it can go on. */
  readonly state: 'starting' | 'sending' | 'paused' | 'broken' | 'checking'
  /** What the host does with it now, once all of it is there. */
  readonly step: string | null
}

/** What this page is sending. */
export const uploads = createStore<readonly Upload[]>([])

interface Running {
  readonly file: File
  tus: TusUpload | null
  cancelled: boolean
  readonly resolve: (image: Image | null) => void
  readonly reject: (error: ApiError) => void
}
const running = new Map<number, Running>()
let nextKey = 1

const CHUNK_BYTES = 64 * 2 ** 20
const RETRY_MS = [0, 1000, 3000, 5000, 10_000, 20_000, 30_000]
const POLL_MS = 700
const WINDOW_MS = 5_000

/** Speed from samples of [milliseconds, bytes], oldest first; null with fewer than two or no time between them. */
export function transferRate(samples: readonly (readonly [number, number])[]): number | null {
  const first = samples[0]
  const last = samples.at(-1)
  if (!first || !last || last[0] <= first[0]) return null
  return ((last[1] - first[1]) * 1000) / (last[0] - first[0])
}

const update = (key: number, part: Partial<Upload>) =>
  uploads.set((list) => list.map((upload) => (upload.key === key ? { ...upload, ...part } : upload)))
const find = (key: number) => uploads.get().find((upload) => upload.key === key)

/** Whether a file here can be the one whose upload the host has unfinished. */
export const isSameFile = (file: Pick<File, 'name' | 'size' | 'lastModified'>, session: UploadSession): boolean =>
  session.sizeBytes === file.size &&
  session.name === file.name.normalize('NFC').trim() &&
  (session.lastModifiedMs === null || session.lastModifiedMs === file.lastModified)

/** UTF-8 as base64, for a header. */
const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)))

async function createSession(file: File): Promise<UploadSession> {
  let response: Response
  try {
    response = await fetch(operationUrl('uploadCreate', {}), {
      method: 'POST',
      credentials: 'same-origin',
      headers: {
        'tus-resumable': '1.0.0',
        'upload-length': String(file.size),
        'upload-metadata': `filename ${base64(file.name)},lastmodified ${base64(String(file.lastModified))}`,
      },
    })
  } catch {
    throw new ApiError({ code: 'network', status: 0, message: 'The dashboard does not answer.' })
  }
  const body = await response.json()
  // Both shapes are the contract's answers of uploadCreate.
  if (!response.ok) throw new ApiError({ ...body.error, status: response.status })
  return body as UploadSession
}

/** One that the host has unfinished and nobody sends, or a new one. */
async function sessionFor(file: File): Promise<UploadSession> {
  const { items } = await call('uploadList', {})
  const mine = new Set(uploads.get().map(({ id }) => id))
  return items.find((item) => isSameFile(file, item) && !mine.has(item.id)) ?? createSession(file)
}

/** The API's own words, where tus hides them in its error. */
function errorOf(cause: unknown): ApiError {
  if (typeof cause === 'object' && cause !== null && 'originalResponse' in cause) {
    const response = cause.originalResponse
    if (typeof response === 'object' && response !== null && 'getBody' in response && 'getStatus' in response) {
      try {
        // tus-js-client's HttpResponse.
        const { getBody, getStatus } = response as { getBody(): string; getStatus(): number }
        const { error } = JSON.parse(getBody.call(response))
        return new ApiError({ ...error, status: getStatus.call(response) })
      } catch {
        // An answer without a body, for example to HEAD.
      }
    } else if (response === null) return new ApiError({ code: 'network', status: 0, message: '' })
  }
  return toApiError(cause)
}

/** Waits for the host to add the image. @throws ApiError with the reason it was refused */
async function added(key: number, id: string): Promise<Image> {
  let jobId: string | null = null
  for (;;) {
    const { cancelled } = running.get(key) ?? { cancelled: true }
    if (cancelled) throw new DOMException('cancelled', 'AbortError')
    try {
      const session = await call('uploadView', { params: { id } })
      jobId = session.jobId ?? jobId
      if (session.state === 'held' && session.problem !== null) {
        throw new ApiError({ code: 'no_space', status: 507, message: session.problem })
      }
      if (jobId !== null) update(key, { step: (await call('jobView', { params: { id: jobId } })).step })
    } catch (cause) {
      const error = toApiError(cause)
      if (error.status === 404) return outcome(id, jobId)
      if (error.status !== 0) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Small files are judged before the upload was looked at even once: then its job is among the others. */
async function jobOf(id: string, jobId: string | null): Promise<Job | undefined> {
  try {
    if (jobId !== null) return await call('jobView', { params: { id: jobId } })
    return (await call('jobList', {})).items.find(({ target }) => target?.type === 'image' && target.id === id)
  } catch {
    return undefined
  }
}

async function outcome(id: string, jobId: string | null): Promise<Image> {
  try {
    return await call('imageView', { params: { id } })
  } catch (cause) {
    const job = await jobOf(id, jobId)
    if (job?.state === 'cancelled') throw new DOMException('cancelled', 'AbortError')
    if (job?.error === undefined) throw cause
    // The code is one of the API's; a job keeps it as text.
    throw new ApiError({ code: job.error.code as ApiError['code'], status: 422, message: job.error.message })
  }
}

async function run(key: number): Promise<void> {
  const entry = running.get(key)
  if (entry === undefined) return
  const { file } = entry
  let { id } = find(key) ?? { id: null }
  if (id === null) {
    const session = await sessionFor(file)
    id = session.id
    update(key, { id, sentBytes: session.offsetBytes })
  }
  if (entry.cancelled) {
    await call('uploadDelete', { params: { id } }).catch(() => undefined)
    return
  }
  const { Upload: Tus } = await import('tus-js-client')
  const samples: [number, number][] = []
  await new Promise<void>((resolve, reject) => {
    const tus = new Tus(file, {
      uploadUrl: operationUrl('uploadView', { params: { id } }),
      chunkSize: CHUNK_BYTES,
      retryDelays: RETRY_MS,
      storeFingerprintForResuming: false,
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0
        return status === 0 || status === 409 || status === 503 || status === 502 || status === 500
      },
      onProgress: (sent) => {
        const now = performance.now()
        samples.push([now, sent])
        while (samples.length > 2 && now - (samples[0]?.[0] ?? now) > WINDOW_MS) samples.shift()
        update(key, { sentBytes: sent, rate: transferRate(samples), state: 'sending' })
      },
      onSuccess: () => resolve(),
      onError: reject,
    })
    entry.tus = tus
    tus.start()
  })
  update(key, { state: 'checking', sentBytes: file.size, rate: null })
  entry.resolve(await added(key, id))
}

function launch(key: number): void {
  run(key).catch((cause: unknown) => {
    const entry = running.get(key)
    if (entry === undefined) return
    if (entry.cancelled || (cause instanceof DOMException && cause.name === 'AbortError')) {
      entry.resolve(null)
      return
    }
    const error = errorOf(cause)
    // The host keeps what arrived: it can go on when the connection is back.
    if (error.code === 'network' && find(key)?.id != null) update(key, { state: 'broken', rate: null })
    else entry.reject(error)
  })
}

/**
 * Uploads a file; resolves to the image, or to null when cancelled. Progress is in `uploads`.
 * @throws ApiError `image_refused`, `no_space`, `too_large`, `busy` …
 */
export function uploadImage(file: File): Promise<Image | null> {
  const key = nextKey++
  const promise = new Promise<Image | null>((resolve, reject) => {
    running.set(key, { file, tus: null, cancelled: false, resolve, reject })
  })
  uploads.set((list) => [
    ...list,
    { key, id: null, name: file.name, sentBytes: 0, totalBytes: file.size, rate: null, state: 'starting', step: null },
  ])
  launch(key)
  return promise.finally(() => {
    running.delete(key)
    uploads.set((list) => list.filter((upload) => upload.key !== key))
  })
}

/** What was sent stays at the host. */
export function pauseUpload(key: number): void {
  if (find(key)?.state !== 'sending') return
  void running.get(key)?.tus?.abort()
  update(key, { state: 'paused', rate: null })
}

export function continueUpload(key: number): void {
  const state = find(key)?.state
  if (state !== 'paused' && state !== 'broken') return
  update(key, { state: 'starting' })
  launch(key)
}

/** Ends it, here and at the host. */
export function cancelUpload(key: number): void {
  const entry = running.get(key)
  const upload = find(key)
  if (entry === undefined || upload === undefined) return
  entry.cancelled = true
  void entry.tus?.abort()
  if (upload.id !== null) {
    const { id } = upload
    call('uploadDelete', { params: { id } })
      .catch(async () => {
        // Being checked: its job ends it.
        const { jobId } = await call('uploadView', { params: { id } })
        if (jobId !== null) await call('jobCancel', { params: { id: jobId } })
      })
      .catch(() => undefined)
  }
  if (upload.id !== null || upload.state !== 'starting') entry.resolve(null)
}
