/**
 * When a running VM counts as idle: CPU, network and viewers stayed below what the policy calls rest, for as long as it
 * asks. Time is summed up from looks, so neither a set clock nor a time nobody looked makes anything idle. Pure.
 */

/** What one look saw since the look before. */
export interface IdleLook {
  /** Most of the host's CPUs it used, 1 is one whole CPU; null: not known. */
  readonly cpuLoad: number | null
  /** Bytes a second on its bridges; null: it has none, or they cannot be read. */
  readonly bytesPerSecond: number | null
  /** Open connections through QEMU's own network; null: it has none, or QEMU did not say. */
  readonly connections: number | null
  readonly viewers: number
  readonly ms: number
}

export interface IdleRest {
  readonly cpuLoad: number
  readonly bytesPerSecond: number
}

export interface IdleSum {
  readonly idleMs: number
  readonly cpuLoad: number
  readonly bytesPerSecond: number | null
  /** Whether connections were counted at all. */
  readonly countsConnections: boolean
}

export const AWAKE: IdleSum = { idleMs: 0, cpuLoad: 0, bytesPerSecond: null, countsConnections: false }

export function isActive(look: IdleLook, rest: IdleRest): boolean {
  return (
    look.viewers > 0 ||
    look.cpuLoad === null ||
    look.cpuLoad > rest.cpuLoad ||
    (look.bytesPerSecond ?? 0) > rest.bytesPerSecond ||
    (look.connections ?? 0) > 0
  )
}

export function sumUp(sum: IdleSum, look: IdleLook, rest: IdleRest): IdleSum {
  if (isActive(look, rest)) return AWAKE
  const most = look.bytesPerSecond
  return {
    idleMs: sum.idleMs + look.ms,
    cpuLoad: Math.max(sum.cpuLoad, look.cpuLoad ?? 0),
    bytesPerSecond: most === null ? sum.bytesPerSecond : Math.max(sum.bytesPerSecond ?? 0, most),
    countsConnections: sum.countsConnections || look.connections !== null,
  }
}

/** What was seen, for people. */
export function evidenceOf({ cpuLoad, bytesPerSecond, countsConnections }: IdleSum): string {
  const network = [
    bytesPerSecond !== null && `at most ${(bytesPerSecond / 1000).toFixed(1)} kB/s on its bridges`,
    countsConnections && 'no open connection through its network',
  ].filter((part) => part !== false)
  return [
    `The CPU stayed at or below ${Math.ceil(cpuLoad * 100)} % of one`,
    network.length === 0 ? 'it has no network that could be measured' : network.join(', '),
    'and nobody watched its consoles.',
  ].join(', ')
}

/** Established TCP connections in the answer of `info usernet`. */
export function countConnections(text: string): number {
  return text.split('\n').filter((line) => /^\s*TCP\[ESTABLISHED\]/.test(line)).length
}
