/**
 * The store on SQLite. Every call is synchronous: a commit with `synchronous=FULL` takes 4 to 8 ms, so callers write
 * when something changed, never per request. Several processes may have it open (the command line works beside a
 * running dashboard); `changedElsewhere` tells when another one committed.
 */
import { closeSync, openSync, renameSync, rmSync } from 'node:fs'
import { backup, type StatementSync } from 'node:sqlite'
import type { ActivityEntry } from '#lib/schema/event.ts'
import { EngineError } from '#server/engine/errors.ts'
import { type ChainedLine, chainHash } from '#server/store/log-chain.ts'
import { ACTIVITY_KEEP, openDatabase } from '#server/store/open.ts'
import type { ActivityQuery, Collection, Store, Stored } from '#server/store/types.ts'

type LogLine = Parameters<Store['log']>[0]
type Change = { key: string; revision: number | null }

export interface SqliteStore extends Store {
  /** True when another process changed the database since the last call. Cheap; meant to be polled. */
  changedElsewhere(): boolean
  /** Writes a consistent copy beside the database, complete or not at all. */
  backUp(): Promise<void>
}

const FLUSH_MS = 100
/** Log lines kept in memory while the disk refuses them. */
const PENDING_MAX = 10_000
/** Old activity is cut off once per this many new lines. */
const TRIM_EVERY = 1000

const SQLITE_BUSY = 5
const SQLITE_FULL = 13

/** The errors an operator can do something about get a code of their own; the rest stays internal. */
function translate(error: unknown): unknown {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return error
  const primary = error.errcode & 0xff
  if (primary === SQLITE_FULL) {
    return new EngineError(
      'no_space',
      'The disk that holds the state database is full; free some space and try again.',
      {
        cause: error,
      },
    )
  }
  if (primary === SQLITE_BUSY) {
    return new EngineError('busy', 'The state database is locked by another program; try again.', { cause: error })
  }
  return error
}

/** What a search adds to the question; null when nothing is searched for. Values are bound, never part of the text. */
function filterOf(query: ActivityQuery): { where: string; values: string[] } | null {
  const { text, what, who, result, from, until, objectId, mine } = query
  if ([text, what, who, result, from, until].every((part) => part === undefined)) return null
  const parts: [string, ...string[]][] = []
  if (text !== undefined) {
    const like = `%${text.replace(/[\\%_]/g, '\\$&')}%`
    parts.push([
      "(text LIKE ? ESCAPE '\\' OR object_name LIKE ? ESCAPE '\\' OR who LIKE ? ESCAPE '\\' OR origin LIKE ? ESCAPE '\\')",
      ...[like, like, like, like],
    ])
  }
  if (what !== undefined) parts.push(['what = ?', what])
  if (who !== undefined) parts.push(['who = ?', who])
  if (result !== undefined) parts.push(['result = ?', result])
  if (from !== undefined) parts.push(['at >= ?', from])
  if (until !== undefined) parts.push(['at < ?', until])
  if (objectId !== undefined) parts.push(['object_id = ?', objectId])
  if (mine !== undefined)
    parts.push([
      '(user_id = ? OR object_id IN (SELECT value FROM json_each(?)))',
      mine.userId,
      JSON.stringify(mine.objectIds),
    ])
  return { where: parts.map(([where]) => where).join(' AND '), values: parts.flatMap(([, ...values]) => values) }
}

/**
 * @param paths the database file and its backup, from `dataPaths`
 * @throws ConfigError see `openDatabase`
 */
