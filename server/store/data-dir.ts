/** The data directory: created private, repaired when somebody opened it up, refused when it cannot be written. */
import { chmodSync, mkdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '#server/config-error.ts'

/** Node's file system errors carry the errno name as `code`. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown'
}

/**
 * Makes `dir` exist with the right mode and proves that it can be written.
 *
 * Mode 0700; 0711 when we are root, because guests that run under a uid of their own must pass through it to their
 * own disk (nothing in it is readable to them: the directories and files below decide).
 *
 * @param warn called with a sentence when the mode had to be repaired
 * @throws ConfigError when it is not a directory or cannot be written
 */
export function prepareDataDir(dir: string, isRoot: boolean, warn: (sentence: string) => void): void {
  const wanted = isRoot ? 0o711 : 0o700
  try {
    mkdirSync(dir, { recursive: true, mode: wanted })
  } catch (error) {
    throw new ConfigError(
      `The data directory ${dir} cannot be created (${errnoOf(error)}). Choose another with --data.`,
    )
  }
  const found = statSync(dir)
  if (!found.isDirectory()) throw new ConfigError(`${dir} is not a directory. Choose another with --data.`)
  const mode = found.mode & 0o7777
  if (mode !== wanted) {
    try {
      chmodSync(dir, wanted)
      if ((mode & 0o077 & ~wanted) !== 0) {
        warn(
          `The data directory ${dir} was open to other users (mode ${mode.toString(8)}); it is ${wanted.toString(8)} now.`,
        )
      }
    } catch (error) {
      throw new ConfigError(
        `The data directory ${dir} has mode ${mode.toString(8)} and it cannot be changed to ${wanted.toString(8)} (${errnoOf(error)}). It must belong to the user who runs Guestdeck.`,
      )
    }
  }
  const probe = join(dir, `.write-probe-${process.pid}`)
  try {
    // A name that is there already is not followed.
    writeFileSync(probe, 'guestdeck', { mode: 0o600, flag: 'wx' })
    unlinkSync(probe)
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new ConfigError(`The disk of the data directory ${dir} is full (${code}). Make room there and start again.`)
    }
    throw new ConfigError(
      `The data directory ${dir} is not writable (${code}). Mend its permissions or choose another with --data.`,
    )
  }
}
