/**
 * Makes a screenshot smaller: PNG in, PNG out, in a worker thread, so that a wall of thumbnails never delays an
 * answer. Takes what QEMU's screendump writes (8 bit, RGB or RGBA, not interlaced; QEMU ui/console.c via libpng).
 */
import { Worker } from 'node:worker_threads'
import { EngineError } from './errors.ts'

/** One request at a time reaches the worker; it answers in order. */
interface Waiting {
  readonly resolve: (png: Buffer) => void
  readonly reject: (error: Error) => void
}
export interface ScaleReply {
  readonly png?: Uint8Array
  readonly error?: string
}

const MAX_WAITING = 64
const waiting: Waiting[] = []
let worker: Worker | null = null

function startWorker(): Worker {
  const started = new Worker(new URL('./png-worker.ts', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: 256 },
  })
  const fail = (error: Error) => {
    if (worker === started) worker = null
    for (const one of waiting.splice(0)) one.reject(error)
  }
  started.on('message', (reply: ScaleReply) => {
    const one = waiting.shift()
    if (waiting.length === 0) started.unref()
    if (reply.png !== undefined) one?.resolve(Buffer.from(reply.png.buffer, reply.png.byteOffset, reply.png.byteLength))
    else one?.reject(new EngineError('internal', 'The screenshot could not be made smaller.', { cause: reply.error }))
  })
  started.on('error', fail)
  started.on('exit', () => fail(new Error('the thumbnail worker ended')))
  return started
}

/**
 * @param width of the result, pixels; a picture that is not wider comes back unchanged
 * @throws EngineError busy when too many wait, internal
 */
export async function scaleDownPng(png: Buffer, width: number): Promise<Buffer> {
  // IHDR is always first: width at byte 16. Asking the worker for nothing would cost a copy.
  if (png.length < 24 || png.readUInt32BE(16) <= width) return png
  if (waiting.length >= MAX_WAITING) throw new EngineError('busy', 'Too many screenshots are being made. Try again.')
  worker ??= startWorker()
  const running = worker
  return new Promise((resolve, reject) => {
    waiting.push({ resolve, reject })
    running.ref()
    running.postMessage({ png, width })
  })
}

/** Ends the worker; the next request starts another. */
export async function stopPngWorker(): Promise<void> {
  const running = worker
  worker = null
  await running?.terminate()
}
