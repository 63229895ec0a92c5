/** What a look at a pool's directory says about the pool. Pure. */
import type { PoolState } from '#lib/schema/storage.ts'

/** One look at the directory, as the child prints it. */
export interface PoolLook {
  readonly totalBytes: number
  readonly freeBytes: number
  readonly fileSystem: string
  readonly writable: boolean
  /** What the mark in the directory says; null: there is none. */
  readonly markId: string | null
}

export interface PoolJudgement {
  readonly state: PoolState
  readonly evidence: string
  readonly advice: string
}

/** Below this, writes of guests are about to fail. */
export const FULL_BYTES = 16 * 2 ** 20

/**
 * Bytes of a file system that are never given out.
 * @param set by an administrator @param minimumBytes lower bound where nothing is set
 */
export function reserveOf(totalBytes: number, set: number | null, minimumBytes: number): number {
  return set ?? Math.max(totalBytes * 0.05, minimumBytes)
}

/** Whether `path` itself is a mount point. @param mountInfo text of /proc/self/mountinfo */
export function isMountPoint(path: string, mountInfo: string): boolean {
  return mountInfo.split('\n').some((line) => {
    const point = line.split(' ')[4]
    // Spaces and their like are written in octal (proc(5)).
    return point?.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))) === path
  })
}

export interface JudgeFacts {
  readonly id: string
  readonly name: string
  readonly builtIn: boolean
  readonly path: string
  readonly mounted: boolean
  readonly mustBeMounted: boolean
  readonly reserveBytes: number
  /** Null: it did not answer; a string: why the look failed. */
  readonly look: PoolLook | null | string
}

export function judgePool(facts: JudgeFacts): PoolJudgement {
  const { look, path } = facts
  const verdict = (state: PoolState, evidence: string, advice: string): PoolJudgement => ({ state, evidence, advice })
  if (facts.mustBeMounted && !facts.mounted)
    return verdict(
      'missing',
      `Nothing is mounted at ${path}.`,
      `Mount it (mount ${path}); nothing is written there while it is not.`,
    )
  if (look === null)
    return verdict(
      'unreachable',
      `${path} did not answer in time.`,
      'Check the server or the program behind the mount, and the network to it. Other pools are not affected.',
    )
  if (typeof look === 'string')
    return verdict('missing', look, 'Bring the directory back as it was, or mount it; then look again.')
  if (!facts.builtIn && look.markId !== facts.id)
    return verdict(
      'missing',
      look.markId === null
        ? `The mark of this pool is not in ${path}: probably the storage is not mounted.`
        : `${path} is marked as another pool (${look.markId}).`,
      'Mount the storage that belongs there; nothing is written to a directory without its mark.',
    )
  const free = bytesInWords(look.freeBytes)
  if (!look.writable)
    return verdict(
      'read-only',
      `${path} cannot be written: its file system is read-only or denies it.`,
      'Mount it read-write, and look at the kernel log for errors of the device.',
    )
  if (look.freeBytes < FULL_BYTES)
    return verdict(
      'full',
      `${free} are free. Guests that write here are paused.`,
      'Empty the trash, remove images, backups or disks, move disks to another pool, or enlarge the storage.',
    )
  if (look.freeBytes < facts.reserveBytes)
    return verdict(
      'low',
      `${free} are free, less than the ${bytesInWords(facts.reserveBytes)} kept for guests that run. Nothing new is begun here.`,
      'Empty the trash, remove images, backups or disks, move disks to another pool, or enlarge the storage.',
    )
  return verdict('ok', `${free} of ${bytesInWords(look.totalBytes)} are free.`, '')
}

export function bytesInWords(bytes: number): string {
  if (bytes >= 2 ** 40) return `${(bytes / 2 ** 40).toFixed(1)} TiB`
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`
  return `${Math.ceil(bytes / 2 ** 20)} MiB`
}

/** Reads what `LOOK_SCRIPT` printed; null when it is not that. */
export function parseLook(text: string): PoolLook | null {
  const found = new Map(
    text.split('\n').map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  )
  const [block, total, free] = (found.get('room') ?? '').split(' ').map(Number)
  if (!(block !== undefined && total !== undefined && free !== undefined && block > 0 && total >= 0 && free >= 0))
    return null
  return {
    totalBytes: block * total,
    freeBytes: block * free,
    fileSystem: (found.get('type') ?? '').replace(/[^\w./-]/g, '').slice(0, 32),
    writable: found.get('writable') === 'yes',
    markId: markIdOf(found.get('mark') ?? ''),
  }
}

function markIdOf(json: string): string | null {
  const id = /"guestdeckPool":"([0-9a-f-]{36})"/.exec(json)?.[1]
  return id ?? null
}

/** Prints lines that `parseLook` reads. `$1`: the pool's directory; `$2`: its mark. */
export const LOOK_SCRIPT = `
[ -d "$1" ] || { echo "There is no directory $1." >&2; exit 3; }
stat -f -c 'room %S %b %a
type %T' -- "$1" || exit 4
if [ -w "$1" ]; then echo writable yes; else echo writable no; fi
if [ -f "$2" ] && [ ! -L "$2" ]; then printf 'mark '; head -c 512 -- "$2" | tr -d '\\n '; echo; fi
`
