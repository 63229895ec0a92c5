/**
 * Holds a guest's file systems still for a moment, through its agent.
 *
 *   mark stored ─▶ freeze ─▶ (the moment) ─▶ thaw ─▶ mark gone
 *
 * The mark is what a dashboard that was killed in between finds: thawing is the first thing it does. While it lives, a
 * timer thaws whatever the moment takes, because a frozen guest can do nothing but wait.
 */
import { type AgentError, freezeFileSystems, thawFileSystems } from '#server/qga/client.ts'

/** Longer than this no guest stays frozen. Milliseconds. */
export const FROZEN_MAX_MS = 20_000
const FREEZE_MS = 10_000
const THAW_MS = 5_000
const THAW_TRIES = 3

export type FreezeOutcome =
  | { readonly kind: 'frozen' }
  /** Nobody answered, or it refused: in these words. */
  | { readonly kind: 'not'; readonly why: string }

export interface FreezeMark {
  /** Stores that this guest may be frozen. @throws Error */
  set(): void
  clear(): void
}

/** A guest that froze in the end although its agent's answer came late must not stay so. */
export async function thaw(agentPath: string): Promise<boolean> {
  for (let tries = 1; tries <= THAW_TRIES; tries += 1) {
    try {
      await thawFileSystems(agentPath, { timeoutMs: THAW_MS })
      return true
    } catch {
      // An agent that is busy freezing answers when it has done so.
    }
  }
  return false
}

/**
 * Does `moment` with the guest's file systems frozen, or without when they cannot be.
 * @param agentPath null: the guest has no agent, or none that listens
 * @param frozenMaxMs then it is thawed, whatever the moment takes
 * @throws what `moment` throws, after thawing
 */
export async function whileFrozen<T>(
  agentPath: string | null,
  mark: FreezeMark,
  moment: () => Promise<T>,
  frozenMaxMs = FROZEN_MAX_MS,
): Promise<{ readonly result: T; readonly outcome: FreezeOutcome }> {
  if (agentPath === null)
    return { result: await moment(), outcome: { kind: 'not', why: 'No guest agent answers in this guest.' } }
  mark.set()
  let outcome: FreezeOutcome
  try {
    const count = await freezeFileSystems(agentPath, { timeoutMs: FREEZE_MS })
    outcome =
      count === 0 ? { kind: 'not', why: 'The guest agent found no file system to hold still.' } : { kind: 'frozen' }
  } catch (error) {
    outcome = { kind: 'not', why: inWords(error) }
  }
  const timer = setTimeout(() => {
    outcome = { kind: 'not', why: 'It took too long, so the file systems were let go before it was over.' }
    void thaw(agentPath)
  }, frozenMaxMs)
  try {
    const result = await moment()
    return { result, outcome }
  } finally {
    clearTimeout(timer)
    // Also after a freeze that failed: it may have been the answer alone that did not come.
    if (await thaw(agentPath)) mark.clear()
  }
}

function inWords(error: unknown): string {
  const known = error as Partial<AgentError> | null
  if (known?.kind === 'refused') return 'The guest agent refused to hold the file systems still.'
  return 'The guest agent did not answer in time.'
}
