/** Storage that hangs: a FUSE file system whose server is stopped holds every process that asks it for something. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDir } from '#server/store/data-dir.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createPoolHealth } from './pool-health.ts'
import { setUpPool } from './pool-setup.ts'
import { createPools, LOCAL_POOL_ID } from './pools.ts'
import { findProgram } from './sandbox.ts'
import { createSpaceLedger } from './space.ts'

const POOL = '01890000-0000-7000-8000-0000000000cc'
const bindfs = findProgram('bindfs')
const canMount = process.getuid?.() === 0 && existsSync('/dev/fuse') && bindfs !== null
const cleanups: (() => void | Promise<void>)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

it.skipIf(!canMount)(
  'a pool that hangs is told as such, holds no thread, and is back as soon as it answers (F34)',
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'gd-hang-'))
    cleanups.push(() => rmSync(root, { recursive: true, force: true }))
    const [below, mount] = [join(root, 'below'), join(root, 'mount')]
    for (const dir of [below, mount]) mkdirSync(dir)
    const server: ChildProcess = spawn(bindfs ?? '', ['-f', below, mount], { stdio: 'ignore' })
    const ended = new Promise((resolve) => server.once('exit', resolve))
    cleanups.push(async () => {
      server.kill('SIGKILL')
      await ended
      execFileSync('umount', ['-l', mount])
    })
    await expect.poll(() => readFileSync('/proc/self/mountinfo', 'utf8')).toContain(mount)

    const data = dataPaths(join(root, 'data'))
    prepareDataDir(data.root, false, () => {})
    const store = openStore(data)
    cleanups.push(() => store.close())
    const pools = createPools(data, store, createSpaceLedger(data.root, 0), () => {})
    pools.open()
    const health = createPoolHealth({ pools, minimumReserveBytes: 0, lookMs: 1000 })
    await setUpPool(health.childOf(POOL), { id: POOL, name: 'nas', path: mount, readersGid: null })
    pools.put({
      ...{ v: 1, id: POOL, name: 'nas', kind: 'dir', path: mount, mustBeMounted: true, purposes: ['disks'] },
      ...{ reserveBytes: null, createdAt: '2026-01-01T00:00:00.000Z' },
    })
    expect(await health.look(POOL)).toMatchObject({ state: 'ok', look: { markId: POOL, writable: true } })

    server.kill('SIGSTOP')
    // Ten times as many as there are threads.
    const asked = Array.from({ length: 40 }, () =>
      health.assertUsable(POOL, 'write').then(
        () => 'usable',
        (error: { code: string }) => error.code,
      ),
    )
    // Meanwhile the threads answer others.
    const times: number[] = []
    for (let n = 0; n < 50; n += 1) {
      const start = performance.now()
      await stat(data.root)
      times.push(performance.now() - start)
    }
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['pool_unavailable']))
    expect(times.sort((a, b) => a - b)[47]).toBeLessThan(500)
    expect(health.view(POOL)).toMatchObject({ state: 'unreachable', advice: expect.stringContaining('not affected') })
    // What was last known of its room is still told, and the other pool is as it was.
    expect(health.view(POOL).look?.totalBytes).toBeGreaterThan(0)
    expect(await health.look(LOCAL_POOL_ID)).toMatchObject({ state: 'ok' })

    server.kill('SIGCONT')
    await expect.poll(async () => (await health.look(POOL)).state, { timeout: 15_000 }).toBe('ok')

    // Gone altogether: the directory below the mount has no mark, and is never written to.
    execFileSync('umount', ['-l', mount])
    expect(await health.look(POOL)).toMatchObject({
      state: 'missing',
      evidence: expect.stringContaining('Nothing is mounted'),
    })
    execFileSync('mount', ['--bind', below, mount])
  },
)
