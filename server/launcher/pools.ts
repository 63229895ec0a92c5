/** Directories that root has made for disks, and a dashboard that is not root is to write in. */

/**
 * Looks at what was opened, never at a name again. `$1` path, `$2` name of the mark, `$3` uid, `$4` gid. Of a pool from
 * before, what was root's becomes the dashboard's, the mark last, so that a run cut short is done again. `-execdir` works within
 * the directory that was found, whatever becomes of its name meanwhile.
 */
export const ADOPT_SCRIPT = `
set -u
exec 3< "$1"
it=/proc/self/fd/3
[ -d "$it" ] && [ "$(readlink "$it")" = "$1" ] && [ "$(stat -L -c %u "$it")" = 0 ] || exit 0
cd "$it" || exit 0
if [ -e "$2" ]; then
  [ "$(stat -c %u "$2")" = 0 ] || exit 0
  find . -mindepth 1 -depth -xdev -uid 0 -gid 0 '(' -type f -o -type d ')' ! -path "./$2" -execdir chgrp -h "$4" '{}' +
  find . -mindepth 1 -depth -xdev -uid 0 '(' -type f -o -type d ')' ! -path "./$2" -execdir chown -h "$3" '{}' +
  chown -h "$3:$4" "./$2"
else
  for name in * .[!.]* ..?*; do
    case $name in '*' | '.[!.]*' | '..?*' | lost+found) ;; *) exit 0 ;; esac
  done
fi
chown "$3" "$it"
`

/** Arguments of `ADOPT_SCRIPT`. Pure. */
export const adoptArgs = (
  path: string,
  mark: string,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): string[] => [path, mark, String(uid), String(gid)]

/** What to do about a directory of another's. Pure. */
export const unwritablePool = (uid: number): string =>
  `The dashboard’s user (${uid}) cannot write to the directory. An empty one of root’s would be handed over to it; this is none. Run: chown ${uid} DIRECTORY`
