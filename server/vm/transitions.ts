/**
 * The life of one VM, pure: no clock, no I/O. `decide` judges what people ask, `reduce` takes in what happened.
 *
 *            start                 launched              asked, or the guest began to end
 *   off ───────────────▶ starting ─────────▶ running ◀──▶ paused ────────────────▶ stopping
 *    ▲  ▲ crashed ──────────▲  │ failed          │ QEMU silent ▲                      │
 *    │  └──────────────────────┘                 ▼             │ answers again        │
 *    │                                      unmanageable ──────┘                      │
 *    └───────────────────────────── the process is gone, and only then ◀──────────────┘
 *
 * Three things are kept apart: an end somebody asked for or the guest chose (`off`), an end nobody wanted
 * (`crashed`), and a monitor that fell silent while the process lives (`unmanageable`).
 */
import type { PowerAction, VmExit, VmState } from '#lib/schema/vm-state.ts'
import { allowedAction } from '#lib/vm/actions.ts'

/** Somebody's standing wish that the guest end. */
interface Wish {
  readonly by: string
  readonly how: 'shutdown' | 'poweroff'
}

/** Why the guest stopped executing before its process ended. */
export type Ending =
  | { readonly kind: 'guest-shutdown' }
  | { readonly kind: 'host-signal' }
  /** The accelerator gave up; QEMU's run state `internal-error`. */
  | { readonly kind: 'internal-error' }

export interface VmModel {
  readonly state: VmState
  readonly runState: string | null
  readonly detail: string | null
  readonly wish: Wish | null
  readonly ending: Ending | null
  /** A launch is under way or a process exists: the one fact that forbids a start. */
  readonly process: boolean
  readonly lastExit: VmExit | null
}

export type VmRequest = { readonly action: PowerAction; readonly by: string }

export type Decision =
  | { readonly kind: 'accept' }
  /** What is asked for is already under way: success, nothing to do. */
  | { readonly kind: 'ignore' }
  | { readonly kind: 'deny'; readonly reason: string }

export type VmEvent =
  /** A start was accepted; until `launched` or `exited` no other may be. */
  | { readonly type: 'start-begun' }
  /** Nothing was launched after all: the preparation was refused. */
  | { readonly type: 'start-refused' }
  /** The guest was let go, or a running process was adopted. */
  | { readonly type: 'launched'; readonly runState: string }
  /** A running process was found whose monitor does not answer. */
  | { readonly type: 'found-silent'; readonly detail: string }
  /** QEMU's run state, read by query or told by an event. */
  | { readonly type: 'run-state'; readonly runState: string }
  | { readonly type: 'wish'; readonly wish: Wish }
  /** The guest did not react to the request in time; it goes on running. */
  | { readonly type: 'wish-expired'; readonly detail: string }
  /** A reset makes an earlier shutdown request void. */
  | { readonly type: 'wish-void' }
  | { readonly type: 'ending'; readonly ending: Ending }
  /** The monitor is silent or gone, the process is not. */
  | { readonly type: 'silent'; readonly detail: string }
  /** The monitor answers again. */
  | { readonly type: 'answers'; readonly runState: string }
  /** Not even SIGKILL ended the process in time (it waits in the kernel). */
  | { readonly type: 'poweroff-failed'; readonly detail: string }
  /** A run is found to have ended while nobody watched. */
  | { readonly type: 'found-ended'; readonly exit: VmExit }
  /** The process is confirmed gone, or a launch failed and left none. Nothing else leads to off or crashed. */
  | { readonly type: 'exited'; readonly exit: VmExit }

export function initialModel(lastExit: VmExit | null): VmModel {
  return { state: 'off', runState: null, detail: null, wish: null, ending: null, process: false, lastExit }
}

/** Judges a request against the state by the table that also drives the buttons. */
export function decide(model: VmModel, request: VmRequest): Decision {
  if (request.action === 'shutdown' && model.state === 'stopping') return { kind: 'ignore' }
  if (request.action === 'poweroff' && model.wish?.how === 'poweroff') return { kind: 'ignore' }
  const { allowed, reason } = allowedAction(model.state, request.action)
  if (!allowed) return { kind: 'deny', reason: reason ?? 'Not possible now.' }
  // The table knows states only; a process that lives on behind a settled state still forbids a second one.
  if (request.action === 'start' && model.process) return { kind: 'deny', reason: 'Its QEMU process is still there.' }
  if (model.wish?.how === 'poweroff') return { kind: 'deny', reason: 'Its power is being cut.' }
  if (model.ending)
    return request.action === 'poweroff' ? { kind: 'accept' } : { kind: 'deny', reason: 'It is ending.' }
  return { kind: 'accept' }
}

interface Look {
  readonly state: VmState
  readonly detail: string | null
}

/**
 * How one of QEMU's run states (qapi/run-state.json, RunState) looks to people.
 * An unknown one counts as paused: it is alive and not known to run.
 */
