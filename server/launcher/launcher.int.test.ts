/** The verbs against the kernel: what is handed over, and what is refused. */
import { execFileSync, spawn } from 'node:child_process'
import {
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readAllowedCpus } from '#server/platform/cpus.ts'
import { createLog } from '#server/platform/fs.ts'
import { readProcStat } from '#server/platform/process.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { createPoolChild } from '#server/storage/pool-child.ts'
import { rootActs } from './acts.ts'
import { settleDirs } from './give-up-root.ts'
import type { Shape } from './shapes.ts'

const isRoot = process.getuid?.() === 0
const GUEST = 61_234
const READERS = 61_200
const OURS = guestIdentity(isRoot).dashboardGid

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-acts-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const facts = (path: string) => {
  const { uid, gid, mode } = statSync(path)
  return { uid, gid, mode: (mode & 0o7777).toString(8) }
}
const direct = (path: string, as: Shape) => rootActs().own({ path, as, sync: true })
const inPool = (path: string, as: Shape) =>
  rootActs().ownInPool(
    { path, as, sync: true },
    createPoolChild(() => 'p'),
  )

describe.each([
  ['directly', direct],
  ['in a pool that may hang', inPool],
])('handing over %s', (_, own) => {
  test.skipIf(!isRoot)('gives a file to one guest, to all who read, and back to the dashboard', async () => {
    const path = join(dir, 'disk')
    writeFileSync(path, 'x', { mode: 0o644 })
    await own(path, { kind: 'guest-file', uid: GUEST })
    expect(facts(path)).toEqual({ uid: GUEST, gid: OURS, mode: '660' })
    await own(path, { kind: 'readers-file', readersGid: READERS, holder: null })
    expect(facts(path)).toEqual({ uid: 0, gid: READERS, mode: '640' })
    await own(path, { kind: 'dashboard-file' })
    expect(facts(path)).toEqual({ uid: 0, gid: OURS, mode: '600' })
  })

  test('follows no link, opens no pipe, and takes no directory for a file or the other way round', async () => {
    const secret = join(dir, 'secret')
    writeFileSync(secret, 'x', { mode: 0o640 })
    mkdirSync(join(dir, 'folder'), { mode: 0o750 })
    symlinkSync(secret, join(dir, 'link'))
    symlinkSync(join(dir, 'folder'), join(dir, 'dirlink'))
    execFileSync('mkfifo', [join(dir, 'pipe')])
    const before = [facts(secret), facts(join(dir, 'folder'))]
    const file: Shape = { kind: 'dashboard-file' }
    for (const name of ['link', 'pipe', 'folder', 'none'])
      await expect(own(join(dir, name), file), name).rejects.toThrow()
    for (const name of ['dirlink', 'secret'])
      await expect(own(join(dir, name), { kind: 'dashboard-dir' }), name).rejects.toThrow()
    expect([facts(secret), facts(join(dir, 'folder'))]).toEqual(before)
  })
})

test.skipIf(!isRoot)(
  'what is root’s in a directory becomes the dashboard’s, but for second names; what cannot is told',
  () => {
    const ids = { id: READERS + 9, readersGid: READERS }
    const data = join(dir, 'data')
    const secret = join(dir, 'secret')
    mkdirSync(join(data, 'vms'), { recursive: true })
    for (const path of [join(data, 'vms/disk'), join(data, 'theirs'), secret]) writeFileSync(path, 'x')
    chownSync(join(data, 'theirs'), GUEST, READERS)
    linkSync(secret, join(data, 'second'))
    symlinkSync(secret, join(data, 'link'))
    expect(settleDirs(ids, [data])).toBeNull()
    for (const name of ['', 'vms', 'vms/disk'])
      expect(facts(join(data, name)), name).toMatchObject({ uid: ids.id, gid: ids.id })
    expect(facts(join(data, 'theirs'))).toMatchObject({ uid: GUEST, gid: READERS })
    expect(facts(secret)).toMatchObject({ uid: 0, gid: 0 })
    expect(settleDirs(ids, [join(dir, 'none')])).toContain(join(dir, 'none'))
  },
)

test('a program is started with a log that is a plain file of one name, or not at all', async () => {
  const log = join(dir, 'log')
  createLog(log)
  const child = await rootActs().launch({ argv: ['/bin/sh', '-c', 'echo said >&2'], log })
  expect(await child.exited).toEqual({ code: 0, signal: null })
  expect(readFileSync(log, 'utf8')).toBe('said\n')
  linkSync(log, join(dir, 'second'))
  symlinkSync(log, join(dir, 'link'))
  for (const name of ['log', 'link', 'none'])
    await expect(rootActs().launch({ argv: ['/bin/true'], log: join(dir, name) }), name).rejects.toThrow()
})

test('a process is signalled, and bound to CPUs, only while it is the one that is meant', async () => {
  const vmId = '01890a5d-ac96-774b-bcce-b302099a8057'
  const other = '01890a5d-ac96-774b-bcce-b302099a8058'
  const child = spawn('/bin/sh', ['-c', 'sleep 60; :', 'sh', '-uuid', vmId], { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)))
  const pid = child.pid ?? 0
  await expect.poll(() => readProcStat(pid)?.state).toBe('S')
  const startTime = readProcStat(pid)?.startTime ?? 0
  const ask = (change: object) =>
    rootActs().signal({ pid, startTime, target: { kind: 'qemu', vmId }, signal: 'SIGKILL', ...change })
  // Bound is a thread of that process alone, whatever number is told.
  const bind = (change: object) => rootActs().pin({ pid, startTime, vmId, tid: pid, cpus: '0', ...change })
  expect(await bind({ tid: process.pid })).toMatch(/none of this guest/)
  expect(await bind({ startTime: startTime + 1 })).toMatch(/none of this guest/)
  expect(await bind({ vmId: other })).toMatch(/none of this guest/)
  expect(await bind({})).toBeNull()
  expect(readAllowedCpus(pid, pid)).toEqual([0])
  expect(await ask({ startTime: startTime + 1 })).toBe(false)
  expect(await ask({ target: { kind: 'qemu', vmId: other } })).toBe(false)
  expect(await ask({ target: { kind: 'helper', socket: '/nowhere', argv: ['sleep'] } })).toBe(false)
  await expect(ask({ pid: 1 })).rejects.toThrow()
  expect(await ask({})).toBe(true)
  expect(await ended).toBe('SIGKILL')
})
