/** Making a directory of the host a pool: what it must be like, and the mark that says it is one. */
import { randomUUID } from 'node:crypto'
import { join, sep } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { unwritablePool } from '#server/launcher/pools.ts'
import { guestFile, readersPassage, type Shape } from '#server/launcher/shapes.ts'
import { PlainPath, PoolActError } from '#server/launcher/verbs.ts'
import { ownUid, startedAsRoot } from '#server/platform/privileges.ts'
import type { PoolChild } from './pool-child.ts'
import { MARK } from './pool-health.ts'

export interface PoolSetup {
  readonly id: string
  readonly name: string
  readonly path: string
  /** Group of all guests; null: they share the dashboard's user. */
  readonly readersGid: number | null
}

/** Finds where the path really leads, and tries to write. `$1` path, `$2` trial file, `$3` mark file. */
const TRY = `
set -u
[ -d "$1" ] || { echo "nodir" >&2; exit 3; }
[ "$(readlink -f -- "$1")" = "$1" ] || { echo "link" >&2; exit 3; }
[ -e "$3" ] && { echo "marked" >&2; exit 3; }
umask 077
: > "$2" || { echo "unwritable" >&2; exit 3; }
`

/** Whether guests get through, and the directory of layers. `$1` path, `$2` gid or empty, `$3` layers. */
const PASS = `
set -u
umask 077
if [ -n "$2" ]; then
  dir=$1
  while :; do
    mode=$(stat -c '%a' -- "$dir"); gid=$(stat -c '%g' -- "$dir")
    o=$((0$mode & 1)); g=$((0$mode & 010))
    if [ "$o" = 0 ] && { [ "$g" = 0 ] || [ "$gid" != "$2" ]; }; then echo "closed $dir" >&2; exit 3; fi
    [ "$dir" = / ] && break
    dir=$(dirname -- "$dir")
  done
fi
mkdir -p -m 0700 -- "$3" || { echo "unwritable" >&2; exit 3; }
`

/** Leaves the mark. `$1` path, `$2` mark file, `$3` its text. */
const SEAL = `
umask 077
printf '%s' "$3" > "$2.new" && sync -- "$2.new" && mv -- "$2.new" "$2" && sync -- "$1" || { echo "unwritable" >&2; exit 3; }
`
const SETUP_MS = 10_000

/**
 * Checks that guests' files can live there, and leaves the mark and the directory of layers.
 * @throws EngineError bad_input, conflict, pool_unavailable
 */
export async function setUpPool(child: PoolChild, { id, name, path, readersGid }: PoolSetup): Promise<void> {
  const run = async (script: string, ...args: string[]): Promise<void> => {
    const { code, stderr } = await child.run(script, args, { timeoutMs: SETUP_MS })
    if (code !== 0) refuse(stderr)
  }
  const give = (what: string, as: Shape): Promise<void> =>
    rootActs()
      .ownInPool({ path: what, as, sync: false }, child)
      .catch((error: unknown) => {
        if (!(error instanceof PoolActError)) throw error
        refuse(`${error.message}\nowner`)
      })
  const mark = join(path, MARK)
  const trial = join(path, `.guestdeck-${randomUUID()}`)
  const layers = join(path, 'layers')
  // One that is not written plainly is refused below, in words.
  if (PlainPath.safeParse(path).success) await rootActs().openPool({ path, mark: MARK }, child)
  await run(TRY, path, trial, mark)
  try {
    // As a guest's file would be.
    await give(trial, guestFile(readersGid))
    await run(PASS, path, readersGid === null ? '' : String(readersGid), layers)
  } finally {
    await child.run('rm -f -- "$1"', [trial]).catch(() => {})
  }
  await give(layers, readersPassage(readersGid))
  const about = 'Disks of virtual machines; see Guestdeck, page Storage.'
  await run(SEAL, path, mark, `${JSON.stringify({ guestdeckPool: id, name, about })}\n`)
}

/** @param stderr of which the last line says why */
function refuse(stderr: string): never {
  const why = stderr.trim().split('\n').at(-1) ?? ''
  const refusal = (message: string, errorCode: 'bad_input' | 'conflict' = 'bad_input') =>
    new EngineError(errorCode, message, { field: 'path', cause: new Error(stderr) })
  if (why === 'nodir') throw refusal('There is no such directory on the host. Create or mount it first.')
  if (why === 'link')
    throw refusal('This path leads over a link, or is not written plainly; name the place it leads to.')
  if (why === 'marked')
    throw refusal(
      `There is a ${MARK} already: the directory is a pool, of this dashboard or another. Remove that file if it is not.`,
      'conflict',
    )
  if (why === 'owner')
    throw refusal(
      'Files there cannot be given to the users that guests run as. On NFS, export it with no_root_squash; other file systems may need to be mounted differently.',
    )
  if (why.startsWith('closed '))
    throw refusal(`Guests run as users of their own and cannot enter ${why.slice(7)}. Run: chmod o+x ${why.slice(7)}`)
  if (ownUid() !== 0 && startedAsRoot) throw refusal(unwritablePool(ownUid()))
  throw refusal('The directory cannot be written to.')
}

/** Takes the mark away. The directory and whatever else is in it stay. */
export async function takeDownPool(child: PoolChild, path: string): Promise<void> {
  await child.run('rm -f -- "$1" && rmdir -- "$2" 2>/dev/null; :', [join(path, MARK), join(path, 'layers')])
}

/** By text, before anything of the host is touched. */
export const isBelowOneOf = (path: string, roots: readonly string[]): boolean =>
  roots.some((root) => path !== root && path.startsWith(root.endsWith(sep) ? root : root + sep)) || roots.includes(path)
