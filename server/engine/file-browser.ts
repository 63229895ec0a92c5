/**
 * Looking at files on disks that nobody uses. A disk is opened for a short while and kept for the next click; whatever
 * was read counts only when nobody has begun to write by then (`FileSource.check`).
 */
import { type DiskFile, FILES_PAGE, type FilesQuery, VOLUMES_FROM } from '#lib/schema/disk-files.ts'
import { nameToStep, shownText, stepsOf } from '#server/filesystems/names.ts'
import { readParts } from '#server/filesystems/parts.ts'
import { type Budgeted, cached, type FsNode, Unreadable, within } from '#server/filesystems/types.ts'
import type { FilesReader } from '#server/small-system/files/reader.ts'
import { helpedRoot } from '#server/small-system/files/tree.ts'
import type { DiskReader, OpenDisk } from '#server/storage/disk-reader.ts'
import { EngineError } from './errors.ts'
import type { FileHelper, FileHelpers } from './file-helpers.ts'
import type { FileSource, FileSources } from './file-sources.ts'
import { streamOf } from './file-stream.ts'
import { type ShownPart, shownPart, shownVolume, viewEntry } from './file-views.ts'
import type { Caller, FileEngine, FileSourceName } from './types.ts'

export interface FileBrowserDeps {
  readonly disks: DiskReader
  readonly sources: FileSources
  readonly helpers: FileHelpers
  /** Notes that somebody took a file. */
  readonly note: (caller: Caller, source: FileSource, name: FileSourceName, path: string) => void
  readonly times?: { readonly keepMs?: number; readonly helpedKeepMs?: number; readonly stallMs?: number }
}

export interface FileBrowser extends FileEngine {
  /** Something happened to a VM: what is open of its disks may be old. */
  vmChanged(vmId: string): void
  close(): Promise<void>
}

/** Disks open at once, each a process. */
const MAX_OPEN = 8
const KEEP_MS = 20_000
/** With a small system, which takes long to start. */
const HELPED_KEEP_MS = 120_000
/** A reader of a download who takes nothing for so long is gone. */
const STALL_MS = 60_000
const OPEN_MS = 60_000
/** What was deleted or is used again does not stay open until somebody asks. */
const WATCH_MS = 5_000
/** Of one question: a directory, not a file. */
const MAX_READ_BYTES = 512 * 2 ** 20
const MAX_READS = 100_000
const MAX_FILE_BYTES = 64 * 2 ** 30

interface Session {
  readonly disk: OpenDisk
  /** What `parts` read from. */
  readonly bytes: Budgeted
  readonly parts: readonly ShownPart[]
  /** The small system for what we do not read ourselves; null: nobody has asked for it. */
  helper: FileHelper | null
  /** What it found in LVM; null: nobody has asked for it. */
  volumes: readonly ShownPart[] | null
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
  const helpedKeepMs = deps.times?.helpedKeepMs ?? HELPED_KEEP_MS
  const stallMs = deps.times?.stallMs ?? STALL_MS
  const sessions = new Map<string, Opened>()
  /** Keys of what is open, by VM. */
  const ofVm = new Map<string, Set<string>>()
  const closing = new AbortController()
  const watch = setInterval(() => {
    for (const [key, opened] of sessions) if (!isStill(opened)) void end(key)
  }, WATCH_MS)
  watch.unref()

  const end = async (key: string): Promise<void> => {
    const opened = sessions.get(key)
    sessions.delete(key)
    const session = await opened?.session.catch(() => null)
    if (session == null) return
    session.isEnded = true
    if (session.timer !== null) clearTimeout(session.timer)
    await session.helper?.close()
    await session.disk.close()
  }

