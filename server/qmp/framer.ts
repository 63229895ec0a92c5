/**
 * Bytes to JSON messages and back. One framer lives as long as its socket and owns the only buffer:
 * a second decoder for the handshake would lose what the first had already read.
 *
 * QEMU ends every message with a newline and escapes newlines in strings (qobject/json-writer.c), so a line is a message.
 * Integers QEMU sends as 64 bits (balloon statistics use 2^64-1 for "unknown") arrive as bigint when a double cannot hold them.
 */
import { QmpFramingError } from './errors.ts'
import type { QmpJson } from './types.ts'

/** `query-qmp-schema` of QEMU 11 is about 300 kB; anything near this limit is not QMP. */
const LINE_LIMIT_BYTES = 8 * 1024 * 1024

/** The part of JSON (ECMAScript "JSON.parse source text access") that TypeScript's library does not know yet. */
interface SourceTextJson {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): QmpJson
  rawJSON(text: string): unknown
}
// Node 24 has both; the cast only adds what the type lacks.
const SourceText = JSON as unknown as SourceTextJson

const NEWLINE = 0x0a
/** 2^53 has 16 digits; shorter runs of digits are always exact as a double. */
const MAYBE_BIG = /\d{16}/
const INTEGER = /^-?\d+$/

export class LineFramer {
  readonly #limitBytes: number
  #parts: Buffer[] = []
  #pendingBytes = 0

  constructor(limitBytes: number = LINE_LIMIT_BYTES) {
    this.#limitBytes = limitBytes
  }

  /** Bytes of an unfinished line held now. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /**
   * Takes the next bytes of the stream and returns the lines they complete, in order, without their line ends.
   * Blank lines are skipped. The chunk may be kept until its line is complete.
   * @throws QmpFramingError when a line passes the limit; the framer must not be used afterwards
   */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      const length = (end === -1 ? chunk.length : end) - start
      if (this.#pendingBytes + length > this.#limitBytes) {
        throw new QmpFramingError(`QEMU sent a line longer than ${this.#limitBytes} bytes`)
      }
      if (end === -1) break
      const line = this.#take(chunk, start, end)
      if (line !== '') lines.push(line)
      start = end + 1
    }
    if (start < chunk.length) {
      this.#parts.push(start === 0 ? chunk : chunk.subarray(start))
      this.#pendingBytes += chunk.length - start
    }
    return lines
  }

  #take(chunk: Buffer, start: number, end: number): string {
    if (this.#pendingBytes === 0) return chunk.toString('utf8', start, end).trim()
    this.#parts.push(chunk.subarray(start, end))
    const line = Buffer.concat(this.#parts).toString('utf8').trim()
    this.#parts = []
    this.#pendingBytes = 0
    return line
  }
}

/**
 * Parses one message; integers beyond ±2^53 become bigint, unchanged.
 * @throws QmpFramingError when the text is not JSON
 */
export function parseMessage(text: string): QmpJson {
  try {
    // The reviver makes parsing several times slower, so only texts that can contain such an integer pay for it.
    return MAYBE_BIG.test(text) ? SourceText.parse(text, reviveBigInteger) : JSON.parse(text)
  } catch (error) {
    throw new QmpFramingError(`QEMU sent a line that is not JSON: ${JSON.stringify(text.slice(0, 200))}`, {
      cause: error,
    })
  }
}

function reviveBigInteger(_key: string, value: unknown, context: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const { source } = context
  return source !== undefined && INTEGER.test(source) ? BigInt(source) : value
}

/** Serialises one message with its line end; bigint goes out as a plain integer, `undefined` members are left out. */
export function formatMessage(message: { [key: string]: unknown }): string {
  return `${JSON.stringify(message, emitBigInteger)}\n`
}

function emitBigInteger(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? SourceText.rawJSON(value.toString()) : value
}
