/**
 * Looking at files on disks that nobody uses. A disk is opened for a short while and kept for the next click; whatever
 * was read counts only when nobody has begun to write by then (`FileSource.check`).
 */
import { Readable } from 'node:stream'
import { type DiskFile, type DiskFiles, FILES_PAGE } from '#lib/schema/disk-files.ts'
import { nameToStep, shownText, stepsOf } from '#server/filesystems/names.ts'
import { type Part, readParts } from '#server/filesystems/parts.ts'
import type { FsName } from '#server/filesystems/recognise.ts'
import {
  type Budgeted,
  cached,
  type FsEntry,
  type FsNode,
  type NodeType,
  Unreadable,
  within,
} from '#server/filesystems/types.ts'
import type { DiskReader, OpenDisk } from '#server/storage/disk-reader.ts'
import { EngineError } from './errors.ts'
import type { FileSource, FileSources } from './file-sources.ts'
import type { Caller, FileEngine, FileSourceName } from './types.ts'

export interface FileBrowserDeps {
  readonly disks: DiskReader
  readonly sources: FileSources
  /** Notes that somebody took a file. */
  readonly note: (caller: Caller, source: FileSource, name: FileSourceName, path: string) => void
  readonly times?: { readonly keepMs?: number; readonly stallMs?: number }
}

export interface FileBrowser extends FileEngine {
  /** Something happened to a VM: what is open of its disks may be old. */
  vmChanged(vmId: string): void
  close(): Promise<void>
}

/** Disks open at once, each a process. */
const MAX_OPEN = 8
const KEEP_MS = 20_000
/** A reader of a download who takes nothing for so long is gone. */
const STALL_MS = 60_000
const OPEN_MS = 60_000
/** Of one question: a directory, not a file. */
const MAX_READ_BYTES = 512 * 2 ** 20
const MAX_READS = 100_000
const PIECE_BYTES = 512 * 1024
const MAX_FILE_BYTES = 64 * 2 ** 30
const MAX_SHOWN_TARGET = 4096

const NAMES: Readonly<Record<FsName, string>> = {
  ext: 'ext',
  fat: 'FAT',
  iso9660: 'ISO 9660',
  xfs: 'XFS',
  btrfs: 'Btrfs',
  ntfs: 'NTFS',
  exfat: 'exFAT',
  lvm: 'LVM',
  luks: 'LUKS',
  swap: 'swap',
  squashfs: 'SquashFS',
  ufs: 'UFS',
  f2fs: 'F2FS',
  bitlocker: 'BitLocker',
}

interface Session {
  readonly disk: OpenDisk
  /** What `parts` read from. */
  readonly bytes: Budgeted
  readonly parts: readonly Part[]
  users: number
  timer: NodeJS.Timeout | null
  /** Closed because somebody began to write: whoever reads on learns that, and not that the disk is gone. */
  isEnded: boolean
}
interface Opened {
  readonly session: Promise<Session>
  /** Of whoever opened it; it is about the bytes, not about the person. */
  readonly check: FileSource['check']
}

