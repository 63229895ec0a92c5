/** Checksums in a thread of their own: of a file that is there, or of a stream as its bytes come. */
import { createHash } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import type { Algorithm, HashOrder, HashReply, HashTask } from './hash-worker.ts'

export type { Algorithm }
export type Digests = Readonly<Partial<Record<Algorithm, string>>>

/** Smaller streams are hashed where they are: a thread takes longer to start. */
const THREAD_BYTES = 4 * 2 ** 20
/** So much may wait for the thread. */
const WAITING_BYTES = 8 * 2 ** 20

const startWorker = (task: HashTask): Worker =>
  new Worker(new URL('./hash-worker.ts', import.meta.url), { workerData: task })

export interface HashedFile {
  /** Lower-case hex. */
  readonly digests: Digests
  readonly sizeBytes: number
}

/**
 * Of a plain file, never of what a link leads to.
 * @throws the signal's reason; what reading throws
 */
export function hashFile(
  path: string,
  algorithms: readonly Algorithm[],
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void = () => {},
): Promise<HashedFile> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const worker = startWorker({ path, algorithms })
    const end = (act: () => void) => {
      signal.removeEventListener('abort', abort)
      void worker.terminate()
      act()
    }
    const abort = () => end(() => reject(signal.reason))
    signal.addEventListener('abort', abort, { once: true })
    worker.on('message', (message: HashReply) => {
      if ('done' in message) onProgress(message.done)
      else end(() => resolve(message))
    })
    worker.once('error', (error) => end(() => reject(error)))
    worker.once('exit', () => end(() => reject(new Error('the checksum thread ended'))))
  })
}

/** SHA-256 of a file, in lower-case hex. @throws the signal's reason; what reading throws */
export async function sha256OfFile(
  path: string,
  signal: AbortSignal,
  onProgress?: (doneBytes: number) => void,
): Promise<string> {
  const { sha256 } = (await hashFile(path, ['sha256'], signal, onProgress)).digests
  if (sha256 === undefined) throw new Error('the checksum thread made no sha256')
  return sha256
}

/** To be ended, come what may. */
export class StreamHash {
  readonly #algorithms: readonly Algorithm[]
  /** What came before there was a thread. */
  #kept: Uint8Array[] = []
  #worker: Worker | null = null
  #sent = 0
  #done = 0
  #digests: Digests | null = null
  #fault: Error | null = null
  #wake: (() => void) | null = null

  constructor(algorithms: readonly Algorithm[]) {
    this.#algorithms = algorithms
  }

  /**
   * Takes the chunks over: afterwards they are empty, and their memory is nobody's here. Resolves when there is room
   * for more. One call at a time.
   */
  async update(chunks: readonly Uint8Array[]): Promise<void> {
    const own = chunks.map(alone)
    this.#sent += own.reduce((sum, { byteLength }) => sum + byteLength, 0)
    if (this.#worker === null && this.#sent <= THREAD_BYTES) {
      this.#kept.push(...own)
      return
    }
    this.#worker ??= this.#start()
    this.#post([...this.#kept, ...own])
    this.#kept = []
    while (this.#sent - this.#done > WAITING_BYTES) await this.#news()
  }

  /** Of all that came; nothing more may come. */
  async digests(): Promise<Digests> {
    if (this.#worker === null) {
      const hashes = this.#algorithms.map((algorithm) => [algorithm, createHash(algorithm)] as const)
      for (const chunk of this.#kept) for (const [, hash] of hashes) hash.update(chunk)
      this.#kept = []
      return Object.fromEntries(hashes.map(([name, hash]) => [name, hash.digest('hex')]))
    }
    this.#post(null)
    while (this.#digests === null) await this.#news()
    return this.#digests
  }

  /** Idempotent. */
  end(): void {
    this.#kept = []
    void this.#worker?.terminate()
  }

  #post(order: HashOrder): void {
    this.#worker?.postMessage(
      order,
      (order ?? []).map(({ buffer }) => buffer as ArrayBuffer), // never shared: `alone` saw to that
    )
  }

  #start(): Worker {
    const worker = startWorker({ path: null, algorithms: this.#algorithms })
    const tell = () => {
      this.#wake?.()
      this.#wake = null
    }
    const fail = (error: Error) => {
      this.#fault ??= error
      tell()
    }
    worker.on('message', (message: HashReply) => {
      if ('done' in message) this.#done = message.done
      else this.#digests = message.digests
      tell()
    })
    worker.once('error', fail)
    worker.once('exit', () => fail(new Error('the checksum thread ended')))
    return worker
  }

  async #news(): Promise<void> {
    if (this.#fault !== null) throw this.#fault
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    if (this.#fault !== null) throw this.#fault
  }
}

/** A chunk whose memory holds nothing else, so that it can be given away. */
function alone(chunk: Uint8Array): Uint8Array {
  const { buffer, byteLength } = chunk
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? chunk : Uint8Array.from(chunk)
}
