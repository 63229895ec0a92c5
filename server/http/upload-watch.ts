/**
 * Uploads may take hours, so the server's request timeout does not apply to them. Instead they must make progress:
 * at least 1 KiB a second over a minute. Whoever is slower (or silent) loses the connection.
 */
import type { IncomingMessage } from 'node:http'

const WINDOW_MS = 60_000
const MIN_BYTES_PER_WINDOW = 60 * 1024

/** Returns the function that ends the watch. */
export function watchUpload(
  request: IncomingMessage,
  windowMs = WINDOW_MS,
  minBytes = MIN_BYTES_PER_WINDOW,
): () => void {
  const { socket } = request
  let before = socket.bytesRead
  const timer = setInterval(() => {
    if (request.complete) return
    const now = socket.bytesRead
    // A full buffer means that our disk is slower than the client.
    const waitsForUs = request.readableLength >= request.readableHighWaterMark
    if (now - before < minBytes && !waitsForUs) socket.destroy()
    before = now
  }, windowMs)
  timer.unref()
  return () => clearInterval(timer)
}
