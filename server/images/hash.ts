/** Checksums of files that lie on disk. */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { JobContext } from '#server/jobs/registry.ts'
import { REGULAR_READ } from './library.ts'

/** SHA-256 in 1 MiB reads. @throws the signal's reason */
export async function hashFile(path: string, job: JobContext): Promise<string> {
  const handle = await open(path, REGULAR_READ)
  try {
    const hash = createHash('sha256')
    const buffer = Buffer.allocUnsafe(2 ** 20)
    let done = 0
    for (;;) {
      job.signal.throwIfAborted()
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, done)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(buffer.subarray(0, bytesRead))
      done += bytesRead
      job.progress(done)
    }
  } finally {
    await handle.close()
  }
}
