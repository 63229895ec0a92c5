/** Small statistics and the row format of `npm run bench -- --json FILE`. */

export interface Row {
  readonly name: string
  /** Median of ours, in `unit`. */
  readonly ours: number
  readonly peer: number
  readonly peerName: string
  /** ours / peer: lower is better. */
  readonly ratio: number
  readonly unit: string
  /** Samples behind each median. */
  readonly n: number
}

export function median(samples: readonly number[]): number {
  if (samples.length === 0) throw new Error('median of nothing')
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** Nearest-rank percentile, `p` from 0 to 100. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))] ?? Number.NaN
}

export function row(
  name: string,
  unit: string,
  ours: readonly number[],
  peerName: string,
  peer: readonly number[],
): Row {
  const o = median(ours)
  const p = median(peer)
  return {
    name,
    ours: round(o),
    peer: round(p),
    peerName,
    ratio: round(o / p),
    unit,
    n: Math.min(ours.length, peer.length),
  }
}

/** Four significant digits: more would be noise. */
export function round(value: number): number {
  return value === 0 ? 0 : Number(value.toPrecision(4))
}

/** Runs each contender once per round, in turn, so that drift of the machine hits all alike. The first round warms up and is dropped. */
export async function interleave<K extends string>(
  rounds: number,
  contenders: Record<K, () => Promise<number>>,
): Promise<Record<K, number[]>> {
  const names = Object.keys(contenders) as K[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>
  for (let round = -1; round < rounds; round++) {
    for (const name of names) {
      const value = await contenders[name]()
      if (round >= 0) samples[name].push(value)
    }
  }
  return samples
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now()
  await work()
  return performance.now() - before
}