export function lookOf(runState: string): Look {
  switch (runState) {
    case 'running':
      return { state: 'running', detail: null }
    case 'suspended':
      return { state: 'running', detail: 'The guest is asleep (ACPI S3).' }
    case 'paused':
    case 'prelaunch':
    case 'debug':
      return { state: 'paused', detail: null }
    case 'io-error':
      return {
        state: 'paused',
        detail: 'A disk request failed on the host (often: no space left). Mend the storage, then resume.',
      }
    case 'guest-panicked':
      return { state: 'paused', detail: "The guest's system crashed (kernel panic). Reset it or cut its power." }
    case 'watchdog':
      return { state: 'paused', detail: "The guest's watchdog fired. Reset it or cut its power." }
    case 'save-vm':
      return { state: 'saving', detail: null }
    case 'inmigrate':
    case 'postmigrate':
    case 'finish-migrate':
    case 'colo':
      return { state: 'migrating', detail: null }
    case 'restore-vm':
      return { state: 'paused', detail: 'Restoring a snapshot did not finish.' }
    default:
      return { state: 'paused', detail: `QEMU says "${runState.slice(0, 40)}".` }
  }
}

/** What a run state means for a guest that QEMU will not let run on. */
export function endingOf(runState: string): Ending | null {
  if (runState === 'shutdown') return { kind: 'guest-shutdown' }
  if (runState === 'internal-error') return { kind: 'internal-error' }
  return null
}

function stoppingDetail(wish: Wish | null, ending: Ending | null): string | null {
  if (ending?.kind === 'internal-error') return 'The accelerator cannot run this guest; its process is being ended.'
  if (wish?.how === 'poweroff') return `${wish.by} cut its power.`
  if (wish) return `${wish.by} asked the guest to shut down.`
  return ending ? 'The guest shut itself down.' : null
}

/** A live process in `runState`, with the wish and ending that the model holds. */
function withRunState(model: VmModel, runState: string): VmModel {
  const ending = model.ending ?? endingOf(runState)
  if (ending || model.wish) {
    // A paused guest is shown as such even while a shutdown request stands; it cannot react to it.
    const look = lookOf(runState)
    if (!ending && model.wish?.how === 'shutdown' && look.state === 'paused') {
      return { ...model, ...look, runState }
    }
    return { ...model, state: 'stopping', runState, ending, detail: stoppingDetail(model.wish, ending) }
  }
  return { ...model, ...lookOf(runState), runState }
}

/** Takes in what happened. Total: an event that makes no sense in this state changes nothing. */
export function reduce(model: VmModel, event: VmEvent): VmModel {
  switch (event.type) {
    case 'start-begun':
      if (model.process) return model
      return { ...initialModel(model.lastExit), state: 'starting', process: true }
    case 'start-refused':
      return model.state === 'starting' || model.state === 'stopping' ? initialModel(model.lastExit) : model
    case 'launched':
      // A poweroff that came during the launch is not forgotten.
      return withRunState({ ...model, process: true, detail: null }, event.runState)
    case 'found-silent':
      return { ...initialModel(model.lastExit), state: 'unmanageable', process: true, detail: event.detail }
    case 'run-state':
      if (!model.process || model.state === 'starting' || model.state === 'unmanageable') return model
      return withRunState(model, event.runState)
    case 'wish': {
      if (!model.process || model.wish?.how === 'poweroff') return model
      return { ...model, wish: event.wish, state: 'stopping', detail: stoppingDetail(event.wish, model.ending) }
    }
    case 'wish-expired':
      if (model.wish?.how !== 'shutdown' || model.ending) return model
      return { ...withRunState({ ...model, wish: null }, model.runState ?? 'running'), detail: event.detail }
    case 'wish-void':
      if (model.wish?.how !== 'shutdown' || model.ending) return model
      return withRunState({ ...model, wish: null }, model.runState ?? 'running')
    case 'ending':
      // An end by poweroff needs no second reason.
      if (!model.process || model.ending || model.wish?.how === 'poweroff') return model
      return {
        ...model,
        ending: event.ending,
        state: model.state === 'starting' ? 'starting' : 'stopping',
        detail: stoppingDetail(model.wish, event.ending),
      }
    case 'silent':
      if (!model.process || model.state === 'starting') return model
      // While its power is cut nobody expects an answer.
      if (model.wish?.how === 'poweroff') return model
      return { ...model, state: 'unmanageable', detail: event.detail }
    case 'answers':
      if (model.state !== 'unmanageable') return model
      return withRunState({ ...model, detail: null }, event.runState)
    case 'poweroff-failed':
      if (model.wish?.how !== 'poweroff') return model
      return { ...model, wish: null, state: 'unmanageable', detail: event.detail }
    case 'found-ended':
      return model.process ? model : { ...initialModel(event.exit) }
    case 'exited': {
      if (!model.process) return model
      const crashed = event.exit.kind === 'crash'
      return { ...initialModel(event.exit), state: crashed ? 'crashed' : 'off' }
    }
  }
}
