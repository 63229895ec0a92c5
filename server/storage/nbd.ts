/**
 * The reading half of an NBD client. Source: the NBD protocol (github.com/NetworkBlockDevice/nbd, doc/proto.md): fixed
 * newstyle negotiation, simple replies. The other end is a program that reads somebody else's file: whatever it
 * answers is bounded by what was asked.
 */
import { createConnection, type Socket } from 'node:net'
import { EngineError } from '#server/engine/errors.ts'

const NBD_MAGIC = 0x4e42444d41474943n
const OPTION_MAGIC = 0x49484156454f5054n
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n
const REQUEST_MAGIC = 0x25609513
const REPLY_MAGIC = 0x67446698
const FIXED_NEWSTYLE = 1
const NO_ZEROES = 2
const OPT_GO = 7
const REP_ACK = 1
const REP_INFO = 3
const INFO_EXPORT = 0
/** Of one answer during negotiation. */
const MAX_OPTION_BYTES = 4096
const MAX_OPTION_REPLIES = 16
/** Servers take at least this much in one request. */
const MAX_READ_BYTES = 32 * 2 ** 20
/** A stuck disk below must not hold a request for ever. */
const ANSWER_MS = 30_000

export interface NbdClient {
  readonly sizeBytes: number
  /** @throws EngineError pool_unavailable when the disk does not answer, internal when it cannot be read there */
  read(offset: number, length: number): Promise<Buffer>
  close(): void
}

const lost = (cause?: unknown) =>
  new EngineError('pool_unavailable', 'The disk does not answer. Look at its storage pool, then try again.', { cause })

/** Hands out what arrives in pieces of the size asked for, one request at a time. */
class Intake {
  readonly #socket: Socket
  #pieces: Buffer[] = []
  #have = 0
  #wanted: { bytes: number; resolve: (piece: Buffer) => void; reject: (error: unknown) => void } | null = null
  #failure: EngineError | null = null

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (piece: Buffer) => {
      this.#pieces.push(piece)
      this.#have += piece.length
      this.#serve()
      // Nobody asked for it: the sender is held back.
      if (this.#wanted === null && this.#have > 2 ** 20) socket.pause()
    })
    socket.once('error', (error) => this.fail(error))
    socket.once('close', () => this.fail())
  }

  take(bytes: number): Promise<Buffer> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#wanted = { bytes, resolve, reject }
      this.#socket.resume()
      this.#serve()
    })
  }

  fail(cause?: unknown): void {
    this.#failure ??= lost(cause)
    this.#wanted?.reject(this.#failure)
    this.#wanted = null
  }

  #serve(): void {
    const wanted = this.#wanted
    if (wanted === null || this.#have < wanted.bytes) return
    this.#wanted = null
    const all = this.#pieces.length === 1 && this.#pieces[0] ? this.#pieces[0] : Buffer.concat(this.#pieces)
    const rest = all.subarray(wanted.bytes)
    this.#pieces = rest.length > 0 ? [rest] : []
    this.#have = rest.length
    wanted.resolve(all.subarray(0, wanted.bytes))
  }
}

/** @throws EngineError pool_unavailable; the socket's error when nobody listens */
export async function connectNbd(path: string): Promise<NbdClient> {
  const socket = createConnection(path)
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    const intake = new Intake(socket)
    const timer = setTimeout(() => socket.destroy(), ANSWER_MS)
    const sizeBytes = await negotiate(socket, intake).finally(() => clearTimeout(timer))
    return clientOf(socket, intake, sizeBytes)
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** @returns size of the default export */
async function negotiate(socket: Socket, intake: Intake): Promise<number> {
  const hello = await intake.take(18)
  const flags = hello.readUInt16BE(16)
  if (hello.readBigUInt64BE(0) !== NBD_MAGIC || hello.readBigUInt64BE(8) !== OPTION_MAGIC) throw lost()
  if ((flags & FIXED_NEWSTYLE) === 0) throw lost()
  const go = Buffer.alloc(4 + 16 + 6)
  go.writeUInt32BE(FIXED_NEWSTYLE | (flags & NO_ZEROES), 0)
  go.writeBigUInt64BE(OPTION_MAGIC, 4)
  go.writeUInt32BE(OPT_GO, 12)
  go.writeUInt32BE(6, 16)
  // No name, and no further information asked for.
  socket.write(go)
  let sizeBytes: number | null = null
  for (let replies = 0; replies < MAX_OPTION_REPLIES; replies++) {
    const head = await intake.take(20)
    const type = head.readUInt32BE(12)
    const length = head.readUInt32BE(16)
    if (head.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || length > MAX_OPTION_BYTES) throw lost()
    const body = await intake.take(length)
    if (type === REP_INFO && length >= 12 && body.readUInt16BE(0) === INFO_EXPORT) {
      const size = body.readBigUInt64BE(2)
      if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw lost()
      sizeBytes = Number(size)
    }
    if (type === REP_ACK && sizeBytes !== null) return sizeBytes
    if (type !== REP_INFO) throw lost()
  }
  throw lost()
}

function clientOf(socket: Socket, intake: Intake, sizeBytes: number): NbdClient {
  let handle = 0n
  let last: Promise<unknown> = Promise.resolve()
  const readOnce = async (offset: number, length: number): Promise<Buffer> => {
    const timer = setTimeout(() => socket.destroy(), ANSWER_MS)
    try {
      handle += 1n
      const request = Buffer.alloc(28)
      request.writeUInt32BE(REQUEST_MAGIC, 0)
      request.writeBigUInt64BE(handle, 8)
      request.writeBigUInt64BE(BigInt(offset), 16)
      request.writeUInt32BE(length, 24)
      socket.write(request)
      const head = await intake.take(16)
      if (head.readUInt32BE(0) !== REPLY_MAGIC || head.readBigUInt64BE(8) !== handle) {
        socket.destroy()
        throw lost()
      }
      const fault = head.readUInt32BE(4)
      if (fault !== 0) throw new EngineError('unreadable', 'A part of this disk cannot be read: its file is damaged.')
      return await intake.take(length)
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    sizeBytes,
    async read(offset, length) {
      if (!Number.isSafeInteger(offset) || offset < 0 || offset >= sizeBytes || length <= 0) return Buffer.alloc(0)
      const want = Math.min(length, sizeBytes - offset)
      if (want > MAX_READ_BYTES) throw new Error('one read is at most 32 MiB')
      // One at a time: answers then come in the order of the questions, and memory stays at one of them.
      const next = last.then(() => readOnce(offset, want))
      last = next.catch(() => {})
      return next
    },
    close: () => void socket.destroy(),
  }
}