export function createFileBrowser(deps: FileBrowserDeps): FileBrowser {
  const keepMs = deps.times?.keepMs ?? KEEP_MS
  const stallMs = deps.times?.stallMs ?? STALL_MS
  const sessions = new Map<string, Opened>()
  /** Keys of what is open, by VM. */
  const ofVm = new Map<string, Set<string>>()
  const closing = new AbortController()

  const end = async (key: string): Promise<void> => {
    const opened = sessions.get(key)
    sessions.delete(key)
    const session = await opened?.session.catch(() => null)
    if (session == null) return
    session.isEnded = true
    if (session.timer !== null) clearTimeout(session.timer)
    await session.disk.close()
  }

  const openSession = async ({ disk: source }: FileSource): Promise<Session> => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(OPEN_MS)])
    const disk = await deps.disks.open(source, signal)
    try {
      const bytes = within(cached(disk), { maxBytes: MAX_READ_BYTES, maxReads: MAX_READS }, signal)
      return { disk, bytes, parts: await readParts(bytes), users: 0, timer: null, isEnded: false }
    } catch (error) {
      await disk.close()
      throw error
    }
  }

  /** @throws EngineError busy */
  const makeRoom = async (): Promise<void> => {
    if (sessions.size < MAX_OPEN) return
    for (const [key, opened] of sessions) {
      const session = await opened.session.catch(() => null)
      if (session === null || session.users === 0) return end(key)
    }
    throw new EngineError('busy', 'Files of several disks are being looked at just now. Try again in a moment.')
  }

  /** @returns what gives it back */
  const take = async (source: FileSource): Promise<{ session: Session; release: () => void }> => {
    closing.signal.throwIfAborted()
    let opened = sessions.get(source.key)
    if (opened === undefined) {
      await makeRoom()
      opened = sessions.get(source.key) ?? { session: openSession(source), check: source.check }
      sessions.set(source.key, opened)
      if (source.vmId !== null) {
        const keys = ofVm.get(source.vmId) ?? new Set()
        ofVm.set(source.vmId, keys.add(source.key))
      }
      // A failure is not remembered.
      opened.session.catch(() => sessions.delete(source.key))
    }
    const session = await opened.session
    session.users += 1
    if (session.timer !== null) clearTimeout(session.timer)
    session.timer = null
    let held = true
    return {
      session,
      release() {
        if (!held) return
        held = false
        session.users -= 1
        if (session.users > 0) return
        session.timer = setTimeout(() => void end(source.key), keepMs)
        session.timer.unref()
      },
    }
  }

  /**
   * One question. Whatever was read, and whatever reading threw, counts only when nobody writes.
   * @throws EngineError unreadable, wrong_state, …
   */
  const ask = async <T>(source: FileSource, session: Session, read: () => Promise<T>): Promise<T> => {
    session.bytes.begin(AbortSignal.any([closing.signal, AbortSignal.timeout(OPEN_MS)]))
    try {
      const result = await read()
      source.check()
      return result
    } catch (error) {
      forgetWhenChanged(source)
      assertOpen(session)
      if (error instanceof Unreadable) throw new EngineError('unreadable', error.message)
      if (error instanceof RangeError)
        throw new EngineError('unreadable', 'This file system is damaged.', { cause: error })
      throw error
    }
  }
  /** @throws EngineError wrong_state */
  const assertOpen = ({ isEnded }: Session): void => {
    if (isEnded) throw new EngineError('wrong_state', 'The VM was worked on meanwhile. Look again.')
  }
  /** @throws EngineError when somebody writes: what was read before is worth nothing then */
  const forgetWhenChanged = (source: FileSource): void => {
    try {
      source.check()
    } catch (error) {
      void end(source.key)
      throw error
    }
  }

  const nodeAt = async (session: Session, number: number, path: string): Promise<{ node: FsNode; steps: Buffer[] }> => {
    const part = session.parts.find((one) => one.number === number)
    if (part === undefined) throw new EngineError('not_found', 'There is no such part of this disk.')
    if (part.fs === null) throw new EngineError('unreadable', problemOf(part) ?? 'This part cannot be read.')
    const steps = stepsOf(path)
    let node: FsNode | null = steps === null ? null : part.fs.root
    for (const step of steps ?? []) {
      if (node?.type !== 'directory') throw noSuchFile()
      const entry: FsEntry | undefined = (await node.list()).entries.find(({ name }) => name.equals(step))
      if (entry === undefined) throw noSuchFile()
      node = await entry.open()
    }
    if (node === null || steps === null) throw noSuchFile()
    return { node, steps }
  }

  return {
    async list(caller, name, query) {
      const source = await deps.sources(caller, name, query.device)
      const { session, release } = await take(source)
      return ask(source, session, async () => {
        const readable = session.parts.filter(({ fs }) => fs !== null)
        const part = query.part ?? (readable.length === 1 ? (readable[0]?.number ?? null) : null)
        const shown = {
          title: source.title,
          devices: [...source.devices],
          device: source.device,
          parts: session.parts.map(viewPart),
          part,
        }
        if (part === null) return { ...shown, steps: [], entries: [], offset: 0, total: 0, isCut: false }
        const { node, steps } = await nodeAt(session, part, query.path)
        if (node.type !== 'directory') throw new EngineError('unreadable', 'This is no directory.')
        const { entries, isCut } = await node.list()
        const sorted = entries.toSorted((a, b) => a.name.compare(b.name))
        const path = pathOf(steps)
        const page: DiskFile[] = []
        for (const entry of sorted.slice(query.offset, query.offset + FILES_PAGE))
          page.push(await viewEntry(entry, path))
        return {
          ...shown,
          steps: steps.map((step, index) => ({ name: shownText(step), path: pathOf(steps.slice(0, index + 1)) })),
          ...{ entries: page, offset: query.offset, total: entries.length, isCut },
        }
      }).finally(release)
    },

    async content(caller, name, query, withBody) {
      const source = await deps.sources(caller, name, query.device)
      const { session, release } = await take(source)
      try {
        const { node, steps } = await ask(source, session, async () => {
          const readable = session.parts.filter(({ fs }) => fs !== null)
          const part = query.part ?? (readable.length === 1 ? readable[0]?.number : undefined)
          if (part === undefined)
            throw new EngineError('bad_input', 'Say which part of the disk it is on.', { field: 'part' })
          return nodeAt(session, part, query.path)
        })
        if (node.type !== 'file')
          throw new EngineError(
            'unreadable',
            'This is no file: links are not followed, and directories are not packed.',
          )
        if (node.sizeBytes > MAX_FILE_BYTES)
          throw new EngineError('too_large', 'A file of more than 64 GiB is not handed out. Copy the disk instead.')
        const file = { name: shownText(steps.at(-1) ?? 'file', 255), sizeBytes: node.sizeBytes }
        if (!withBody) {
          release()
          return { ...file, body: null }
        }
        deps.note(caller, source, name, shownText(pathOf(steps)))
        const begin = () => session.bytes.begin(AbortSignal.any([closing.signal, AbortSignal.timeout(OPEN_MS)]))
        const check = () => {
          source.check()
          assertOpen(session)
        }
        return { ...file, body: streamOf(node, { begin, check, stallMs, release }) }
      } catch (error) {
        release()
        throw error
      }
    },

    vmChanged(vmId) {
      for (const key of ofVm.get(vmId) ?? []) {
        // News of a VM also come when it is off and left alone, and snapshots hold still while it runs.
        if (isStill(sessions.get(key))) continue
        ofVm.get(vmId)?.delete(key)
        void end(key)
      }
    },

    async close() {
      closing.abort(new Error('closing'))
      await Promise.all([...sessions.keys()].map(end))
    },
  }
}

