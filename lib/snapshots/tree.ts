/** Snapshots as a tree, with the place the VM is at. Pure. */

export interface TreeItem {
  readonly id: string
  readonly parent: string | null
  readonly createdAt: string
}

export interface TreeNode<T extends TreeItem> {
  readonly item: T
  /** Oldest first; the present is not among them. */
  readonly children: readonly TreeNode<T>[]
  /** The VM is here: what it does from now on follows this one. */
  readonly isCurrent: boolean
  /** The present came about through it. */
  readonly isOnPath: boolean
}

const byAge = (a: TreeItem, b: TreeItem) =>
  a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : a.id < b.id ? -1 : 1

/** A parent that is not there, or that leads back to the item, counts as none: nothing is ever left out. */
export function snapshotTree<T extends TreeItem>(items: readonly T[], current: string | null): TreeNode<T>[] {
  const byId = new Map(items.map((item) => [item.id, item]))
  const parentOf = new Map<string, string | null>()
  for (const item of [...items].sort(byAge)) {
    let parent = item.parent !== null && byId.has(item.parent) ? item.parent : null
    for (let up = parent; up !== null; up = parentOf.get(up) ?? null) {
      if (up !== item.id) continue
      parent = null
      break
    }
    parentOf.set(item.id, parent)
  }
  const path = new Set<string>()
  for (let at = current; at !== null && byId.has(at); at = parentOf.get(at) ?? null) path.add(at)
  const childrenOf = Map.groupBy([...items].sort(byAge), (item) => parentOf.get(item.id) ?? null)
  const build = (parent: string | null): TreeNode<T>[] =>
    (childrenOf.get(parent) ?? []).map((item) => ({
      item,
      children: build(item.id),
      isCurrent: item.id === current,
      isOnPath: path.has(item.id),
    }))
  return build(null)
}

/** One that goes hands its children to its own parent, and the VM's place with them. */
export function withoutSnapshot<T extends TreeItem>(
  items: readonly T[],
  current: string | null,
  id: string,
): { readonly moved: readonly T[]; readonly parent: string | null; readonly current: string | null } {
  const gone = items.find((item) => item.id === id)
  const parent = gone?.parent ?? null
  return {
    moved: items.filter((item) => item.parent === id),
    parent,
    current: current === id ? parent : current,
  }
}

/** A name that is free, made of the time: `2026-11-27_14.05`, then `2026-11-27_14.05-2`. */
export function proposeName(at: Date, taken: ReadonlySet<string>): string {
  const base = at.toISOString().slice(0, 16).replace('T', '_').replace(':', '.')
  for (let n = 1; ; n += 1) {
    const name = n === 1 ? base : `${base}-${n}`
    if (!taken.has(name)) return name
  }
}
