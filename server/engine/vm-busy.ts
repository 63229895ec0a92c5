/**
 * One piece of long work at a time on each VM: a snapshot, a backup, a move of a disk. What is under way is stored, so
 * that after a crash the one who knows how to finish or undo it can, before anybody may start something else.
 */
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

/** What people may not do to the VM meanwhile. Cutting the power is never among it. */
export type BlockedAction = 'start' | 'change' | 'delete' | 'revert'

const Document = z.object({
  what: z.string(),
  sentence: z.string(),
  by: z.string(),
  since: z.string(),
  jobId: z.string().nullable(),
  blocks: z.array(z.enum(['start', 'change', 'delete', 'revert'])),
  /** Whatever its recovery needs. */
  about: z.json(),
})
export type BusyDocument = z.output<typeof Document>

export interface BusyRequest {
  /** Key of the recovery: `snapshot-create`. */
  readonly what: string
  /** For those who are refused: `A snapshot is being made`. */
  readonly sentence: string
  readonly by: string
  readonly jobId?: string
  readonly blocks?: readonly BlockedAction[]
  /** It takes effect all at once and is not stored: a crash leaves nothing to recover. */
  readonly isAtomic?: boolean
  readonly about?: BusyDocument['about']
}

/** Thrown by work or a recovery that cannot be settled yet (the guest does not answer): it stays on record. */
export class RecoverLater extends EngineError {
  constructor(message: string, options: { cause: unknown }) {
    super('unresponsive', message, options)
  }
}

/** @param about changes what the recovery would be given from here on; survives a crash once it returns */
export type BusyWork<T> = (note: (about: BusyDocument['about']) => void) => Promise<T>

export interface VmBusy {
  /** @throws EngineError vm_busy naming what is under way; whatever the work throws */
  run<T>(vmId: string, request: BusyRequest, work: BusyWork<T>): Promise<T>
  /**
   * Puts work on record before it can run, in the caller's transaction: for a VM that is made for it. `run` with the same
   * `what` takes it up; when that never comes, its recovery is due at the next start.
   */
  announce(vmId: string, request: BusyRequest): void
  get(vmId: string): BusyDocument | null
  /** What is known of every work of one kind that is under way or was interrupted. */
  aboutAll(what: string): BusyDocument['about'][]
  /** @throws EngineError vm_busy; what a guard throws */
  assertFree(vmId: string, action: BlockedAction): void
  /** Asked before any action and any work: throws an EngineError where this VM does not allow it. */
  addGuard(guard: (vmId: string, action: BlockedAction | { readonly work: string }) => void): void
  /** Called for work that a crash interrupted; when it returns the VM is free again, unless it throws `RecoverLater`. */
  onRecovery(what: string, recover: (vmId: string, left: BusyDocument) => Promise<void>): void
  /** Runs what is due for everything that was interrupted. Call once, when guests have been adopted. */
  recover(): Promise<void>
  /** Tries again what threw `RecoverLater`. */
  recoverOne(vmId: string): Promise<void>
  forget(vmId: string): void
  /** Called when work begins (its document) and ends (null). */
  onChange(listener: (vmId: string, document: BusyDocument | null) => void): () => void
}

const key = (vmId: string) => `vm-busy:${vmId}`
const PREFIX = key('')
const ALL: readonly BlockedAction[] = ['start', 'change', 'delete', 'revert']

export function createVmBusy(
  store: Store,
  warn: (message: string, error?: unknown) => void,
  now: () => Date = () => new Date(),
): VmBusy {
  const current = new Map<string, BusyDocument>()
  const recoveries = new Map<string, (vmId: string, left: BusyDocument) => Promise<void>>()
  const listeners = new Set<(vmId: string, document: BusyDocument | null) => void>()
  /** What is on record and does not run yet. */
  const announced = new Map<string, string>()
  const guards: Parameters<VmBusy['addGuard']>[0][] = []
  for (const { key: name, value } of store.list('meta')) {
    if (!name.startsWith(PREFIX)) continue
    const parsed = Document.safeParse(value)
    if (parsed.success) current.set(name.slice(PREFIX.length), parsed.data)
    else store.delete('meta', name)
  }

  const set = (vmId: string, document: BusyDocument, isStored = true): void => {
    if (isStored) store.put('meta', key(vmId), document)
    current.set(vmId, document)
  }
  const clear = (vmId: string): void => {
    announced.delete(vmId)
    current.delete(vmId)
    try {
      store.delete('meta', key(vmId))
    } catch (error) {
      // A full disk: the next start finds it, and its recovery finds nothing left to do.
      warn(`That work on ${vmId} has ended could not be stored.`, error)
    }
  }
  const tell = (vmId: string): void => {
    for (const listener of listeners) listener(vmId, current.get(vmId) ?? null)
  }
  const recoverOne = async (vmId: string, left: BusyDocument): Promise<void> => {
    try {
      await recoveries.get(left.what)?.(vmId, left)
    } catch (error) {
      warn(`What was interrupted on ${vmId} (${left.what}) could not be cleared up.`, error)
      if (error instanceof RecoverLater) return
    }
    clear(vmId)
    tell(vmId)
  }
  const documentOf = (request: BusyRequest): BusyDocument => ({
    what: request.what,
    sentence: request.sentence,
    by: request.by,
    since: now().toISOString(),
    jobId: request.jobId ?? null,
    blocks: [...(request.blocks ?? ALL)],
    about: request.about ?? null,
  })
  const refusal = (left: BusyDocument) =>
    new EngineError(
      'vm_busy',
      `${left.sentence} (since ${left.since}, for ${left.by}). Wait until it is done, or cancel it.`,
      {
        details: { what: left.what, jobId: left.jobId },
      },
    )

  return {
    async run(vmId, request, work) {
      const other = current.get(vmId)
      if (other !== undefined && announced.get(vmId) !== request.what) throw refusal(other)
      for (const guard of guards) guard(vmId, { work: request.what })
      announced.delete(vmId)
      set(vmId, documentOf(request), request.isAtomic !== true)
      tell(vmId)
      let isUnsettled = false
      try {
        return await work((about) => {
          const present = current.get(vmId)
          if (present !== undefined) set(vmId, { ...present, about })
        })
      } catch (error) {
        isUnsettled = error instanceof RecoverLater
        throw error
      } finally {
        if (request.isAtomic === true) current.delete(vmId)
        else if (!isUnsettled) clear(vmId)
        tell(vmId)
      }
    },
    announce(vmId, request) {
      set(vmId, documentOf(request))
      announced.set(vmId, request.what)
    },
    get: (vmId) => current.get(vmId) ?? null,
    aboutAll: (what) => [...current.values()].flatMap((document) => (document.what === what ? [document.about] : [])),
    assertFree(vmId, action) {
      const left = current.get(vmId)
      if (left?.blocks.includes(action)) throw refusal(left)
      for (const guard of guards) guard(vmId, action)
    },
    addGuard(guard) {
      guards.push(guard)
    },
    onRecovery(what, recover) {
      recoveries.set(what, recover)
    },
    async recover() {
      await Promise.all([...current].map(([vmId, left]) => recoverOne(vmId, left)))
    },
    async recoverOne(vmId) {
      const left = current.get(vmId)
      if (left !== undefined) await recoverOne(vmId, left)
    },
    forget: clear,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
