/** From a file that somebody brought to one that may lie in the library: unpacked, converted, looked at again. */
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageOrigin, Starter } from '#lib/schema/image.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import type { DataPaths } from '#server/paths.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { ToolSandbox } from '#server/storage/sandbox.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { Store } from '#server/store/types.ts'
import type { ImageDocument, Inspection } from './documents.ts'
import { growthGuard, growthLimit } from './growth.ts'
import { type DiskFacts, identify, NAMES } from './inspect.ts'
import { type ImageInspector, lookInside } from './inspection.ts'
import { type ImageLibrary, REGULAR_READ } from './library.ts'
import { fileReader, refuseImage } from './reader.ts'
import { unpack } from './unpack.ts'

export interface AdmitDeps {
  readonly data: DataPaths
  readonly library: ImageLibrary
  readonly space: SpaceLedger
  readonly qemuImg: QemuImg
  readonly sandbox: ToolSandbox
  readonly store: Store
  /** Left out: images are looked into later. */
  readonly inspector?: ImageInspector
  readonly now?: () => Date
}

export interface AdmitRequest {
  /** Of the image to be; left out: a new one. */
  readonly id?: string
  /** Already cleaned (`cleanImageName`). */
  readonly name: string
  readonly owner: { readonly id: string; readonly name: string }
  readonly source: Exclude<ImageDocument['source'], 'registered'>
  /** Address it was downloaded from, without credentials and query. */
  readonly downloadedFrom?: string | null
  /** Id of the entry of the catalogue it came from. */
  readonly catalogue?: string | null
  /** Set when the bytes come from a package of the distribution. */
  readonly starter?: Starter['id']
  /** Of the file, when the way in hashed it already; null: it is read once more. Lower-case hex. */
  readonly sha256: string | null
  /** What it has to be; null or left out: nobody said. */
  readonly expectedSha256?: string | null
  /** What the image may take in the library; null or left out: as much as there is room for. */
  readonly maxBytes?: number | null
}

const MiB = 2 ** 20
/** What qcow2 adds to the content, for any size. */
const overheadOf = (virtualBytes: number) => 64 * MiB + Math.ceil(virtualBytes / 512)

export interface Ready {
  readonly path: string
  readonly facts: Awaited<ReturnType<ImageLibrary['inspect']>>
  readonly origin: ImageOrigin | null
  readonly inspected: Inspection | null
}

/**
 * Makes of what was brought a file that may lie in the library.
 * @param stage a directory of this image alone @param source in it
 * @throws EngineError image_refused, image_has_backing, unsupported_format, no_space; the job's reason
 */
export async function prepareImage(
  deps: AdmitDeps,
  stage: string,
  source: string,
  request: AdmitRequest,
  job: JobContext,
): Promise<Ready> {
  let path = source
  let found = await identifyFile(source)
  const { sizeBytes } = found
  let compression: ImageOrigin['compression'] = null
  if (found.is === 'compressed') {
    compression = found.method
    path = await unpack(
      deps,
      { stage, source, method: found.method, sizeBytes, maxBytes: request.maxBytes ?? null },
      job,
    )
    await rm(source)
    found = await identifyFile(path)
  }
  if (found.is !== 'image') {
    return refuseImage(
      'Inside of this compressed file is another archive. Unpack it and upload the image inside.',
      'unsupported_format',
    )
  }
  const { format } = found.facts
  if (format === 'raw') {
    const origin = compression === null ? null : { format, compression, sizeBytes }
    const facts = await deps.library.inspect(path)
    return { path, facts, origin, inspected: await lookInside(deps.inspector, path, facts, job) }
  }
  const converted = await convert(deps, stage, { path, ...found }, request, job)
  const inspected = await lookInside(deps.inspector, converted.path, converted.facts, job)
  return { ...converted, origin: { format, compression, sizeBytes }, inspected }
}

export async function identifyFile(path: string) {
  const handle = await open(path, REGULAR_READ)
  try {
    const facts = await handle.stat()
    if (!facts.isFile()) throw new EngineError('image_refused', 'This is not a regular file.')
    return { ...(await identify(await fileReader(handle))), sizeBytes: facts.size }
  } finally {
    await handle.close()
  }
}

/** A fresh qcow2 beside the source, inspected like anything else that comes in. */
async function convert(
  deps: AdmitDeps,
  stage: string,
  source: { readonly path: string; readonly facts: DiskFacts; readonly sizeBytes: number },
  request: AdmitRequest,
  job: JobContext,
): Promise<{ path: string; facts: Ready['facts'] }> {
  const { virtualSizeBytes, format } = source.facts
  const maxBytes = Math.min(
    virtualSizeBytes + overheadOf(virtualSizeBytes),
    growthLimit(source.sizeBytes),
    request.maxBytes ?? Number.POSITIVE_INFINITY,
  )
  // A directory of its own, because the sandbox may write to all of it.
  const out = join(stage, 'out')
  await mkdir(out, { mode: 0o700 })
  const target = join(out, 'disk.qcow2')
  await job.inQueue('convert', async () => {
    job.step(`Converting ${NAMES[format]} into a file of our own.`)
    job.progress(0, virtualSizeBytes)
    const guard = await growthGuard(deps.space, target, 'The converted image', job.signal)
    try {
      await deps.qemuImg.importDisk(source.path, format, target, {
        maxBytes,
        signal: guard.signal,
        onProgress: (part) => job.progress(Math.round(part * virtualSizeBytes), virtualSizeBytes),
      })
    } finally {
      guard.release()
    }
  })
  const facts = await deps.library.inspect(target)
  if (facts.format !== 'qcow2') throw new Error(`qemu-img made ${facts.format} of ${format}`)
  return { path: target, facts }
}

export const documentOf = (
  deps: AdmitDeps,
  id: string,
  request: AdmitRequest,
  ready: Ready,
): Omit<ImageDocument, 'sha256'> => ({
  v: 1,
  id,
  name: request.name,
  kind: ready.facts.kind,
  format: ready.facts.format,
  sizeBytes: ready.facts.sizeBytes,
  virtualSizeBytes: ready.facts.virtualSizeBytes,
  label: ready.facts.label,
  guest: ready.facts.guest,
  source: request.source,
  starter: request.starter ?? null,
  path: null,
  mtimeMs: ready.facts.mtimeMs,
  addedBy: request.owner,
  addedAt: (deps.now ?? (() => new Date()))().toISOString(),
  origin: ready.origin,
  description: '',
  downloadedFrom: request.downloadedFrom ?? null,
  catalogue: request.catalogue ?? null,
  appliance: null,
  inspected: ready.inspected,
})
