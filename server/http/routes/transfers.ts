/**
 * Resumable uploads by the tus protocol 1.0.0 (core, creation, termination, checksum, expiration), downloads and the
 * catalogue. Of tus only the headers are here; what they mean is the engine's.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { UploadSession } from '#lib/schema/transfer.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Engine, UploadPiece } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'
import { watchUpload } from '#server/http/upload-watch.ts'

const VERSION = '1.0.0'
const EXTENSIONS = 'creation,termination,checksum,expiration'
const ALGORITHMS = 'sha256,sha512,sha1'
const MAX_SIZE = String(16 * 2 ** 40)

type Names =
  | 'uploadList'
  | 'uploadCreate'
  | 'uploadView'
  | 'uploadAppend'
  | 'uploadFinish'
  | 'uploadDelete'
  | 'imageDownload'
  | 'imageDownloadPreview'
  | 'catalogueList'
  | 'catalogueFetch'

const bad = (header: string, what: string): EngineError =>
  new EngineError('bad_input', `${header} ${what}.`, { field: header })

/** One header of the request, which may be there once. @throws EngineError bad_input */
function header(request: FastifyRequest, name: string): string | undefined {
  const values = request.raw.headersDistinct[name.toLowerCase()] ?? []
  if (values.length > 1) throw bad(name, 'is there more than once')
  return values[0]
}

/** @throws EngineError bad_input */
function bytesOf(request: FastifyRequest, name: string): number {
  const text = header(request, name)
  if (text === undefined || !/^\d{1,16}$/.test(text)) throw bad(name, 'must be a number of bytes')
  return Number(text)
}

/** @throws EngineError tus_version. Programs that do not speak tus need not name a version. */
function speakTus(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers({
    'tus-resumable': VERSION,
    'tus-version': VERSION,
    'tus-extension': EXTENSIONS,
    'tus-max-size': MAX_SIZE,
    'tus-checksum-algorithm': ALGORITHMS,
  })
  const wanted = header(request, 'Tus-Resumable')
  if (wanted !== undefined && wanted !== VERSION) {
    throw new EngineError('tus_version', `Only version ${VERSION} of the tus protocol is spoken here.`)
  }
}

/** `key base64, key base64, …` @throws EngineError bad_input */
export function parseMetadata(text: string | undefined): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const pair of (text ?? '').split(',')) {
    if (pair.trim() === '') continue
    const match = /^([!-+\--~]{1,64})(?: ([A-Za-z0-9+/]{0,4096}={0,2}))?$/.exec(pair.trim())
    const [, key, value = ''] = match ?? []
    if (key === undefined || found.has(key)) throw bad('Upload-Metadata', 'must be pairs of a key and a base64 value')
    found.set(key, Buffer.from(value, 'base64').toString('utf8'))
  }
  return found
}

function creation(request: FastifyRequest) {
  const metadata = parseMetadata(header(request, 'Upload-Metadata'))
  const name = metadata.get('filename') ?? metadata.get('name')
  const sha256 = metadata.get('sha256')
  const lastModified = metadata.get('lastmodified')
  if (name === undefined) throw new EngineError('bad_input', 'Upload-Metadata needs a filename.', { field: 'name' })
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)) {
    throw new EngineError('bad_input', 'The expected SHA-256 must be 64 small hexadecimal digits.', { field: 'sha256' })
  }
  if (lastModified !== undefined && !/^\d{1,16}$/.test(lastModified)) {
    throw bad('Upload-Metadata', 'has a lastmodified that is no number of milliseconds')
  }
  return {
    name,
    sizeBytes: bytesOf(request, 'Upload-Length'),
    sha256: sha256 ?? null,
    lastModifiedMs: lastModified === undefined ? null : Number(lastModified),
  }
}

function checksumOf(request: FastifyRequest): UploadPiece['checksum'] {
  const text = header(request, 'Upload-Checksum')
  if (text === undefined) return null
  const [, algorithm, base64] = /^(sha1|sha256|sha512) ([A-Za-z0-9+/]{20,90}={0,2})$/.exec(text) ?? []
  if (base64 === undefined || (algorithm !== 'sha1' && algorithm !== 'sha256' && algorithm !== 'sha512')) {
    throw bad('Upload-Checksum', `must be one of ${ALGORITHMS} and a base64 value`)
  }
  return { algorithm, base64 }
}

function tell(reply: FastifyReply, upload: UploadSession): void {
  reply.headers({
    'upload-offset': String(upload.offsetBytes),
    'upload-length': String(upload.sizeBytes),
    'upload-expires': new Date(upload.expiresAt).toUTCString(),
  })
}

export function transferRoutes({ transfers }: Engine): Pick<Handlers, Names> {
  return {
    uploadList: ({ caller }) => transfers.uploadList(caller),
    async uploadCreate({ caller, request, reply }) {
      speakTus(request, reply)
      const upload = await transfers.uploadCreate(caller, creation(request))
      tell(reply, upload)
      // Relative: behind a proxy we do not know our own name.
      reply.header('location', `${request.raw.url?.split('?', 1)[0] ?? ''}/${upload.id}`)
      return upload
    },
    async uploadView({ caller, params, request, reply }) {
      speakTus(request, reply)
      // Who asks with HEAD is about to go on; who reads the page is not.
      const upload = await (request.method === 'HEAD'
        ? transfers.uploadSettle(caller, params.id)
        : transfers.uploadView(caller, params.id))
      tell(reply, upload)
      return upload
    },
    async uploadAppend({ caller, params, request, reply }) {
      speakTus(request, reply)
      const length = request.headers['content-length']
      const piece: UploadPiece = {
        offsetBytes: bytesOf(request, 'Upload-Offset'),
        declaredBytes: length === undefined ? null : Number(length),
        body: request.raw,
        checksum: checksumOf(request),
      }
      const unwatch = watchUpload(request.raw)
      try {
        const offset = await transfers.uploadAppend(caller, params.id, piece)
        reply.header('upload-offset', String(offset))
      } finally {
        unwatch()
      }
    },
    uploadFinish: ({ caller, params }) => transfers.uploadFinish(caller, params.id),
    async uploadDelete({ caller, params, request, reply }) {
      speakTus(request, reply)
      await transfers.uploadDelete(caller, params.id)
    },
    imageDownload: ({ caller, body }) => transfers.download(caller, body),
    imageDownloadPreview: ({ caller, body }) => transfers.downloadPreview(caller, body),
    catalogueList: ({ caller }) => transfers.catalogueList(caller),
    catalogueFetch: ({ caller, params }) => transfers.catalogueFetch(caller, params.id),
  }
}
