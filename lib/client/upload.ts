/**
 * Image uploads. They belong to the page as a whole, not to a component: going to another page does not stop them.
 * XMLHttpRequest, because fetch cannot tell how much of a body has been sent.
 */
import type { Image } from '#lib/schema/image.ts'
import { ApiError, operationUrl, toApiError } from './api-client.ts'
import { createStore } from './store.ts'

export interface Upload {
  readonly id: number
  readonly name: string
  readonly sentBytes: number
  readonly totalBytes: number
  /** Bytes per second over the last seconds; null until it can be told. */
  readonly rate: number | null
  readonly state: 'sending' | 'checking'
}

export const uploads = createStore<readonly Upload[]>([])
const requests = new Map<number, XMLHttpRequest>()
let nextId = 1

/** Speed from samples of [milliseconds, bytes], oldest first; null with fewer than two or no time between them. */
export function transferRate(samples: readonly (readonly [number, number])[]): number | null {
  const first = samples[0]
  const last = samples.at(-1)
  if (!first || !last || last[0] <= first[0]) return null
  return ((last[1] - first[1]) * 1000) / (last[0] - first[0])
}

const WINDOW_MS = 5_000

const parseAnswer = (request: XMLHttpRequest): Image | ApiError => {
  try {
    const body = JSON.parse(request.responseText)
    if (request.status >= 200 && request.status < 300) return body as Image
    return new ApiError({ ...body.error, status: request.status })
  } catch {
    return new ApiError({
      code: 'internal',
      status: request.status,
      message: `The server answered ${request.status} without an explanation.`,
    })
  }
}

/**
 * Uploads a file; resolves to the image, or to null when cancelled. Progress is in `uploads`.
 * @throws ApiError `image_refused`, `no_space`, `too_large`; `network` when the connection breaks.
 */
export function uploadImage(file: File): Promise<Image | null> {
  const id = nextId++
  const request = new XMLHttpRequest()
  requests.set(id, request)
  uploads.set((list) => [
    ...list,
    { id, name: file.name, sentBytes: 0, totalBytes: file.size, rate: null, state: 'sending' },
  ])
  const update = (part: Partial<Upload>) =>
    uploads.set((list) => list.map((upload) => (upload.id === id ? { ...upload, ...part } : upload)))
  const samples: [number, number][] = []
  return new Promise<Image | null>((resolve, reject) => {
    request.upload.onprogress = ({ loaded }) => {
      const now = performance.now()
      samples.push([now, loaded])
      while (samples.length > 2 && now - (samples[0]?.[0] ?? now) > WINDOW_MS) samples.shift()
      update({ sentBytes: loaded, rate: transferRate(samples) })
    }
    request.upload.onload = () => update({ state: 'checking', sentBytes: file.size })
    request.onload = () => {
      const answer = parseAnswer(request)
      if (answer instanceof ApiError) reject(answer)
      else resolve(answer)
    }
    request.onerror = () => reject(new ApiError({ code: 'network', status: 0, message: '' }))
    request.onabort = () => resolve(null)
    request.open('POST', operationUrl('imageUpload', { query: { name: file.name } }))
    request.setRequestHeader('content-type', 'application/octet-stream')
    request.setRequestHeader('accept', 'application/json')
    request.send(file)
  })
    .catch((cause: unknown) => {
      throw toApiError(cause)
    })
    .finally(() => {
      requests.delete(id)
      uploads.set((list) => list.filter((upload) => upload.id !== id))
    })
}

export const cancelUpload = (id: number) => requests.get(id)?.abort()
