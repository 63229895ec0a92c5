/** Speed and time left of a job, from what it reported over the last seconds. Pure. */

/** Samples older than this tell nothing about the present speed. */
const WINDOW_MS = 10_000
/** Fewer milliseconds between first and last sample make a guess, not a speed. */
const MIN_SPAN_MS = 400

export class Rate {
  #samples: { atMs: number; bytes: number }[] = []

  /** @param bytes done since the start */
  add(atMs: number, bytes: number): void {
    const last = this.#samples.at(-1)
    // Starting over, for example with the next of several files.
    if (last !== undefined && bytes < last.bytes) this.#samples = []
    this.#samples.push({ atMs, bytes })
    while (this.#samples.length > 2 && atMs - (this.#samples[0]?.atMs ?? atMs) > WINDOW_MS) this.#samples.shift()
  }

  /** Bytes a second; null until it can be told. */
  get bytesPerSecond(): number | null {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || last.atMs - first.atMs < MIN_SPAN_MS) return null
    return ((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs)
  }

  secondsLeft(doneBytes: number, totalBytes: number | null): number | null {
    const rate = this.bytesPerSecond
    if (rate === null || rate <= 0 || totalBytes === null) return null
    return Math.max(0, Math.round((totalBytes - doneBytes) / rate))
  }
}