export function openStore(paths: { readonly stateDb: string; readonly stateBackup: string }): SqliteStore {
  const db = openDatabase(paths.stateDb, paths.stateBackup)
  const sql = (text: string): StatementSync => db.prepare(text)

  const get = sql('SELECT revision, value FROM document WHERE collection = ? AND key = ?')
  const list = sql('SELECT key, revision, value FROM document WHERE collection = ? ORDER BY key')
  const put = sql(`INSERT INTO document (collection, key, revision, value) VALUES (?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET revision = revision + 1, value = excluded.value RETURNING revision`)
  const insert = sql(
    'INSERT INTO document (collection, key, revision, value) VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING',
  )
  const update = sql(
    'UPDATE document SET revision = revision + 1, value = ? WHERE collection = ? AND key = ? AND revision = ?',
  )
  const remove = sql('DELETE FROM document WHERE collection = ? AND key = ?')
  const removeAt = sql('DELETE FROM document WHERE collection = ? AND key = ? AND revision = ?')
  const append = sql(`INSERT INTO activity
    (id, at, what, text, result, who, origin, topic, object_id, object_name, user_id, hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
  /** Ids are never used twice, even when the newest line was cut off. */
  const lastLine = sql(`SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'activity'), 0) AS id,
    (SELECT hash FROM activity ORDER BY id DESC LIMIT 1) AS hash`)
  const anchor = sql('SELECT hash FROM activity_anchor')
  const moveAnchor = sql(`INSERT OR REPLACE INTO activity_anchor (one, id, hash)
    SELECT 1, id, hash FROM activity WHERE hash IS NOT NULL AND id <= (SELECT max(id) FROM activity) - ${ACTIVITY_KEEP}
    ORDER BY id DESC LIMIT 1`)
  const trim = sql(`DELETE FROM activity WHERE id <= (SELECT max(id) FROM activity) - ${ACTIVITY_KEEP}`)
  const COLUMNS =
    'id, at, what, text, result, who, origin AS "from", topic, object_id AS objectId, object_name AS objectName'
  const page = 'id < ? ORDER BY id DESC LIMIT ?'
  const chained = sql(`SELECT ${COLUMNS}, user_id AS userId, hash FROM activity ORDER BY id`)
  const logAfter = sql(`SELECT ${COLUMNS}, hash FROM activity WHERE id > ? ORDER BY id LIMIT ?`)
  const activityAll = sql(`SELECT ${COLUMNS} FROM activity WHERE ${page}`)
  const activityOf = sql(`SELECT ${COLUMNS} FROM activity WHERE object_id = ? AND ${page}`)
  const activityMine = sql(
    `SELECT ${COLUMNS} FROM activity WHERE (user_id = ? OR object_id IN (SELECT value FROM json_each(?))) AND ${page}`,
  )
  const dataVersion = sql('PRAGMA data_version')

  const watchers = new Map<Collection, Set<(change: Change) => void>>()
  /** Changes of the open transaction, announced once it is committed; null outside one. */
  let held: { collection: Collection; change: Change }[] | null = null
  let pending: LogLine[] = []
  let flushTimer: NodeJS.Timeout | undefined
  let sinceTrim = 0
  let closed = false
  let seenVersion = Number(dataVersion.get()?.data_version)

  const attempt = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw translate(error)
    }
  }

  const announce = (collection: Collection, change: Change): void => {
    if (held) held.push({ collection, change })
    else for (const listener of watchers.get(collection) ?? []) listener(change)
  }

  /** What is written ahead keeps its order, so a commit that is flushed takes those before it along. */
  const unflushed = <T>(work: () => T): T => {
    db.exec('PRAGMA synchronous=NORMAL')
    try {
      return work()
    } finally {
      db.exec('PRAGMA synchronous=FULL')
    }
  }

  const transaction = <T>(work: () => T, { relaxed = false }: { readonly relaxed?: boolean } = {}): T => {
    if (held) return work()
    return relaxed ? unflushed(() => commit(work)) : commit(work)
  }

  const commit = <T>(work: () => T): T => {
    attempt(() => db.exec('BEGIN IMMEDIATE'))
    held = []
    let result: T
    try {
      result = work()
      attempt(() => db.exec('COMMIT'))
    } catch (error) {
      held = null
      // A full disk may have rolled back by itself already.
      if (db.isTransaction) db.exec('ROLLBACK')
      throw error
    }
    const changes = held
    held = null
    for (const { collection, change } of changes) announce(collection, change)
    return result
  }

  const logListeners = new Set<() => void>()

  const write = (line: LogLine): void => {
    const last = lastLine.get()
    const id = Number(last?.id ?? 0) + 1
    append.run(
      id,
      line.at,
      line.what,
      line.text,
      line.result,
      line.who,
      line.from,
      line.topic,
      line.objectId,
      line.objectName,
      line.userId,
      chainHash({ ...line, id }, typeof last?.hash === 'string' ? last.hash : ''),
    )
    sinceTrim += 1
  }

  const flush = (): void => {
    clearTimeout(flushTimer)
    flushTimer = undefined
    if (pending.length === 0) return
    const lines = pending
    transaction(() => {
      for (const line of lines) write(line)
      if (sinceTrim >= TRIM_EVERY) {
        moveAnchor.run()
        trim.run()
        sinceTrim = 0
      }
    })
    pending = []
    for (const listener of logListeners) listener()
  }

  const flushLater = (): void => {
    flushTimer ??= setTimeout(() => {
      flushTimer = undefined
      try {
        flush()
      } catch {
        // The disk refuses: keep the newest lines and try again a little later.
        if (pending.length > PENDING_MAX) pending = pending.slice(-PENDING_MAX)
        setTimeout(() => !closed && flushLater(), 5000).unref()
      }
    }, FLUSH_MS)
  }

  return {
    get<T>(collection: Collection, key: string): Stored<T> | null {
      const row = attempt(() => get.get(collection, key))
      if (!row) return null
      return { key, revision: Number(row.revision), value: JSON.parse(String(row.value)) as T }
    },
    list<T>(collection: Collection): Stored<T>[] {
      return attempt(() => list.all(collection)).map((row) => ({
        key: String(row.key),
        revision: Number(row.revision),
        value: JSON.parse(String(row.value)) as T,
      }))
    },
    put<T>(collection: Collection, key: string, value: T): number {
      // `all`, not `get`: the latter stops at the row and loses the error of the commit that comes after it.
      const [row] = attempt(() => put.all(collection, key, JSON.stringify(value)))
      const revision = Number(row?.revision)
      announce(collection, { key, revision })
      return revision
    },
    cas<T>(collection: Collection, key: string, value: T, expected: number): number | null {
      const text = JSON.stringify(value)
      const { changes } = attempt(() =>
        expected === 0 ? insert.run(collection, key, text) : update.run(text, collection, key, expected),
      )
      if (Number(changes) !== 1) return null
      announce(collection, { key, revision: expected + 1 })
      return expected + 1
    },
    delete(collection: Collection, key: string, expected?: number): boolean {
      const { changes } = attempt(() =>
        expected === undefined ? remove.run(collection, key) : removeAt.run(collection, key, expected),
      )
      if (Number(changes) === 0) return false
      announce(collection, { key, revision: null })
      return true
    },
    transaction,
    watch(collection, listener) {
      const set = watchers.get(collection) ?? new Set()
      watchers.set(collection, set)
      set.add(listener)
      return () => set.delete(listener)
    },
    log(entry, options) {
      pending.push(entry)
      if (options?.durable) flush()
      else flushLater()
    },
    activity(query) {
      try {
        if (!held) flush()
      } catch {
        // A full disk must not keep anybody from reading; the lines stay pending.
      }
      const before = query.before ?? Number.MAX_SAFE_INTEGER
      const filter = filterOf(query)
      const rows = filter
        ? db
            .prepare(`SELECT ${COLUMNS} FROM activity WHERE ${filter.where} AND ${page}`)
            .all(...filter.values, before, query.limit)
        : query.objectId !== undefined
          ? activityOf.all(query.objectId, before, query.limit)
          : query.mine
            ? activityMine.all(query.mine.userId, JSON.stringify(query.mine.objectIds), before, query.limit)
            : activityAll.all(before, query.limit)
      // Rows have a null prototype; spreading makes plain objects of them. Columns are those of ActivityEntry.
      return rows.map((row) => ({ ...row })) as unknown as ActivityEntry[]
    },
    logAfter: (id, limit) =>
      // Columns are those of ActivityEntry and the hash.
      logAfter.all(id, limit).map((row) => ({ ...row })) as unknown as ReturnType<Store['logAfter']>,
    verifyLog() {
      if (!held) flush()
      let before = String(anchor.get()?.hash ?? '')
      const verdict = { lines: 0, unchained: 0, firstId: null as number | null, lastId: null as number | null }
      let brokenAt: number | null = null
      let head: string | null = null
      let hasBegun = before !== ''
      for (const row of chained.iterate()) {
        const line = row as unknown as ChainedLine & { readonly hash: string | null }
        verdict.lines += 1
        verdict.firstId ??= line.id
        verdict.lastId = line.id
        if (line.hash === null && !hasBegun) {
          verdict.unchained += 1
          continue
        }
        hasBegun = true
        if (line.hash !== chainHash(line, before)) brokenAt ??= line.id
        before = line.hash ?? ''
        head = line.hash
      }
      return { ...verdict, isIntact: brokenAt === null, brokenAt, head }
    },
    onLog(listener) {
      logListeners.add(listener)
      return () => logListeners.delete(listener)
    },
    changedElsewhere() {
      const version = Number(dataVersion.get()?.data_version)
      const changed = version !== seenVersion
      seenVersion = version
      return changed
    },
    async backUp() {
      const part = `${paths.stateBackup}.part`
      try {
        // Created by us, so that the copy is never readable to others, not even while it grows.
        rmSync(part, { force: true })
        closeSync(openSync(part, 'wx', 0o600))
        await backup(db, part)
        renameSync(part, paths.stateBackup)
      } finally {
        rmSync(part, { force: true })
      }
    },
    close() {
      if (closed) return
      closed = true
      try {
        flush()
      } finally {
        clearTimeout(flushTimer)
        db.close()
      }
    },
  }
}
