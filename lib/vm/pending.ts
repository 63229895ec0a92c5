/**
 * Stored definition against what runs: what waits for the next power cycle, for the guest, or to be applied. Pure.
 * The rules are in `live-rules.ts`.
 */
import type { VmSpec } from '../schema/vm-spec.ts'
import type { PendingChange } from '../schema/vm-state.ts'
import { ruleOn } from './live-rules.ts'
import type { LiveFacts } from './live-types.ts'

/** A machine with every controller and a free port, for where nothing is known of the real one. */
export const ROOMY: LiveFacts = {
  sockets: 32,
  has: () => true,
  canUnplugCpus: true,
  sharedMemory: true,
  awaited: new Map(),
}

/**
 * @param live what the running QEMU has
 * @param next the stored definition
 * @returns one entry per field or device that differs, in the order of the spec; empty when a restart would change nothing
 */
export function pendingChanges(live: VmSpec, next: VmSpec, facts: LiveFacts = ROOMY): PendingChange[] {
  return [...ruleOn({ live, next, facts }).differences]
}
