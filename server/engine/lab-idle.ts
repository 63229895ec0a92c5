/** VMs that run and do nothing: seen with the evidence, told, and paused where the policy says so. */
import * as z from 'zod'
import { AWAKE, evidenceOf, type IdleSum, isActive, sumUp } from '#lib/lab/idle.ts'
import type { Idle } from '#lib/schema/lab.ts'
import type { ViewerCounts } from '#server/console/types.ts'
import { createNetworkWatch } from '#server/lab/network-look.ts'
import type { LabPolicies } from '#server/lab/policy.ts'
import type { LabRecords } from '#server/lab/records.ts'
import type { LabTime } from '#server/lab/time.ts'
import type { Store } from '#server/store/types.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

const HOUR_MS = 3_600_000
const KEY = 'lab-idle'
const SAVE_EVERY_MS = 10 * 60_000
const BY = 'the rule for idle VMs'

const Sum = z.object({
  idleMs: z.number(),
  cpuLoad: z.number(),
  bytesPerSecond: z.number().nullable(),
  countsConnections: z.boolean(),
  /** When it was first shown as idle; null: not yet. */
  since: z.string().nullable(),
})
type Sum = z.output<typeof Sum>
const Document = z.object({ v: z.literal(1), vms: z.record(z.string(), Sum) })

export interface IdleDeps {
  readonly store: Store
  readonly lab: LabRecords
  readonly policies: LabPolicies
  readonly records: VmRecords
  readonly supervisor: Pick<Supervisor, 'runtime' | 'pause' | 'resume' | 'work'>
  readonly viewers: ViewerCounts
  readonly journal: Journal
  readonly busy: Pick<VmBusy, 'get'>
  readonly time: LabTime
  /** Most time that one look may stand for. */
  readonly longestLookMs: number
  readonly onChange: (vmId: string) => void
  readonly warn: (message: string, error?: unknown) => void
}

export interface IdleWatch {
  view(vmId: string): Idle | null
  /** For `Supervisor.onChange`: the highest load between two looks counts. */
  runtimeChanged(vmId: string, runtime: VmRuntime): void
  /** Somebody looks: it is not idle, and wakes where it was paused for that. */
  viewersChanged(vmId: string): void
  forget(vmId: string): void
  tick(): Promise<void>
  close(): void
}

