/**
 * Files of guests as releases before the launcher left them: of the guest's user and of a group of the same number, 0600.
 * They get the dashboard's group. Nothing depends on it while the dashboard is root, so that what fails is tried again at
 * the next start.
 */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir, guestFile } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import type { GuestIdentity } from './identity.ts'
import type { PoolChild } from './pool-child.ts'

type Identity = Pick<GuestIdentity, 'isGuest' | 'dashboardGid'>
type Warn = (message: string, error: unknown) => void

/** `vms/<id>/tpm/<file>`, `vms/<id>/snapshots/<file>`: nothing of a guest's lies deeper. */
const DEPTH = 3
/** Names handed to one child. */
const CHUNK = 400

/** What all guests read has another group; a file of the new kind has the dashboard's. */
const isOld = (identity: Identity, { uid, gid }: { uid: number; gid: number }) => identity.isGuest(uid) && gid === uid

/**
 * Below the data directory; idempotent. A file at fault keeps no other from being put right.
 * @param isLeftOut directories of VMs: of guests that run, whose programs may change names in them meanwhile
 * @returns how many were put right
 */
export async function settleOldOwners(
  data: DataPaths,
  identity: Identity,
  isLeftOut: (vmId: string) => boolean,
  warn: Warn,
): Promise<number> {
  if (identity.dashboardGid === null) return 0
  let count = 0
  const settle = async (path: string, isDir: boolean, depth: number): Promise<void> => {
    const facts = await lstat(path)
    if (isOld(identity, facts)) {
      await rootActs().own({ path, as: isDir ? guestDir(facts.uid) : guestFile(facts.uid), sync: false })
      count += 1
    }
    if (isDir && depth < DEPTH) await walk(path, depth + 1)
  }
  const walk = async (dir: string, depth: number): Promise<void> => {
    for (const entry of await readdir(dir, { withFileTypes: true })) {
      // Links and the like are nobody's files.
      if (!entry.isFile() && !entry.isDirectory()) continue
      if (dir === data.vmsDir && isLeftOut(entry.name)) continue
      const path = join(dir, entry.name)
      await settle(path, entry.isDirectory(), depth).catch((error: unknown) =>
        warn(`The group of ${path} could not be set.`, error),
      )
    }
  }
  await walk(data.vmsDir, 1)
  await walk(data.layersDir, DEPTH)
  return count
}

/** The same for files of layers in a pool that may hang. @throws EngineError pool_unavailable; PoolActError */
export async function settleOldOwnersInPool(
  child: PoolChild,
  paths: readonly string[],
  identity: Identity,
): Promise<number> {
  if (identity.dashboardGid === null) return 0
  let count = 0
  for (let at = 0; at < paths.length; at += CHUNK) {
    const { stdout } = await child.run(`stat -c '%u|%g|%n' -- "$@" 2>/dev/null; :`, paths.slice(at, at + CHUNK))
    for (const line of stdout.split('\n')) {
      const [uid, gid, ...name] = line.split('|')
      const facts = { uid: Number(uid), gid: Number(gid) }
      if (name.length === 0 || !isOld(identity, facts)) continue
      const as = { kind: 'guest-file' as const, uid: facts.uid }
      await rootActs().ownInPool({ path: name.join('|'), as, sync: false }, child)
      count += 1
    }
  }
  return count
}
