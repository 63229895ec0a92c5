/** Making a directory of the host a pool: what it must be like, and the mark that says it is one. */
import { randomUUID } from 'node:crypto'
import { join, sep } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import type { PoolChild } from './pool-child.ts'
import { MARK } from './pool-health.ts'

export interface PoolSetup {
  readonly id: string
  readonly name: string
  readonly path: string
  /** Group of all guests; null: they share the dashboard's user. */
  readonly readersGid: number | null
}

/**
 * Finds where the path really leads, checks that guests' files can live there, and leaves the mark and the directory of
 * layers. `$1` path, `$2` gid or empty, `$3` trial file, `$4` mark file, `$5` its text, `$6` layers.
 */
const SCRIPT = `
set -u
[ -d "$1" ] || { echo "nodir" >&2; exit 3; }
[ "$(readlink -f -- "$1")" = "$1" ] || { echo "link" >&2; exit 3; }
[ -e "$4" ] && { echo "marked" >&2; exit 3; }
umask 077
: > "$3" || { echo "unwritable" >&2; exit 3; }
trap 'rm -f -- "$3"' EXIT
if [ -n "$2" ]; then
  chown "$2:$2" -- "$3" 2>/dev/null || { echo "chown" >&2; exit 3; }
  dir=$1
  while :; do
    mode=$(stat -c '%a' -- "$dir"); gid=$(stat -c '%g' -- "$dir")
    o=$((0$mode & 1)); g=$((0$mode & 010))
    if [ "$o" = 0 ] && { [ "$g" = 0 ] || [ "$gid" != "$2" ]; }; then echo "closed $dir" >&2; exit 3; fi
    [ "$dir" = / ] && break
    dir=$(dirname -- "$dir")
  done
fi
mkdir -p -m 0700 -- "$6" || { echo "unwritable" >&2; exit 3; }
[ -z "$2" ] || { chown "0:$2" -- "$6" && chmod 0710 -- "$6"; } || { echo "chown" >&2; exit 3; }
printf '%s' "$5" > "$4.new" && sync -- "$4.new" && mv -- "$4.new" "$4" && sync -- "$1" || { echo "unwritable" >&2; exit 3; }
`

/** @throws EngineError bad_input, conflict, pool_unavailable */
export async function setUpPool(child: PoolChild, { id, name, path, readersGid }: PoolSetup): Promise<void> {
  const mark = `${JSON.stringify({ guestdeckPool: id, name, about: 'Disks of virtual machines; see Guestdeck, page Storage.' })}\n`
  const { code, stderr } = await child.run(
    SCRIPT,
    [
      path,
      readersGid === null ? '' : String(readersGid),
      join(path, `.guestdeck-${randomUUID()}`),
      join(path, MARK),
      mark,
      join(path, 'layers'),
    ],
    { timeoutMs: 10_000 },
  )
  if (code === 0) return
  const why = stderr.trim().split('\n').at(-1) ?? ''
  const refuse = (message: string, errorCode: 'bad_input' | 'conflict' = 'bad_input'): never => {
    throw new EngineError(errorCode, message, { field: 'path', cause: new Error(stderr) })
  }
  if (why === 'nodir') refuse('There is no such directory on the host. Create or mount it first.')
  if (why === 'link') refuse('This path leads over a link, or is not written plainly; name the place it leads to.')
  if (why === 'marked')
    refuse(
      `There is a ${MARK} already: the directory is a pool, of this dashboard or another. Remove that file if it is not.`,
      'conflict',
    )
  if (why === 'chown')
    refuse(
      'Files there cannot be given to the users that guests run as. On NFS, export it with no_root_squash; other file systems may need to be mounted differently.',
    )
  if (why.startsWith('closed '))
    refuse(`Guests run as users of their own and cannot enter ${why.slice(7)}. Run: chmod o+x ${why.slice(7)}`)
  refuse('The directory cannot be written to.')
}

/** Takes the mark away. The directory and whatever else is in it stay. */
export async function takeDownPool(child: PoolChild, path: string): Promise<void> {
  await child.run('rm -f -- "$1" && rmdir -- "$2" 2>/dev/null; :', [join(path, MARK), join(path, 'layers')])
}

/** By text, before anything of the host is touched. */
export const isBelowOneOf = (path: string, roots: readonly string[]): boolean =>
  roots.some((root) => path !== root && path.startsWith(root.endsWith(sep) ? root : root + sep)) || roots.includes(path)
