/** What stands on what, and what may go. Pure. */
import type { Manifest, ManifestDisk } from './manifest.ts'

/** What of a backup the rules look at. */
export interface ChainMember {
  readonly id: string
  readonly manifest: Pick<Manifest, 'id' | 'parent' | 'createdAt'> & { readonly vm: { readonly id: string } }
}

/** A chain longer than this is not written; one that is longer is not read. */
export const MAX_CHAIN = 64

export type ChainResult<T> =
  | { readonly ok: true; readonly chain: readonly T[] }
  | { readonly ok: false; readonly reason: string }

/** From a backup down to the full one it stands on, newest first. */
export function chainOf<T extends ChainMember>(id: string, find: (id: string) => T | null): ChainResult<T> {
  const chain: T[] = []
  const seen = new Set<string>()
  for (let next: string | null = id; next !== null; ) {
    const member: T | null = find(next)
    if (member === null)
      return {
        ok: false,
        reason: chain.length === 0 ? 'There is no such backup.' : 'A backup it stands on is missing.',
      }
    if (seen.has(next)) return { ok: false, reason: 'Its backups stand on each other in a circle.' }
    if (chain.length >= MAX_CHAIN) return { ok: false, reason: `It stands on more than ${MAX_CHAIN} backups.` }
    if (chain[0] !== undefined && chain[0].manifest.vm.id !== member.manifest.vm.id)
      return { ok: false, reason: 'It stands on a backup of another VM.' }
    seen.add(next)
    chain.push(member)
    next = member.manifest.parent
  }
  return { ok: true, chain }
}

/** The files of one disk, newest first, ending at its full copy. */
export function diskChain<T extends { readonly manifest: Pick<Manifest, 'disks'> }>(
  chain: readonly T[],
  device: string,
): ChainResult<{ readonly member: T; readonly disk: ManifestDisk }> {
  const links: { member: T; disk: ManifestDisk }[] = []
  for (const member of chain) {
    const disk = member.manifest.disks.find((one) => one.device === device)
    if (disk === undefined) return { ok: false, reason: `A backup it stands on has no disk “${device}”.` }
    links.push({ member, disk })
    if (disk.kind === 'full') return { ok: true, chain: links }
  }
  return { ok: false, reason: `There is no full copy of the disk “${device}”.` }
}

/** Backups that stand on it directly. */
export function childrenOf<T extends ChainMember>(id: string, all: readonly T[]): T[] {
  return all.filter(({ manifest }) => manifest.parent === id)
}

/**
 * What retention may remove, in an order in which nothing is ever removed before what stands on it: everything of
 * `own` that is not in `kept`, and that no remaining backup stands on.
 */
export function removable<T extends ChainMember>(
  own: readonly T[],
  all: readonly T[],
  isKept: (member: T) => boolean,
): T[] {
  const left = new Set(all.map(({ id }) => id))
  const removed: T[] = []
  const candidates = own.filter((member) => !isKept(member))
  for (let found = true; found; ) {
    found = false
    for (const member of candidates) {
      if (!left.has(member.id)) continue
      if (all.some((other) => left.has(other.id) && other.manifest.parent === member.id)) continue
      left.delete(member.id)
      removed.push(member)
      found = true
    }
  }
  return removed
}
