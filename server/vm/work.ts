/**
 * Long work on a running guest (snapshots, backups, moves of disks): outside the VM's mailbox, so that people can still
 * look, pause and cut the power meanwhile. What may not happen at the same time is kept apart by `engine/vm-busy.ts`.
 */

import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QmpEvent, QmpEventStream, QmpJson } from '#server/qmp/types.ts'
import type { LaunchPlan } from '#server/spec/types.ts'

export interface GuestWork {
  readonly vmId: string
  /** Aborts when the guest has ended or is no longer ours to manage. */
  readonly signal: AbortSignal
  /** What was launched, as changed since; null when it is not known. */
  readonly spec: VmSpec | null
  readonly plan: LaunchPlan | null
  /** Puts the record right after the work changed what runs, without a change of the definition. @throws Error ENOSPC */
  keepPlan(plan: LaunchPlan): void
  /** The agent's socket, and whether a program in the guest holds it open; null without a channel. */
  readonly agent: { readonly path: string; readonly open: boolean } | null
  /** User that QEMU runs as; files it shall open must be readable for it. */
  readonly uid: number | null
  /** QEMU's run state as last heard of. */
  readonly runState: string
  /** Runs one command, in the time its kind may take unless told otherwise. @throws QmpError */
  ask(
    command: string,
    args?: { readonly [key: string]: QmpJson | undefined },
    options?: { timeoutMs?: number; signal?: AbortSignal },
  ): Promise<QmpJson>
  /** Opens a queue of events; subscribe before asking for what causes them. @throws QmpError without a connection */
  events(names: readonly string[]): QmpEventStream
  /** Calls back for each event until the guest has ended, also after the monitor was lost and found again. */
  onEvent(listener: (event: QmpEvent) => void): () => void
  /** Asks QEMU for its run state. @throws QmpError */
  readRunState(): Promise<string>
}
