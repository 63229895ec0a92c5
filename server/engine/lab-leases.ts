/**
 * Leases of VMs: the steps of `lib/lab/lease.ts`, carried out. A step is stored before anything is done to the guest and
 * told once it is done, both together with the line of the log, so that a crash at any moment neither loses nor repeats
 * it: what is found begun goes on.
 */
import { may } from '#lib/auth/privileges.ts'
import {
  advanced,
  dueStep,
  extendedEnd,
  isOver,
  type LeaseRules,
  type LeaseState,
  type LeaseStep,
  NOTICE_MS,
  nextStep,
  renewed,
  settled,
} from '#lib/lab/lease.ts'
import type { Lease, LeaseChoices, LeaseInput } from '#lib/schema/lab.ts'
import type { LabPolicies } from '#server/lab/policy.ts'
import type { LabRecords, StoredLease } from '#server/lab/records.ts'
import { inWords, type LabTime } from '#server/lab/time.ts'
import type { Store } from '#server/store/types.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import { createKeyedLock } from './keyed-lock.ts'
import type { OrderlyOffs } from './lab-off.ts'
import type { Caller } from './types.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

const HOUR_MS = 3_600_000
/** One extension where the host has no default length. */
const EXTENSION_MS = 7 * 24 * HOUR_MS
/** A guest whose lease is over has so long to shut down. */
const OFF_AFTER_MS = 10 * 60_000
const FURTHEST_MS = 10 * 8784 * HOUR_MS
const BY = 'the end of its lease'

/** While it is in one of these, a step waits: what the guest did before would be told wrong. */
const CHANGING: ReadonlySet<string> = new Set(['starting', 'stopping', 'saving', 'migrating', 'unmanageable'])

export interface LeaseDeps {
  readonly store: Store
  readonly lab: LabRecords
  readonly policies: LabPolicies
  readonly records: VmRecords
  readonly supervisor: Pick<Supervisor, 'runtime' | 'pause' | 'resume'>
  readonly journal: Journal
  readonly time: LabTime
  readonly offs: OrderlyOffs
  readonly isTemplate: (vmId: string) => boolean
  readonly start: (caller: Caller, vmId: string) => Promise<unknown>
  readonly warn: (message: string, error?: unknown) => void
}

export interface Leases {
  /** A VM about which nothing was decided yet gets what the host gives. */
  begin(record: VmRecord): void
  /** Those that exist stay without a lease: a new rule must not end what nobody knew would end. */
  spareExisting(): void
  view(vmId: string): Lease | null
  /** Why it may not run, and what to do; null: it may. */
  blocked(vmId: string): string | null
  choices(caller: Caller, record: VmRecord): LeaseChoices
  /** One click: a later end, and back to what it did before. */
  extend(caller: Caller, record: VmRecord): Promise<void>
  set(caller: Caller, record: VmRecord, input: LeaseInput): Promise<void>
  tick(): Promise<void>
}

