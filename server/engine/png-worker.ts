/** Thread body of `png.ts`. */
import { parentPort } from 'node:worker_threads'
import type { ScaleReply } from './png.ts'
import { scalePng } from './png-scale.ts'

parentPort?.on('message', ({ png, width }: { png: Uint8Array; width: number }) => {
  let reply: ScaleReply
  try {
    reply = { png: scalePng(Buffer.from(png.buffer, png.byteOffset, png.byteLength), width) }
  } catch (error) {
    reply = { error: error instanceof Error ? error.message : String(error) }
  }
  parentPort?.postMessage(reply)
})
