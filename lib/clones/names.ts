/** Names of clones. Pure. */

/** Not longer than a VM's name may be. */
const NAME_MAX = 64

/** What the pattern comes to for one of several. */
export function cloneName(pattern: string, source: string, index: number, count: number): string {
  const whole = count > 1 && !pattern.includes('{index}') ? `${pattern}-{index}` : pattern
  return whole.replaceAll('{name}', source).replaceAll('{index}', String(index)).slice(0, NAME_MAX).trimEnd()
}

/** Every name and its index, in order. */
export function cloneNames(
  pattern: string,
  source: string,
  firstIndex: number,
  count: number,
): { readonly name: string; readonly index: number }[] {
  return Array.from({ length: count }, (_, n) => ({
    index: firstIndex + n,
    name: cloneName(pattern, source, firstIndex + n, count),
  }))
}

/** A name for the next clone that none of these has: `web clone`, `web clone 2`. */
export function proposedName(source: string, taken: ReadonlySet<string>): string {
  const base = `${source.slice(0, NAME_MAX - 10)} clone`
  for (let n = 1; ; n += 1) {
    const name = n === 1 ? base : `${base} ${n}`
    if (!taken.has(name.toLowerCase())) return name
  }
}