export function createIdleWatch(deps: IdleDeps): IdleWatch {
  const { store, lab, policies, records, supervisor, journal, time, warn } = deps
  const network = createNetworkWatch(supervisor)
  const parsed = Document.safeParse(store.get('meta', KEY)?.value)
  const sums = new Map<string, Sum>(parsed.success ? Object.entries(parsed.data.vms) : [])
  const peaks = new Map<string, number>()
  let lastMs = time.steadyMs()
  let savedMs = lastMs

  const save = (): void => {
    savedMs = time.steadyMs()
    try {
      const vms = Object.fromEntries([...sums].filter(([, { idleMs }]) => idleMs > 0))
      store.put('meta', KEY, { v: 1, vms })
    } catch (error) {
      // Costs some idle time after the next restart, nothing else.
      warn('How long VMs have been idle could not be saved.', error)
    }
  }
  const write = (record: VmRecord, what: string, text: string, result: 'ok' | 'info' | 'failed'): void =>
    journal.write({
      ...{ what, text, result },
      caller: null,
      who: 'idle',
      topic: 'vm',
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    })
  const afterMs = () => policies.read().policy.idle.afterHours * HOUR_MS
  const pauseMs = () => afterMs() + policies.read().policy.idle.warnHours * HOUR_MS

  const awake = (vmId: string): void => {
    const was = sums.get(vmId)
    sums.delete(vmId)
    if (was !== undefined && was.since !== null) deps.onChange(vmId)
  }

  const wake = (vmId: string): void => {
    const record = records.get(vmId)
    if (record === null || lab.of(vmId).idlePaused === null) return
    lab.change(vmId, { idlePaused: null })
    // A lease that is over keeps it paused.
    const { lease } = lab.of(vmId)
    if (lease !== null && (lease.phase === 'suspended' || lease.phase === 'archived')) return
    if (supervisor.runtime(vmId).state !== 'paused') return
    supervisor
      .resume(vmId, 'a viewer')
      .then(() => write(record, 'vmIdleWoken', `${record.spec.name} goes on: somebody opened its console.`, 'ok'))
      .catch((error: unknown) => warn(`${record.spec.name} was paused as idle and could not be resumed.`, error))
  }

  const pause = async (record: VmRecord, sum: Sum): Promise<void> => {
    const { id } = record
    // Long work would be held up; it is asked again at the next look.
    if (deps.busy.get(id) !== null) return
    try {
      const evidence = evidenceOf(sum)
      // First, so that a viewer wakes it whatever happens in between.
      lab.change(id, {
        idlePaused: { at: new Date(time.wallMs()).toISOString(), since: sum.since ?? '', evidence },
      })
      await supervisor.pause(id, BY)
      sums.delete(id)
      write(record, 'vmIdlePaused', `${record.spec.name} was paused because it was idle. ${evidence}`, 'ok')
      deps.onChange(id)
    } catch (error) {
      lab.change(id, { idlePaused: null })
      if (!(error instanceof EngineError)) warn(`${record.spec.name} is idle and could not be paused.`, error)
    }
  }

  const look = async (record: VmRecord, ms: number): Promise<void> => {
    const { id } = record
    const runtime = supervisor.runtime(id)
    if (runtime.state !== 'running') {
      if (lab.of(id).idlePaused !== null && runtime.state !== 'paused') lab.change(id, { idlePaused: null })
      sums.delete(id)
      network.forget(id)
      return
    }
    // Somebody resumed it.
    if (lab.of(id).idlePaused !== null) lab.change(id, { idlePaused: null })
    const { cpuPercent, networkKBps, action } = policies.read().policy.idle
    const rest = { cpuLoad: cpuPercent / 100, bytesPerSecond: networkKBps * 1000 }
    const { vnc, serial } = deps.viewers.viewers(id)
    const cpuLoad = peaks.get(id) ?? runtime.live?.cpuLoad ?? null
    peaks.delete(id)
    const quiet = { cpuLoad, viewers: vnc + serial, ms, bytesPerSecond: null, connections: null }
    // QEMU is asked about one that the rest says is idle alone.
    const seen = await network.look(id, runtime, time.steadyMs(), !isActive(quiet, rest))
    const before = sums.get(id)
    const sum: IdleSum = sumUp(before ?? AWAKE, { ...quiet, ...seen }, rest)
    if (sum.idleMs === 0) {
      awake(id)
      return
    }
    const isIdle = sum.idleMs >= afterMs()
    const since = before?.since ?? (isIdle ? new Date(time.wallMs() - sum.idleMs).toISOString() : null)
    const next: Sum = { ...sum, since }
    sums.set(id, next)
    if (since === null) return
    if (before?.since == null) {
      if (action !== 'show') {
        const then = action === 'pause' ? ' It will be paused unless somebody uses it.' : ''
        write(record, 'vmIdle', `${record.spec.name} is idle. ${evidenceOf(sum)}${then}`, 'info')
      }
      deps.onChange(id)
    } else if (evidenceOf(before) !== evidenceOf(sum)) deps.onChange(id)
    if (action === 'pause' && sum.idleMs >= pauseMs()) await pause(record, next)
  }

  return {
    view(vmId) {
      const { idlePaused } = lab.of(vmId)
      if (idlePaused !== null)
        return {
          since: idlePaused.since === '' ? idlePaused.at : idlePaused.since,
          evidence: idlePaused.evidence,
          pausesAt: null,
          paused: true,
        }
      const sum = sums.get(vmId)
      if (sum === undefined || sum.since === null) return null
      const pausesMs = Date.parse(sum.since) + pauseMs()
      return {
        since: sum.since,
        evidence: evidenceOf(sum),
        pausesAt: policies.read().policy.idle.action === 'pause' ? new Date(pausesMs).toISOString() : null,
        paused: false,
      }
    },
    runtimeChanged(vmId, { live }) {
      if (live?.cpuLoad != null) peaks.set(vmId, Math.max(peaks.get(vmId) ?? 0, live.cpuLoad))
    },
    viewersChanged(vmId) {
      const { vnc, serial } = deps.viewers.viewers(vmId)
      if (vnc + serial === 0) return
      awake(vmId)
      wake(vmId)
    },
    forget(vmId) {
      sums.delete(vmId)
      peaks.delete(vmId)
      network.forget(vmId)
    },
    async tick() {
      const now = time.steadyMs()
      // A look stands for the time since the last one, but not for a night in which nobody looked.
      const ms = Math.min(now - lastMs, deps.longestLookMs)
      lastMs = now
      for (const record of records.all()) await look(record, ms)
      if (now - savedMs >= SAVE_EVERY_MS) save()
    },
    close: save,
  }
}
