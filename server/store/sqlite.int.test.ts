import { spawn } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigError } from '#server/config-error.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDir } from '#server/store/data-dir.ts'
import { takeDashboardLock } from '#server/store/lock.ts'
import { ACTIVITY_KEEP, SCHEMA_VERSION } from '#server/store/open.ts'
import { openStore } from '#server/store/sqlite.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-store-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const line = (text: string, over: object = {}) => ({
  at: new Date().toISOString(),
  what: 'vmStart',
  text,
  result: 'ok' as const,
  who: 'ann',
  from: '127.0.0.1',
  topic: 'vm' as const,
  objectId: 'vm1',
  objectName: 'demo',
  userId: 'u1',
  ...over,
})

/** Runs a module in a process of its own; resolves with its first line of output. */
function child(code: string, options: string[] = [], env: Record<string, string> = {}) {
  const process_ = spawn(process.execPath, [...options, '--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  let out = ''
  let err = ''
  process_.stdout.on('data', (d) => {
    out += d
  })
  process_.stderr.on('data', (d) => {
    err += d
  })
  const ended = new Promise<number | null>((resolve) => process_.on('close', resolve))
  return { process: process_, ended, out: () => out, err: () => err }
}

test('a document keeps its revision through put, cas and delete', () => {
  const store = openStore(dataPaths(dir))
  expect(store.put('vm', 'a', { n: 1 })).toBe(1)
  expect(store.put('vm', 'a', { n: 2 })).toBe(2)
  expect(store.cas('vm', 'a', { n: 3 }, 1)).toBeNull()
  expect(store.cas('vm', 'a', { n: 3 }, 2)).toBe(3)
  expect(store.cas('vm', 'a', { n: 4 }, 0)).toBeNull()
  expect(store.cas('vm', 'b', { n: 1 }, 0)).toBe(1)
  expect(store.get('vm', 'a')).toEqual({ key: 'a', revision: 3, value: { n: 3 } })
  expect(store.list('vm').map((d) => d.key)).toEqual(['a', 'b'])
  expect(store.delete('vm', 'a', 2)).toBe(false)
  expect(store.delete('vm', 'a', 3)).toBe(true)
  expect(store.get('vm', 'a')).toBeNull()
  store.close()
})

test('a transaction that throws leaves nothing behind and announces nothing', () => {
  const store = openStore(dataPaths(dir))
  const seen: unknown[] = []
  store.watch('vm', (change) => seen.push(change))
  expect(() =>
    store.transaction(() => {
      store.put('vm', 'a', 1)
      throw new Error('no')
    }),
  ).toThrow('no')
  expect(store.get('vm', 'a')).toBeNull()
  expect(seen).toEqual([])
  store.transaction(() => store.put('vm', 'a', 1))
  store.delete('vm', 'a')
  expect(seen).toEqual([
    { key: 'a', revision: 1 },
    { key: 'a', revision: null },
  ])
  store.close()
})

test('the activity log answers newest first, by object and by what is mine', () => {
  const store = openStore(dataPaths(dir))
  store.log(line('one'))
  store.log(line('two', { objectId: 'vm2', userId: 'u2' }))
  store.log(line('three', { objectId: null, userId: null }), { durable: true })
  expect(store.activity({ limit: 10 }).map((e) => e.text)).toEqual(['three', 'two', 'one'])
  expect(store.activity({ limit: 10, objectId: 'vm1' }).map((e) => e.text)).toEqual(['one'])
  expect(store.activity({ limit: 10, mine: { userId: 'u1', objectIds: ['vm2'] } }).map((e) => e.text)).toEqual([
    'two',
    'one',
  ])
  const [newest] = store.activity({ limit: 1 })
  expect(store.activity({ limit: 10, before: newest?.id ?? 0 }).map((e) => e.text)).toEqual(['two', 'one'])
  store.close()
})

test('the activity log can be neither edited nor shortened at its new end, and stays bounded', () => {
  const paths = dataPaths(dir)
  const store = openStore(paths)
  store.log(line('kept'), { durable: true })
  const db = new DatabaseSync(paths.stateDb)
  expect(() => db.exec("UPDATE activity SET text = 'forged'")).toThrow('append-only')
  expect(() => db.exec('DELETE FROM activity')).toThrow('append-only')
  db.exec(`INSERT INTO activity (id, at, what, text, result) VALUES (${ACTIVITY_KEEP + 500}, '', '', 'far', 'ok')`)
  db.close()
  for (let i = 0; i < 1000; i++) store.log(line(`n${i}`))
  expect(store.activity({ limit: 200, objectId: 'vm1' }).some((e) => e.text === 'kept')).toBe(false)
  expect(store.activity({ limit: 1 })[0]?.text).toBe('n999')
  store.close()
})

test('every acknowledged write survives kill -9, whether it was flushed or not', async () => {
  const paths = dataPaths(dir)
  const writer = child(`
    import { openStore } from ${JSON.stringify(join(import.meta.dirname, 'sqlite.ts'))}
    const store = openStore(${JSON.stringify({ stateDb: paths.stateDb, stateBackup: paths.stateBackup })})
    for (let i = 0; ; i++) {
      store.transaction(() => store.put('vm', 'k' + i, { i }), { relaxed: i % 2 === 1 })
      process.stdout.write(i + '\\n')
    }
  `)
  await expect.poll(() => writer.out().split('\n').length, { timeout: 20_000 }).toBeGreaterThan(50)
  writer.process.kill('SIGKILL')
  await writer.ended
  const acknowledged = writer.out().split('\n').filter(Boolean).map(Number)
  const store = openStore(paths)
  for (const i of acknowledged) expect(store.get('vm', `k${i}`)?.value).toEqual({ i })
  store.close()
})

test('another process is noticed, and its own changes are not', async () => {
  const paths = dataPaths(dir)
  const store = openStore(paths)
  store.put('vm', 'a', 1)
  expect(store.changedElsewhere()).toBe(false)
  const other = openStore(paths)
  other.put('vm', 'b', 1)
  other.close()
  expect(store.changedElsewhere()).toBe(true)
  expect(store.changedElsewhere()).toBe(false)
  expect(store.get('vm', 'b')?.revision).toBe(1)
  store.close()
})

function makeDatabase() {
  const paths = dataPaths(dir)
  const store = openStore(paths)
  for (let i = 0; i < 200; i++) store.put('vm', `k${i}`, { text: 'x'.repeat(200) })
  store.close()
  return paths
}

test.each([
  [
    'zeroed in the middle',
    (file: string) => {
      const bytes = readFileSync(file)
      bytes.fill(0, 8192, 12_288)
      writeFileSync(file, bytes)
    },
  ],
  [
    'with a zeroed header',
    (file: string) => {
      const bytes = readFileSync(file)
      bytes.fill(0, 0, 4096)
      writeFileSync(file, bytes)
    },
  ],
  ['cut short', (file: string) => truncateSync(file, 10_000)],
  ['replaced by text', (file: string) => writeFileSync(file, 'not a database at all, not even close')],
])('a database %s is refused by name and left as it is (F28)', async (_how, damage) => {
  const paths = makeDatabase()
  damage(paths.stateDb)
  const before = readFileSync(paths.stateDb)
  expect(() => openStore(paths)).toThrow(ConfigError)
  expect(() => openStore(paths)).toThrow(paths.stateDb)
  expect(readFileSync(paths.stateDb).equals(before)).toBe(true)
})

test('an emptied or missing database is not taken for a new one while a backup exists, and the backup works (F28)', async () => {
  const paths = makeDatabase()
  const store = openStore(paths)
  await store.backUp()
  store.close()
  expect(statSync(paths.stateBackup).mode & 0o777).toBe(0o600)
  writeFileSync(paths.stateDb, '')
  expect(() => openStore(paths)).toThrow(paths.stateBackup)
  rmSync(paths.stateDb)
  expect(() => openStore(paths)).toThrow(paths.stateBackup)
  copyFileSync(paths.stateBackup, paths.stateDb)
  const again = openStore(paths)
  expect(again.list('vm')).toHaveLength(200)
  again.close()
})

test('a newer schema and a foreign database are refused unchanged (F47)', () => {
  const paths = makeDatabase()
  const db = new DatabaseSync(paths.stateDb)
  db.exec('PRAGMA user_version = 99')
  db.close()
  expect(() => openStore(paths)).toThrow(/newer Guestdeck.*99/)
  rmSync(paths.stateDb)
  const foreign = new DatabaseSync(paths.stateDb)
  foreign.exec('CREATE TABLE t (a)')
  foreign.close()
  expect(() => openStore(paths)).toThrow("not one of Guestdeck's")
})

test('a migration that is killed leaves the old schema with all it holds, and the next start migrates (F47)', async () => {
  const paths = makeDatabase()
  const old = new DatabaseSync(paths.stateDb)
  old.exec('ALTER TABLE activity DROP COLUMN hash; DROP TABLE activity_anchor; PRAGMA user_version = 1')
  old.close()
  const order = join(dir, 'kill.json')
  const schema = () => {
    const db = new DatabaseSync(paths.stateDb, { readOnly: true })
    try {
      const columns = db.prepare("SELECT name FROM pragma_table_info('activity')").all()
      const tables = db.prepare("SELECT name FROM sqlite_schema WHERE name = 'activity_anchor'").all()
      return {
        version: db.prepare('PRAGMA user_version').get()?.user_version,
        isNew: [columns.some(({ name }) => name === 'hash'), tables.length === 1],
        documents: db.prepare('SELECT count(*) AS n FROM document').get()?.n,
      }
    } finally {
      db.close()
    }
  }
  // Before its first statement, after all of them, and before the transaction ends.
  for (const at of ['^exec ALTER TABLE activity', '^exec PRAGMA application_id', '^exec COMMIT']) {
    writeFileSync(order, JSON.stringify({ at }))
    const opener = child(
      `import { openStore } from ${JSON.stringify(join(import.meta.dirname, 'sqlite.ts'))}
       openStore(${JSON.stringify({ stateDb: paths.stateDb, stateBackup: paths.stateBackup })})
       process.stdout.write('opened')`,
      ['--import', join(import.meta.dirname, '../testing/kill-points.ts')],
      { GUESTDECK_TEST_KILL: order },
    )
    await opener.ended
    expect([opener.process.signalCode, opener.out()], opener.err()).toEqual(['SIGKILL', ''])
    expect(schema()).toEqual({ version: 1, isNew: [false, false], documents: 200 })
  }
  const store = openStore(paths)
  expect(store.list('vm')).toHaveLength(200)
  store.close()
  expect(schema()).toEqual({ version: SCHEMA_VERSION, isNew: [true, true], documents: 200 })
})

test('files are private', () => {
  const paths = makeDatabase()
  expect(statSync(paths.stateDb).mode & 0o777).toBe(0o600)
})

test('a second dashboard is told who uses the directory within 2 seconds, and kill -9 frees it (F16)', async () => {
  const paths = dataPaths(dir)
  const first = child(`
    import { takeDashboardLock } from ${JSON.stringify(join(import.meta.dirname, 'lock.ts'))}
    takeDashboardLock(${JSON.stringify(paths.lock)})
    process.stdout.write('held'); setInterval(() => {}, 1000)
  `)
  await expect.poll(() => first.out(), { timeout: 10_000 }).toBe('held')
  const started = performance.now()
  expect(() => takeDashboardLock(paths.lock)).toThrow(`in use by pid ${first.process.pid}`)
  expect(performance.now() - started).toBeLessThan(2000)
  first.process.kill('SIGKILL')
  await first.ended
  takeDashboardLock(paths.lock).release()
  takeDashboardLock(paths.lock).release()
})

test('a data directory open to others is repaired with a line, one that is a file is refused (F46)', () => {
  const warnings: string[] = []
  const open = join(dir, 'a/b')
  prepareDataDir(open, false, (w) => warnings.push(w))
  expect(statSync(open).mode & 0o777).toBe(0o700)
  expect(warnings).toEqual([])
  chmodSync(open, 0o755)
  prepareDataDir(open, false, (w) => warnings.push(w))
  expect(statSync(open).mode & 0o777).toBe(0o700)
  expect(warnings).toHaveLength(1)
  prepareDataDir(open, true, (w) => warnings.push(w))
  expect(statSync(open).mode & 0o777).toBe(0o711)
  writeFileSync(join(dir, 'file'), '')
  expect(() => prepareDataDir(join(dir, 'file'), false, () => {})).toThrow(ConfigError)
})

test('a line that was changed, added or taken out breaks the chain of the log where it was', () => {
  const paths = dataPaths(dir)
  const store = openStore(paths)
  for (const text of ['one', 'two', 'three', 'four']) store.log(line(text))
  expect(store.verifyLog()).toMatchObject({ isIntact: true, lines: 4, unchained: 0, brokenAt: null, lastId: 4 })
  const { head } = store.verifyLog()
  expect(head).toBe(store.logAfter(3, 10)[0]?.hash)
  store.close()
  const forge = (statement: string) => {
    const copy = join(dir, 'forged.db')
    copyFileSync(paths.stateDb, copy)
    const db = new DatabaseSync(copy)
    db.exec(`DROP TRIGGER activity_no_update; DROP TRIGGER activity_no_delete; ${statement}`)
    db.close()
    const forged = openStore({ stateDb: copy, stateBackup: join(dir, 'none') })
    const verdict = forged.verifyLog()
    forged.close()
    rmSync(copy)
    return verdict
  }
  expect(forge("UPDATE activity SET text = 'forged' WHERE id = 2")).toMatchObject({ isIntact: false, brokenAt: 2 })
  expect(forge('DELETE FROM activity WHERE id = 3')).toMatchObject({ isIntact: false, brokenAt: 4 })
  expect(forge("INSERT INTO activity (id, at, what, text, result) VALUES (9, '', '', '', 'ok')")).toMatchObject({
    brokenAt: 9,
  })
  expect(forge('UPDATE activity SET hash = NULL WHERE id = 2')).toMatchObject({ isIntact: false, brokenAt: 2 })
  // The newest lines can be taken out unnoticed by the chain alone: the head tells.
  expect(forge('DELETE FROM activity WHERE id = 4')).toMatchObject({ isIntact: true })
  expect(forge('DELETE FROM activity WHERE id = 4').head).not.toBe(head)
})

test('the chain goes on over restarts, over lines of older releases, and over what is cut off', () => {
  const paths = dataPaths(dir)
  let store = openStore(paths)
  store.log(line('a'))
  store.close()
  const db = new DatabaseSync(paths.stateDb)
  db.exec(`DROP TRIGGER activity_no_update; UPDATE activity SET hash = NULL`)
  db.close()
  store = openStore(paths)
  for (const text of ['b', 'c']) store.log(line(text), { durable: true })
  expect(store.verifyLog()).toMatchObject({ isIntact: true, lines: 3, unchained: 1 })
  for (let n = 0; n < ACTIVITY_KEEP + 1500; n += 1) store.log(line(`n${n}`))
  const verdict = store.verifyLog()
  expect(verdict.isIntact).toBe(true)
  expect(verdict.firstId).toBeGreaterThan(3)
  expect(verdict.lines).toBeLessThan(ACTIVITY_KEEP + 1003)
  store.close()
})

test('the log is searched by text, person, kind, result and time, and wildcards are plain characters', () => {
  const store = openStore(dataPaths(dir))
  store.log(line('started 100% of it', { who: 'ben', at: '2026-01-01T00:00:00.000Z' }))
  store.log(line('STARTED again', { result: 'failed', at: '2026-02-01T00:00:00.000Z' }))
  store.log(line('deleted', { what: 'vmDelete', objectName: 'starter', at: '2026-03-01T00:00:00.000Z', userId: 'u2' }))
  const found = (query: object) => store.activity({ limit: 10, ...query }).map((entry) => entry.text)
  expect(found({ text: 'start' })).toEqual(['deleted', 'STARTED again', 'started 100% of it'])
  expect(found({ text: '100%' })).toEqual(['started 100% of it'])
  expect(found({ text: '%' })).toEqual(['started 100% of it'])
  expect(found({ who: 'ben' })).toEqual(['started 100% of it'])
  expect(found({ what: 'vmDelete' })).toEqual(['deleted'])
  expect(found({ result: 'failed' })).toEqual(['STARTED again'])
  expect(found({ from: '2026-02-01T00:00:00.000Z', until: '2026-03-01T00:00:00.000Z' })).toEqual(['STARTED again'])
  expect(found({ text: 'start', mine: { userId: 'u2', objectIds: [] } })).toEqual(['deleted'])
  expect(found({ text: "' OR 1=1 --" })).toEqual([])
  store.close()
})
