/** Sends a file to the library with progress, which `fetch` cannot report for request bodies. */
import type { ApiErrorBody } from '#lib/schema/error.ts'
import type { Image } from '#lib/schema/image.ts'
import { ApiError, operationUrl, toApiError } from './api-client.ts'

export interface UploadProgress {
  readonly sentBytes: number
  readonly totalBytes: number
  /** Average so far; 0 before the first second. */
  readonly bytesPerSecond: number
}

/**
 * @param onProgress called at most a few times a second, and once at the end
 * @returns the library image; rejects with ApiError, or with an AbortError when `signal` ends it
 */
export function uploadImage(
  file: File,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (progress: UploadProgress) => void },
): Promise<Image> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const startedAt = performance.now()
    const abort = () => request.abort()
    const done = () => signal.removeEventListener('abort', abort)
    if (signal.aborted) {
      reject(new DOMException('cancelled', 'AbortError'))
      return
    }
    signal.addEventListener('abort', abort)
    request.upload.onprogress = (event) => {
      const seconds = (performance.now() - startedAt) / 1000
      onProgress({
        sentBytes: event.loaded,
        totalBytes: file.size,
        bytesPerSecond: seconds < 1 ? 0 : event.loaded / seconds,
      })
    }
    request.onload = () => {
      done()
      try {
        const answer: unknown = JSON.parse(request.responseText)
        // Both shapes are the contract's answers of imageUpload.
        if (request.status === 201) resolve(answer as Image)
        else reject(new ApiError({ ...(answer as ApiErrorBody).error, status: request.status }))
      } catch (cause) {
        reject(toApiError(cause))
      }
    }
    request.onerror = () => {
      done()
      reject(
        new ApiError({
          code: 'network',
          status: 0,
          message: 'The upload broke off: the dashboard did not answer. Nothing was added; send the file again.',
        }),
      )
    }
    request.onabort = () => {
      done()
      reject(new DOMException('cancelled', 'AbortError'))
    }
    request.open('POST', operationUrl('imageUpload', { query: { name: file.name } }))
    request.setRequestHeader('content-type', 'application/octet-stream')
    request.setRequestHeader('accept', 'application/json')
    request.send(file)
  })
}
