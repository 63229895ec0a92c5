/**
 * Supervisor changes → events. A change of state goes out at once; live numbers alone at most once a second per VM.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'
import type { EventHub } from '#server/events/hub.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { EVERYTHING } from './access.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'
import type { VmViews } from './vm-views.ts'

const LIVE_EVERY_MS = 1000
/** People notice who comes and goes. */
const VIEWERS_EVERY_MS = 150

export interface VmAnnouncer {
  /** For `Supervisor.onChange`. */
  runtimeChanged(vmId: string, runtime: VmRuntime, exited: VmExit | null): void
  /** Viewers of a console came or went. */
  viewersChanged(vmId: string): void
  /** The definition changed or the VM has gone. */
  definitionChanged(record: VmRecord, gone: boolean): void
  close(): void
}

interface LastSent {
  atMs: number
  essence: string
  timer: NodeJS.Timeout | null
  dueMs: number
}

/** What must not wait: everything but the numbers. */
const essenceOf = (runtime: VmRuntime): string =>
  JSON.stringify([
    runtime.state,
    runtime.runState,
    runtime.since,
    runtime.detail,
    runtime.accelerator?.kind ?? null,
    runtime.lastExit?.at ?? null,
    runtime.live?.pid ?? null,
    runtime.live?.agent ?? null,
    runtime.live?.addresses ?? null,
  ])

export function createVmAnnouncer(records: VmRecords, views: VmViews, hub: EventHub): VmAnnouncer {
  const sent = new Map<string, LastSent>()

  const send = (record: VmRecord, entry: LastSent): void => {
    if (entry.timer !== null) clearTimeout(entry.timer)
    entry.timer = null
    entry.atMs = performance.now()
    hub.publish('vm', record.id, record.revision, views.view(record, EVERYTHING), { ownerId: record.ownerId })
  }
  const entryOf = (id: string): LastSent => {
    let entry = sent.get(id)
    if (entry === undefined) {
      entry = { atMs: Number.NEGATIVE_INFINITY, essence: '', timer: null, dueMs: 0 }
      sent.set(id, entry)
    }
    return entry
  }

  /** At once, or when so long has passed since the last event of this VM. */
  const sendSoon = (record: VmRecord, entry: LastSent, everyMs: number): void => {
    const dueMs = entry.atMs + everyMs
    if (entry.timer !== null) {
      if (entry.dueMs <= dueMs) return
      clearTimeout(entry.timer)
    }
    const waitMs = dueMs - performance.now()
    if (waitMs <= 0) {
      send(record, entry)
      return
    }
    entry.dueMs = dueMs
    entry.timer = setTimeout(() => {
      entry.timer = null
      const latest = records.get(record.id)
      if (latest !== null) send(latest, entry)
    }, waitMs)
    entry.timer.unref()
  }

  return {
    runtimeChanged(vmId, runtime, exited) {
      const record = records.get(vmId)
      if (record === null) return
      const entry = entryOf(vmId)
      const essence = essenceOf(runtime)
      if (exited !== null || essence !== entry.essence) {
        entry.essence = essence
        send(record, entry)
        return
      }
      sendSoon(record, entry, LIVE_EVERY_MS)
    },
    viewersChanged(vmId) {
      const record = records.get(vmId)
      if (record !== null) sendSoon(record, entryOf(vmId), VIEWERS_EVERY_MS)
    },
    definitionChanged(record, gone) {
      if (!gone) {
        send(record, entryOf(record.id))
        return
      }
      const timer = sent.get(record.id)?.timer
      if (timer) clearTimeout(timer)
      sent.delete(record.id)
      hub.publish('vm', record.id, null, undefined, { kind: 'gone', ownerId: record.ownerId })
    },
    close() {
      for (const { timer } of sent.values()) if (timer !== null) clearTimeout(timer)
      sent.clear()
    },
  }
}
