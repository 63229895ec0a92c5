/**
 * A refusal often comes before the request's body does. Closing the connection then makes the system answer what still
 * arrives with a reset, at which many clients give up without reading what they were told. So the rest is read and
 * thrown away for a while, and only our half of the connection is closed meanwhile (RFC 9112, 9.6).
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

/** Whoever sends longer than this after the answer loses the connection. */
const LINGER_MS = 10_000

/** To be called before the response begins. */
export function lingerAfter(request: IncomingMessage, response: ServerResponse, limitMs = LINGER_MS): void {
  const { socket } = request
  // Before Node's own listener, which ends the connection after the last answer.
  response.prependOnceListener('finish', () => {
    if (request.complete || socket.destroyed) return
    const close = socket.destroySoon.bind(socket)
    let isLast = false
    socket.destroySoon = () => {
      isLast = true
      socket.end()
    }
    const timer = setTimeout(() => socket.destroy(), limitMs)
    timer.unref()
    const settle = () => {
      clearTimeout(timer)
      socket.destroySoon = close
      if (isLast) close()
    }
    request.once('end', settle)
    socket.once('close', () => clearTimeout(timer))
    request.resume()
  })
}
