/**
 * The search line of the VM list: words, and `key:value` filters. `"two words"` stay together, a leading `-` excludes.
 * Pure; the same text stands in the address bar.
 */
import type { Vm } from '../schema/vm-state.ts'

export const SEARCH_KEYS = ['state', 'owner', 'project', 'tag', 'guest', 'accel', 'needs'] as const
export type SearchKey = (typeof SEARCH_KEYS)[number]

export interface SearchTerm {
  /** Null: a word that may stand anywhere. */
  readonly key: SearchKey | null
  /** Lower case. */
  readonly value: string
  readonly negated: boolean
}

const isKey = (text: string): text is SearchKey => SEARCH_KEYS.some((key) => key === text)

/** One term: optional minus, optional key, then a quoted or a plain value. */
const TERM = /(-?)(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/giu

/** Splits a search line. Never fails: an unknown key is a word, an open quote ends with the line, empty terms vanish. */
export function parseSearch(text: string): SearchTerm[] {
  const terms: SearchTerm[] = []
  for (const [whole, minus, rawKey, quoted, plain] of text.matchAll(TERM)) {
    const key = rawKey?.toLowerCase()
    const value = (quoted ?? plain ?? '').toLowerCase()
    if (key !== undefined && !isKey(key)) {
      const word = whole.replace(/^-/, '').toLowerCase()
      terms.push({ key: null, value: word, negated: minus === '-' })
    } else if (value !== '') terms.push({ key: key ?? null, value, negated: minus === '-' })
  }
  return terms
}

/** The line that parses to these terms. */
export function formatSearch(terms: readonly SearchTerm[]): string {
  return terms
    .map(({ key, value, negated }) => {
      const quoted = /[\s"]/u.test(value) || (key === null && /^-|^[a-z]+:/iu.test(value))
      return `${negated ? '-' : ''}${key === null ? '' : `${key}:`}${quoted ? `"${value.replaceAll('"', '')}"` : value}`
    })
    .join(' ')
}

/** A lease that ends soon or has ended waits for its owner; null: none does. An archived VM waits for nobody. */
export function leaseNeeds({ lab }: Pick<Vm, 'lab'>): 'warned' | 'suspended' | null {
  const phase = lab?.lease?.phase
  return phase === 'warned' || phase === 'suspended' ? phase : null
}

/** Whether something about a VM waits for a person. */
export const needsAttention = (vm: Pick<Vm, 'state' | 'stateDetail' | 'pending'>): boolean =>
  vm.state === 'crashed' ||
  vm.state === 'unmanageable' ||
  vm.pending.length > 0 ||
  (vm.state === 'paused' && vm.stateDetail !== null)

function holds(vm: Vm, { key, value }: SearchTerm, me: string | null): boolean {
  switch (key) {
    case null:
      return [
        vm.name,
        vm.spec.description,
        vm.spec.guest,
        vm.owner.name,
        vm.project?.name ?? '',
        ...vm.spec.tags,
        ...(vm.live?.addresses ?? []),
      ].some((text) => text.toLowerCase().includes(value))
    case 'state':
      return vm.state.startsWith(value)
    case 'owner':
      return vm.owner.name.toLowerCase() === (value === 'me' ? me?.toLowerCase() : value)
    // `none`: in no project.
    case 'project':
      return (vm.project?.name.toLowerCase() ?? 'none') === value
    case 'tag':
      return vm.spec.tags.some((tag) => tag.toLowerCase() === value)
    case 'guest':
      return vm.spec.guest === value
    case 'accel':
      return (vm.accelerator.actual ?? 'none') === value
    case 'needs':
      return (value === 'you' || value === 'attention') && (needsAttention(vm) || leaseNeeds(vm) !== null)
  }
}

/**
 * Whether a VM answers a search. Words must all hold; of several values of one key any may (`state:off state:crashed`);
 * nothing excluded may hold. `me` is the reader's user name.
 */
export function matchesSearch(vm: Vm, terms: readonly SearchTerm[], me: string | null): boolean {
  const anyOf = new Map<SearchKey, boolean>()
  for (const term of terms) {
    const held = holds(vm, term, me)
    if (term.negated || term.key === null) {
      if (held === term.negated) return false
      // A VM carries several tags, so several wanted tags mean all of them.
    } else if (term.key === 'tag') {
      if (!held) return false
    } else anyOf.set(term.key, (anyOf.get(term.key) ?? false) || held)
  }
  return [...anyOf.values()].every(Boolean)
}

/** The line with a `key:value` filter put in, or taken out when it is there already. */
export function toggleFilter(text: string, key: SearchKey, value: string): string {
  const terms = parseSearch(text)
  const same = (term: SearchTerm) => term.key === key && term.value === value.toLowerCase() && !term.negated
  return formatSearch(
    terms.some(same)
      ? terms.filter((term) => !same(term))
      : [...terms, { key, value: value.toLowerCase(), negated: false }],
  )
}
