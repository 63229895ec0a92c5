import { spawnSync } from 'node:child_process'
import { closeSync, writeSync } from 'node:fs'
import { chown, link, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  capLog,
  createLog,
  fileFacts,
  makePrivateDir,
  openForAppending,
  readPlainFile,
  readTail,
  replaceFile,
} from './fs.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gd-fs-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('a file in a directory that a guest may have written to', () => {
  test('is read when it is plain', async () => {
    await writeFile(join(dir, 'a'), 'text')
    expect((await readPlainFile(join(dir, 'a'), 10)).toString()).toBe('text')
  })
  test('is refused when it is a symbolic link, a second name, a pipe, a directory, or too large', async () => {
    await writeFile(join(dir, 'a'), 'text')
    await symlink(join(dir, 'a'), join(dir, 'soft'))
    await expect(readPlainFile(join(dir, 'soft'), 10)).rejects.toMatchObject({ code: 'ELOOP' })
    await expect(readPlainFile(join(dir, 'a'), 3)).rejects.toThrow(/larger/)
    await link(join(dir, 'a'), join(dir, 'hard'))
    await expect(readPlainFile(join(dir, 'hard'), 10)).rejects.toThrow(/plain file/)
    expect(spawnSync('mkfifo', [join(dir, 'pipe')]).status).toBe(0)
    await expect(readPlainFile(join(dir, 'pipe'), 10)).rejects.toThrow(/plain file/)
    await expect(readPlainFile(dir, 10)).rejects.toThrow(/plain file/)
  })
  test.skipIf(process.getuid?.() !== 0)('is refused when another user wrote it and ours is expected', async () => {
    await writeFile(join(dir, 'a'), 'text')
    await chown(join(dir, 'a'), 61_234, 61_234)
    await expect(readPlainFile(join(dir, 'a'), 10, { owners: [0] })).rejects.toThrow(/another user/)
  })
})

describe('a log that a guest makes QEMU write', () => {
  test('is cut to its end once too long, while it is being written', async () => {
    const path = join(dir, 'log')
    createLog(path)
    const log = openForAppending(path)
    writeSync(log, 'x'.repeat(5000))
    writeSync(log, 'the end')
    await capLog(path, 10_000, 100)
    expect((await stat(path)).size).toBe(5007)
    await capLog(path, 1000, 100)
    expect((await stat(path)).size).toBe(100)
    writeSync(log, ' and more')
    closeSync(log)
    expect(await readFile(path, 'utf8')).toMatch(/^x+the end and more$/)
    expect(await readTail(path, 8)).toBe('and more')
  })
  test('is not cut through a link', async () => {
    await writeFile(join(dir, 'precious'), 'x'.repeat(5000))
    await symlink(join(dir, 'precious'), join(dir, 'log'))
    await capLog(join(dir, 'log'), 1000, 100)
    expect((await stat(join(dir, 'precious'))).size).toBe(5000)
    expect(await readTail(join(dir, 'log'), 10)).toBe('')
    expect(await readTail(join(dir, 'none'), 10)).toBe('')
  })
})

test('a file is replaced whole and private', async () => {
  const path = join(dir, 'a')
  replaceFile(path, 'one')
  replaceFile(path, 'two')
  expect(await readFile(path, 'utf8')).toBe('two')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})
test('a private directory is made once, with its parents', async () => {
  const path = join(dir, 'x/y/z')
  expect(makePrivateDir(path)).toBe(true)
  expect(makePrivateDir(path)).toBe(false)
  expect((await stat(path)).mode & 0o777).toBe(0o700)
})
test('a missing file is no error, a directory is no file', async () => {
  expect(await fileFacts(join(dir, 'none'))).toBeNull()
  expect(await fileFacts(dir)).toMatchObject({ isFile: false })
})
