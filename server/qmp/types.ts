/**
 * The QMP client as the rest of the server sees it. `client.ts` implements it over a unix socket.
 *
 * Connection life: connecting → greeting → negotiating → ready → closed. A failed connect leaves nothing behind.
 */
import type { QmpCommands } from './generated/commands.ts'
import type { QmpEvents } from './generated/events.ts'
import type { QmpJson } from './json.ts'

export type { QmpJson }

/** Any name; editors offer those of the generated table. */
type QmpEventName = keyof QmpEvents | (string & {})

export interface QmpEvent {
  readonly event: string
  readonly data: { readonly [key: string]: QmpJson }
  /** Guest host clock, milliseconds since the epoch. */
  readonly timestampMs: number
}

export interface QmpVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
  readonly package: string
}

export interface ExecuteOptions {
  /** Overrides the timeout of the command's class (`timeouts.ts`). Milliseconds. */
  timeoutMs?: number
  signal?: AbortSignal
}

export interface QmpEventStream extends AsyncIterableIterator<QmpEvent>, AsyncDisposable {
  /** Resolves with the first queued or future event that matches; rejects on disconnect, timeout or abort. */
  next(): Promise<IteratorResult<QmpEvent>>
  waitFor(match: (event: QmpEvent) => boolean, options: { timeoutMs: number; signal?: AbortSignal }): Promise<QmpEvent>
  close(): void
}

export interface QmpClient {
  readonly version: QmpVersion
  readonly closed: boolean
  /** Resolves (never rejects) with the first cause once the connection is gone. */
  readonly whenClosed: Promise<Error>
  /**
   * Runs one command. Commands of the generated table have typed arguments and answers; the types describe, they do not check.
   * @throws QmpCommandError the reply is an error; QmpTimeoutError; QmpDisconnectedError; QmpStateError
   */
  execute<K extends keyof QmpCommands>(
    command: K,
    args?: QmpCommands[K]['arguments'],
    options?: ExecuteOptions,
  ): Promise<QmpCommands[K]['returns']>
  execute(command: string, args?: { [key: string]: QmpJson | undefined }, options?: ExecuteOptions): Promise<QmpJson>
  /** Opens a scoped queue of events. Subscribe before executing what causes them. Bounded; overflow closes it with an error. */
  events(names?: readonly QmpEventName[]): QmpEventStream
  /** Calls back for every event, in order; a throwing listener is reported and dropped. Returns the unsubscribe function. */
  onEvent(listener: (event: QmpEvent) => void): () => void
  /** Idempotent. Rejects every waiter and ends every stream. */
  close(reason?: Error): void
}

export interface ConnectOptions {
  /** Overall deadline for connect, greeting and negotiation. Milliseconds, default 5000. */
  timeoutMs?: number
  /** Keep retrying while the socket does not exist or refuses, every few milliseconds, until the deadline: a QEMU that is just starting. */
  waitForSocket?: boolean
  signal?: AbortSignal
}