  const openSession = async ({ disk: source }: FileSource): Promise<Session> => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(OPEN_MS)])
    const disk = await deps.disks.open(source, signal)
    try {
      const bytes = within(cached(disk), { maxBytes: MAX_READ_BYTES, maxReads: MAX_READS }, signal)
      const obstacle = deps.helpers.obstacle()
      const parts = (await readParts(bytes)).map((part) => shownPart(part, obstacle))
      return { disk, bytes, parts, helper: null, volumes: null, users: 0, timer: null, isEnded: false }
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
    return { session, release: hold(source, session) }
  }

  /** @returns what gives it back */
  const hold = (source: FileSource, session: Session): (() => void) => {
    session.users += 1
    if (session.timer !== null) clearTimeout(session.timer)
    session.timer = null
    let held = true
    return () => {
      if (!held) return
      held = false
      session.users -= 1
      if (session.users > 0 || session.isEnded) return
      session.timer = setTimeout(() => void end(source.key), session.helper === null ? keepMs : helpedKeepMs)
      session.timer.unref()
    }
  }

  /** The small system of a disk; it is started when there is none. @throws EngineError busy, unreadable */
  const helperOf = async (source: FileSource, session: Session): Promise<FileHelper> => {
    if (session.helper?.isOver() === true) {
      const old = session.helper
      session.helper = null
      session.volumes = null
      await old.close()
    }
    if (session.helper === null && deps.helpers.isFull())
      for (const [key, opened] of sessions) {
        const other = await opened.session.catch(() => null)
        if (other === null || other.helper === null || other.users > 0) continue
        await end(key)
        break
      }
    assertOpen(session)
    if (session.helper === null) {
      session.helper = deps.helpers.start(session.disk.socket, source.disk.user ?? null)
      // The disk stays open until it is there or was given up.
      void session.helper.settled.then(hold(source, session))
    }
    return session.helper
  }

  const volumesOf = async (session: Session, reader: FilesReader): Promise<readonly ShownPart[]> => {
    if (session.parts.every(({ isLvm }) => !isLvm)) return []
    session.volumes ??= (await reader.volumes()).map(shownVolume)
    return session.volumes
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

  /** The part that is meant, or the only one that can be read; null: none is, and there are several. */
  const chosen = (parts: readonly ShownPart[], number: number | undefined): ShownPart | null => {
    const readable = parts.filter(({ view }) => view.problem === null)
    const part =
      number === undefined ? readable.length === 1 && readable[0] : parts.find((one) => one.view.number === number)
    if (part === false) return null
    if (part === undefined) throw new EngineError('not_found', 'There is no such part of this disk.')
    if (part.view.problem !== null) throw new EngineError('unreadable', part.view.problem)
    return part
  }
  /** Whether a part can be found, or be known not to exist, only by the small system. */
  const needsHelp = (session: Session, number: number | undefined): boolean => {
    const hasLvm = session.parts.some(({ isLvm }) => isLvm)
    if (number !== undefined && number > VOLUMES_FROM && hasLvm) return true
    return chosen(session.parts, number)?.helped != null
  }
  const helpedPart = async (session: Session, reader: FilesReader, number: number | undefined) => {
    const volumes = await volumesOf(session, reader)
    const all = [...session.parts, ...volumes]
    const part = chosen(number === undefined || number <= VOLUMES_FROM ? session.parts : all, number)
    if (part?.isLvm !== true) return { all, part }
    if (volumes.length === 0)
      throw new EngineError(
        'unreadable',
        'No logical volume in it is whole: there is none, or its group lies on other disks as well. Start the guest to read it.',
      )
    return { all, part: chosen(volumes, undefined) }
  }
  const rootOf = (part: ShownPart, reader: FilesReader | null): FsNode => {
    if (part.root !== null) return part.root
    if (part.helped === null || reader === null) throw new EngineError('unreadable', 'This part cannot be read.')
    return helpedRoot(reader, part.helped.device, part.helped.type)
  }

  const nodeAt = async (root: FsNode, path: string): Promise<{ node: FsNode; steps: Buffer[] }> => {
    const steps = stepsOf(path)
    let node: FsNode | null = steps === null ? null : root
    for (const step of steps ?? []) {
      if (node?.type !== 'directory') throw noSuchFile()
      const entry = node.entry
        ? await node.entry(step)
        : (await node.list()).entries.find(({ name }) => name.equals(step))
      if (entry == null) throw noSuchFile()
      node = await entry.open()
    }
    if (node === null || steps === null) throw noSuchFile()
    return { node, steps }
  }

  const folderAt = async (root: FsNode, { path, offset }: FilesQuery) => {
    const { node, steps } = await nodeAt(root, path)
    if (node.type !== 'directory') throw new EngineError('unreadable', 'This is no directory.')
    const { entries, isCut } = await node.list()
    const sorted = entries.toSorted((a, b) => a.name.compare(b.name))
    const page: DiskFile[] = []
    for (const entry of sorted.slice(offset, offset + FILES_PAGE)) page.push(await viewEntry(entry, pathOf(steps)))
    return {
      steps: steps.map((step, index) => ({ name: shownText(step), path: pathOf(steps.slice(0, index + 1)) })),
      ...{ entries: page, offset, total: entries.length, isCut },
    }
  }

  return {
    async list(caller, name, query) {
      const source = await deps.sources(caller, name, query.device)
      const { session, release } = await take(source)
      return ask(source, session, async () => {
        const about = { title: source.title, devices: [...source.devices], device: source.device }
        const viewsOf = (parts: readonly ShownPart[]) => parts.map(({ view }) => view)
        const nothing = { steps: [], entries: [], offset: 0, total: 0, isCut: false }
        const isHelped = needsHelp(session, query.part)
        const got = isHelped ? await (await helperOf(source, session)).look() : null
        if (got !== null && 'step' in got) {
          const part = query.part ?? chosen(session.parts, undefined)?.view.number ?? null
          return { ...about, parts: viewsOf(session.parts), part, preparing: got, ...nothing }
        }
        const { all, part } =
          got === null
            ? { all: session.parts, part: chosen(session.parts, query.part) }
            : await helpedPart(session, got, query.part)
        const shown = { ...about, parts: viewsOf(all), part: part?.view.number ?? null, preparing: null }
        if (part === null) return { ...shown, ...nothing }
        return { ...shown, ...(await inTime(folderAt(rootOf(part, got), query))) }
      }).finally(release)
    },

    async content(caller, name, query, withBody) {
      const source = await deps.sources(caller, name, query.device)
      const { session, release } = await take(source)
      try {
        const { node, steps } = await ask(source, session, async () => {
          const isHelped = needsHelp(session, query.part)
          const reader = isHelped ? await (await helperOf(source, session)).wait() : null
          const { part } =
            reader === null
              ? { part: chosen(session.parts, query.part) }
              : await helpedPart(session, reader, query.part)
          if (part === null)
            throw new EngineError('bad_input', 'Say which part of the disk it is on.', { field: 'part' })
          return nodeAt(rootOf(part, reader), query.path)
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
      clearInterval(watch)
      closing.abort(new Error('closing'))
      await Promise.all([...sessions.keys()].map(end))
    },
  }
}

/** However slowly each of its many parts is answered. @throws EngineError unreadable */
async function inTime<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new EngineError('unreadable', 'Finding out what is there takes longer than is allowed.')
    timer = setTimeout(() => reject(error), OPEN_MS)
  })
  return Promise.race([answer, late]).finally(() => clearTimeout(timer))
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
