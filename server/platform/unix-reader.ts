/**
 * Unix stream connection whose bytes land in buffers the caller supplies, without a copy and without Node's
 * own allocation per read. For the console proxies, where one screen moves gigabytes.
 */
import { createConnection, type Socket } from 'node:net'

export interface UnixReader {
  /** The buffer for the next read; asked for again after every read. */
  readonly buffer: () => Uint8Array
  /**
   * `length` bytes are in the buffer given last. Answering false stops reading until `socket.resume()`; what the
   * kernel holds meanwhile stays there, so nothing is lost.
   */
  readonly read: (length: number) => boolean
}

/** Connects at once, without waiting; errors and the end come as the socket's `error` and `close` events. */
export function connectUnixReader(path: string, reader: UnixReader): Socket {
  return createConnection({ path, onread: { buffer: reader.buffer, callback: reader.read } })
}
