/**
 * How a lease goes: active, warned, suspended, archived. Pure; all times are milliseconds of a clock that nobody sets
 * (`server/auth/steady-clock.ts`), so that a wall clock put forward or back by a day ends nothing.
 *
 *   active ──warn──▶ warned ──suspend──▶ suspended ──archive──▶ archived
 *      ▲               │                    │                     │
 *      └───────────────┴──── a later end ───┴─────────────────────┘
 *
 * A step that stops something never comes at once: a warning stands for `NOTICE_MS` at least, whatever time has passed
 * while nobody looked, and nothing is stopped before `settledMs`, a while after the dashboard's start.
 */
import type { LeasePhase } from '../schema/lab.ts'

export type LeaseStep = 'warn' | 'suspend' | 'archive'

export interface LeaseState {
  readonly phase: LeasePhase
  /** Null: no end. */
  readonly endMs: number | null
  /** When this phase began. */
  readonly phaseMs: number
  /** Begun and not known to be done: a crash came between, or the guest could not be stopped yet. */
  readonly todo: 'suspend' | 'archive' | null
}

export interface LeaseRules {
  readonly warnMs: number
  readonly graceMs: number
}

const HOUR = 3_600_000
/** A warning stands so long at least. Also the shortest lease. */
export const NOTICE_MS = HOUR
/** A suspended VM stays so at least so long, whatever the rule says. */
const SHORTEST_GRACE_MS = HOUR

export const NO_LEASE: Omit<LeaseState, 'phaseMs'> = { phase: 'active', endMs: null, todo: null }

/** The step that follows and when; null when none does. */
export function nextStep(
  lease: LeaseState,
  rules: LeaseRules,
  settledMs: number,
): { readonly step: LeaseStep; readonly atMs: number } | null {
  const { phase, endMs, phaseMs, todo } = lease
  if (endMs === null || todo !== null) return null
  switch (phase) {
    case 'active':
      return { step: 'warn', atMs: endMs - Math.max(rules.warnMs, NOTICE_MS) }
    case 'warned':
      return { step: 'suspend', atMs: Math.max(endMs, phaseMs + NOTICE_MS, settledMs) }
    case 'suspended':
      return { step: 'archive', atMs: Math.max(phaseMs + Math.max(rules.graceMs, SHORTEST_GRACE_MS), settledMs) }
    case 'archived':
      return null
  }
}

export function dueStep(lease: LeaseState, rules: LeaseRules, nowMs: number, settledMs: number): LeaseStep | null {
  const next = nextStep(lease, rules, settledMs)
  return next !== null && next.atMs <= nowMs ? next.step : null
}

const AFTER = { warn: 'warned', suspend: 'suspended', archive: 'archived' } as const

/** The lease once a step has begun. Stored before anything is done to the guest, so that no step comes twice. */
export const advanced = (lease: LeaseState, step: LeaseStep, nowMs: number): LeaseState => ({
  ...lease,
  phase: AFTER[step],
  phaseMs: nowMs,
  todo: step === 'warn' ? null : step,
})

export const settled = (lease: LeaseState): LeaseState => ({ ...lease, todo: null })

/** With another end, from whatever phase. */
export const renewed = (endMs: number | null, nowMs: number): LeaseState => ({ ...NO_LEASE, endMs, phaseMs: nowMs })

export interface Reach {
  /** Length of one extension. */
  readonly byMs: number
  /** How far ahead the end may lie; null: no limit. */
  readonly maxMs: number | null
}

/** Where one extension leads: on from the end, or from now where it has passed. */
export function extendedEnd(lease: LeaseState, { byMs, maxMs }: Reach, nowMs: number): number {
  const isOver = lease.phase === 'suspended' || lease.phase === 'archived'
  const from = isOver ? nowMs : Math.max(lease.endMs ?? nowMs, nowMs)
  const wished = from + byMs
  return maxMs === null ? wished : Math.min(wished, nowMs + maxMs)
}

/** Steps after which the VM may not run. */
export const isOver = (lease: Pick<LeaseState, 'phase'>): boolean =>
  lease.phase === 'suspended' || lease.phase === 'archived'