function isStill(opened: Opened | undefined): boolean {
  try {
    opened?.check()
    return opened !== undefined
  } catch {
    return false
  }
}

const noSuchFile = () => new EngineError('not_found', 'There is no such file on this disk.')
const pathOf = (steps: readonly Buffer[]): string => `/${steps.map(nameToStep).join('/')}`

function viewPart(part: Part): DiskFiles['parts'][number] {
  const kind = part.fs === null || part.fs.kind === 'fat' || part.fs.kind === 'iso9660' ? part.name : null
  return {
    number: part.number,
    fileSystem: kind === null ? (part.fs?.kind ?? null) : NAMES[kind],
    label: part.fs?.label == null ? null : shownText(part.fs.label, 64),
    sizeBytes: part.bytes.sizeBytes,
    problem: problemOf(part),
  }
}

/** Why the files of a part cannot be shown, and what to do. */
function problemOf({ fs, name, problem }: Part): string | null {
  if (fs !== null) return null
  if (problem !== null) return problem
  switch (name) {
    case null:
      return 'Nothing on it is a file system that is known here.'
    case 'swap':
      return 'Swap holds no files.'
    case 'luks':
    case 'bitlocker':
      return 'It is encrypted. Start the guest to read it.'
    default:
      return `${NAMES[name]} is not read here: ext2, ext3, ext4, FAT and ISO 9660 are. Start the guest, or attach the disk to another VM, to read it.`
  }
}

