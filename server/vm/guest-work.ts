/** The hold on a guest as long work sees it. */
import { commandTimeoutMs } from '#server/qmp/timeouts.ts'
import type { Guest } from './guest.ts'
import type { GuestWork } from './work.ts'

/** @param uid user QEMU runs as; null: the dashboard's own */
export function guestWork(guest: Guest, uid: number | null, changed: () => void): GuestWork {
  const signal = guest.gone
  return {
    vmId: guest.vmId,
    signal,
    uid,
    get spec() {
      return guest.record?.spec ?? null
    },
    get plan() {
      return guest.record?.plan ?? null
    },
    keepPlan(plan) {
      guest.keepRecord({ plan })
      changed()
    },
    get agent() {
      return guest.agentOpen === null ? null : { path: guest.paths.agent, open: guest.agentOpen }
    },
    get runState() {
      return guest.runState
    },
    ask: (command, args, options = {}) =>
      guest.ask(command, args === undefined ? undefined : { ...args }, {
        timeoutMs: commandTimeoutMs(command),
        ...options,
        signal: options.signal === undefined ? signal : AbortSignal.any([options.signal, signal]),
      }),
    events: (names) => guest.mustQmp().events(names),
    onEvent(listener) {
      guest.eventListeners.add(listener)
      return () => guest.eventListeners.delete(listener)
    },
    readRunState: () => guest.readRunState(),
  }
}
