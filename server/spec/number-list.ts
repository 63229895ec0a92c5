/** Lists of numbers as people write them: `0-3,8`. */

/**
 * The numbers in ascending order, each once.
 * @returns null when a range runs backwards or the list holds more than 1024 numbers
 */
export function parseNumberList(text: string): readonly number[] | null {
  const numbers = new Set<number>()
  for (const part of text.split(',')) {
    const [first, last = first] = part.split('-')
    const from = Number(first)
    const to = Number(last)
    if (!Number.isInteger(from) || !Number.isInteger(to) || to < from || to - from >= MAX_NUMBERS) return null
    for (let n = from; n <= to; n += 1) numbers.add(n)
    if (numbers.size > MAX_NUMBERS) return null
  }
  return [...numbers].sort((a, b) => a - b)
}

const MAX_NUMBERS = 1024

/** Shortest text for the numbers, ranges first to last: `[0,1,2,8]` is `0-2,8`. */
export function numberListText(numbers: readonly number[]): string {
  return rangesOf(numbers).join(',')
}

/** The ranges of ascending numbers as texts: `[0,1,2,8]` is `['0-2', '8']`. */
export function rangesOf(numbers: readonly number[]): string[] {
  const ranges: [number, number][] = []
  for (const n of numbers) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === n - 1) last[1] = n
    else ranges.push([n, n])
  }
  return ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`))
}
