/**
 * One dashboard per data directory. The lock is a SQLite exclusive transaction held for life: a POSIX record lock, so
 * the kernel drops it however the process ends (`kill -9` included), and no stale lock file can keep anybody out.
 * The pid stands in a file beside it, for the message only.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { ConfigError } from '#server/config-error.ts'

/** How long to wait for a dashboard that is just stopping. Well below the 2 s within which a second one must give up. */
const WAIT_MS = 1000

export interface DashboardLock {
  release(): void
}

function holderOf(pidFile: string): string {
  try {
    const pid = readFileSync(pidFile, 'utf8').trim()
    return /^\d{1,10}$/.test(pid) ? `pid ${pid}` : 'an unknown process'
  } catch {
    return 'an unknown process'
  }
}

/**
 * @param lockFile from `dataPaths`; created when missing
 * @throws ConfigError "in use by pid N" within 2 s
 */
export function takeDashboardLock(lockFile: string): DashboardLock {
  const pidFile = `${lockFile}.pid`
  const umask = process.umask(0o077)
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(lockFile)
    db.exec(`PRAGMA busy_timeout = ${WAIT_MS}; BEGIN EXCLUSIVE`)
  } catch (error) {
    db?.close()
    const locked = error instanceof Error && 'errcode' in error && error.errcode === 5
    throw new ConfigError(
      locked
        ? `The data directory is in use by ${holderOf(pidFile)}: another dashboard runs on it. Stop that one, or choose another directory with --data.`
        : `${lockFile} cannot be locked: ${error instanceof Error ? error.message : String(error)}`,
    )
  } finally {
    process.umask(umask)
  }
  writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 })
  const held = db
  let released = false
  return {
    release() {
      if (released) return
      released = true
      rmSync(pidFile, { force: true })
      held.exec('ROLLBACK')
      held.close()
    },
  }
}
