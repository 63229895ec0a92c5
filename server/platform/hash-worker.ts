/** The other side of `hash-thread.ts`. Imports nothing of ours: it starts with every checksum of a large file. */
import { createHash } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'

export type Algorithm = 'sha256' | 'sha512'

export interface HashTask {
  readonly algorithms: readonly Algorithm[]
  /** Null: the bytes are sent. */
  readonly path: string | null
}
/** Chunks to be hashed; null: there are no more. */
export type HashOrder = readonly Uint8Array[] | null
export type HashReply =
  | { readonly done: number }
  | { readonly digests: Readonly<Partial<Record<Algorithm, string>>>; readonly sizeBytes: number }

const PIECE_BYTES = 2 ** 20
const REPORT_BYTES = 64 * PIECE_BYTES

const task: HashTask = workerData
const hashes = task.algorithms.map((algorithm) => [algorithm, createHash(algorithm)] as const)
let done = 0

const reply = (message: HashReply): void => parentPort?.postMessage(message)
const finish = (): void =>
  reply({ digests: Object.fromEntries(hashes.map(([name, hash]) => [name, hash.digest('hex')])), sizeBytes: done })

/** 1 MiB at a time without waiting: the fastest way, and it would stop everything else on the main thread. */
function readAll(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error('not a plain file')
    const buffer = Buffer.allocUnsafe(PIECE_BYTES)
    let told = 0
    for (;;) {
      const bytes = readSync(descriptor, buffer, 0, PIECE_BYTES, done)
      if (bytes === 0) break
      for (const [, hash] of hashes) hash.update(buffer.subarray(0, bytes))
      done += bytes
      if (done - told < REPORT_BYTES) continue
      told = done
      reply({ done })
    }
  } finally {
    closeSync(descriptor)
  }
  finish()
}

if (task.path !== null) readAll(task.path)
else {
  parentPort?.on('message', (chunks: HashOrder) => {
    if (chunks === null) {
      finish()
      return
    }
    for (const chunk of chunks) {
      for (const [, hash] of hashes) hash.update(chunk)
      done += chunk.byteLength
      release(chunk)
    }
    reply({ done })
  })
}

/** Memory of a chunk that was hashed is given back at once; the collector would let it pile up. */
function release({ buffer }: Uint8Array): void {
  // Node 20 has no such method.
  if (buffer instanceof ArrayBuffer && 'transfer' in buffer) buffer.transfer(0)
}