export function createLeases(deps: LeaseDeps): Leases {
  const { store, lab, policies, records, supervisor, journal, time, offs } = deps
  const locks = createKeyedLock()
  /** Told once, not at each try. */
  const failed = new Set<string>()

  const rules = (): LeaseRules => {
    const { warnHours, graceHours } = policies.read().policy.lease
    return { warnMs: warnHours * HOUR_MS, graceMs: graceHours * HOUR_MS }
  }
  const maxMs = (): number | null => {
    const { maxHours } = policies.read().policy.lease
    return maxHours === null ? null : maxHours * HOUR_MS
  }
  const write = (record: VmRecord, what: string, text: string, result: 'ok' | 'info' | 'failed'): void =>
    journal.write({
      ...{ what, text, result },
      caller: null,
      who: 'lease',
      topic: 'vm',
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
      durable: true,
    })
  const storedOf = (
    { phase, endMs, phaseMs, todo }: LeaseState,
    endsAt: string | null,
    ran: StoredLease['ran'] = null,
  ): StoredLease => ({
    ...{ phase, endMs, phaseMs, todo, endsAt, ran },
    phaseAt: new Date(time.wallMs()).toISOString(),
    done: null,
  })

  const warn = (record: VmRecord, lease: StoredLease): void =>
    store.transaction(() => {
      const endsAt = time.dateOf(lease.endMs ?? 0, lease.endsAt)
      const how = policies.read().policy.lease.suspend === 'pause' ? 'paused' : 'shut down'
      write(
        record,
        'vmLeaseWarned',
        `The lease of ${record.spec.name} ends on ${inWords(endsAt)}; it will be ${how} then unless the lease is extended.`,
        'info',
      )
      // Last: what memory holds must not run ahead of a store that refused the line.
      lab.change(record.id, { lease: storedOf(advanced(lease, 'warn', time.steadyMs()), lease.endsAt) })
    })

  const begun = (record: VmRecord, lease: StoredLease, step: 'suspend' | 'archive'): boolean => {
    const { state } = supervisor.runtime(record.id)
    if (CHANGING.has(state)) return false
    const document = lab.of(record.id)
    const ran =
      step === 'archive' && lease.ran !== null
        ? lease.ran
        : state === 'running' || document.idlePaused !== null
          ? 'running'
          : state === 'paused'
            ? 'paused'
            : 'off'
    lab.change(record.id, { lease: storedOf(advanced(lease, step, time.steadyMs()), lease.endsAt, ran) })
    return true
  }

  /** @returns what was done, as a sentence; null: it cannot be told yet, try again */
  const stop = async (record: VmRecord, step: 'suspend' | 'archive'): Promise<string | null> => {
    const { state } = supervisor.runtime(record.id)
    if (state === 'off' || state === 'crashed') return step === 'suspend' ? 'It was off.' : 'It is off.'
    if (step === 'suspend' && state === 'paused') return 'It was paused already.'
    if (CHANGING.has(state)) return null
    if (step === 'suspend' && policies.read().policy.lease.suspend === 'pause') {
      await supervisor.pause(record.id, BY)
      return 'It was paused; its memory is kept.'
    }
    await offs.ask(record.id, BY, OFF_AFTER_MS)
    return 'It was asked to shut down; its power is cut if it does not.'
  }

  const carryOut = (vmId: string): Promise<void> =>
    locks.run(vmId, async () => {
      const record = records.get(vmId)
      const step = lab.of(vmId).lease?.todo ?? null
      if (record === null || step === null) return
      const { name } = record.spec
      try {
        const done = await stop(record, step)
        const { lease } = lab.of(vmId)
        if (done === null || lease === null) return
        store.transaction(() => {
          if (step === 'suspend') write(record, 'vmLeaseSuspended', `The lease of ${name} has ended. ${done}`, 'ok')
          else
            write(
              record,
              'vmLeaseArchived',
              `${name} is archived: it stays off and does not start by itself; its disks are kept. ${done}`,
              'ok',
            )
          lab.change(vmId, { lease: { ...lease, ...settled(lease), done } })
        })
        failed.delete(`${vmId} ${step}`)
      } catch (error) {
        deps.warn(`The lease of ${name} has ended and it could not be stopped; it is tried again.`, error)
        const key = `${vmId} ${step}`
        if (failed.has(key)) return
        failed.add(key)
        const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
        write(record, 'vmLeaseFailed', `${name} could not be stopped at the end of its lease: ${why}`, 'failed')
      }
    })

  const take = async (record: VmRecord, step: LeaseStep): Promise<void> => {
    await locks.run(record.id, async () => {
      const { lease } = lab.of(record.id)
      // Somebody may have extended it while this waited.
      if (lease === null || dueStep(lease, rules(), time.steadyMs(), time.settledMs) !== step) return
      if (step === 'warn') warn(record, lease)
      else begun(record, lease, step)
    })
    if (step !== 'warn') await carryOut(record.id)
  }

  /** Whatever way led to it: a VM whose lease is over does not run on. */
  const runsOver = (vmId: string, lease: StoredLease): boolean =>
    isOver(lease) && lab.of(vmId).off === null && supervisor.runtime(vmId).state === 'running'

  const assertMay = (caller: Caller): void => {
    if (!may(caller, 'vm.lease')) throw new EngineError('forbidden', 'You may look at leases but not change them.')
  }

  /** @param byWords for the log: `extended the lease of web-1 to 2026-12-04 18:00 UTC` */
  const renew = (caller: Caller, record: VmRecord, what: string, endOf: (lease: StoredLease | null) => number | null) =>
    locks.run(record.id, async () => {
      const { id } = record
      const before = lab.of(id).lease
      const now = time.steadyMs()
      const endMs = endOf(before)
      const endsAt = endMs === null ? null : time.dateOf(endMs)
      const wasOver = before !== null && isOver(before)
      store.transaction(() => {
        journal.write({
          what,
          text: `${caller.name} ${wasOver ? 'renewed' : 'set'} the lease of ${record.spec.name}: ${endsAt === null ? 'it has no end' : `it ends on ${inWords(endsAt)}`}.`,
          result: 'ok',
          caller,
          topic: 'vm',
          objectId: id,
          objectName: record.spec.name,
          ownerId: record.ownerId,
          durable: true,
        })
        lab.change(id, {
          lease: storedOf(renewed(endMs, now), endsAt),
          off: null,
          ...(wasOver && { idlePaused: null }),
        })
      })
      if (before?.phase !== 'suspended' || before.ran !== 'running') return
      const { state } = supervisor.runtime(id)
      if (state === 'paused') await supervisor.resume(id, caller.name)
      else if (state === 'off') await deps.start(caller, id)
    })

  const choices: Leases['choices'] = (caller, record) => {
    const nothing = { extendsTo: null, latest: null, mayRemove: false }
    if (!may(caller, 'vm.lease')) return { ...nothing, reason: 'You may look at leases but not change them.' }
    if (deps.isTemplate(record.id)) return { ...nothing, reason: 'A template has no lease.' }
    const isFree = may(caller, 'lab.manage')
    const max = isFree ? null : maxMs()
    const now = time.steadyMs()
    const lease = lab.of(record.id).lease ?? renewed(null, now)
    const { defaultHours } = policies.read().policy.lease
    const byMs = defaultHours === null ? EXTENSION_MS : defaultHours * HOUR_MS
    const to = extendedEnd(lease, { byMs, maxMs: max }, now)
    const isNoGain = lease.endMs !== null && !isOver(lease) && to - lease.endMs < 60_000
    return {
      extendsTo: isNoGain ? null : time.dateOf(to),
      latest: max === null ? null : time.dateOf(now + max),
      mayRemove: isFree || (max === null && defaultHours === null),
      reason: isNoGain ? 'It ends as late as this host allows already; an administrator may set a later end.' : null,
    }
  }

  return {
    begin(record) {
      const { defaultHours } = policies.read().policy.lease
      if (defaultHours === null || lab.has(record.id)) return
      const now = time.steadyMs()
      const endMs = now + defaultHours * HOUR_MS
      lab.change(record.id, { lease: storedOf(renewed(endMs, now), time.dateOf(endMs)) })
    },
    spareExisting: () =>
      store.transaction(() => {
        for (const { id } of records.all()) if (!lab.has(id)) lab.change(id, {})
      }),
    view(vmId) {
      const { lease } = lab.of(vmId)
      if (lease === null || (lease.endMs === null && lease.phase === 'active')) return null
      const next = nextStep(lease, rules(), time.settledMs)
      return {
        phase: lease.phase,
        endsAt: lease.endMs === null ? null : time.dateOf(lease.endMs, lease.endsAt),
        since: lease.phaseAt,
        next:
          next === null
            ? null
            : { step: next.step, at: time.dateOf(next.atMs, next.atMs === lease.endMs ? lease.endsAt : null) },
        done: lease.done,
      }
    },
    blocked(vmId) {
      const { lease } = lab.of(vmId)
      if (lease === null || !isOver(lease)) return null
      return lease.phase === 'archived'
        ? `It is archived since ${inWords(lease.phaseAt)}; extend its lease to take it out of the archive.`
        : `Its lease ended on ${inWords(lease.phaseAt)}; extend it first.`
    },
    choices,
    async extend(caller, record) {
      assertMay(caller)
      const { extendsTo, reason } = choices(caller, record)
      if (extendsTo === null) throw new EngineError('conflict', reason ?? 'This lease cannot be extended.')
      await renew(caller, record, 'vmLeaseExtend', (lease) => {
        const { defaultHours } = policies.read().policy.lease
        return extendedEnd(
          lease ?? renewed(null, time.steadyMs()),
          {
            byMs: defaultHours === null ? EXTENSION_MS : defaultHours * HOUR_MS,
            maxMs: may(caller, 'lab.manage') ? null : maxMs(),
          },
          time.steadyMs(),
        )
      })
    },
    async set(caller, record, { endsAt }) {
      assertMay(caller)
      const refuse = (message: string): never => {
        throw new EngineError('bad_input', message, { field: 'endsAt' })
      }
      const { mayRemove, latest, reason } = choices(caller, record)
      if (deps.isTemplate(record.id)) throw new EngineError('conflict', reason ?? 'A template has no lease.')
      if (endsAt === null) {
        if (!mayRemove) refuse('On this host only an administrator may leave a VM without an end.')
        await renew(caller, record, 'vmLeaseSet', () => null)
        return
      }
      const endMs = time.steadyOf(endsAt)
      const now = time.steadyMs()
      // A minute for the way of the request.
      if (endMs < now + NOTICE_MS - 60_000) refuse('The end must be an hour away at least.')
      if (endMs > now + FURTHEST_MS) refuse('This end is too far away; leave the VM without one instead.')
      const max = maxMs()
      if (latest !== null && max !== null && endMs > now + max + 60_000)
        refuse(`The end may be ${inWords(latest)} at the latest; an administrator may set a later one.`)
      await renew(caller, record, 'vmLeaseSet', () => Math.max(endMs, now + NOTICE_MS))
    },
    async tick() {
      for (const record of records.all()) {
        this.begin(record)
        const { lease } = lab.of(record.id)
        if (lease === null || deps.isTemplate(record.id)) continue
        if (lease.todo !== null) await carryOut(record.id)
        else if (runsOver(record.id, lease)) {
          const step = lease.phase === 'archived' ? 'archive' : 'suspend'
          lab.change(record.id, { lease: { ...lease, todo: step } })
          await carryOut(record.id)
        } else {
          const step = dueStep(lease, rules(), time.steadyMs(), time.settledMs)
          if (step !== null) await take(record, step)
        }
      }
    },
  }
}
