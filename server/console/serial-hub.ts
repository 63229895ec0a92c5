/**
 * The one reader of a guest's serial socket. QEMU serves a single client per chardev socket and a client that does not
 * read stops the guest's console, so this one never stops reading: what nobody takes is kept in bounded history and
 * then forgotten.
 *
 *   connecting ──▶ open ──▶ closed        (closed also from connecting, when nobody listens in time)
 */
import type { Socket } from 'node:net'
import { connectUnixReader } from '#server/platform/unix-reader.ts'
import { createSerialHistory } from './serial-history.ts'
import type { SerialHubHandle } from './types.ts'

/** Input that QEMU has not taken yet; more is refused by `write`. A UART takes about 11 KiB a second. */
export const INPUT_MAX_BYTES = 64 << 10
const CONNECT_DEADLINE_MS = 10_000
/** Closely at first: whatever a guest says while nobody is connected is lost. */
const RETRY_FIRST_MS = 2
const RETRY_MAX_MS = 50
const NOT_YET = new Set(['ENOENT', 'ECONNREFUSED', 'EAGAIN'])

// One for all hubs: Node calls back for each read before it starts the next, so nobody else writes into it meanwhile.
const readBuffer = Buffer.allocUnsafeSlow(64 << 10)

export interface SerialHubOptions {
  /** Called once when the hub has ended, with the error when there was one. Not called for `close()`. */
  readonly onClose?: (error: Error | null) => void
  readonly connectDeadlineMs?: number
}

export interface SerialHub extends SerialHubHandle {
  /** Resolves once connected (start the guest after this to miss nothing), or false when that will never be. */
  readonly ready: Promise<boolean>
}

/** Connects at once and keeps trying while nobody listens at `socketPath` yet. Never throws. */
export function createSerialHub(socketPath: string, options: SerialHubOptions = {}): SerialHub {
  const history = createSerialHistory()
  const listeners = new Set<(chunk: Uint8Array) => void>()
  const closeListeners = new Set<() => void>()
  const deadlineMs = performance.now() + (options.connectDeadlineMs ?? CONNECT_DEADLINE_MS)
  const ready = Promise.withResolvers<boolean>()
  let state: 'connecting' | 'open' | 'closed' = 'connecting'
  let socket: Socket | null = null
  let retryTimer: NodeJS.Timeout | undefined
  let retryMs = RETRY_FIRST_MS

  const deliver = (bytes: Uint8Array) => {
    history.append(bytes)
    if (listeners.size === 0) return
    const chunk = Uint8Array.from(bytes)
    for (const listener of [...listeners]) listener(chunk)
  }

  const end = (error: Error | null, byOwner: boolean) => {
    if (state === 'closed') return
    state = 'closed'
    clearTimeout(retryTimer)
    socket?.destroy()
    ready.resolve(false)
    listeners.clear()
    for (const listener of [...closeListeners]) listener()
    closeListeners.clear()
    if (!byOwner) options.onClose?.(error)
  }

  const connect = () => {
    let failure: NodeJS.ErrnoException | null = null
    const opened = connectUnixReader(socketPath, {
      buffer: () => readBuffer,
      read: (length) => {
        deliver(readBuffer.subarray(0, length))
        return true
      },
    })
    socket = opened
    opened.on('connect', () => {
      if (state !== 'connecting') return
      state = 'open'
      ready.resolve(true)
    })
    opened.on('error', (error) => {
      failure = error
    })
    opened.on('close', () => {
      const mayRetry = state === 'connecting' && NOT_YET.has(failure?.code ?? '') && performance.now() < deadlineMs
      if (!mayRetry) {
        end(failure, false)
        return
      }
      retryTimer = setTimeout(connect, retryMs)
      retryMs = Math.min(RETRY_MAX_MS, retryMs * 2)
    })
  }
  connect()

  return {
    ready: ready.promise,
    history: () => history.read(),
    subscribe(listener) {
      if (state === 'closed') return () => {}
      // Its own function object, so that the same listener may subscribe twice.
      const entry = (chunk: Uint8Array) => listener(chunk)
      listeners.add(entry)
      return () => {
        listeners.delete(entry)
      }
    },
    write(bytes) {
      if (state !== 'open' || socket === null) return false
      if (socket.writableLength > 0 && socket.writableLength + bytes.length > INPUT_MAX_BYTES) return false
      socket.write(bytes)
      return true
    },
    onClose(listener) {
      if (state === 'closed') {
        listener()
        return () => {}
      }
      closeListeners.add(listener)
      return () => {
        closeListeners.delete(listener)
      }
    },
    get viewers() {
      return listeners.size
    },
    close() {
      end(null, true)
    },
  }
}
