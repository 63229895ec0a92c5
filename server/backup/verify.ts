/** Whether a backup could be restored: every file it needs is there, is what it was, and is sound. */
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { filesOf, type StoredBackup } from './catalog.ts'
import { hashFile } from './files.ts'
import { diskFilesOf } from './read.ts'

export interface VerifyDeps {
  /** @returns what is wrong with a qcow2 file, as part of a sentence; null: nothing */
  check(path: string, signal: AbortSignal): Promise<string | null>
}

/**
 * @param chain from the backup down to its full one
 * @returns null when all is well, else the first thing that is wrong, as a sentence
 * @throws the signal's reason
 */
export async function verifyFiles(
  deps: VerifyDeps,
  chain: readonly StoredBackup[],
  context: Pick<JobContext, 'signal' | 'progress' | 'step'>,
): Promise<string | null> {
  const totalBytes = chain.reduce(
    (sum, { manifest }) => sum + filesOf(manifest).reduce((s, f) => s + f.sizeBytes, 0),
    0,
  )
  let doneBytes = 0
  try {
    await diskFilesOf(chain)
  } catch (error) {
    if (error instanceof EngineError) return error.message
    throw error
  }
  for (const { dir, manifest } of chain) {
    context.step(`Comparing checksums of ${manifest.createdAt.slice(0, 16).replace('T', ' ')}`)
    for (const { file, sha256 } of filesOf(manifest)) {
      const found = await hashFile(join(dir, file), context.signal, (bytes) => {
        doneBytes += bytes
        context.progress(doneBytes, totalBytes)
      }).catch((error: unknown) => {
        context.signal.throwIfAborted()
        return error instanceof EngineError ? error.message : `The file ${file} cannot be read.`
      })
      if (typeof found === 'string') return found
      if (found.sha256 !== sha256)
        return `The file ${file} of ${manifest.createdAt} is no longer what was written: its checksum differs.`
    }
    for (const { file } of manifest.disks) {
      const wrong = await deps.check(join(dir, file), context.signal)
      if (wrong !== null) return `The file ${file} of ${manifest.createdAt} is damaged: ${wrong}.`
    }
  }
  return null
}
