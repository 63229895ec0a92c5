/**
 * Opens a disk in libguestfs's small system, for file systems that have no reader of ours. `files.pl` runs in the tool
 * sandbox as the owner of the disk's files, without a network; it sees no file, only the blocks that `qemu-nbd` lends
 * read-only, and answers over a socket. One question at a time, each with a deadline; whoever answers nonsense is ended.
 */
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { Unreadable } from '#server/filesystems/types.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir } from '#server/launcher/shapes.ts'
import { within } from '#server/platform/clock.ts'
import { inSmallSystem } from '#server/small-system/run.ts'
import type { ToolSandbox, ToolUser } from '#server/storage/sandbox.ts'
import { decodeFacts, encodeFrame, FACTS, type Facts, FrameReader } from './frames.ts'

export interface ReaderPlace {
  readonly sandbox: ToolSandbox
  /** A directory that guests' users may pass through; each reader has one of its own in it. */
  readonly parent: string
}

export interface ReaderInput {
  readonly perl: string
  /** Directory of the small system. */
  readonly appliance: string
  /** Where the disk's blocks are read, over NBD. */
  readonly disk: string
  readonly user: ToolUser | null
  readonly kind: 'kvm' | 'tcg'
}

export interface FoundVolume {
  readonly device: string
  /** As the small system calls the file system in it; empty: none that it knows. */
  readonly type: string
  readonly label: string
  readonly sizeBytes: number
}

export interface FoundEntry {
  readonly name: Buffer
  /** Null: nothing is known of it. */
  readonly facts: Facts | null
}

/** Paths begin with a slash; links on the way would be followed within the disk, so callers look at each step first. */
export interface FilesReader extends AsyncDisposable {
  /** It answers no more. */
  readonly isOver: () => boolean
  /** Logical volumes that are whole. */
  volumes(): Promise<FoundVolume[]>
  stat(device: string, path: Buffer): Promise<Facts>
  list(device: string, path: Buffer): Promise<{ readonly entries: readonly FoundEntry[]; readonly isCut: boolean }>
  read(device: string, path: Buffer, offset: number, length: number): Promise<Buffer>
  link(device: string, path: Buffer): Promise<Buffer>
  close(): Promise<void>
}

const SCRIPT = readFileSync(join(import.meta.dirname, 'files.pl'), 'utf8')
const MEMORY_MIB = 512
/** Under emulation on a busy host; with KVM it takes two seconds. */
const START_MS = 3 * 60_000
/** A directory of many entries, or a file system that is played back first. */
const ANSWER_MS = 60_000
/** Whatever happens, none lives longer. */
const LIFE_MS = 3_600_000
/** The kernel's own limit for a path, less what the small system puts before it. */
const MAX_PATH_BYTES = 4000
const MAX_VOLUMES = 100
/** For a program that hung up to be gone, with its last words. */
const END_MS = 2_000

/** There is nothing of that name. */
export class Absent extends Unreadable {}
/** What the system calls that. */
const ENOENT = '2'

const ended = (cause?: unknown) =>
  new EngineError('unreadable', 'The small system that reads this disk ended. Look again.', { cause })

/** @throws EngineError unreadable; the signal's reason */
export async function openFilesReader(
  { sandbox, parent }: ReaderPlace,
  { perl, appliance, disk, user, kind }: ReaderInput,
  signal: AbortSignal,
): Promise<FilesReader> {
  signal.throwIfAborted()
  const ending = new AbortController()
  await using undo = new AsyncDisposableStack()
  const dir = await mkdtemp(join(parent, 'f'))
  undo.defer(() => rm(dir, { recursive: true, force: true }))
  await rootActs().own({ path: dir, as: guestDir(user?.uid ?? null), sync: false })
  const path = join(dir, 's')
  const meeting = await listen(path)
  undo.defer(meeting.close)
  // Who may pass the directory may speak to it: that is the reader's user.
  await chmod(path, 0o666)
  let words: string | null = null
  const over = sandbox
    .run({
      program: perl,
      args: ['-e', SCRIPT, path, disk],
      ...inSmallSystem({ appliance, kind, memoryMiB: MEMORY_MIB, lifeMs: LIFE_MS }),
      readable: [appliance, dir, dirname(disk)],
      user,
      signal: ending.signal,
    })
    .then(
      ({ stderr }) => {
        words = stderr.trim().slice(-2000)
      },
      (error: unknown) => {
        words = String(error)
      },
    )
  undo.defer(async () => {
    ending.abort(new Error('closed'))
    await over
  })
  const late = AbortSignal.any([signal, AbortSignal.timeout(START_MS)])
  const failure = async (): Promise<EngineError> => {
    await within(over, END_MS, undefined)
    return new EngineError(
      'unreadable',
      'libguestfs could not open this disk in its small system; the server’s log has what it said.',
      { cause: new Error(`files.pl: ${words ?? 'too late'}`) },
    )
  }
  const gone = over.then(() => null)
  const socket = await Promise.race([meeting.first, gone, aborted(late)])
  signal.throwIfAborted()
  if (socket === null) throw await failure()
  meeting.close()
  undo.defer(() => void socket.destroy())
  const line = talk(socket)
  // It answers when the small system has started.
  const ready = await Promise.race([line.next(START_MS).then(() => true), aborted(late)]).catch(() => null)
  signal.throwIfAborted()
  if (ready === null) throw await failure()
  const kept = undo.move()
  return readerOf(line, () => kept.disposeAsync())
}

const aborted = (signal: AbortSignal): Promise<null> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(null)
    signal.addEventListener('abort', () => resolve(null), { once: true })
  })

interface Meeting {
  /** Whoever connects first; no other is let in. */
  readonly first: Promise<Socket>
  close(): void
}

