/**
 * libguestfs's small systems in which disks are looked at: each belongs to one disk that is open, starts while somebody
 * asks for it again and again, and ends with the disk. There are few at once, because each is a guest of its own.
 */
import type { DiskFiles } from '#lib/schema/disk-files.ts'
import type { SmallSystems } from '#server/small-system/build.ts'
import { type FilesReader, openFilesReader, type ReaderPlace } from '#server/small-system/files/reader.ts'
import { type FileTools, findFileTools } from '#server/small-system/tools.ts'
import type { ToolUser } from '#server/storage/sandbox.ts'
import { EngineError } from './errors.ts'

export interface FileHelperDeps extends ReaderPlace {
  readonly systems: SmallSystems
  /** What a small system runs on for this user. */
  readonly accelerator: (
    uid: number | null,
  ) => Promise<{ readonly kind: 'kvm' | 'tcg'; readonly kvmGid: number | null }>
  /** Another look at the host in tests. */
  readonly find?: typeof findFileTools
  readonly giveUpMs?: number
}

export type Preparing = NonNullable<DiskFiles['preparing']>

export interface FileHelper {
  /** How far it has come, or what reads; waits a moment for it. @throws EngineError; why it could not be started */
  look(): Promise<Preparing | FilesReader>
  /** @throws as `look` */
  wait(): Promise<FilesReader>
  /** It failed or ended; another one is to be started. */
  readonly isOver: () => boolean
  /** Resolves when it has started, or failed to. */
  readonly settled: Promise<void>
  close(): Promise<void>
}

export interface FileHelpers {
  /** Why there are none on this host, and what to do, in a sentence or two; null: there are. */
  obstacle(): string | null
  isFull(): boolean
  /** @param disk socket of its blocks @throws EngineError busy, unreadable */
  start(disk: string, user: ToolUser | null): FileHelper
}

/** Each has half a GiB of memory. */
const MAX_AT_ONCE = 2
/** Whoever waits asks every second; a page in the background somewhat less often. */
const GIVE_UP_MS = 15_000
/** With KVM it is there before the first answer, more often than not. */
const MOMENT_MS = 1_500

export function createFileHelpers(deps: FileHelperDeps): FileHelpers {
  const find = deps.find ?? findFileTools
  const giveUpMs = deps.giveUpMs ?? GIVE_UP_MS
  let running = 0

  const begin = (tools: FileTools, disk: string, user: ToolUser | null): FileHelper => {
    const giving = new AbortController()
    const startedAt = new Date().toISOString()
    let step: Preparing['step'] = 'making'
    let reader: FilesReader | null = null
    let hasFailed = false
    let waiting = 0
    let timer: NodeJS.Timeout | null = null
    const stopTimer = (): void => {
      if (timer !== null) clearTimeout(timer)
      timer = null
    }
    const asked = (): void => {
      stopTimer()
      if (reader !== null || hasFailed || waiting > 0) return
      const reason = new EngineError('wrong_state', 'It was given up because nobody waited for it. Look again.')
      timer = setTimeout(() => giving.abort(reason), giveUpMs)
    }
    running += 1
    let isCounted = true
    const leave = (): void => {
      if (isCounted) running -= 1
      isCounted = false
    }
    const open = async (): Promise<FilesReader> => {
      const appliance = await deps.systems.ready(tools, giving.signal)
      step = 'starting'
      const { kind, kvmGid } = await deps.accelerator(user?.uid ?? null)
      const runUser = user === null ? null : { ...user, kvmGid }
      return openFilesReader(deps, { perl: tools.perl, appliance, disk, user: runUser, kind }, giving.signal)
    }
    asked()
    const opening = open()
    const settled = opening.then(
      (opened) => {
        reader = opened
        stopTimer()
      },
      () => {
        hasFailed = true
        stopTimer()
        leave()
      },
    )
    return {
      async look() {
        asked()
        let timeout: NodeJS.Timeout | undefined
        const moment = new Promise<null>((resolve) => {
          timeout = setTimeout(() => resolve(null), MOMENT_MS)
        })
        const opened = await Promise.race([opening, moment]).finally(() => clearTimeout(timeout))
        return opened ?? { step, startedAt }
      },
      async wait() {
        waiting += 1
        stopTimer()
        try {
          return await opening
        } finally {
          waiting -= 1
          asked()
        }
      },
      isOver: () => hasFailed || giving.signal.aborted || reader?.isOver() === true,
      settled,
      async close() {
        giving.abort(new EngineError('wrong_state', 'The disk was worked on meanwhile. Look again.'))
        stopTimer()
        await settled
        await reader?.close()
        leave()
      },
    }
  }

  return {
    obstacle() {
      const found = find()
      if (found.tools !== null) return null
      return found.isMissing
        ? `${found.problem} Install it: apt-get install guestfs-tools (the Host page has the command for this system).`
        : `${found.problem} The Host page says what to do.`
    },
    isFull: () => running >= MAX_AT_ONCE,
    start(disk, user) {
      const found = find()
      if (found.tools === null) throw new EngineError('unreadable', found.problem)
      if (running >= MAX_AT_ONCE)
        throw new EngineError(
          'busy',
          'Other disks are being read through libguestfs just now, two at once at most. Try again in a moment.',
        )
      return begin(found.tools, disk, user)
    },
  }
}
