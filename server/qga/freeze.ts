/** Freezing a guest's file systems for the moment in which its disks are copied (QEMU: qga/qapi-schema.json). */
import { AgentError, type AgentOptions, ask, converse } from './client.ts'

/** Flushing takes as long as the guest's disks need. Milliseconds. */
const FREEZE_MS = 15_000
const THAW_MS = 10_000

const count = (answer: unknown): number => {
  if (typeof answer !== 'number' || !Number.isInteger(answer) || answer < 0)
    throw new AgentError('nonsense', 'The guest agent’s answer makes no sense.')
  return answer
}

/** @returns how many file systems it froze. On any error the guest may be frozen: thaw it. @throws AgentError */
export function freezeFileSystems(path: string, options: AgentOptions = {}): Promise<number> {
  return converse(path, { timeoutMs: FREEZE_MS, ...options }, async (conversation) =>
    count(await ask(conversation, 'guest-fsfreeze-freeze')),
  )
}

/** Harmless when nothing is frozen. @returns how many file systems it thawed @throws AgentError */
export function thawFileSystems(path: string, options: AgentOptions = {}): Promise<number> {
  return converse(path, { timeoutMs: THAW_MS, ...options }, async (conversation) =>
    count(await ask(conversation, 'guest-fsfreeze-thaw')),
  )
}
