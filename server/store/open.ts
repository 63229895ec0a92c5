/**
 * Opens the state database: refuses a damaged file or a newer schema before anything is written to it, then migrates.
 * A refused file is left exactly as it was found.
 */
import { chmodSync, chownSync, closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ConfigError } from '#server/config-error.ts'

/** "Gdck": tells our database from any other SQLite file. */
const APPLICATION_ID = 0x4764636b
const HEADER = Buffer.from('SQLite format 3\0')

/** Newest lines of the activity log that are kept; older ones are removed in batches. */
export const ACTIVITY_KEEP = 100_000

/** One entry per schema version, never edited once released: entry N brings version N to N+1. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE document (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    value TEXT NOT NULL CHECK (json_valid(value)),
    PRIMARY KEY (collection, key)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE activity (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    what TEXT NOT NULL,
    text TEXT NOT NULL,
    result TEXT NOT NULL,
    who TEXT,
    origin TEXT,
    topic TEXT,
    object_id TEXT,
    object_name TEXT,
    user_id TEXT
  ) STRICT;
  CREATE INDEX activity_object ON activity (object_id, id) WHERE object_id IS NOT NULL;
  CREATE INDEX activity_user ON activity (user_id, id) WHERE user_id IS NOT NULL;

  CREATE TRIGGER activity_no_update BEFORE UPDATE ON activity
    BEGIN SELECT RAISE(ABORT, 'the activity log is append-only'); END;
  CREATE TRIGGER activity_no_delete BEFORE DELETE ON activity
    WHEN OLD.id > (SELECT max(id) FROM activity) - ${ACTIVITY_KEEP}
    BEGIN SELECT RAISE(ABORT, 'the activity log is append-only'); END;
  `,
  // Each line carries a hash over itself and the hash before it; lines of older releases have none. The anchor is the
  // hash of the newest line that was cut off, which the oldest kept one was chained to.
  `
  ALTER TABLE activity ADD COLUMN hash TEXT;
  CREATE TABLE activity_anchor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id INTEGER NOT NULL,
    hash TEXT NOT NULL
  ) STRICT;
  `,
  // Roles, projects and shares are documents of their own: an object without a placement is its owner's alone, as it
  // was. The number alone says that an older Guestdeck, which would show a project's VMs to their former owners and
  // everybody a project's images, must not open it. People get the fields that were optional until now.
  `
  UPDATE document SET value = json_set(value, '$.logins', json('[]'))
    WHERE collection = 'user' AND json_extract(value, '$.logins') IS NULL;
  UPDATE document SET value = json_set(value, '$.customRole', json('null'), '$.groups', json('[]'))
    WHERE collection = 'user';
  `,
]
export const SCHEMA_VERSION = MIGRATIONS.length

function damaged(file: string, backup: string, why: string): ConfigError {
  const rescue = existsSync(backup)
    ? `The last good copy is ${backup}: move the damaged file away, copy this one to its place and start again.`
    : 'There is no backup copy; restore it from your own.'
  return new ConfigError(
    `The state database ${file} is damaged (${why}). It was left untouched, and running guests are not affected. ${rescue}`,
  )
}

/** Looks at the first bytes without SQLite, which would take an empty or shortened file for a new database. */
function checkHeader(file: string, backup: string): void {
  const fd = openSync(file, 'r')
  try {
    const size = fstatSync(fd).size
    const head = Buffer.alloc(HEADER.length)
    const read = readSync(fd, head, 0, head.length, 0)
    if (size === 0 && !existsSync(backup)) return
    if (read < HEADER.length || !head.equals(HEADER)) {
      throw damaged(file, backup, size === 0 ? 'it is empty' : 'its header is not that of a SQLite database')
    }
  } finally {
    closeSync(fd)
  }
}

function pragma(db: DatabaseSync, name: string): unknown {
  const row = db.prepare(`PRAGMA ${name}`).get()
  return row ? Object.values(row)[0] : undefined
}

/** @throws ConfigError when the content is damaged or not ours */
function checkContent(db: DatabaseSync, file: string, backup: string): void {
  let verdict: unknown
  let version: unknown
  let id: unknown
  try {
    version = pragma(db, 'user_version')
    id = pragma(db, 'application_id')
    verdict = pragma(db, 'quick_check(1)')
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === 5) {
      throw new ConfigError(`The state database ${file} is locked by another program.`)
    }
    throw damaged(file, backup, error instanceof Error ? error.message : String(error))
  }
  if (verdict !== 'ok') throw damaged(file, backup, String(verdict).replaceAll('\n', ' '))
  if (typeof version !== 'number' || version < 0) throw damaged(file, backup, 'its schema version cannot be read')
  if (version > SCHEMA_VERSION) {
    throw new ConfigError(
      `The state database ${file} was written by a newer Guestdeck (schema ${version}; this one knows ${SCHEMA_VERSION}). Use that version again; nothing was changed.`,
    )
  }
  const tables = db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n
  if (id !== APPLICATION_ID && tables !== 0) {
    throw new ConfigError(
      `${file} is a SQLite database, but not one of Guestdeck's. Choose another directory with --data.`,
    )
  }
}

function migrate(db: DatabaseSync): void {
  // IMMEDIATE first: two processes may open a new directory at once, and the second must see the first one's result.
  db.exec('BEGIN IMMEDIATE')
  try {
    const from = Number(pragma(db, 'user_version'))
    for (const sql of MIGRATIONS.slice(from)) db.exec(sql)
    if (from < SCHEMA_VERSION) {
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`)
    }
    db.exec('COMMIT')
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}

/**
 * @param file the database; created 0600 when missing, owned like its directory
 * @param backup where the last good copy would be, for the message
 * @throws ConfigError damaged, not ours, newer schema, not accessible
 */
export function openDatabase(file: string, backup: string): DatabaseSync {
  const isNew = !existsSync(file)
  if (isNew && existsSync(backup)) throw damaged(file, backup, 'it is missing')
  const umask = process.umask(0o077)
  let db: DatabaseSync | undefined
  try {
    if (!isNew) {
      checkHeader(file, backup)
      // Read-only, so that not even a checkpoint of the write-ahead log touches a file that will be refused.
      const reader = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
      try {
        checkContent(reader, file, backup)
      } finally {
        reader.close()
      }
    }
    db = new DatabaseSync(file, { timeout: 5000 })
    if (isNew) {
      const owner = statSync(dirname(file))
      if (process.getuid?.() === 0 && owner.uid !== 0) chownSync(file, owner.uid, owner.gid)
    }
    chmodSync(file, 0o600)
    db.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF',
    )
    migrate(db)
    return db
  } catch (error) {
    db?.close()
    if (error instanceof ConfigError) throw error
    throw new ConfigError(
      `The state database ${file} cannot be opened: ${error instanceof Error ? error.message : String(error)}`,
    )
  } finally {
    process.umask(umask)
  }
}
