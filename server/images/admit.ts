/**
 * The door: every file that is to become ours comes through here, whichever way it came in (upload, download, import,
 * starter). Our own parser decides what it is; a compressed file is unpacked within limits; a disk in any format but
 * raw is copied into a fresh qcow2 by qemu-img in its sandbox; what came out is looked at again; then it is adopted.
 *
 *   temporary file → identify → [unpack → identify] → [convert → inspect] → adopt → image
 *
 * Everything happens in one stage directory below the uploads, named by the new image's id: a crash leaves either no
 * image and a stage that the sweep at start removes, or the image.
 */
import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageOrigin, Starter } from '#lib/schema/image.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import type { DataPaths } from '#server/paths.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { ToolSandbox } from '#server/storage/sandbox.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { ImageDocument } from './documents.ts'
import { growthGuard } from './growth.ts'
import { hashFile } from './hash.ts'
import { type DiskFacts, identify, NAMES } from './inspect.ts'
import { type ImageLibrary, REGULAR_READ } from './library.ts'
import { fileReader, refuseImage } from './reader.ts'

export interface AdmitDeps {
  readonly data: DataPaths
  readonly library: ImageLibrary
  readonly space: SpaceLedger
  readonly qemuImg: QemuImg
  readonly sandbox: ToolSandbox
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
const GiB = 2 ** 30
/** A file may always unpack to so much … */
const GROWTH_FREE_BYTES = GiB
/** … and beyond that to so many times its size. */
const GROWTH_RATIO = 100
/** What qcow2 adds to the content, for any size. */
const overheadOf = (virtualBytes: number) => 64 * MiB + Math.ceil(virtualBytes / 512)

/** The most that may come out of a file of this size: what a bomb is measured by. */
export const growthLimit = (bytes: number): number => Math.max(GROWTH_FREE_BYTES, bytes * GROWTH_RATIO)

/**
 * @param temporary a finished file below `uploads/` (same file system as the library), which nobody writes to any
 *   more; it is taken over, and has gone when this returns or throws
 * @returns the new image's id
 * @throws EngineError image_refused, image_has_backing, unsupported_format, checksum_mismatch, no_space, too_large;
 *   the job's reason when it was cancelled
 */
export async function admitFile(
  deps: AdmitDeps,
  temporary: string,
  request: AdmitRequest,
  job: JobContext,
): Promise<string> {
  const { data } = deps
  const id = request.id ?? randomUUIDv7()
  // The id on disk never comes from outside; a random suffix keeps even a planted name from matching.
  const stage = data.upload(`${id}-${randomUUID().slice(0, 8)}`)
  try {
    await mkdir(stage, { mode: 0o700 })
    const source = join(stage, 'source')
    await rename(temporary, source)
    const sha256 = request.sha256 ?? (await hashFile(source, job))
    checkExpected(sha256, request.expectedSha256 ?? null)
    const ready = await prepare(deps, stage, source, request, job)
    job.signal.throwIfAborted()
    await deps.library.adopt(ready.path, { ...documentOf(deps, id, request, ready), sha256 })
    return id
  } finally {
    await rm(temporary, { force: true })
    await rm(stage, { recursive: true, force: true })
  }
}

function checkExpected(received: string, expected: string | null): void {
  if (expected === null || received === expected) return
  throw new EngineError(
    'checksum_mismatch',
    'The file that arrived does not have the expected SHA-256, so it was not kept. Download it again from its source.',
    { field: 'sha256', details: { expected, received } },
  )
}

interface Ready {
  readonly path: string
  readonly facts: Awaited<ReturnType<ImageLibrary['inspect']>>
  readonly origin: ImageOrigin | null
}

/** Makes of what was brought a file that may lie in the library. */
async function prepare(
  deps: AdmitDeps,
  stage: string,
  source: string,
  request: AdmitRequest,
  job: JobContext,
): Promise<Ready> {
  const found = await identifyFile(source)
  if (found.is !== 'image') {
    return refuseImage('Compressed files and archives are not taken yet. Unpack it and upload the image inside.')
  }
  if (found.facts.format === 'raw') {
    return { path: source, facts: await deps.library.inspect(source), origin: null }
  }
  const origin = { format: found.facts.format, compression: null, sizeBytes: found.sizeBytes }
  return { ...(await convert(deps, stage, { path: source, ...found }, request, job)), origin }
}

async function identifyFile(path: string) {
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

const documentOf = (
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
})
