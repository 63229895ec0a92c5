/** What the command palette offers, and which of it a query means. Pure. */

export interface PaletteEntry {
  readonly id: string
  readonly group: 'pages' | 'vms' | 'actions'
  readonly label: string
  /** Further words it is found by. */
  readonly keywords?: string
  readonly hint?: string
  readonly run: () => void
}

/** How well `text` answers `query`: 0 not at all; beginning beats beginning of a word beats anywhere. */
export function rank(text: string, query: string): number {
  const haystack = text.toLowerCase()
  let score = 0
  for (const word of query.toLowerCase().split(/\s+/)) {
    if (word === '') continue
    const at = haystack.indexOf(word)
    if (at < 0) return 0
    score += at === 0 ? 4 : /[\s._-]/.test(haystack[at - 1] ?? '') ? 3 : 1
  }
  return score
}

const ORDER: Record<PaletteEntry['group'], number> = { pages: 0, vms: 1, actions: 2 }

/** Entries that answer the query, grouped, best first within a group; all when the query is empty. */
export function findEntries<E extends PaletteEntry>(entries: readonly E[], query: string, limit = 40): E[] {
  const wanted = query.trim()
  const found =
    wanted === ''
      ? entries.map((entry) => ({ entry, score: 0 }))
      : entries
          .map((entry) => ({
            entry,
            score: Math.max(rank(entry.label, wanted) * 2, rank(`${entry.label} ${entry.keywords ?? ''}`, wanted)),
          }))
          .filter(({ score }) => score > 0)
  return found
    .sort((a, b) => ORDER[a.entry.group] - ORDER[b.entry.group] || b.score - a.score)
    .slice(0, limit)
    .map(({ entry }) => entry)
}
