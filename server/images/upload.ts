/**
 * Uploads: the bytes go to `uploads/<id>.part`, and become an image only when they are complete, match the expected
 * checksum and are of a kind we accept. Whatever goes wrong, the temporary file is gone when the call returns.
 */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import type { Starter } from '#lib/schema/image.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { admitFile } from './admit.ts'
import type { AdmitDeps } from './prepare.ts'
import { transfer } from './transfer.ts'

export interface UploadRequest {
  /** Of the image to be; left out: a new one. */
  readonly id?: string
  readonly name: string
  /** Expected checksum, lower-case hex; null: none was given. */
  readonly sha256: string | null
  readonly body: Readable
  /** Content-Length; null when unknown. */
  readonly declaredBytes: number | null
  /** Where nobody declared: more than this is `too_large`; null or left out: as much as an image may have. */
  readonly mostBytes?: number | null
  readonly owner: { readonly id: string; readonly name: string }
  /** Set when the bytes come from a package of the distribution. */
  readonly starter?: Starter['id']
}

const MAX_UPLOAD_BYTES = 16 * 2 ** 40

const CREATE_NEW = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY

/**
 * @param request.name already cleaned
 * @returns the new image's id
 * @throws EngineError no_space, too_large, checksum_mismatch, image_refused, bad_input (body cut off)
 */
export async function receiveUpload(deps: AdmitDeps, request: UploadRequest, job: JobContext): Promise<string> {
  const { data, space } = deps
  const { declaredBytes, body } = request
  if (declaredBytes !== null && declaredBytes > MAX_UPLOAD_BYTES) {
    throw new EngineError('too_large', 'An image of more than 16 TiB cannot be uploaded.')
  }
  const reservedBytes = declaredBytes ?? 0
  const reservation = await space.reserve(reservedBytes, 'The upload')
  // The name on disk never comes from outside.
  const temporary = data.upload(randomUUID())
  const abort = () => body.destroy(new EngineError('conflict', 'The upload was cancelled.'))
  job.signal.addEventListener('abort', abort, { once: true })
  // A connection that breaks before the first read is found out by that read.
  body.once('error', () => {})
  try {
    const handle = await open(temporary, CREATE_NEW, 0o600)
    let received: { sizeBytes: number; sha256: string }
    try {
      // The body survives a refusal, so that the HTTP side can drain it and the client reads the answer.
      received = await transfer(body.iterator({ destroyOnReturn: false }), handle, {
        reservation,
        reservedBytes,
        maxBytes: declaredBytes ?? Math.min(MAX_UPLOAD_BYTES, request.mostBytes ?? MAX_UPLOAD_BYTES),
        signal: job.signal,
        onProgress: job.progress,
      })
    } finally {
      await handle.close()
    }
    if (declaredBytes !== null && received.sizeBytes !== declaredBytes) {
      throw new EngineError(
        'bad_input',
        `The upload ended after ${received.sizeBytes} of ${declaredBytes} bytes. Nothing was kept; send it again.`,
      )
    }
    reservation.release()
    const { id, name, owner, starter, sha256: expectedSha256 } = request
    const from = starter === undefined ? ({ source: 'upload' } as const) : ({ source: 'starter', starter } as const)
    return await admitFile(
      deps,
      temporary,
      { ...(id !== undefined && { id }), name, owner, ...from, sha256: received.sha256, expectedSha256 },
      job,
    )
  } catch (error) {
    throw brokenOff(error) ?? error
  } finally {
    job.signal.removeEventListener('abort', abort)
    reservation.release()
    await rm(temporary, { force: true })
  }
}

/** The sender went away: an outcome, not a fault of ours. */
function brokenOff(error: unknown): EngineError | null {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (code !== 'ECONNRESET' && code !== 'ERR_STREAM_PREMATURE_CLOSE' && code !== 'ABORT_ERR') return null
  return new EngineError('bad_input', 'The connection ended before the whole file had arrived. Nothing was kept.', {
    cause: error,
  })
}
