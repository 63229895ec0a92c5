import type { ReadinessItem } from '../schema/host.ts'

export interface ReadinessGroup {
  readonly need: ReadinessItem['need']
  /** Name of a pick-one group; null for the others. */
  readonly name: string | null
  readonly items: readonly ReadinessItem[]
}

/** Required first, then each pick-one group, then optional; inside a group what is not ready comes first. Pure. */
export function groupReadiness(items: readonly ReadinessItem[]): ReadinessGroup[] {
  const rank = (item: ReadinessItem) => (item.state === 'ok' ? 1 : 0)
  const sorted = (group: ReadinessItem[]) => group.toSorted((a, b) => rank(a) - rank(b))
  const groups: ReadinessGroup[] = []
  const add = (need: ReadinessItem['need'], name: string | null) => {
    const members = items.filter((item) => item.need === need && (need !== 'pick-one' || item.group === name))
    if (members.length > 0) groups.push({ need, name, items: sorted(members) })
  }
  add('required', null)
  for (const name of new Set(items.filter((item) => item.need === 'pick-one').map((item) => item.group)))
    add('pick-one', name)
  add('optional', null)
  return groups
}