async function viewEntry(entry: FsEntry, parent: string): Promise<DiskFile> {
  const shown = { name: shownText(entry.name), path: `${parent === '/' ? '' : parent}/${nameToStep(entry.name)}` }
  try {
    const node = await entry.open()
    const target = node.type === 'symlink' ? shownText(await node.target(), MAX_SHOWN_TARGET) : null
    return {
      ...shown,
      type: node.type,
      sizeBytes: node.type === 'file' ? node.sizeBytes : null,
      modifiedAt: instantOf(node.modifiedMs),
      mode: node.mode === null ? null : modeText(node.mode, node.type),
      target,
      problem: null,
    }
  } catch (error) {
    if (!(error instanceof Unreadable || error instanceof RangeError)) throw error
    const problem = error instanceof Unreadable ? error.message : 'It is damaged.'
    return { ...shown, type: 'other', sizeBytes: null, modifiedAt: null, mode: null, target: null, problem }
  }
}

const MAX_MS = 8.64e15
const instantOf = (ms: number | null): string | null =>
  ms === null || Math.abs(ms) > MAX_MS || ms < 0 ? null : new Date(ms).toISOString()

/** `rwxr-sr-x`, as `ls` writes it. */
function modeText(mode: number, type: NodeType): string {
  const bit = (mask: number, letter: string) => ((mode & mask) !== 0 ? letter : '-')
  const run = (mask: number, special: number, letter: string) =>
    (mode & special) !== 0 ? ((mode & mask) !== 0 ? letter : letter.toUpperCase()) : bit(mask, 'x')
  const kind = { file: '-', directory: 'd', symlink: 'l', other: '?' }[type]
  return [
    ...[kind, bit(0o400, 'r'), bit(0o200, 'w'), run(0o100, 0o4000, 's')],
    ...[bit(0o40, 'r'), bit(0o20, 'w'), run(0o10, 0o2000, 's')],
    ...[bit(0o4, 'r'), bit(0o2, 'w'), run(0o1, 0o1000, 't')],
  ].join('')
}

interface StreamOptions {
  /** Before each piece. */
  readonly begin: () => void
  /** After each piece. @throws when its bytes are not the file's */
  readonly check: () => void
  readonly stallMs: number
  readonly release: () => void
}

/** Reads as the other side takes; nothing is read ahead of that. */
function streamOf(node: FsNode, { begin, check, stallMs, release }: StreamOptions): Readable {
  let at = 0
  let stall: NodeJS.Timeout | null = null
  const next = async (): Promise<Buffer | null> => {
    if (at >= node.sizeBytes) return null
    begin()
    let piece: Buffer
    try {
      piece = await node.read(at, Math.min(PIECE_BYTES, node.sizeBytes - at))
    } finally {
      // Of a disk that was taken away because its guest starts, this is why the reading failed.
      check()
    }
    if (piece.length === 0) throw new EngineError('unreadable', 'The file ends before its size.')
    at += piece.length
    return piece
  }
  return new Readable({
    highWaterMark: PIECE_BYTES,
    read() {
      if (stall !== null) clearTimeout(stall)
      stall = null
      next().then(
        (piece) => {
          if (piece !== null) {
            stall = setTimeout(() => this.destroy(new Error('nobody takes what was asked for')), stallMs)
            stall.unref()
          }
          this.push(piece)
        },
        (error: unknown) => void this.destroy(error instanceof Error ? error : new Error(String(error))),
      )
    },
    destroy(error, done) {
      if (stall !== null) clearTimeout(stall)
      release()
      done(error)
    },
  })
}
