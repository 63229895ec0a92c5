/** Handing files over, on the file that was opened and looked at, never by a name that may have changed since. */
import { closeSync, constants, fchmodSync, fchownSync, fstatSync, openSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { UnsafeFileError } from '#server/platform/fs.ts'
import type { Permissions } from './shapes.ts'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants

/**
 * @param mayGive whether owners may be changed: we are root
 * @throws UnsafeFileError neither a plain file nor a directory, whichever it should be; Error ENOENT, ELOOP …
 */
export async function give(
  path: string,
  { uid, gid, mode, isDir }: Permissions,
  { mayGive, sync }: { readonly mayGive: boolean; readonly sync: boolean },
): Promise<void> {
  if (isDir && !sync) {
    // At once: a system call costs less than a turn of the thread pool, which password hashing may keep busy for long.
    const directory = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    try {
      const facts = fstatSync(directory)
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
    if (!isDir && !(await handle.stat()).isFile()) throw new UnsafeFileError('not a plain file')
    // The owner first: between the two, nobody may do more than in the end.
    if (mayGive) await handle.chown(uid, gid)
    await handle.chmod(mode)
    if (sync) await handle.sync()
  } finally {
    await handle.close()
  }
}

/** A link planted in the place of a file is not followed. `$1` path, `$2` owner or empty, `$3` mode, `$4` `f` or `d`. */
export const GIVE_SCRIPT = `
[ "-$4" = -f ] && { [ -f "$1" ] && [ ! -L "$1" ] || { echo "not a plain file" >&2; exit 3; }; }
[ "-$4" = -d ] && { [ -d "$1" ] && [ ! -L "$1" ] || { echo "not a directory" >&2; exit 3; }; }
{ [ -z "$2" ] || chown -h "$2" -- "$1"; } && chmod "$3" -- "$1" && { [ -z "$5" ] || sync -- "$1"; }
`

/** Arguments of `GIVE_SCRIPT`. Pure. */
export const giveArgs = (
  path: string,
  { uid, gid, mode, isDir }: Permissions,
  { mayGive, sync }: { readonly mayGive: boolean; readonly sync: boolean },
): string[] => [path, mayGive ? `${uid}:${gid}` : '', `0${mode.toString(8)}`, isDir ? 'd' : 'f', sync ? 'sync' : '']