function listen(path: string): Promise<Meeting> {
  return new Promise((resolve, reject) => {
    let take: (socket: Socket) => void = () => {}
    const first = new Promise<Socket>((met) => {
      take = met
    })
    let isMet = false
    const server = createServer((socket) => {
      // An error shows as the end of the line.
      socket.on('error', () => {})
      if (isMet) return void socket.destroy()
      isMet = true
      take(socket)
    })
    server.once('error', reject)
    server.listen(path, () => resolve({ first, close: () => void server.close() }))
  })
}

interface Line {
  readonly isOver: () => boolean
  send(fields: readonly (string | Buffer)[]): void
  /** The next answer's fields, after its state. @throws EngineError unreadable, Unreadable */
  next(timeoutMs: number): Promise<Buffer[]>
}

function talk(socket: Socket): Line {
  const reader = new FrameReader()
  let isOver = false
  let waiting: { resolve(fields: Buffer[]): void; reject(error: unknown): void } | null = null
  const end = (cause?: unknown): void => {
    isOver = true
    socket.destroy()
    waiting?.reject(ended(cause))
    waiting = null
  }
  socket.on('close', () => end())
  socket.on('data', (piece: Buffer) => {
    try {
      for (const fields of reader.add(piece)) {
        // Nobody asked.
        if (waiting === null) return end(new Error('an answer without a question'))
        const { resolve } = waiting
        waiting = null
        resolve(fields)
      }
    } catch (error) {
      end(error)
    }
  })
  return {
    isOver: () => isOver,
    send: (fields) => void socket.write(encodeFrame(fields)),
    next(timeoutMs) {
      if (isOver) return Promise.reject(ended())
      return new Promise<Buffer[]>((resolve, reject) => {
        const timer = setTimeout(() => end(new Error('no answer in time')), timeoutMs)
        waiting = {
          resolve: (fields) => {
            clearTimeout(timer)
            resolve(fields)
          },
          reject: (error) => {
            clearTimeout(timer)
            reject(error)
          },
        }
      }).then(([state, ...fields]) => {
        if (state?.toString() === 'ok') return fields
        if (state?.toString() === 'failed' && fields[0]?.toString() === ENOENT)
          throw new Absent('There is no such file on this disk.')
        const cause = new Error(`files.pl: ${fields.map((field) => field.toString('utf8', 0, 1000)).join(': ')}`)
        throw new Unreadable(
          state?.toString() === 'mount'
            ? 'libguestfs could not open this file system: it is damaged, encrypted, in use by a sleeping guest, or the kernel of this host does not know it.'
            : 'It could not be read: the file system is damaged, or made in a way that is not known here.',
          { cause },
        )
      })
    },
  }
}

function readerOf(line: Line, close: () => Promise<void>): FilesReader {
  let turn: Promise<unknown> = Promise.resolve()
  const ask = (fields: readonly (string | Buffer)[]): Promise<Buffer[]> => {
    const answer = turn.then(() => {
      if (line.isOver()) throw ended()
      line.send(fields)
      return line.next(ANSWER_MS)
    })
    turn = answer.catch(() => {})
    return answer
  }
  /** Whoever answers with something else than was asked for is not to be believed again. */
  const believe = async <T>(read: () => T): Promise<T> => {
    try {
      return read()
    } catch (error) {
      await close()
      throw ended(error)
    }
  }
  const on = (verb: string, device: string, path: Buffer, ...more: string[]): Promise<Buffer[]> => {
    if (path.includes(0)) throw new Absent('There is no such file on this disk.')
    if (path.length > MAX_PATH_BYTES) throw new Unreadable('Its path is too long to be read.')
    return ask([verb, device, path, ...more])
  }
  return {
    isOver: line.isOver,
    async volumes() {
      const fields = await ask(['volumes', ''])
      return believe(() => groups(fields, 4).slice(0, MAX_VOLUMES).map(volumeOf))
    },
    async stat(device, path) {
      const fields = await on('stat', device, path)
      const facts = await believe(() => decodeFacts(fields))
      if (facts === null) throw new Unreadable('Nothing is known of it.')
      return facts
    },
    async list(device, path) {
      const [cut, ...fields] = await on('list', device, path)
      const entries = await believe(() =>
        groups(fields, 1 + FACTS).map(([name = Buffer.alloc(0), ...facts]) => ({ name, facts: decodeFacts(facts) })),
      )
      return { entries: entries.filter(({ name }) => isName(name)), isCut: cut?.toString() === '1' }
    },
    async read(device, path, offset, length) {
      const [content = Buffer.alloc(0)] = await on('read', device, path, String(offset), String(length))
      return content.subarray(0, length)
    },
    async link(device, path) {
      const [target = Buffer.alloc(0)] = await on('link', device, path)
      return target
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** @throws Error when they do not come out even */
function groups(fields: readonly Buffer[], size: number): Buffer[][] {
  if (fields.length % size !== 0) throw new Error('fields are missing')
  return Array.from({ length: fields.length / size }, (_, index) => fields.slice(index * size, (index + 1) * size))
}

function volumeOf([device, type, label, sizeBytes]: readonly Buffer[]): FoundVolume {
  const text = (field?: Buffer) => field?.toString('utf8', 0, 256) ?? ''
  const size = Number(text(sizeBytes))
  return {
    ...{ device: text(device), type: text(type), label: text(label) },
    sizeBytes: Number.isSafeInteger(size) ? size : 0,
  }
}

/** One step of a path and no more. */
const isName = (name: Buffer): boolean =>
  name.length > 0 &&
  !name.includes(0x2f) &&
  !name.includes(0) &&
  name.toString('latin1') !== '.' &&
  name.toString('latin1') !== '..'
