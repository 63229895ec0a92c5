/**
 * The door: every file that is to become ours comes through here, whichever way it came in (upload, download, import,
 * starter). Our own parser decides what it is; a compressed file is unpacked within limits; a disk in any format but
 * raw is copied into a fresh qcow2 by qemu-img in its sandbox; what came out is looked at again; then it is adopted.
 *
 *   temporary file → identify → [unpack → identify] → [convert → inspect] → adopt → image
 *
 * An OVA becomes several: each of its disks goes that way, and they are adopted together with a draft of the VM.
 *
 * Everything happens in one stage directory below the uploads, named by the new image's id: a crash leaves either no
 * image and a stage that the sweep at start removes, or the image.
 */
import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { sha256OfFile } from '#server/platform/hash-thread.ts'
import { admitAppliance } from './appliance.ts'
import { type AdmitDeps, type AdmitRequest, documentOf, identifyFile, prepareImage } from './prepare.ts'

/**
 * @param temporary a finished file below `uploads/` (same file system as the library), which nobody writes to any
 *   more; it is taken over, and has gone when this returns or throws
 * @returns the new image's id; of an OVA, that of its first disk, whose document names the appliance
 * @throws EngineError image_refused, image_has_backing, unsupported_format, import_refused, dtd_forbidden,
 *   checksum_mismatch, no_space, too_large;
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
    const sha256 = request.sha256 ?? (await sha256OfFile(source, job.signal, job.progress))
    checkExpected(sha256, request.expectedSha256 ?? null)
    if ((await identifyFile(source)).is === 'tar') {
      return await admitAppliance(deps, source, id, request, job)
    }
    const ready = await prepareImage(deps, stage, source, request, job)
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
