/** Handing files over, on the file that was opened and looked at, never by a name that may have changed since. */
import { closeSync, constants, fchmodSync, fchownSync, fstatSync, openSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { UnsafeFileError } from '#server/platform/fs.ts'
import type { Permissions } from './shapes.ts'

export interface GiveOptions {
  /** Whether owners may be changed: we are root. */
  readonly mayGive: boolean
  /** On disk for good when it is done. */
  readonly sync: boolean
  /**
   * Whose files may be given at all, lowest and highest uid; null: everybody's. Judged on what was opened, so it does not matter
   * how the name was brought to lead there.
   */
  readonly owners: readonly [number, number] | null
}

export const FOREIGN = 'it is neither the dashboard’s nor a guest’s'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants

export const isAmong = (owners: GiveOptions['owners'], uid: number) =>
  owners === null || (uid >= owners[0] && uid <= owners[1])

/** @throws UnsafeFileError no plain file or no directory, whichever it should be, or foreign; Error ENOENT, ELOOP … */
export async function give(
  path: string,
  { uid, gid, mode, isDir }: Permissions,
  { mayGive, sync, owners }: GiveOptions,
): Promise<void> {
  if (isDir && !sync) {
    // At once: a system call costs less than a turn of the thread pool, which password hashing may keep busy for long.
    const directory = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    try {
      const facts = fstatSync(directory)
      if (!isAmong(owners, facts.uid)) throw new UnsafeFileError(FOREIGN)
      if (mayGive && (facts.uid !== uid || facts.gid !== gid)) fchownSync(directory, uid, gid)
      fchmodSync(directory, mode)
    } finally {
      closeSync(directory)
    }
    return
  }
  // O_NONBLOCK: opening a planted FIFO must not hang a thread.
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (isDir ? O_DIRECTORY : 0))
  try {
    const facts = await handle.stat()
    if (!isDir && !facts.isFile()) throw new UnsafeFileError('not a plain file')
    if (!isAmong(owners, facts.uid)) throw new UnsafeFileError(FOREIGN)
    // The owner first: between the two, nobody may do more than in the end.
    if (mayGive) await handle.chown(uid, gid)
    await handle.chmod(mode)
    if (sync) await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * A link planted in the place of a file is not followed, and what is given is what was opened and looked at. `$1` path,
 * `$2` owner or empty, `$3` mode, `$4` `f` or `d`, `$5` `sync` or empty, `$6` and `$7` lowest and highest owner or empty.
 */
export const GIVE_SCRIPT = `
[ "-$4" = -f ] && { [ -f "$1" ] && [ ! -L "$1" ] || { echo "not a plain file" >&2; exit 3; }; }
[ "-$4" = -d ] && { [ -d "$1" ] && [ ! -L "$1" ] || { echo "not a directory" >&2; exit 3; }; }
exec 3< "$1"
it=/proc/self/fd/3
[ "-$4" "$it" ] || { echo "not what it was" >&2; exit 3; }
if [ -n "$6" ]; then
  owner=$(stat -L -c %u "$it") && [ "$owner" -ge "$6" ] && [ "$owner" -le "$7" ] || { echo "${FOREIGN}" >&2; exit 3; }
fi
{ [ -z "$2" ] || chown "$2" "$it"; } && chmod "$3" "$it" && { [ -z "$5" ] || sync "$it"; }
`

/** Arguments of `GIVE_SCRIPT`. Pure. */
export const giveArgs = (
  path: string,
  { uid, gid, mode, isDir }: Permissions,
  { mayGive, sync, owners }: GiveOptions,
): string[] => [
  path,
  mayGive ? `${uid}:${gid}` : '',
  `0${mode.toString(8)}`,
  isDir ? 'd' : 'f',
  sync ? 'sync' : '',
  ...(owners ?? ['', '']).map(String),
]
