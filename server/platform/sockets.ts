/**
 * Unix stream sockets. The only door from the server to `node:net`; everything above it takes `Socket`.
 *
 * Paths longer than 107 bytes are cut off in silence by the kernel interface Node uses, so they are refused here.
 */
import { statSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'

export type { Socket }

/** `sun_path` of unix(7), less its terminating NUL. */
const PATH_MAX_BYTES = 107

/** Not there yet, not listening yet, or the listen queue is full for a moment: worth another try. */
const NOT_YET = new Set(['ENOENT', 'ECONNREFUSED', 'EAGAIN'])

function isNotListeningYet(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && NOT_YET.has(error.code)
}

/**
 * Opens a connection to a listening unix socket.
 * @throws the system error (`code` ENOENT, ECONNREFUSED, EACCES, …), the signal's reason, or RangeError for a long path
 */
export function connectUnix(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<Socket> {
  const { signal } = options
  const length = Buffer.byteLength(path)
  if (length > PATH_MAX_BYTES) {
    return Promise.reject(new RangeError(`The socket path ${path} is ${length} bytes long; at most ${PATH_MAX_BYTES}.`))
  }
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const socket = createConnection({ path })
    const settle = () => {
      socket.off('connect', onConnect)
      socket.off('error', onError)
      signal?.removeEventListener('abort', onAbort)
    }
    const onConnect = () => {
      settle()
      resolve(socket)
    }
    const onError = (error: Error) => {
      settle()
      socket.destroy()
      reject(error)
    }
    const onAbort = () => {
      settle()
      // An error that is still on its way must not surface as uncaught.
      socket.on('error', () => {})
      socket.destroy()
      reject(signal?.reason)
    }
    socket.once('connect', onConnect)
    socket.once('error', onError)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/**
 * Like `connectUnix`, but keeps trying while nobody listens there yet, until the signal aborts.
 *
 * Polls closely at first: this wait is on the path of every VM start, and QEMU binds its monitor some 20 ms after exec.
 * A `stat` costs microseconds, so a socket that does not exist yet is not worth a connection attempt.
 * @throws any other system error at once, or the signal's reason
 */
export async function connectUnixWhenListening(path: string, options: { signal: AbortSignal }): Promise<Socket> {
  const { signal } = options
  const started = performance.now()
  for (;;) {
    signal.throwIfAborted()
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) {
      try {
        return await connectUnix(path, { signal })
      } catch (error) {
        if (!isNotListeningYet(error)) throw error
      }
    }
    const waited = performance.now() - started
    await pause(waited < 300 ? 1 : waited < 2000 ? 3 : 20, signal)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
