/**
 * Reading file systems that somebody else wrote, without the kernel and without ever writing. Every count, offset and
 * link in them may be a lie: readers bound what they read, follow nothing but numbers they have checked, and give up
 * with a sentence.
 */

/** Random access to a disk or a part of one. */
export interface Bytes {
  readonly sizeBytes: number
  /** Exactly `length` bytes, or fewer at the end. Callers pass a bounded length, never a number from the disk. */
  read(offset: number, length: number): Promise<Buffer>
}

/** What is there cannot be read: damaged, made to harm, or beyond what this reader knows. The message is for people. */
export class Unreadable extends Error {}

export function unreadable(message: string): never {
  throw new Unreadable(message)
}

export type NodeType = 'file' | 'directory' | 'symlink' | 'other'

/** One file, directory or link. */
export interface FsNode {
  readonly type: NodeType
  /** Of a file; 0 for the rest. */
  readonly sizeBytes: number
  /** Milliseconds since 1970; null where it is not kept. */
  readonly modifiedMs: number | null
  /** Permission bits; null where there are none. */
  readonly mode: number | null
  /** Of a directory, without `.` and `..`, in the order of the disk. @throws Unreadable */
  list(): Promise<Listing>
  /** Of a directory, where one can be asked for without the others; null: there is none of that name. @throws Unreadable */
  entry?(name: Buffer): Promise<FsEntry | null>
  /** Of a file: bytes from `offset`, fewer at its end. @throws Unreadable */
  read(offset: number, length: number): Promise<Buffer>
  /** Of a link: where it points, as it is written there; nobody follows it. @throws Unreadable */
  target(): Promise<Buffer>
}

export interface FsEntry {
  /** As on the disk: any bytes but a slash. */
  readonly name: Buffer
  /** @throws Unreadable */
  open(): Promise<FsNode>
}

export interface Listing {
  readonly entries: readonly FsEntry[]
  /** There were more than are read (`MAX_ENTRIES`). */
  readonly isCut: boolean
}

export type FsKind = 'ext2' | 'ext3' | 'ext4' | 'fat' | 'iso9660'

export interface FileSystem {
  readonly kind: FsKind
  /** As it is written there. */
  readonly label: string | null
  readonly root: FsNode
}

/** Of one directory. */
export const MAX_ENTRIES = 20_000
/** A path of more steps is not walked. */
export const MAX_DEPTH = 128

/** A part of a disk. */
export function part(bytes: Bytes, offset: number, sizeBytes: number): Bytes {
  const end = Math.min(bytes.sizeBytes, offset + sizeBytes)
  return {
    sizeBytes: Math.max(0, end - offset),
    async read(at, length) {
      if (at < 0 || offset + at >= end) return Buffer.alloc(0)
      return bytes.read(offset + at, Math.min(length, end - offset - at))
    },
  }
}

export interface Budget {
  readonly maxBytes: number
  readonly maxReads: number
}

export interface Budgeted extends Bytes {
  /** Begins a new question with the whole budget. */
  begin(signal: AbortSignal): void
}

/** So often others get their turn, however little a disk keeps us waiting. */
const READS_IN_A_ROW = 128

/**
 * Ends a reading that would take too much, whatever the disk says. To be put around what is cached, because a disk made
 * for it could be read for hours from a few blocks.
 * @throws Unreadable; the signal's reason
 */
export function within(bytes: Bytes, { maxBytes, maxReads }: Budget, first: AbortSignal): Budgeted {
  let signal = first
  let read = 0
  let reads = 0
  return {
    sizeBytes: bytes.sizeBytes,
    begin(next) {
      signal = next
      read = 0
      reads = 0
    },
    async read(offset, length) {
      signal.throwIfAborted()
      read += length
      reads += 1
      if (read > maxBytes || reads > maxReads)
        unreadable('Finding out what is there would take more reading than is allowed.')
      if (reads % READS_IN_A_ROW === 0) await new Promise((resolve) => setImmediate(resolve))
      return bytes.read(offset, length)
    },
  }
}

const BLOCK_BYTES = 64 * 1024

/** Keeps what was read last, in blocks: file systems read the same tables again and again. */
export function cached(bytes: Bytes, blocks = 64): Bytes {
  const kept = new Map<number, Promise<Buffer>>()
  const blockAt = (index: number): Promise<Buffer> => {
    let block = kept.get(index)
    if (block === undefined) {
      block = bytes.read(index * BLOCK_BYTES, BLOCK_BYTES)
      // A failed read is not remembered.
      block.catch(() => kept.delete(index))
    }
    kept.delete(index)
    kept.set(index, block)
    const [oldest] = kept.keys()
    if (kept.size > blocks && oldest !== undefined) kept.delete(oldest)
    return block
  }
  return {
    sizeBytes: bytes.sizeBytes,
    async read(offset, length) {
      if (offset < 0 || offset >= bytes.sizeBytes || length <= 0) return Buffer.alloc(0)
      // Long runs of a file's content would only push the tables out.
      if (length > 2 * BLOCK_BYTES) return bytes.read(offset, length)
      const end = Math.min(offset + length, bytes.sizeBytes)
      const pieces: Buffer[] = []
      for (let at = offset; at < end; ) {
        const index = Math.floor(at / BLOCK_BYTES)
        const block = await blockAt(index)
        const from = at - index * BLOCK_BYTES
        const piece = block.subarray(from, Math.min(block.length, from + end - at))
        if (piece.length === 0) break
        pieces.push(piece)
        at += piece.length
      }
      return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces)
    },
  }
}

/** @throws Unreadable when the disk ends before that many bytes */
export async function readAll(bytes: Bytes, offset: number, length: number): Promise<Buffer> {
  const buffer = await bytes.read(offset, length)
  if (buffer.length < length)
    unreadable('The file system reaches beyond the end of the disk: it is cut off or damaged.')
  return buffer
}

/** A number of 64 bits, where only those that fit are believed. @throws Unreadable */
export function safeNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) unreadable('The file system holds an impossible number.')
  return Number(value)
}

/** What directories and links have no use for. */
export const notA = (what: NodeType) => async (): Promise<never> => unreadable(`This is no ${what}.`)
