/**
 * Checksums of a file that is already there, in a thread of its own: reading 1 MiB at a time without waiting is the
 * fastest way, and would stop everything else on the main thread.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import * as z from 'zod'
import type { Algorithm } from './checksums.ts'

const PIECE_BYTES = 2 ** 20
const REPORT_BYTES = 64 * PIECE_BYTES

const Task = z.object({ fileHash: z.object({ path: z.string(), algorithms: z.array(z.enum(['sha256', 'sha512'])) }) })
const Message = z.union([z.object({ done: z.number() }), z.object({ digests: z.record(z.string(), z.string()) })])

/** @returns lower-case hex by algorithm @throws the signal's reason; what reading throws */
export function hashFile(
  path: string,
  algorithms: readonly Algorithm[],
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void = () => {},
): Promise<Readonly<Partial<Record<Algorithm, string>>>> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const worker = new Worker(new URL(import.meta.url), { workerData: { fileHash: { path, algorithms } } })
    const end = (act: () => void) => {
      signal.removeEventListener('abort', abort)
      void worker.terminate()
      act()
    }
    const abort = () => end(() => reject(signal.reason))
    signal.addEventListener('abort', abort, { once: true })
    worker.on('message', (raw: unknown) => {
      const message = Message.parse(raw)
      if ('done' in message) onProgress(message.done)
      else end(() => resolve(message.digests))
    })
    worker.once('error', (error) => end(() => reject(error)))
    worker.once('exit', () => end(() => reject(new Error('the checksum thread ended'))))
  })
}

function work(path: string, algorithms: readonly Algorithm[]): void {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const hashes = algorithms.map((algorithm) => [algorithm, createHash(algorithm)] as const)
    const buffer = Buffer.allocUnsafe(PIECE_BYTES)
    let done = 0
    let told = 0
    for (;;) {
      const bytes = readSync(descriptor, buffer, 0, PIECE_BYTES, done)
      if (bytes === 0) break
      for (const [, hash] of hashes) hash.update(buffer.subarray(0, bytes))
      done += bytes
      if (done - told < REPORT_BYTES) continue
      told = done
      parentPort?.postMessage({ done })
    }
    parentPort?.postMessage({ digests: Object.fromEntries(hashes.map(([name, hash]) => [name, hash.digest('hex')])) })
  } finally {
    closeSync(descriptor)
  }
}

if (!isMainThread) {
  const task = Task.safeParse(workerData)
  if (task.success) work(task.data.fileHash.path, task.data.fileHash.algorithms)
}
