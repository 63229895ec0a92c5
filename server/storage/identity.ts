/**
 * Which numeric users and groups guests run as when the dashboard is root.
 *
 * Every VM gets a uid (and gid of the same number) of its own, so that one escaped QEMU can neither signal, trace
 * nor read another. The numbers need no entry in /etc/passwd. One more gid, the first of the range, is given to
 * every QEMU as a supplementary group and lets it read library images and enter our directories, nothing else. The
 * upper half is for groups of those who read one layer that several disks stand on (`layer-readers.ts`). The last is
 * the dashboard's group: what belongs to a guest has it, so that the dashboard gets at it without being root.
 *
 * The range lies above container ranges (systemd: 524288 to 1879048191) and above the default id ranges of SSSD and
 * FreeIPA (up to 2000200000), and below systemd's foreign range (2147352576). See
 * https://systemd.io/UIDS-GIDS/. Inside a container whose user namespace maps fewer ids, a smaller range is taken.
 */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ownUid } from '#server/platform/privileges.ts'
import type { LaunchUser } from '#server/spec/types.ts'

interface IdRange {
  readonly base: number
  readonly size: number
}

const RANGES: readonly IdRange[] = [
  { base: 2_070_000_000, size: 1_000_000 },
  { base: 50_000, size: 9_000 },
]

export interface GuestIdentity {
  /** Group that may read library images; null when guests share the dashboard's user. */
  readonly readersGid: number | null
  /** The dashboard's own group, which may read and write what belongs to guests; null when they share its user. */
  readonly dashboardGid: number | null
  /** Whether it is a guest's uid. */
  isGuest(uid: number): boolean
  /** Lowest uid of the range that is not in `taken`; null when guests share the dashboard's user. */
  allocate(taken: ReadonlySet<number>): number | null
  /** Whether it is a group of those who read a layer. */
  isLayerGroup(gid: number): boolean
  /** Some gid of those for layers that is not in `taken`; null when none is left, or guests share the dashboard's user. */
  allocateLayerGroup(taken: ReadonlySet<number>): number | null
  /**
   * @param kvmGid group of /dev/kvm when the guest needs it, else null
   * @param layerGids groups of the layers that its disks stand on
   */
  launchUser(uid: number | null, kvmGid: number | null, layerGids: readonly number[]): LaunchUser | null
  /** One sentence for the host page. */
  readonly summary: string
}

const SHARED: GuestIdentity = {
  readersGid: null,
  dashboardGid: null,
  isGuest: () => false,
  allocate: () => null,
  isLayerGroup: () => false,
  allocateLayerGroup: () => null,
  launchUser: () => null,
  summary:
    'Guests run as the same user as the dashboard: a guest that breaks out of QEMU could read other guests’ disks. Run the dashboard as root to give each guest a user of its own.',
}

/**
 * Whose files are the dashboard's own: ours, and for root also those of the user that a dashboard of root's becomes, so that
 * one that stays root finds what one that did not has left.
 */
export const dashboardUids = (): number[] =>
  [ownUid(), guestIdentity(ownUid() === 0).dashboardGid].filter((uid) => uid !== null)

/** Whether a /proc/self/{uid,gid}_map covers the whole range. Pure. */
function isRangeMapped(map: string, range: IdRange): boolean {
  return map.split('\n').some((line) => {
    const [inside, , length] = line.trim().split(/\s+/).map(Number)
    if (inside === undefined || length === undefined) return false
    return inside <= range.base && inside + length >= range.base + range.size
  })
}

/** @param maps contents of /proc/self/uid_map and gid_map; read when omitted */
export function guestIdentity(isRoot: boolean, maps?: { uid: string; gid: string }): GuestIdentity {
  if (!isRoot) return SHARED
  const uidMap = maps?.uid ?? readFileSync('/proc/self/uid_map', 'utf8')
  const gidMap = maps?.gid ?? readFileSync('/proc/self/gid_map', 'utf8')
  const range = RANGES.find((r) => isRangeMapped(uidMap, r) && isRangeMapped(gidMap, r))
  if (range === undefined) {
    return {
      ...SHARED,
      summary:
        'Guests run as root: this container’s user namespace has no room for a user per guest. A guest that breaks out of QEMU owns the container.',
    }
  }
  const dashboardGid = range.base + range.size - 1
  const layerBase = range.base + range.size / 2
  return {
    readersGid: range.base,
    dashboardGid,
    isGuest: (uid) => uid > range.base && uid < layerBase,
    allocate(taken) {
      for (let uid = range.base + 1; uid < layerBase; uid++) if (!taken.has(uid)) return uid
      return null
    },
    isLayerGroup: (gid) => gid >= layerBase && gid < dashboardGid,
    allocateLayerGroup(taken) {
      // Anywhere: a guest that runs is still in the group of a layer that has gone, and must not meet its next bearer.
      const count = dashboardGid - layerBase
      const start = randomInt(count)
      for (let n = 0; n < count; n++) {
        const gid = layerBase + ((start + n) % count)
        if (!taken.has(gid)) return gid
      }
      return null
    },
    launchUser(uid, kvmGid, layerGids) {
      if (uid === null) return null
      return { uid, gid: uid, groups: [range.base, ...(kvmGid === null ? [] : [kvmGid]), ...layerGids] }
    },
    summary: `Each guest runs as a user of its own (uid ${range.base + 1} and up) without any capability.`,
  }
}
